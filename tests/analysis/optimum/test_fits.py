"""Windows, polynomials and interval-censored lines against slow, independent oracles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.optimize import minimize
from scipy.stats import norm, truncnorm

from sweeper.analysis.optimum.cubics import Cubics, interpolation, spline
from sweeper.analysis.optimum.estimators import ESTIMATORS, Reading, estimator_named
from sweeper.analysis.optimum.polynomial import (
    Polynomials,
    Unseen,
    fit_parabolas,
    fit_shrunk,
)
from sweeper.analysis.optimum.window import find_fit_windows
from sweeper.analysis.scaling.regression import (
    allowed_slopes,
    fit_planes,
    has_maximum,
    plane_weights,
    truncated,
)
from sweeper.errors import UnknownNameError

GRID = np.arange(-9.0, 0.0)
WINDOW = (np.array([-9.0]), np.array([-1.0]))


def losses(best: float, curvature: float = 0.08) -> np.ndarray:
    return 2 + curvature * (GRID - best) ** 2 / 2


def shrunk(
    y: np.ndarray,
    *,
    noise: float = 0.0,
    grid: np.ndarray = GRID,
    weights: np.ndarray | None = None,
    unseen: Unseen | None = None,
) -> Polynomials:
    even = np.ones_like(y) if weights is None else weights
    return fit_shrunk(
        grid,
        y,
        even,
        origin=np.full(len(y), -5.0),
        noise=np.full(len(y), noise),
        priors=(0.3, 0.06, 0.01),
        unseen=unseen,
    )


@pytest.mark.parametrize("points", [2, 3, 4, 5, 20])
def test_interpolations_and_splines_agree_with_scipy(points: int) -> None:
    rng = np.random.default_rng(points)
    x = np.sort(rng.uniform(0, 10, points))
    y = rng.standard_normal((40, points)).round(1)  # rounded, so that neighbours tie
    places = np.concatenate([rng.uniform(x[0], x[-1], (40, 6)), np.tile(x[[0, -1]], (40, 1))], 1)

    def differences(ours: Cubics, peer: Any) -> np.ndarray:
        return ours.at(places) - np.stack([peer(row)[n] for n, row in enumerate(places)])

    assert np.allclose(differences(interpolation(x, y), PchipInterpolator(x, y, axis=1)), 0)
    if points > 2:
        scale = np.abs(y).max()
        found = differences(spline(x, y), CubicSpline(x, y, axis=1))
        assert np.max(np.abs(found)) < 1e-9 * scale


def test_weighted_parabolas_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal((5, 9))
    weights = rng.uniform(0.1, 1, (5, 9))
    fits = fit_parabolas(GRID, y, weights, np.full(5, -5.0))
    for row in range(5):
        oracle = np.polyfit(GRID + 5, y[row], 2, w=np.sqrt(weights[row]))
        assert fits.coefficients[row][::-1] == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize("step", [0.25, 1.0, 8.0])
def test_a_quintic_without_noise_agrees_with_numpy(step: float) -> None:
    grid = -5 + step * np.arange(-4.0, 5.0)
    y = np.random.default_rng(1).standard_normal((3, 9)) + grid**2
    fits = shrunk(y, grid=grid)
    for row in range(3):
        oracle = np.polyfit((grid + 5) / step, y[row], 5)
        mine = fits.coefficients[row] * step ** np.arange(6)
        assert mine[::-1] == pytest.approx(oracle, rel=1e-4, abs=1e-6)


def test_a_quintic_in_strong_noise_is_the_parabola() -> None:
    y = losses(-5.0)[None, :] + 0.001 * (GRID + 5) ** 3
    parabola = fit_parabolas(GRID, y, np.ones((1, 9)), np.array([-5.0]))
    assert shrunk(y, noise=1e4).minima(*WINDOW)[0] == pytest.approx(parabola.vertices()[0])


def test_curves_without_a_bend_keep_their_digits_where_points_do_not_say() -> None:
    rng = np.random.default_rng(0)
    grid, y = np.arange(-6.0, -2.0), np.array([0.15, 0, 0.006, 0.01]) * rng.uniform(1, 2, (50, 4))
    weights = np.array([1e-4, 1.0, 0.97, 0.94]) * rng.uniform(0.5, 1, (50, 4))
    unseen = Unseen(error=np.full(50, 0.003), terms=rng.standard_normal((50, 3)))
    plain = shrunk(y, grid=grid, weights=weights, noise=0.003)
    moved = shrunk(y, grid=grid, weights=weights, noise=0.003, unseen=unseen)
    flat = plain.coefficients[:, 2] < 0
    assert flat.any()
    assert moved.at(grid)[flat] == pytest.approx(plain.at(grid)[flat], abs=1e-7)


def test_three_points_make_a_quintic_the_parabola_through_them() -> None:
    y = losses(-5.3)[None, :]
    weights = (np.abs(GRID + 5) <= 1).astype(float)[None, :]
    place, curvature = shrunk(y, weights=weights).minima(np.array([-6.0]), np.array([-4.0]))
    assert (place[0], curvature[0]) == pytest.approx((-5.3, 0.08), abs=1e-6)


def test_minima_are_where_a_fine_search_finds_them() -> None:
    y = losses(-5.3)[None, :] + 0.004 * (GRID + 5) ** 3
    fit = shrunk(y)
    fine = np.linspace(-7, -3, 400_001)
    place, curvature = fit.minima(*WINDOW)
    at = fine[np.argmin(fit.at(fine)[0])]
    assert place[0] == pytest.approx(at, abs=2e-5)
    step = 1e-3
    around = fit.at(np.array([at - step, at, at + step]))[0]
    assert curvature[0] == pytest.approx(np.diff(around, 2)[0] / step**2, rel=1e-4)


def test_of_two_minima_the_lower_one_counts() -> None:
    t = GRID + 5
    y = (0.01 * (t**2 - 4) ** 2 + 0.01 * t)[None, :]
    fine = np.linspace(-9, -1, 400_001)
    fit = shrunk(y)
    assert fit.minima(*WINDOW)[0][0] == pytest.approx(fine[np.argmin(fit.at(fine)[0])], abs=3e-5)


def test_a_polynomial_without_a_minimum_has_none() -> None:
    hill = -losses(-5.0)[None, :]
    fit = fit_parabolas(GRID, hill, np.ones((1, 9)), np.array([-5.0]))
    assert np.isnan(fit.vertices()[0]).all()
    assert np.isnan(shrunk(hill).minima(*WINDOW)[0]).all()
    flat = np.ones((1, 9))
    assert np.isnan(shrunk(flat).minima(*WINDOW)[0]).all()


@pytest.mark.parametrize(("sign", "end"), [(1.0, -9.0), (-1.0, -1.0)])
def test_a_slope_has_its_minimum_at_its_lower_end(sign: float, end: float) -> None:
    slope = sign * (0.1 * GRID[None, :] + 0.001 * GRID[None, :] ** 3)
    assert shrunk(slope).minima(*WINDOW)[0][0] == end


@pytest.mark.parametrize("name", ["quadratic", "skewed", "quadratic3"])
@pytest.mark.parametrize("best", [-6.9, -5.5, -5.0, -4.31, -3.2])
def test_parabolas_are_read_without_bias(name: str, best: float) -> None:
    vertex = ESTIMATORS[name](GRID, losses(best)[None, :], Reading(error=0.0))
    assert vertex.log2[0] == pytest.approx(best, abs=1e-6)
    assert vertex.curvature[0] == pytest.approx(0.08, rel=1e-4)


@pytest.mark.parametrize("best", [-6.3, -5.5, -5.0, -4.31])
@pytest.mark.parametrize(
    "shape",
    [
        lambda t: 0.08 * (np.exp(0.5 * t) - 0.5 * t - 1) / 0.25,
        lambda t: 0.08 * (np.exp(-0.7 * t) + 0.7 * t - 1) / 0.49,
        lambda t: 0.08 * (t * t / 2 + 0.1 * t**4),
        lambda t: 0.32 * np.log(np.cosh(t / 2)),
    ],
    ids=["steep to the right", "steep to the left", "quartic", "log cosh"],
)
def test_the_skewed_fit_follows_basins_that_are_no_parabolas(shape: Any, best: float) -> None:
    y = shape(GRID - best)[None, :]
    assert ESTIMATORS["skewed"](GRID, y, Reading(error=0.0)).log2[0] == pytest.approx(
        best, abs=0.04
    )


@pytest.mark.parametrize("best", [-6.9, -5.5, -5.0, -4.31])
def test_the_spline_reads_parabolas_without_bias(best: float) -> None:
    assert ESTIMATORS["spline"](GRID, losses(best)[None, :], Reading(error=0.0)).log2[
        0
    ] == pytest.approx(best)


@pytest.mark.parametrize("wall", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize(("name", "moved"), [("quadratic", 0.02), ("skewed", 0.1)])
def test_a_steep_wall_at_the_end_of_the_window_hardly_moves_the_vertex(
    name: str, moved: float, wall: float
) -> None:
    y = losses(-5.2)
    y[GRID >= -3] += wall
    assert ESTIMATORS[name](GRID, y[None, :], Reading(error=0.0)).log2[0] == pytest.approx(
        -5.2, abs=moved
    )


def test_the_window_is_cut_at_a_divergence() -> None:
    y = losses(-5.2)[None, :].copy()
    y[0, GRID >= -4 + 1] = np.inf
    window = find_fit_windows(GRID, y, reach=2)
    assert (GRID[window.first[0]], GRID[window.last[0]]) == (-7.0, -4.0)
    assert ESTIMATORS["quadratic"](GRID, y, Reading(error=0.0)).log2[0] == pytest.approx(-5.2)


def test_a_fine_grid_is_read_over_all_points_within_the_noise() -> None:
    fine = np.arange(-8, -2, 0.125)
    y = 2 + 0.04 * (fine + 5) ** 2
    narrow = find_fit_windows(fine, y[None, :], reach=2)
    wide = find_fit_windows(fine, y[None, :], reach=2, tolerance=0.04)
    assert narrow.last[0] - narrow.first[0] == 4
    assert (fine[wide.first[0]], fine[wide.last[0]]) == (-6.0, -4.0)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_resampled_curves_are_read_as_if_each_were_alone(name: str) -> None:
    rng = np.random.default_rng(4)
    y = losses(-5.0) + 0.05 * rng.standard_normal((40, 9))
    y[:, 7:] = np.inf
    together = ESTIMATORS[name](GRID, y, Reading(error=0.02))
    for row in range(40):
        alone = ESTIMATORS[name](GRID, y[[row]], Reading(error=0.02))
        assert together.log2[row] == pytest.approx(alone.log2[0], abs=1e-9)
        assert together.low[row] == pytest.approx(alone.low[0], abs=1e-9)
        assert together.high[row] == pytest.approx(alone.high[0], abs=1e-9)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_a_minimum_at_an_edge_is_a_bound(name: str) -> None:
    vertex = ESTIMATORS[name](GRID, losses(-12.0)[None, :], Reading(error=0.0))
    assert (vertex.low[0], vertex.log2[0], vertex.high[0]) == (-np.inf, -9.0, -8.0)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_a_minimum_beside_a_divergence_is_bounded_by_it(name: str) -> None:
    y = losses(-4.0)[None, :].copy()
    y[0, GRID > -4] = np.inf
    vertex = ESTIMATORS[name](GRID, y, Reading(error=0.0))
    assert (vertex.low[0], vertex.log2[0], vertex.high[0]) == (-5.0, -4.0, -3.0)
    # The same where the divergence is the last point of the grid.
    short = ESTIMATORS[name](GRID[:7], y[:, :7], Reading(error=0.0))
    assert (short.low[0], short.high[0]) == (-5.0, -3.0)


def test_an_unknown_estimator_is_named_with_its_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'quadratic'"):
        estimator_named("quadratc")


def test_truncated_means_agree_with_scipy_and_hold_in_the_tails() -> None:
    mean, sd = np.array([0.0, 1.0, -3.0]), np.array([1.0, 0.5, 2.0])
    low, high = np.array([-1.0, -np.inf, 0.0]), np.array([0.5, 0.2, np.inf])
    oracle = truncnorm.mean((low - mean) / sd, (high - mean) / sd, mean, sd)
    found = truncated(mean, sd, low, high)
    assert found.mean == pytest.approx(oracle, rel=1e-9)
    mass = norm.cdf((high - mean) / sd) - norm.cdf((low - mean) / sd)
    assert found.likelihood == pytest.approx(np.log(mass), rel=1e-9)
    variance = truncnorm.var((low - mean) / sd, (high - mean) / sd, mean, sd)
    assert found.information == pytest.approx(1 - variance / sd**2, rel=1e-9)
    far = truncated(np.array([0.0]), np.array([1.0]), np.array([60.0]), np.array([np.inf]))
    assert far.mean[0] == pytest.approx(60 + 1 / 60, abs=1e-4)
    assert far.information[0] == pytest.approx(1 - 1 / 60**2, abs=1e-5)


def test_a_line_through_points_is_weighted_least_squares() -> None:
    rng = np.random.default_rng(2)
    u, y, sd = np.arange(5.0), rng.standard_normal(5), rng.uniform(0.1, 1, 5)
    design = np.stack([u, np.ones(5)], axis=1)
    oracle = np.polyfit(u, y, 1, w=1 / sd)
    assert fit_planes(design, y[None, :], y[None, :], sd)[0] == pytest.approx(oracle)
    assert plane_weights(design, sd) @ y == pytest.approx(oracle)


def test_a_line_through_bounds_maximises_the_censored_likelihood() -> None:
    u, sd = np.arange(5.0), np.array([0.2, 0.3, 0.1, 0.4, 0.2])
    low = np.array([0.1, 0.9, 2.2, 2.5, -np.inf])
    high = np.array([0.1, 0.9, 2.2, 3.5, 3.6])

    def negative(parameters: np.ndarray) -> float:
        mu = parameters[0] + parameters[1] * u
        known = low == high
        points = norm.logpdf(low[known], mu[known], sd[known]).sum()
        upper = norm.cdf((high - mu)[~known] / sd[~known])
        lower = norm.cdf((low - mu)[~known] / sd[~known])
        return -float(points + np.log(upper - lower).sum())

    oracle = minimize(negative, [0.0, 1.0], method="Nelder-Mead", tol=1e-10).x
    design = np.stack([np.ones(5), u], axis=1)
    line = fit_planes(design, low[None, :], high[None, :], sd)
    assert line[0] == pytest.approx(oracle, abs=1e-4)


def test_a_slope_that_bounds_leave_open_is_open() -> None:
    low, high = np.array([[1.0, -np.inf]]), np.array([[1.0, 2.0]])
    u = np.array([0.0, 1.0])
    least, most = allowed_slopes(u, low, high)
    assert least[0] == -np.inf
    assert most[0] == pytest.approx(1.0)
    design = np.stack([np.ones(2), u], axis=1)
    assert not has_maximum(design, low, high)[0]
    assert np.isnan(fit_planes(design, low, high, np.ones(2))).all()


def test_bounds_that_pull_against_one_another_have_a_line_of_highest_likelihood() -> None:
    u, sd = np.arange(3.0), np.array([0.3, 0.4, 0.5])
    low = np.array([[-4.0, -2.0, -np.inf], [-4.0, -2.0, -5.0], [-4.0, -np.inf, -np.inf]])
    high = np.array([[-4.0, np.inf, -6.0], [-4.0, np.inf, np.inf], [-4.0, np.inf, -6.0]])
    design = np.stack([np.ones(3), u], axis=1)
    # The second row bounds the slope from below only, the third from above only.
    assert has_maximum(design, low, high).tolist() == [True, False, False]

    def negative(line: np.ndarray) -> float:
        fit = line[0] + line[1] * u
        inside = norm.logsf(low[0, 1], fit[1], sd[1]) + norm.logcdf(high[0, 2], fit[2], sd[2])
        return -float(norm.logpdf(-4.0, fit[0], sd[0]) + inside)

    oracle = minimize(negative, [-4.0, 0.0], method="Nelder-Mead", tol=1e-10).x
    assert fit_planes(design, low, high, sd)[0] == pytest.approx(oracle, abs=1e-4)


def test_a_likelihood_has_a_maximum_where_no_direction_is_free() -> None:
    rng = np.random.default_rng(0)
    design = np.stack([np.ones(5), rng.standard_normal(5), rng.standard_normal(5)], axis=1)
    every = rng.integers(0, 4, size=(60, 5))
    low = np.where(every & 1, 0.0, -np.inf)
    high = np.where(every & 2, 1.0, np.inf)
    directions = rng.standard_normal((50_000, 3)) @ design.T
    for row in range(len(every)):
        down, up = np.isfinite(low[row]), np.isfinite(high[row])
        free = np.all((directions >= 0) | ~down, axis=1) & np.all((directions <= 0) | ~up, axis=1)
        if free.any():
            assert not has_maximum(design, low[row : row + 1], high[row : row + 1])[0]
    assert has_maximum(design, low, high).any()
