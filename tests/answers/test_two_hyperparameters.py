"""Two swept hyperparameters: the drift of one with the other tuned, and of both together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.analysis import Claim
from sweeper.answers.drift import DriftStatement, drift_statement
from sweeper.answers.joint import JointStatement, combination, joint_statement

RATE, DECAY = "learning_rate", "weight_decay"
SLOPES = (-0.5, -0.9)


def basins(
    *, noise: float = 0.003, widths: Sequence[int] = (64, 128, 256), low: int = -7
) -> pd.DataFrame:
    """Returns correlated basins: the best decay falls by an octave with each octave of the rate,
    and the joint optimum moves by :data:`SLOPES`."""
    rng = np.random.default_rng(1)
    rows = []
    for width in widths:
        doublings = np.log2(width / 64)
        rate, decay = -3.2 + SLOPES[0] * doublings, -2.4 + SLOPES[1] * doublings
        for a, b, seed in itertools.product(range(-7, 0), range(low, 0), (0, 1)):
            t = a - rate
            above = 0.025 * t**2 + 0.015 * (b - decay + t) ** 2
            rows.append(
                {
                    "variant": "default",
                    "width": width,
                    RATE: 2.0**a,
                    DECAY: 2.0**b,
                    "seed": seed,
                    "loss": 3 - 0.1 * doublings + above + noise * rng.standard_normal(),
                    "outcome": "completed",
                }
            )
    return pd.DataFrame(rows)


def state(frame: pd.DataFrame, **options: Any) -> DriftStatement:
    given: dict[str, Any] = {"hyperparameter": RATE, "tuned": (DECAY,), "resamples": 200} | options
    return drift_statement(frame, study="planted", scale="width", **given)


def together(frame: pd.DataFrame, **options: Any) -> JointStatement:
    given: dict[str, Any] = {"hyperparameters": (RATE, DECAY), "resamples": 200} | options
    return joint_statement(frame, study="planted", scale="width", **given)


@pytest.mark.parametrize(("name", "other", "slope"), [(RATE, DECAY, -0.5), (DECAY, RATE, -0.9)])
def test_each_of_two_drifts_as_planted_with_the_other_tuned(
    name: str, other: str, slope: float
) -> None:
    statement = state(basins(), hyperparameter=name, tuned=(other,))
    (group,) = statement.groups
    assert group.drift is not None
    assert group.drift.low <= slope <= group.drift.high
    assert group.drift.high - group.drift.low < 0.5
    assert f", {other} tuned at every {name})" in statement.bottom_line
    document = statement.to_json()
    assert document["profiled"] == [other]
    assert document["groups"][0]["evidence"]["points"] == 3 * 7 * 7


def test_at_a_fixed_value_of_the_other_the_answer_is_another_one() -> None:
    fixed = state(basins(), settings=(DECAY,), tuned=())
    slopes = [group.drift.slope for group in fixed.groups if group.drift is not None]
    assert len(fixed.groups) == 7
    assert np.median(slopes) < -0.6


def test_a_variant_to_which_the_other_does_not_apply_is_read_alone() -> None:
    plain = basins().query(f"{DECAY} == 0.125").assign(**{"variant": "plain", DECAY: np.nan})
    default, alone = state(pd.concat([basins(), plain])).groups
    assert (default.variant, alone.variant) == ("default", "plain")
    assert default.drift is not None and alone.drift is not None
    assert all(optimum.tuned == {} for optimum in alone.optima)
    assert all("conditional" not in optimum.flags for optimum in alone.optima)


def test_the_value_of_the_other_at_each_optimum_is_said() -> None:
    (group,) = state(basins()).groups
    found = [np.log2(optimum.tuned[DECAY]) for optimum in group.optima]
    assert found == pytest.approx([-2.4, -3.3, -4.2], abs=0.15)
    document = state(basins()).to_json()["groups"][0]["optima"][0]
    assert document["tuned"][DECAY] == group.optima[0].tuned[DECAY]


def test_an_edge_of_the_other_is_said_in_the_bottom_line() -> None:
    statement = state(basins(low=-3))
    assert "conditional" in statement.groups[0].optima[-1].flags
    assert "what is tuned along lies at an edge of its values at " in statement.bottom_line


def test_rival_claims_are_weighed_in_one_sentence() -> None:
    claims = [Claim(exponent=each, tolerance=0.2) for each in (0.0, -1.0)]
    statement = state(basins(), hyperparameter=DECAY, tuned=(RATE,), claims=claims)
    said = "exponent -1 is over 1000 times as likely as 0, and 0 is ruled out"
    assert said in statement.bottom_line
    rivals = statement.to_json()["groups"][0]["rivals"]
    assert rivals["said"] == said
    assert rivals["exponents"] == [-1.0, 0.0]


def test_a_joint_optimum_drifts_along_both_axes_and_along_the_flat_one() -> None:
    statement = together(basins(), claims={DECAY: [Claim(exponent=-1.0, tolerance=0.3)]})
    (group,) = statement.groups
    slopes, widths = {}, {}
    for one in group.drifts:
        assert one.drift is not None
        widths[one.along] = one.drift.high - one.drift.low
        planted = sum(SLOPES[i] * one.direction[n] for i, n in enumerate((RATE, DECAY)))
        assert one.drift.low <= planted <= one.drift.high
        slopes[one.along, one.name] = one.drift.slope
    kinds = [one.along for one in group.drifts]
    assert kinds == ["hyperparameter", "hyperparameter", "flat", "steep"]
    assert widths["flat"] > widths["steep"]
    flat = group.drifts[2]
    line = statement.bottom_line
    assert line.startswith("Tuned together, the best learning_rate falls with the width (-0.")
    assert f"the flat direction {flat.name} moves by " in line
    assert line.endswith("For weight_decay the claim -1 ± 0.3 holds.")
    drifts = statement.to_json()["groups"][0]["drifts"]
    assert [one["along"] for one in drifts] == kinds
    assert drifts[1]["claims"][0]["verdict"] == "holds"


def test_without_two_scales_a_joint_optimum_has_no_drift_and_says_why() -> None:
    statement = together(basins(widths=(64,)))
    assert all(one.drift is None for one in statement.groups[0].drifts)
    assert "have no drift that can be told: 1 scale with an optimum" in statement.bottom_line


def test_a_combination_is_named_by_its_largest_power() -> None:
    assert combination({RATE: 1.0, DECAY: 0.0}) == RATE
    assert combination({RATE: 0.5, DECAY: -1.0}) == f"{DECAY} / {RATE}^0.50"
    assert combination({RATE: -1.0, DECAY: -1.0}) == f"{RATE} × {DECAY}"
