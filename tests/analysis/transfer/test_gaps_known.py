"""Gaps, rates and verdicts where theory knows them: exact curves, no noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from random_features import MU1, MU2, NOISE2, PSI1, STAR1, STAR2, Width

from sweeper.analysis.optimum.curve import Floats
from sweeper.analysis.transfer.economy import Economy, free_exponent
from sweeper.analysis.transfer.gaps import Gaps, measure_gaps
from sweeper.analysis.transfer.reference import Family, Reference
from sweeper.analysis.transfer.verdict import judge_transfer

WIDE = Width(0.0)
RIDGE, RISK = WIDE.best()


def exact_gaps(
    scales: Floats,
    log2: Floats,
    losses: Floats,
    limit: tuple[float, float, float],
    rise: Callable[[Floats], Floats],
) -> Gaps:
    """Returns the gaps of exact optima to a limit with its optimum, loss and curvature."""
    family = Family(
        scales=scales, log2=log2[None, :], losses=losses[None, :], errors=np.zeros(len(scales))
    )
    reference = Reference(
        scale=np.inf,
        log2=np.array([limit[0]]),
        loss=np.array([limit[1]]),
        curvature=limit[2],
        error=0.0,
        rise=rise,
    )
    return measure_gaps(family, reference)


def ridge_gaps(psi2: Floats) -> Gaps:
    best = np.array([Width(PSI1 / width).best() for width in psi2])
    step = 1e-3
    curvature = (WIDE.at(RIDGE + step) + WIDE.at(RIDGE - step) - 2 * RISK) / step**2

    def rise(away: Floats) -> Floats:
        return np.vectorize(lambda d: WIDE.at(RIDGE + d) - RISK)(away)

    return exact_gaps(psi2, best[:, 0], best[:, 1], (RIDGE, RISK, curvature), rise)


@pytest.mark.parametrize("eta", [0.0, 0.01, 0.5, 1.0])
def test_the_states_solve_the_self_consistent_equations(eta: float) -> None:
    for t in (3.0, 6.0, 9.0):
        ridge, m1, m2 = (value.real for value in Width(eta).state(t))
        common = MU1 * m1 * m2 * (ridge * m1 - 1)
        first = (m1 - m2) * (MU2 * m1 + MU1 * m2) / PSI1 + common
        assert first == pytest.approx(0, abs=1e-13)
        if eta > 0:
            second = (MU1 * m1 * m2 + (m2 - m1) / PSI1) / eta + common
            assert second == pytest.approx(0, abs=1e-11)


def test_the_best_ridge_at_infinite_width_is_known() -> None:
    assert pytest.approx(0.347871, abs=1e-6) == RIDGE
    assert pytest.approx(MU1 * (NOISE2 + STAR2) / STAR1 - MU2, abs=1e-8) == RIDGE
    assert pytest.approx(0.421088, abs=1e-6) == RISK


def test_the_gaps_of_random_features_have_their_known_limits() -> None:
    psi2 = 2.0 ** np.arange(10, 15)
    last = ridge_gaps(psi2).rows[-1]
    assert last.a.value * last.scale == pytest.approx(0.114471, rel=2e-3)
    assert last.b.value * last.scale == pytest.approx(0.818248, rel=2e-3)
    assert last.c.value * last.scale**2 == pytest.approx(0.044806, rel=4e-3)
    assert last.expected == pytest.approx(last.c.value, rel=1e-3)


def test_the_gaps_of_random_features_at_finite_widths_are_the_tabled_ones() -> None:
    table = {32: (3.58e-3, 1.866e-2, 2.29e-5), 128: (8.94e-4, 5.85e-3, 2.28e-6)}
    for row in ridge_gaps(np.array([32.0, 128.0])).rows:
        found = (row.a.value, row.b.value, row.c.value)
        assert found == pytest.approx(table[int(row.scale)], rel=3e-3)


def test_transfer_of_random_features_is_fast() -> None:
    gaps = ridge_gaps(2.0 ** np.arange(5, 12))
    assert gaps.rates["a"].value == pytest.approx(1, abs=0.01)
    assert gaps.rates["b"].value == pytest.approx(1, abs=0.08)
    assert gaps.rates["c"].value == pytest.approx(2, abs=0.15)
    ratios = [row.ratio for row in gaps.rows]
    assert ratios == sorted(ratios, reverse=True)
    verdict = judge_transfer(gaps, [], contain_all=False)
    assert (verdict.speed, verdict.useful) == ("fast", "yes")
    assert verdict.free == "yes"  # beta = 1 is above alpha r / (2 r - alpha h) = 2 / 3


def test_widths_nearer_the_limit_have_rates_nearer_to_the_theory() -> None:
    near = ridge_gaps(2.0 ** np.arange(8, 13))
    assert near.rates["b"].value == pytest.approx(1, abs=0.02)
    assert near.rates["c"].value == pytest.approx(2, abs=0.04)


def linear_network(spectrum: Floats, steps: int, widths: Floats, draws: int) -> Gaps:
    """Returns typical gaps of full-batch descent on the middle layer of a linear network.

    loss(eta) = chi0' (I - eta A / m)^(2 T) chi0 / 2m with A = |V|^2 H H', H = X W0'; in the limit
    A = X X' / d and chi0 = -y. The coordinate is log2 eta. Gaps of single draws scatter round
    zero, so the medians of their sizes stand for the family.
    """
    rng = np.random.default_rng(0)
    m = len(spectrum)
    x = np.diag(np.sqrt(spectrum * m))  # m samples in d = m dimensions, X X' / d = diag(spectrum)
    y = np.ones(m)
    grid = np.log2(1.6 * m / spectrum.max()) + np.linspace(-3.5, 0.9, 8001)

    def loss(matrix: Floats, chi: Floats) -> Floats:
        values, vectors = np.linalg.eigh(matrix)
        weight = (vectors.T @ chi) ** 2
        return np.asarray(weight @ (1 - values[:, None] * 2.0**grid / m) ** (2 * steps) / (2 * m))

    limit = loss(x @ x.T / m, -y)
    best = int(np.argmin(limit))
    rows = []
    for width in widths.astype(int):
        found = []
        for _ in range(draws):
            v = rng.standard_normal(width) / width
            h = x @ rng.standard_normal((m, width)) / np.sqrt(m)
            chi = h @ rng.standard_normal(width) * np.linalg.norm(v) / np.sqrt(width) - y
            curve = loss(v @ v * h @ h.T, chi)
            place = int(np.argmin(curve))
            found.append(
                (curve[place] - limit[best], grid[place] - grid[best], limit[place] - limit[best])
            )
        rows.append(np.median(np.abs(found), axis=0))
    a, b, c = np.array(rows).T
    curvature = np.gradient(np.gradient(limit, grid), grid)[best]
    costs = dict(zip((grid[best] + b - grid[best]).tolist(), c.tolist(), strict=True))
    return exact_gaps(
        widths,
        grid[best] + b,
        limit[best] + a,
        (grid[best], limit[best], curvature),
        lambda away: np.interp(away, sorted(costs), [costs[key] for key in sorted(costs)]),
    )


def test_a_linear_network_with_two_eigenvalues_is_fast() -> None:
    gaps = linear_network(np.array([1.0, 0.5]), 2, 2.0 ** np.arange(6, 13), 200)
    assert gaps.rates["a"].value == pytest.approx(0.5, abs=0.1)
    assert gaps.rates["b"].value == pytest.approx(0.5, abs=0.1)
    assert gaps.rates["c"].value == pytest.approx(1.0, abs=0.15)
    assert judge_transfer(gaps, [], contain_all=False).speed == "fast"


def test_a_linear_network_with_one_eigenvalue_is_not_fast() -> None:
    gaps = linear_network(np.array([1.0, 1.0]), 1, 2.0 ** np.arange(6, 13), 200)
    assert gaps.rates["b"].value == pytest.approx(0.5, abs=0.1)
    ratios = np.array([row.ratio for row in gaps.rows])
    assert ratios.max() < 2 * ratios.min()  # c / a = Theta(1)
    verdict = judge_transfer(gaps, [], contain_all=False)
    assert verdict.speed != "fast"
    assert verdict.useful != "yes"


@pytest.mark.parametrize(
    ("alpha", "r", "h", "least"),
    [(0.52, 2.0, 1, 0.52 * 2 / 3.48), (1.0, 2.0, 1, 2 / 3), (0.52, 4.0, 1, 2.08 / 7.48)],
)
def test_tuning_is_free_from_the_derived_beta_on(
    alpha: float, r: float, h: int, least: float
) -> None:
    economy = Economy(cost_exponent=r, hyperparameters=h)
    assert free_exponent(alpha, economy) == pytest.approx(least)


def test_with_too_many_hyperparameters_tuning_is_never_free() -> None:
    assert free_exponent(1.0, Economy(hyperparameters=4)) == np.inf
