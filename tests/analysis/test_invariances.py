"""What must not change an answer does not change it, whatever the study; and what cannot be
answered is refused in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from long_form import draws
from planted import parabola, steep_to_the_right, trials

from sweeper.analysis.scaling.claim import Claim
from sweeper.answers.drift import DriftGroup, drift_statement
from sweeper.errors import AnalysisRefusal

FEW = settings(max_examples=draws(5, 20), deadline=None, derandomize=True)

CLOSE = 2e-5
"""Octaves. Positions are rounded to 1e-9 of one, and a noise-free fit may magnify that."""


@st.composite
def studies(draw: st.DrawFn) -> pd.DataFrame:
    """Draws a small study with a drift: seeds or none, a steep side or none, a cliff or none."""
    skew = draw(st.sampled_from([0.0, 0.5]))
    return trials(
        slope=draw(st.sampled_from([-0.8, -0.3, 0.0, 0.2])),
        start=draw(st.sampled_from([-4.6, -5.2, -6.0])),
        scales=(32, 64, 128),
        shape=steep_to_the_right(skew) if skew else parabola(),
        seeds=draw(st.sampled_from([1, 2, 4])),
        noise=draw(st.sampled_from([0.003, 0.02])),
        seed_effect=draw(st.sampled_from([0.0, 0.05])),
        cliff=draw(st.sampled_from([None, 1.3])),
        draw=draw(st.integers(0, 1000)),
    )


def group_of(frame: pd.DataFrame, **options: Any) -> DriftGroup:
    given_: dict[str, Any] = {
        "study": "planted",
        "scale": "width",
        "hyperparameter": "learning_rate",
        "claims": [Claim(exponent=0.0, tolerance=0.2)],
        "resamples": 100,
        "partial": True,
    }
    return drift_statement(frame, **(given_ | options)).groups[0]


def ends(group: DriftGroup, shift: float = 0.0) -> list[float]:
    """Returns all estimates and interval ends of a group, optima less a shift in octaves."""
    numbers = [v - shift for o in group.optima for v in (o.log2, o.low, o.high)]
    if group.drift is not None:
        numbers += [group.drift.slope, group.drift.low, group.drift.high]
    return numbers


def says(group: DriftGroup) -> tuple[Any, ...]:
    """Returns what a group says apart from numbers."""
    return (
        group.refused is None,
        [verdict.ruling for verdict in group.verdicts],
        [optimum.flags for optimum in group.optima],
    )


def assert_same(left: DriftGroup, right: DriftGroup, shift: float = 0.0) -> None:
    assert says(left) == says(right)
    assert ends(right, shift) == pytest.approx(ends(left), abs=CLOSE)


@FEW
@given(frame=studies(), draw=st.randoms(use_true_random=False))
def test_order_and_repetition_of_rows_and_columns_change_not_a_bit(
    frame: pd.DataFrame, draw: Any
) -> None:
    columns = list(frame.columns)
    draw.shuffle(columns)
    rows = list(range(len(frame)))
    draw.shuffle(rows)
    again = rows + rows[: draw.randrange(len(rows))]
    shuffled = frame.iloc[again][columns].reset_index(drop=True)
    assert ends(group_of(shuffled)) == ends(group_of(frame))
    assert says(group_of(shuffled)) == says(group_of(frame))


@FEW
@given(frame=studies(), factor=st.sampled_from([1e-6, 1 / np.log(2), 64.0, 1e6]))
def test_the_unit_of_the_loss_changes_nothing(frame: pd.DataFrame, factor: float) -> None:
    assert_same(group_of(frame), group_of(frame.assign(loss=frame["loss"] * factor)))


@FEW
@given(frame=studies(), shift=st.sampled_from([-40.0, -3.0, 1.0, 100.0]))
def test_a_constant_in_the_loss_changes_nothing(frame: pd.DataFrame, shift: float) -> None:
    assert_same(group_of(frame), group_of(frame.assign(loss=frame["loss"] + shift)))


@FEW
@given(frame=studies(), unit=st.sampled_from([1e-6, 0.1, 3.0, 1024.0]))
def test_the_unit_of_the_hyperparameter_moves_optima_and_no_drift(
    frame: pd.DataFrame, unit: float
) -> None:
    moved = frame.assign(learning_rate=frame["learning_rate"] * unit)
    left, right = group_of(frame), group_of(moved)
    # The slopes come last; they are not shifted.
    spread = 3 * len(left.optima)
    assert says(left) == says(right)
    assert ends(right, np.log2(unit))[:spread] == pytest.approx(ends(left)[:spread], abs=CLOSE)
    assert ends(right)[spread:] == pytest.approx(ends(left)[spread:], abs=CLOSE)


@FEW
@given(frame=studies(), unit=st.sampled_from([1e-3, 0.5, 7.0, 1e9]))
def test_the_unit_of_the_scale_changes_nothing(frame: pd.DataFrame, unit: float) -> None:
    assert_same(group_of(frame), group_of(frame.assign(width=frame["width"] * unit)))


@FEW
@given(frame=studies(), names=st.permutations([7, 0, 123456, 41]))
def test_the_names_of_the_seeds_change_nothing(frame: pd.DataFrame, names: list[int]) -> None:
    renamed = frame.assign(seed=frame["seed"].map(dict(enumerate(names))))
    assert_same(group_of(frame), group_of(renamed))


@FEW
@given(frame=studies(), name=st.sampled_from(["skewed", "quadratic", "spline"]))
def test_the_mirror_image_of_a_study_has_mirrored_optima(frame: pd.DataFrame, name: str) -> None:
    mirrored = frame.assign(learning_rate=1 / frame["learning_rate"])
    left, right = (group_of(f, estimator=name) for f in (frame, mirrored))
    places = [[o.log2 for o in group.optima] for group in (left, right)]
    assert [-place for place in places[1]] == pytest.approx(places[0], abs=CLOSE)
    if left.drift is not None and right.drift is not None:
        # Optima are weighed by their resampled noise, whose draws are not mirrored.
        assert -right.drift.slope == pytest.approx(left.drift.slope, abs=0.05)


@FEW
@given(
    frame=studies(),
    row=st.integers(0, 10_000),
    spoiled=st.sampled_from(
        [
            ("loss", np.nan, "completed with loss nan"),
            ("loss", np.inf, "completed with loss inf"),
            ("loss", -np.inf, "completed with loss -inf"),
            ("learning_rate", -0.1, "learning_rate = .*only positive finite numbers"),
            ("learning_rate", 0.0, "learning_rate = .*only positive finite numbers"),
            ("learning_rate", np.nan, "learning_rate = .*only positive finite numbers"),
            ("learning_rate", np.inf, "learning_rate = .*only positive finite numbers"),
            ("width", -32.0, "width = .*only positive finite numbers"),
            ("width", np.nan, "width = .*only positive finite numbers"),
            ("outcome", "exploded", "unknown outcome 'exploded'"),
        ]
    ),
)
def test_one_value_that_cannot_be_is_refused_wherever_it_stands(
    frame: pd.DataFrame, row: int, spoiled: tuple[str, Any, str]
) -> None:
    column, value, message = spoiled
    done = np.flatnonzero(frame["outcome"] == "completed")
    broken = frame.astype({"width": float})
    broken.loc[done[row % len(done)], column] = value
    with pytest.raises(AnalysisRefusal, match=message) as caught:
        group_of(broken, partial=False)
    assert "\n" not in str(caught.value)


@FEW
@given(frame=studies(), pick=st.integers(0, 2))
def test_a_study_that_is_too_small_is_refused_in_one_line(frame: pd.DataFrame, pick: int) -> None:
    rates, widths = sorted(frame["learning_rate"].unique()), (32, 64, 128)
    one_point = frame[frame["learning_rate"] == rates[pick]]
    one_scale = frame[frame["width"] == widths[pick]]
    one_trial = frame.iloc[[pick]]
    equal = frame.assign(loss=2.5, outcome="completed")
    gone = frame.assign(loss=np.nan, outcome="diverged")
    none = frame.assign(loss=np.nan, outcome="missing")
    for study, message in (
        (one_point, "finite point"),
        (one_trial, "1 finite point round"),
        (equal, "all losses are equal"),
        (gone, "every point diverged"),
        (none, "no trial has a result yet"),
    ):
        with pytest.raises(AnalysisRefusal, match=message) as caught:
            group_of(study, partial=False)
        assert "\n" not in str(caught.value)
    alone = group_of(one_scale, partial=False)  # has an optimum, and a reason for no drift
    assert len(alone.optima) == 1
    assert "1 scale with an optimum" in (alone.refused or "")
