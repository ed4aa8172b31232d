"""Leading directions: algorithm 1 against its own words, on planted curves."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from sweeper.analysis.decomposition.directions import (
    KappaSettings,
    curvatures,
    differences,
    find_kappa,
    invariant_to,
    least_for,
    minimal_proxy,
    optimum_bound,
    summed,
)
from sweeper.errors import AnalysisRefusal

Floats = NDArray[np.float64]
X = np.arange(-6.0, 0.0)


def planted(size: int, leading: int, *, rest: float, seed: int = 0) -> Floats:
    """phi^k of a width whose first directions make one parabola at every width, and whose others
    fall linearly in log2 of the rate, slightly."""
    draws = np.random.default_rng(seed)
    top = 0.1 * (X + 3.0) ** 2 - 3.0
    parts = np.cumsum(draws.dirichlet(np.ones(leading)))
    tail = np.linspace(0, 1, size - leading + 1)[1:]
    first = top[:, None] * parts
    last = top[:, None] - rest * (1 + 0.05 * X[:, None]) * tail
    return np.concatenate([first, last], axis=1)


def proxy(x: Floats, small: Floats, large: Floats, k: NDArray[np.int64], t1: float, t2: float
) -> float:  # fmt: skip
    places = range(len(x))
    tops = [small[i, k[i] - 1] for i in places], [large[i, k[i] - 1] for i in places]
    found = sum(abs(a - b) for a, b in zip(*tops, strict=True)) / len(x)
    for weight, whole, top in ((t1, small, tops[0]), (t2, large, tops[1])):
        rest = [whole[i, -1] - top[i] for i in places]
        steep = [abs((rest[i + 1] - rest[i]) / (x[i + 1] - x[i])) for i in range(len(x) - 1)]
        found += weight * max(steep)
    return float(found)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (0.3, 0.1), (1.0, 10.0)])
def test_no_single_change_of_a_k_makes_the_proxy_less(weights: tuple[float, float]) -> None:
    draws = np.random.default_rng(3)
    small, large = (-np.cumsum(draws.random((6, n)), axis=1) for n in (8, 12))
    k = minimal_proxy(X, small, large, *weights)
    least = proxy(X, small, large, k, *weights)
    for place, other in product(range(6), range(1, 9)):
        changed = k.copy()
        changed[place] = other
        assert proxy(X, small, large, changed, *weights) >= least - 1e-12
    assert proxy(X, small, large, np.full(6, 4), *weights) > least


def test_the_leading_directions_of_planted_curves_are_found() -> None:
    small, large = planted(16, 4, rest=0.3), planted(64, 4, rest=0.4)
    found = find_kappa(X, small, large, KappaSettings())
    assert found.k.max() <= 4
    np.testing.assert_allclose(found.top, found.top_largest)
    np.testing.assert_allclose(found.top + found.rest, small[:, -1])
    assert found.difference == pytest.approx(0, abs=1e-12)
    assert X[np.argmin(found.top)] == -3.0


def test_curves_whose_minima_no_directions_have_are_refused() -> None:
    small, large = planted(16, 4, rest=0.3), planted(64, 4, rest=0.4)
    tilted = small.copy()
    tilted[:, -1] += 5 * X  # the whole falls towards small rates, no part of it does
    tilted[:, :-1] = -np.cumsum(np.ones((6, 15)), axis=1) + X[:, None] ** 2
    with pytest.raises(AnalysisRefusal, match=r"octaves off; allow more by argmin"):
        find_kappa(X, tilted, large, KappaSettings(argmin=0.5))
    bent = -np.square(X + 3)[:, None] * np.ones(64)
    with pytest.raises(AnalysisRefusal, match="points bend downwards; allow more by convexity"):
        find_kappa(X, bent[:, :16], bent, KappaSettings())
    with pytest.raises(AnalysisRefusal, match="2 points of the hyperparameter"):
        find_kappa(X[:2], small[:2], large[:2], KappaSettings())


def test_curvatures_are_those_of_the_three_point_formula() -> None:
    x = np.array([0.0, 0.7, 1.0, 2.5])
    np.testing.assert_allclose(curvatures(x, 3 * x**2 - x), [6, 6])
    y = np.array([1.0, -2.0, 0.5, 4.0])
    i = 1
    a, b, c = x[i - 1], x[i], x[i + 1]
    wanted = 2 * (
        y[0] / ((a - b) * (a - c)) + y[1] / ((b - a) * (b - c)) + y[2] / ((c - a) * (c - b))
    )
    assert curvatures(x, y)[0] == pytest.approx(wanted)


def test_the_bound_holds_the_distance_of_planted_optima() -> None:
    tops = tuple(0.1 * (X - shift) ** 2 for shift in (-3.0, -2.9))
    rests = (0.01 * X, -0.02 * X)
    optima = (-3.0 - 0.01 / 0.2, -2.9 + 0.02 / 0.2)
    assert optimum_bound(X, (tops[0], tops[1]), rests) >= abs(optima[0] - optima[1])
    assert optimum_bound(X, (-tops[0], -tops[1]), rests) == np.inf


def test_invariance_ends_with_the_first_k_that_differs() -> None:
    small, large = planted(16, 4, rest=0.3), planted(64, 4, rest=0.9)
    shares = differences(small, large)
    assert len(shares) == 16
    assert shares[:4].max() < 1e-12
    assert invariant_to(shares, 0.02) < 16
    assert invariant_to(shares, 1.0) == 16
    assert invariant_to(np.array([0.1, 0.0]), 0.02) == 0
    assert invariant_to(np.array([0.01, 0.03, 0.0]), 0.02) == 1


def test_the_least_k_for_a_share_counts_from_where_it_stays_within() -> None:
    assert least_for(np.array([-5.0, -9.5, -8.0, -9.8, -10.0]), 0.9) == 4
    assert least_for(np.array([-9.9, -10.0]), 0.9) == 1
    assert least_for(np.array([-1.0]), 0.9) == 1


def test_tensors_of_fewer_directions_count_with_their_whole_beyond() -> None:
    found = summed([np.array([-1.0, -2.0, -3.0]), np.array([-0.5])])
    np.testing.assert_array_equal(found, [-1.5, -2.5, -3.5])
