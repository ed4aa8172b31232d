"""Curves whose fit is not believed: runs that blew up by less than a steep basin might rise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from cases import steep_curves

from sweeper.analysis.optimum.curve import Curve
from sweeper.analysis.optimum.locate import locate

NOISE = 0.005


def mild_cliff(draw: int, jump: float, above: float) -> Iterator[tuple[Curve, float, float]]:
    """Yields the curve of each scale with its true log2 optimum and tuned loss: parabolas to
    which the jump times 0.7 to 1.4 is added from so many octaves above the optimum on."""
    rng = np.random.default_rng([draw, 17])
    offset = rng.uniform(-0.5, 0.5)
    for k in range(5):
        best, least = -8 + offset - 0.5 * k, 2.2 + 2.0 ** (-0.3 * k)
        grid = np.arange(-14.0, -4.0)
        octaves = grid - best
        runs = least + 0.03 * octaves[:, None] ** 2 + rng.normal(0, NOISE, (len(grid), 2))
        beyond = octaves > above
        runs[beyond] += jump * rng.uniform(0.7, 1.4, (int(beyond.sum()), 2))
        curve = Curve(
            scale=128.0 * 2**k,
            label=f"width {128 * 2**k}",
            log2=grid,
            means=runs.mean(axis=1),
            runs=tuple(runs),
            seeds=((0, 1),) * len(grid),
            holes=grid[:0],
            answered=runs.size,
            declared=runs.size,
        )
        yield curve, best, least


@pytest.mark.parametrize(("jump", "above"), [(0.3, 0.9), (0.6, 0.9), (0.6, 0.4)])
def test_a_fit_through_runs_that_blew_up_by_little_is_not_believed(
    jump: float, above: float
) -> None:
    held, loss_held = [], []
    for draw in range(4):
        curves, best, least = zip(*mild_cliff(draw, jump, above), strict=True)
        for optimum, place, loss in zip(
            locate(curves, resamples=200).optima, best, least, strict=True
        ):
            held.append(optimum.low <= place <= optimum.high)
            loss_held.append(optimum.loss_low <= loss <= optimum.loss_high + 2 * NOISE)
            assert optimum.loss > loss - 6 * NOISE / np.sqrt(2)
    assert np.mean(held) >= 0.9
    assert np.mean(loss_held) >= 0.9


def test_where_no_fit_is_believed_the_optimum_is_the_lowest_point_and_holds_its_neighbours() -> (
    None
):
    curves = [curve for curve, _, _ in mild_cliff(1, 0.3, 0.9)]
    doubted = 0
    for curve, optimum in zip(curves, locate(curves, resamples=200).optima, strict=True):
        lowest = int(np.argmin(curve.means))
        if np.isnan(optimum.curvature) and optimum.located:
            doubted += 1
            assert "poor_fit" in optimum.flags
            assert optimum.log2 == curve.log2[lowest]
            assert (optimum.low, optimum.high) == (optimum.log2 - 1, optimum.log2 + 1)
            assert optimum.loss_low < optimum.loss == curve.means[lowest] < optimum.loss_high
    assert doubted


@pytest.mark.parametrize("skew", [0.5, 0.85, 1.1])
@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_the_fit_of_a_basin_with_a_steep_side_is_believed(skew: float, step: float) -> None:
    for curves in steep_curves(skew, step):
        for optimum in locate(curves, resamples=50, allow_holes=True).optima:
            assert optimum.censored or optimum.curvature > 0


def test_a_parabola_that_the_points_contradict_does_not_stretch_the_interval() -> None:
    for optimum in locate(next(steep_curves(0.85, 1.0)), resamples=200).optima:
        assert optimum.estimators["quadratic"] < optimum.low
