"""The model of the losses at all scales: its surface, its fit, what it thinks of more runs."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.analysis.optimum.basins import (
    BasinPrior,
    BasinRuns,
    Layout,
    Replicates,
    fit_basins,
    misfit,
    surface,
    warp,
)

DOUBLINGS = [0.0, 1.0, 2.0, 3.0]


def theta_of(num_axes: int, seed: int = 0) -> tuple[Layout, np.ndarray]:
    layout = Layout(4, num_axes)
    rng = np.random.default_rng(seed)
    theta = rng.normal(0.0, 0.4, layout.size)
    return layout, theta


def places(num_axes: int, count: int = 30, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, count).astype(np.intp), rng.uniform(-3, 3, (count, num_axes))


@pytest.mark.parametrize("num_axes", [1, 2])
def test_derivatives_are_those_of_small_differences(num_axes: int) -> None:
    layout, theta = theta_of(num_axes)
    scale, x = places(num_axes)
    slopes = surface(layout, theta, scale, x)[1]
    for column in range(layout.size):
        step = np.zeros(layout.size)
        step[column] = 1e-5
        up, down = (surface(layout, theta + sign * step, scale, x)[0] for sign in (1, -1))
        assert slopes[:, column] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_a_warp_is_the_square_root_of_the_skewed_height_and_smooth_where_it_is_straight() -> None:
    d = np.linspace(-3, 3, 13)
    for c in (1.3, -0.8, 0.2):
        u, by_d, _ = warp(d, np.full(13, c))
        height = (np.exp(c * d) - c * d - 1) / c**2
        assert u**2 / 2 == pytest.approx(height, abs=1e-12)
        assert np.all(by_d > 0)
    near = [warp(d, np.full(13, c))[0] for c in (0.99e-3 / 3, 1.01e-3 / 3)]
    assert near[0] == pytest.approx(near[1], abs=1e-4)


def test_two_axes_never_dip_below_the_level() -> None:
    layout, theta = theta_of(2)
    theta[-1] = 3.0
    scale, x = places(2, 500)
    assert np.all(surface(layout, theta, scale, x)[0] >= layout.levels(theta)[scale] - 1e-12)


def runs_on_a_line(noise: float, seed: int = 0, num_axes: int = 1) -> BasinRuns:
    """Parabolas whose optimum moves by -0.4 octaves per doubling, and +0.3 of a second one."""
    rng = np.random.default_rng(seed)
    scale, x, loss = [], [], []
    for index in range(4):
        centre = np.array([-4.0 - 0.4 * index, -2.0 + 0.3 * index])[:num_axes]
        grid = np.stack(np.meshgrid(*[np.arange(-8.0, 0.5)] * num_axes), -1).reshape(-1, num_axes)
        for place in grid:
            scale.append(index)
            x.append(place)
            away = (place - centre) ** 2 @ np.array([0.05, 0.03])[:num_axes]
            loss.append(2.0 - 0.1 * index + away / 2 + noise * rng.standard_normal())
    return BasinRuns(
        np.array(scale, dtype=np.intp), np.array(x), np.array(loss), np.ones(len(loss))
    )


@pytest.mark.parametrize("num_axes", [1, 2])
def test_parabolas_on_a_line_are_found_again(num_axes: int) -> None:
    runs = runs_on_a_line(0.0, num_axes=num_axes)
    found = fit_basins(runs, DOUBLINGS, [-4.0, -2.0][:num_axes], BasinPrior())
    steps = np.array(DOUBLINGS)
    expected = np.array([-4.0 - 0.4 * steps, -2.0 + 0.3 * steps])[:num_axes]
    assert found.optima == pytest.approx(expected, abs=0.02)
    assert np.exp(found.layout.curves(found.theta)[0]) == pytest.approx(0.05, rel=0.1)


def test_seeds_tell_the_noise_where_there_are_many() -> None:
    runs = runs_on_a_line(0.01)
    told = fit_basins(
        runs, DOUBLINGS, [-4.0], BasinPrior(), replicates=Replicates(variance=0.05**2, dof=200)
    )
    assert told.noise == pytest.approx(0.05, rel=0.3)


def test_what_a_run_would_take_away_it_takes_away() -> None:
    """Against the fit with the run in it: same losses, so that the mode hardly moves."""
    runs = runs_on_a_line(0.003)
    few = np.flatnonzero((runs.scale < 2) | np.isin(np.round(runs.x[:, 0]), [-6, -3]))
    part = BasinRuns(runs.scale[few], runs.x[few], runs.loss[few], runs.counts[few])
    before = fit_basins(part, DOUBLINGS, [-4.0], BasinPrior())
    scale, x = np.array([3], dtype=np.intp), np.array([[-7.0]])
    spread, carried = before.joint(scale, x)
    alone, likewise = before.singly(scale, x)
    assert alone[0] == pytest.approx(spread[0, 0]) and likewise == pytest.approx(carried)
    loss = surface(before.layout, before.theta, scale, x)[0]
    more = BasinRuns(
        np.append(part.scale, scale),
        np.vstack([part.x, x]),
        np.append(part.loss, loss),
        np.append(part.counts, 1.0),
    )
    after = fit_basins(more, DOUBLINGS, [-4.0], BasinPrior())
    last = np.eye(4)[3]
    expected = float(before.variance(last)) - carried[0, 3] ** 2 / spread[0, 0]
    assert float(after.variance(last)) == pytest.approx(expected, rel=0.25)


def test_misfits_are_none_at_an_optimum_and_alike_near_each_other() -> None:
    layout, theta = Layout(2, 1), np.array([-4.0, -5.0, 1.0, 1.0, -3.0, -3.0, 0.0, 0.0])
    runs = BasinRuns(
        np.array([0, 0, 0, 1], dtype=np.intp),
        np.array([[-4.0], [-6.0], [-6.1], [-7.0]]),
        np.ones(4),
        np.ones(4),
    )
    found = misfit(layout, theta, BasinPrior(), runs, runs)
    assert np.all(found[0] == 0)
    alike = found[1, 2] / np.sqrt(found[1, 1] * found[2, 2])
    other = found[1, 3] / np.sqrt(found[1, 1] * found[3, 3])
    assert alike > 0.99 and other == pytest.approx(0.5, abs=0.01)  # common of common and own
