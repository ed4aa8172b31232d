"""Tuned losses and their standard errors on planted surfaces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import trials

from sweeper.analysis.compute.tuned import Tuned, tuned_losses
from sweeper.errors import AnalysisRefusal, UnknownNameError


def costed(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns trials with FLOPs of width^3 and seconds of half of that, shaken by the seed."""
    cube = frame["width"].astype(float) ** 3
    return frame.assign(flops=cube, device_seconds=cube / 2 + frame["seed"])


def ended(frame: pd.DataFrame, width: int, outcome: str) -> pd.DataFrame:
    """Returns trials all of which ended in an outcome at one width."""
    here = (frame["width"] == width).to_numpy()
    loss, outcomes = frame["loss"].to_numpy(), frame["outcome"].to_numpy()
    return frame.assign(
        loss=np.where(here, math.nan, loss), outcome=np.where(here, outcome, outcomes)
    )


def tuned(frame: pd.DataFrame, **options: Any) -> Tuned:
    given: dict[str, Any] = {"hyperparameter": "learning_rate", **options}
    return tuned_losses(frame, name="study:mup", scale="width", **given)


def test_tuned_losses_are_those_of_the_surface() -> None:
    found = tuned(costed(trials(slope=-0.3)))
    assert [p.scale for p in found.points] == [32, 64, 128, 256]
    assert [p.loss for p in found.points] == pytest.approx([3.0, 2.8, 2.6, 2.4], abs=1e-6)
    assert [p.flops for p in found.points] == [32**3, 64**3, 128**3, 256**3]
    assert [p.seconds for p in found.points] == [
        32**3 / 2 + 1,
        *(w**3 / 2 + 1 for w in (64, 128, 256)),
    ]
    assert found.points[1].value == pytest.approx(2**-5.3, rel=1e-3)
    assert not any(p.bound for p in found.points)
    assert [p.seeds for p in found.points] == [3] * 4


@pytest.mark.parametrize("seed_effect", [0.0, 0.02])
@pytest.mark.parametrize("estimator", ["quadratic", "skewed"])
def test_errors_are_the_spread_of_the_tuned_loss(seed_effect: float, estimator: str) -> None:
    truth = np.array([3.0, 2.8, 2.6, 2.4])
    misses, claimed = [], []
    for draw in range(20):
        frame = costed(trials(noise=0.005, seed_effect=seed_effect, draw=draw))
        found = tuned(frame, estimator=estimator)
        misses.append([p.loss for p in found.points] - truth)
        claimed.append([p.error**2 for p in found.points])
    # 80 misses tell a standard deviation to 8%.
    ratio = math.sqrt(float(np.mean(np.square(misses)) / np.mean(claimed)))
    assert 0.75 < ratio < 1.25
    assert found.dof == 8


@pytest.mark.parametrize("tilt", [-1e-9, 0.0, 1e-9])
def test_two_points_that_tie_leave_the_error_as_it_is(tilt: float) -> None:
    frame = trials(noise=0.005, start=-4.5)
    # The two points beside the optimum, moved to within a hair of each other.
    below, above = (np.isclose(np.log2(frame["learning_rate"]), o) for o in (-5, -4))
    gap = (
        frame[below].groupby("width")["loss"].mean() - frame[above].groupby("width")["loss"].mean()
    )
    shift = np.where(above, frame["width"].map(gap) + tilt, 0.0)
    found = tuned(costed(frame.assign(loss=frame["loss"] + shift)), estimator="quadratic")
    assert all(0.001 < p.error < 0.004 for p in found.points)


def test_without_seeds_the_error_comes_from_the_residuals_of_the_fits() -> None:
    misses, claimed = [], []
    for draw in range(20):
        found = tuned(costed(trials(noise=0.005, seeds=1, draw=draw)))
        misses.append([p.loss for p in found.points] - np.array([3.0, 2.8, 2.6, 2.4]))
        claimed.append([p.error**2 for p in found.points])
    ratio = math.sqrt(float(np.mean(np.square(misses)) / np.mean(claimed)))
    assert 0.7 < ratio < 1.3


