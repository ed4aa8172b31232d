"""Stated rates on planted surfaces: 95% intervals cover, verdicts err as rarely as they say."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from long_form import draws, floor
from planted import SCALES, Shape, parabola, steep_to_the_right

from sweeper.analysis.optimum.curve import Curve
from sweeper.analysis.optimum.locate import locate
from sweeper.analysis.scaling.claim import Claim, judge
from sweeper.analysis.scaling.drift import measure_drift

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("coverage")]  # tests share surveys

DRAWS = draws(50, 500)
GRID = np.arange(-8.0, -1.0)
CLAIM = Claim(exponent=0.0, tolerance=0.2)


def planted_curves(
    rng: np.random.Generator, *, slope: float, shape: Shape, noise: float, seeds: int
) -> tuple[list[Curve], list[float]]:
    """Returns curves straight from a surface, without the detour over a table, and the truth."""
    start = -5.0 + rng.uniform(-0.5, 0.5)
    best = [start + slope * (index - 1.5) for index in range(len(SCALES))]
    curves = []
    for scale, place in zip(SCALES, best, strict=True):
        truth = np.array([shape(x - place) for x in GRID.tolist()])
        runs = 2 + truth[:, None] + noise * rng.standard_normal((len(GRID), seeds))
        curves.append(
            Curve(
                scale=float(scale),
                label=f"width {scale}",
                log2=GRID,
                means=runs.mean(axis=1),
                runs=tuple(runs),
                seeds=(tuple(range(seeds)),) * len(GRID),
                holes=np.array([]),
                answered=runs.size,
                declared=runs.size,
            )
        )
    return curves, best


@cache
def survey(slope: float, skew: float, noise: float, seeds: int) -> tuple[Counter[str], float]:
    """Returns how often intervals covered and each verdict fell, and the mean error in slope."""
    shape = steep_to_the_right(skew) if skew else parabola()
    count: Counter[str] = Counter()
    errors = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        curves, best = planted_curves(rng, slope=slope, shape=shape, noise=noise, seeds=seeds)
        optima = locate(curves, resamples=200, seed=draw).optima
        drift = measure_drift(optima)
        count["slope"] += drift.low <= slope <= drift.high
        for optimum, place in zip(optima, best, strict=True):
            count["optimum"] += optimum.low <= place <= optimum.high
        count[judge(CLAIM, drift, optima).ruling] += 1
        errors.append(drift.slope - slope)
    return count, float(np.mean(errors))


@pytest.mark.parametrize(
    ("slope", "skew", "noise", "seeds"),
    [(0.0, 0.0, 0.02, 3), (-0.5, 0.0, 0.02, 1), (0.0, 0.5, 0.01, 3)],
    ids=["three seeds", "one seed and a drift", "a steep side"],
)
def test_intervals_cover_at_their_stated_rate(
    slope: float, skew: float, noise: float, seeds: int
) -> None:
    count, bias = survey(slope, skew, noise, seeds)
    assert count["slope"] / DRAWS > floor(0.95, DRAWS)
    # Above, stretching may only add.
    assert 0.92 < count["optimum"] / (DRAWS * len(SCALES)) < 0.99
    assert abs(bias) < 0.02


def test_a_true_claim_holds_mostly_and_is_called_broken_rarely() -> None:
    count, _ = survey(0.0, 0.0, 0.02, 3)
    assert count["broken"] / DRAWS < 0.025
    assert count["holds"] / DRAWS > 0.85  # its power: what intervals of this width leave


def test_a_claim_at_the_border_of_its_tolerance_is_rarely_said_to_hold() -> None:
    count, _ = survey(0.2, 0.0, 0.02, 3)
    assert count["holds"] / DRAWS < 0.05
