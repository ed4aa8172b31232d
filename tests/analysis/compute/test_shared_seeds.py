"""Seeds that two frontiers share: their correlation, and intervals of multipliers under it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.random import Generator

from sweeper.analysis.compute.frontier import Frontier, FrontierPoint, frontier_of
from sweeper.analysis.compute.multiplier import saving, shared_seeds

COMPUTE = (1e18, 1e19, 1e20, 1e21)
SEEDS = 3
NOISE = 0.004


def by_label(*points: Mapping[int, float]) -> dict[str, Mapping[int, float]]:
    return {f"width {index}": losses for index, losses in enumerate(points)}


def drawn(
    rng: Generator, shared: float, multiplier: float = 1.3, noise: float = NOISE
) -> tuple[Frontier, Frontier]:
    """Returns a baseline and another that saves a factor; ``shared`` is the share of the variance
    that a seed gives to both at a point."""
    sides: tuple[list[FrontierPoint], list[FrontierPoint]] = ([], [])
    for compute in COMPUTE:
        common = rng.standard_normal(SEEDS)
        for points, factor in zip(sides, (1.0, multiplier), strict=True):
            own = rng.standard_normal(SEEDS)
            luck = noise * (math.sqrt(shared) * common + math.sqrt(1 - shared) * own)
            losses = 40 * (factor * compute) ** -0.06 + luck
            points.append(
                FrontierPoint(
                    label=f"{compute:g}",
                    compute=compute,
                    loss=float(losses.mean()),
                    by_seed=dict(enumerate(losses.tolist())),
                )
            )
    return pooled("base", sides[0]), pooled("other", sides[1])


def pooled(name: str, points: list[FrontierPoint]) -> Frontier:
    """Returns the frontier with errors pooled over its points, as tuned losses have them."""
    runs = np.array([list(point.by_seed.values()) for point in points])
    dof = len(points) * (SEEDS - 1)
    variance = float(np.sum((runs - runs.mean(axis=1, keepdims=True)) ** 2)) / dof
    named = [
        FrontierPoint(**{**vars(point), "error": math.sqrt(variance / SEEDS)}) for point in points
    ]
    return frontier_of(name, named, dof=dof)


def coverage(shared: float, draws: int = 400) -> tuple[float, float]:
    """Returns how often intervals hold the planted multiplier, and their median width in ln."""
    rng = np.random.default_rng(1)
    inside, widths = 0, []
    for _ in range(draws):
        multiplier = saving(*drawn(rng, shared), resamples=300).multipliers[1]
        inside += multiplier.low <= 1.3 <= multiplier.high
        widths.append(math.log(multiplier.high / multiplier.low))
    return inside / draws, float(np.median(widths))


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_intervals_hold_the_planted_multiplier_whatever_seeds_share(shared: float) -> None:
    held, _ = coverage(shared)
    assert held >= 0.93


def test_shared_luck_makes_intervals_narrow() -> None:
    _, apart = coverage(0.0, draws=60)
    _, together = coverage(0.95, draws=60)
    assert together < 0.65 * apart


def test_the_same_runs_under_two_names_differ_by_nothing() -> None:
    rng = np.random.default_rng(2)
    base, _ = drawn(rng, 0.0)
    found = saving(base, base)
    assert found.shared is not None
    assert found.shared.measured == pytest.approx(1)
    for multiplier in found.multipliers:
        assert [multiplier.low, multiplier.high] == pytest.approx([1, 1], abs=1e-3)


def test_correlation_is_that_of_deviations_and_counts_by_a_standard_error_less() -> None:
    base = by_label({0: 1.0, 1: 2.0, 2: 3.0}, {0: 5.0, 1: 5.0, 2: 8.0})
    other = by_label({2: 13.1, 1: 12.1, 0: 11.1}, {0: 5.0, 1: 6.0, 2: 7.0})
    found = shared_seeds(base, other)
    assert found is not None
    left, right = np.array([-1, 0, 1, -1, -1, 2]), np.array([-1, 0, 1, -1, 0, 1])
    measured = left @ right / math.sqrt((left @ left) * (right @ right))
    assert found.measured == pytest.approx(measured)
    assert found.dof == 4
    assert math.atanh(found.correlation) == pytest.approx(math.atanh(measured) - 1 / math.sqrt(2))


def test_seeds_that_go_against_each_other_count_as_independent() -> None:
    base = by_label({0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    other = by_label({0: 3.0, 1: 2.0, 2: 1.0}, {0: 3.0, 1: 2.0, 2: 1.0})
    found = shared_seeds(base, other)
    assert found is not None
    assert found.measured == pytest.approx(-1)
    assert found.correlation == 0


def test_too_few_or_different_seeds_tell_nothing() -> None:
    three = {0: 1.0, 1: 2.0, 2: 3.0}
    assert shared_seeds(by_label(three), by_label(three)) is None
    others = {7: 1.0, 8: 2.0, 9: 3.0}
    assert shared_seeds(by_label(three, three), by_label(others, others)) is None
    assert shared_seeds(by_label({}, {}), by_label({}, {})) is None
    assert shared_seeds({"a": three, "b": three}, {"c": three, "d": three}) is None