def test_rows_without_a_hyperparameter_are_tuned_losses_themselves() -> None:
    frame = costed(trials(octaves=[-5.0], noise=0.01))
    found = tuned(frame, hyperparameter=None)
    means = frame.groupby("width")["loss"].mean()
    assert [p.loss for p in found.points] == pytest.approx(means.tolist())
    assert all(p.value is None for p in found.points)
    spread = math.sqrt(frame.groupby("width")["loss"].var().mean() / 3)
    assert [p.error for p in found.points] == pytest.approx([spread] * 4)
    assert found.dof == 8


def test_one_run_a_scale_has_no_known_error() -> None:
    found = tuned(costed(trials(octaves=[-5.0], seeds=1)), hyperparameter=None)
    assert all(math.isnan(p.error) for p in found.points)


def test_a_setting_that_leaves_the_compute_alone_is_tuned_as_well() -> None:
    good, bad = trials(), trials()
    frame = costed(
        pd.concat([good.assign(decay=0.1), bad.assign(decay=0.0, loss=bad["loss"] + 0.3)])
    )
    found = tuned(frame, settings=["decay"])
    assert [p.loss for p in found.points] == pytest.approx([3.0, 2.8, 2.6, 2.4], abs=1e-6)
    assert [p.settings["decay"] for p in found.points] == [0.1] * 4
    assert [p.label for p in found.points] == [f"width {w}" for w in (32, 64, 128, 256)]


def test_a_setting_that_changes_the_compute_makes_points_of_its_own() -> None:
    short, long = costed(trials()), costed(trials())
    frame = pd.concat(
        [
            short.assign(budget=1),
            long.assign(budget=4, loss=long["loss"] - 0.1, flops=long["flops"] * 4),
        ]
    )
    found = tuned(frame, settings=["budget"])
    assert [p.label for p in found.points[:2]] == ["width 32, budget 1", "width 32, budget 4"]
    assert [p.loss for p in found.points[:2]] == pytest.approx([3.0, 2.9], abs=1e-6)
    assert [p.flops for p in found.points[:2]] == [32**3, 4 * 32**3]


def test_an_optimum_at_the_edge_of_the_grid_is_a_bound() -> None:
    found = tuned(costed(trials(start=-1.0, slope=-1.0)))
    assert [p.bound for p in found.points] == [True, False, False, False]


def test_the_order_of_rows_and_columns_changes_nothing() -> None:
    frame = costed(trials(noise=0.01))
    shuffled = frame.sample(frac=1, random_state=3)[sorted(frame.columns)]
    doubled = pd.concat([shuffled, shuffled.head(7)])
    assert tuned(doubled) == tuned(frame)


def test_scales_without_a_tuned_loss_are_named() -> None:
    frame = costed(trials())
    found = tuned(ended(frame, 64, "diverged"))
    assert [p.scale for p in found.points] == [32, 128, 256]
    assert list(found.left_out) == ["width 64"]
    assert "every point diverged" in found.left_out["width 64"]
    lone = costed(trials(octaves=[-5.0]))
    rows = tuned(ended(ended(lone, 64, "diverged"), 128, "missing"), hyperparameter=None)
    assert "it diverged" in rows.left_out["width 64"]
    assert "no trial has a result yet" in rows.left_out["width 128"]


def test_what_has_no_tuned_loss_or_no_cost_is_refused() -> None:
    frame = costed(trials())
    with pytest.raises(AnalysisRefusal, match=r"study:mup: width 32 .* no trial has a result yet"):
        tuned(frame.assign(outcome="missing"))
    with pytest.raises(AnalysisRefusal, match="no column 'flops'"):
        tuned(frame.drop(columns="flops"))
    with pytest.raises(UnknownNameError, match="no estimator"):
        tuned(frame, estimator="quartic")
    blind = tuned(frame.assign(flops=math.nan, device_seconds=math.nan))
    with pytest.raises(AnalysisRefusal, match="width 32: its training FLOPs are not known"):
        blind.frontier("compute")
    with pytest.raises(AnalysisRefusal, match="width 32: its device seconds are not known"):
        blind.frontier("seconds")


def test_a_frontier_is_drawn_against_flops_or_seconds() -> None:
    found = tuned(costed(trials()))
    assert [p.compute for p in found.frontier("compute").points] == [
        w**3 for w in (32, 64, 128, 256)
    ]
    assert found.frontier("seconds").points[0].compute == 32**3 / 2 + 1
