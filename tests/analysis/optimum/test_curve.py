"""Tables of trials become curves, and faulty tables are refused in one sentence."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from planted import trials, without

from sweeper.analysis.optimum.curve import Curve, measured_curves
from sweeper.errors import AnalysisRefusal


def curves(frame: pd.DataFrame) -> tuple[Curve, ...]:
    return measured_curves(frame, scale="width", hyperparameter="learning_rate")


def same(left: Curve, right: Curve) -> bool:
    return (
        left.scale == right.scale
        and np.array_equal(left.log2, right.log2)
        and np.array_equal(left.means, right.means)
        and all(np.array_equal(a, b) for a, b in zip(left.runs, right.runs, strict=True))
        and (left.answered, left.declared) == (right.answered, right.declared)
    )


def test_seeds_are_averaged_at_each_point_and_kept_apart() -> None:
    frame = trials(noise=0.1, draw=1)
    first = curves(frame)[0]
    cell = frame[(frame["width"] == 32) & (frame["learning_rate"] == 2.0**-4)]
    at = int(np.flatnonzero(first.log2 == -4)[0])
    assert first.means[at] == pytest.approx(cell["loss"].mean())
    assert sorted(first.runs[at]) == sorted(cell["loss"])


def test_order_of_rows_and_columns_does_not_matter() -> None:
    frame = trials(noise=0.1)
    shuffled = frame.sample(frac=1, random_state=3)[sorted(frame.columns)]
    assert all(same(a, b) for a, b in zip(curves(frame), curves(shuffled), strict=True))


def test_a_row_that_stands_there_twice_counts_once() -> None:
    frame = trials(noise=0.1, cliff=2)
    twice = pd.concat([frame, frame.iloc[5:40]], ignore_index=True)
    assert all(same(a, b) for a, b in zip(curves(frame), curves(twice), strict=True))


def test_a_result_wins_over_a_failed_row_of_the_same_cell() -> None:
    frame = trials(noise=0.1)
    failed = frame.iloc[[7]].assign(loss=np.nan, outcome="failed")
    both = pd.concat([failed, frame], ignore_index=True)
    assert all(same(a, b) for a, b in zip(curves(frame), curves(both), strict=True))


def test_a_diverged_trial_is_kept_as_an_observation() -> None:
    frame = trials(cliff=2)
    one_seed = (frame["width"] == 32) & (frame["learning_rate"] == 0.5) & (frame["seed"] > 0)
    frame.loc[one_seed, ["loss", "outcome"]] = [3.0, "completed"]
    first = curves(frame)[0]
    assert first.means[-1] == math.inf
    assert first.answered == first.declared == 27


def test_a_point_without_any_result_is_known_as_a_hole() -> None:
    frame = without(trials(), width=64, octave=-6, outcome="failed")
    second = curves(frame)[1]
    assert second.holes.tolist() == [-6.0]
    assert (second.answered, second.declared) == (24, 27)
    assert len(second.log2) == 8


def test_equal_settings_written_with_another_last_digit_are_one_point() -> None:
    frame = trials()
    half = frame["seed"] == 1
    frame.loc[half, "learning_rate"] *= 1 + 1e-14
    assert len(curves(frame)[0].log2) == 9


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_completed_trial_without_a_finite_loss_is_refused(loss: float) -> None:
    frame = trials()
    frame.loc[4, "loss"] = loss
    with pytest.raises(AnalysisRefusal, match=r"width 32.*seed 1: completed with loss"):
        curves(frame)


def test_two_results_for_one_cell_are_refused_with_a_hint_at_other_settings() -> None:
    frame = trials()
    other = frame.assign(loss=frame["loss"] + 0.5, weight_decay=0.1)
    with pytest.raises(AnalysisRefusal, match=r"two different results.*settings"):
        curves(pd.concat([frame.assign(weight_decay=0.0), other]))


@pytest.mark.parametrize("column", ["learning_rate", "width"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_what_has_no_log2_is_refused(column: str, value: float) -> None:
    frame = trials().astype({column: float})
    frame.loc[0, column] = value
    with pytest.raises(AnalysisRefusal, match=rf"{column} = .*positive"):
        curves(frame)


def test_a_missing_column_is_refused_by_name() -> None:
    with pytest.raises(AnalysisRefusal, match="no column 'seed'; it has"):
        curves(trials().drop(columns="seed"))


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(AnalysisRefusal, match="empty"):
        curves(trials().iloc[:0])


def test_an_unknown_outcome_is_refused() -> None:
    frame = trials()
    frame.loc[0, "outcome"] = "exploded"
    with pytest.raises(AnalysisRefusal, match="'exploded'; allowed are completed"):
        curves(frame)
