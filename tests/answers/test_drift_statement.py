"""The statement as a whole: schema, groups, refusals, invariances and speed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import trials, without

from sweeper.analysis.scaling.claim import Claim
from sweeper.answers.drift import DriftStatement, drift_statement
from sweeper.errors import AnalysisRefusal, UnknownNameError

FLAT = Claim(exponent=0.0, tolerance=0.15)


def state(frame: pd.DataFrame, **options: Any) -> DriftStatement:
    given: dict[str, Any] = {
        "study": "planted",
        "scale": "width",
        "hyperparameter": "learning_rate",
        "claims": [FLAT],
        "resamples": 200,
    }
    return drift_statement(frame, **(given | options))


def two_variants() -> pd.DataFrame:
    return pd.concat(
        [
            trials(variant="sp", slope=-1.0, start=-3.5, noise=0.01),
            trials(variant="mup", noise=0.01, draw=1),
        ],
        ignore_index=True,
    )


def numbers(document: Any, path: str = "") -> dict[str, Any]:
    """Returns the leaves of a JSON document by path."""
    if isinstance(document, dict):
        items = [(f"{path}.{key}", value) for key, value in document.items()]
    elif isinstance(document, list):
        items = [(f"{path}[{index}]", value) for index, value in enumerate(document)]
    else:
        return {path: document}
    leaves: dict[str, Any] = {}
    for key, value in items:
        leaves |= numbers(value, key)
    return leaves


def test_two_variants_get_a_drift_and_a_verdict_each() -> None:
    mup, sp = state(two_variants()).groups
    assert (mup.variant, sp.variant) == ("mup", "sp")
    assert [verdict.ruling for verdict in mup.verdicts] == ["holds"]
    assert [verdict.ruling for verdict in sp.verdicts] == ["broken"]
    assert sp.drift is not None
    assert sp.drift.low < -1.0 < sp.drift.high


def test_the_json_has_the_documented_keys() -> None:
    document = state(two_variants()).to_json()
    assert set(document) >= {"study", "scale", "hyperparameter", "groups"}
    group = document["groups"][0]
    assert set(group) >= {"variant", "settings", "optima", "drift", "regret", "claims"}
    optimum = {"scale", "log2", "value", "low", "high", "loss", "curvature", "points", "flags"}
    assert set(group["optima"][0]) >= optimum
    assert set(group["drift"]) >= {"slope", "low", "high", "scales_used", "flags"}
    assert set(group["regret"][0]) >= {"scale", "tuned", "transferred", "regret"}
    assert set(group["claims"][0]) == {"exponent", "tolerance", "verdict", "why"}


def test_open_ends_and_infinite_losses_are_null_in_strict_json() -> None:
    frame = trials(slope=-1.0, start=-5.6, cliff=1.9)
    document = state(frame).to_json()
    text = json.dumps(document, allow_nan=False)
    group = json.loads(text)["groups"][0]
    assert group["optima"][-1]["low"] is None
    assert group["regret"][-1]["regret"] is None
    assert group["regret"][-1]["certainty"] == "infinite"


def test_settings_split_a_variant_into_groups() -> None:
    both = [
        trials(noise=0.01).assign(weight_decay=0.0),
        trials(noise=0.01, start=-6.0).assign(weight_decay=0.1),
    ]
    groups = state(pd.concat(both), settings=["weight_decay"]).groups
    assert [group.settings for group in groups] == [{"weight_decay": 0.0}, {"weight_decay": 0.1}]
    assert [round(group.optima[0].log2) for group in groups] == [-5, -6]
    assert groups[1].label == "mup, weight_decay 0.1"


def test_a_setting_that_only_one_variant_has_may_be_missing_elsewhere() -> None:
    plain = trials(noise=0.01, variant="adam").assign(momentum=np.nan)
    other = trials(noise=0.01, variant="muon").assign(momentum=0.9)
    document = state(pd.concat([plain, other]), settings=["momentum"]).to_json()
    assert [group["settings"]["momentum"] for group in document["groups"]] == [None, 0.9]


def test_one_group_that_cannot_answer_does_not_stop_the_others() -> None:
    holed = without(trials(variant="sp", noise=0.01), width=64, octave=-5, outcome="failed")
    frame = pd.concat([holed, trials(noise=0.01)], ignore_index=True)
    mup, sp = state(frame).groups
    assert mup.refused is None
    assert sp.drift is None
    assert sp.verdicts == ()
    assert sp.refused is not None
    assert "width 64" in sp.refused
    assert [optimum.scale for optimum in sp.optima] == [32, 128, 256]
    document = state(frame).to_json()["groups"][1]
    assert document["drift"] is None
    assert document["left_out"][0]["scale"] == 64


def test_a_report_on_a_running_study_has_what_there_is() -> None:
    frame = trials(noise=0.01)
    frame.loc[frame["width"] > 64, ["loss", "outcome"]] = [np.nan, "missing"]
    group = state(frame).groups[0]
    assert group.drift is None
    assert "width 128" in str(group.refused)
    assert [optimum.scale for optimum in group.optima] == [32, 64]


def test_allowed_holes_leave_scales_out_and_say_so() -> None:
    frame = trials(noise=0.01)
    frame.loc[frame["width"] == 256, ["loss", "outcome"]] = [np.nan, "missing"]
    group = state(frame, allow_holes=True).groups[0]
    assert group.drift is not None
    assert "left_out" in group.drift.flags
    assert group.drift.scales_used == (32, 64, 128)
    assert list(group.left_out) == [256]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.assign(loss=np.nan), "completed with loss nan"),
        (lambda f: f.assign(loss=np.inf), "completed with loss inf"),
        (lambda f: f.assign(loss=1.0), "all losses are equal"),
        (lambda f: f[f["learning_rate"] == 2.0**-5], "1 finite point round"),
        (lambda f: f.assign(learning_rate=0.0), "learning_rate = .*positive"),
        (lambda f: f.drop(columns="outcome"), "no column 'outcome'"),
        (lambda f: f.iloc[:0], "empty"),
    ],
)
def test_a_study_that_cannot_answer_is_refused(spoil: Any, message: str) -> None:
    with pytest.raises(AnalysisRefusal, match=message):
        state(spoil(trials(noise=0.01)))


def test_options_without_sense_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="known: argmin"):
        state(trials(), estimator="mean")
    with pytest.raises(AnalysisRefusal, match="resamples = 5"):
        state(trials(), resamples=5)


def test_order_and_repetition_of_rows_and_columns_change_nothing() -> None:
    frame = two_variants()
    first = state(frame).to_json()
    shuffled = frame.sample(frac=1, random_state=0)[sorted(frame.columns, reverse=True)]
    assert state(shuffled).to_json() == first
    assert state(pd.concat([frame, frame.iloc[::3]])).to_json() == first


def test_a_group_alone_says_what_it_says_in_company() -> None:
    frame = two_variants()
    alone = state(frame[frame["variant"] == "sp"]).to_json()["groups"][0]
    assert alone == state(frame).to_json()["groups"][1]


def test_losses_in_bits_give_the_same_optima_drift_and_verdicts() -> None:
    frame = two_variants()
    nats = numbers(state(frame).to_json())
    bits = numbers(state(frame.assign(loss=frame["loss"] / np.log(2))).to_json())
    per_loss = ("loss", "curvature", "noise", "tuned", "transferred", "regret", "floor")
    per_loss += ("loss_low", "loss_high", "useful")
    assert nats.keys() == bits.keys()
    for path, value in nats.items():
        name = path.rsplit(".", 1)[-1]
        if not isinstance(value, float):
            assert bits[path] == value or name in ("why", "bottom_line"), path
        else:
            regret_end = ".regret[" in path and name in ("low", "high")
            factor = np.log(2) if name in per_loss or regret_end else 1.0
            assert bits[path] * factor == pytest.approx(value, rel=1e-5, abs=1e-6), path


def test_a_constant_added_to_the_losses_moves_no_optimum() -> None:
    frame = two_variants()
    moved = state(frame.assign(loss=frame["loss"] - 40.0)).groups
    for left, right in zip(state(frame).groups, moved, strict=True):
        assert left.drift is not None
        assert right.drift is not None
        assert left.drift.slope == pytest.approx(right.drift.slope, abs=1e-6)
        assert left.drift.low == pytest.approx(right.drift.low, abs=1e-6)


def test_a_harmless_drift_is_said_to_be_harmless() -> None:
    frame = trials(slope=-0.04, noise=0.003)
    group = state(frame, claims=[Claim(exponent=0.0, tolerance=0.03)]).groups[0]
    assert "harmless so far" in group.verdicts[0].why


def test_a_cost_that_noise_hides_is_not_said_to_be_harmless() -> None:
    frame = trials(slope=-0.15, noise=0.03)
    group = state(frame, claims=[Claim(exponent=0.0, tolerance=0.05)]).groups[0]
    assert "is not resolved from noise (at most" in group.verdicts[0].why


def test_the_same_trials_give_the_same_numbers_whatever_stands_beside_them() -> None:
    frame = trials(noise=0.01)
    alone = state(frame[frame["width"] < 256]).groups[0].optima
    beside = state(frame).groups[0].optima[:-1]
    for one, other in zip(alone, beside, strict=True):
        assert (one.log2, one.loss) == pytest.approx((other.log2, other.loss), abs=1e-3)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=5e-3)


def test_regret_transfers_by_the_first_claim() -> None:
    frame = trials(slope=-0.5, start=-4.0)
    rule = Claim(exponent=-0.5, tolerance=0.1)
    group = state(frame, claims=[rule, FLAT]).groups[0]
    assert group.exponent == -0.5
    assert max(regret.regret for regret in group.regret) == pytest.approx(0, abs=1e-4)
    assert state(frame, claims=[]).groups[0].regret[-1].regret > 0.05
