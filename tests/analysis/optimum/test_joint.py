"""Joint optima: planted paraboloids come back with their axes; edges, ridges and holes show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pytest
from long_form import LONG, draws, floor

from sweeper.analysis.optimum.cloud import measured_cloud
from sweeper.analysis.optimum.curve import Floats
from sweeper.analysis.optimum.joint_locate import locate_jointly
from sweeper.analysis.optimum.joint_optimum import JointOptimum, flat_and_steep
from sweeper.analysis.optimum.sites import joint_survey
from sweeper.analysis.scaling.rule import Rule, fit_rule
from sweeper.errors import AnalysisRefusal

BEST = (-6.3, 5.4)


def turned_basin(angle: float = 30.0, curvatures: Sequence[float] = (0.1, 0.02)) -> Floats:
    """Returns second derivatives whose first principal axis is turned by degrees."""
    a = np.deg2rad(angle)
    axes = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.asarray(axes @ np.diag(curvatures) @ axes.T)


def pairs(
    *,
    best: Sequence[float] | Floats = BEST,
    hessian: Floats | None = None,
    rates: Iterable[float] = range(-10, -2),
    batches: Iterable[float] = range(2, 10),
    noise: float = 0.0,
    seeds: int = 1,
    draw: int = 0,
    kept: float = 1.0,
) -> pd.DataFrame:
    """Returns trials over a grid of log2 learning rates and batch sizes round a paraboloid."""
    rng = np.random.default_rng(draw)
    bend = turned_basin() if hessian is None else hessian
    rows = []
    for rate in rates:
        for batch in batches:
            if rng.random() > kept:
                continue
            t = np.array([rate, batch]) - best
            for seed in range(seeds):
                loss = 3.0 + 0.5 * t @ bend @ t + noise * rng.standard_normal()
                rows.append((2.0**rate, 2.0**batch, seed, loss))
    frame = pd.DataFrame(rows, columns=["lr", "bs", "seed", "loss"])
    return frame.assign(outcome="completed")


def joint(frame: pd.DataFrame, *, resamples: int = 200, allow_holes: bool = False) -> JointOptimum:
    cloud = measured_cloud(frame, names=("lr", "bs"), label="width 64")
    located = locate_jointly([cloud], resamples=resamples, allow_holes=allow_holes)
    if located.refused:
        raise AnalysisRefusal(located.refused[0])
    return located.optima[0]


def test_a_turned_paraboloid_comes_back_with_its_axes() -> None:
    optimum = joint(pairs())
    assert optimum.log2 == pytest.approx(BEST, abs=1e-9)
    assert optimum.loss == pytest.approx(3.0, abs=1e-9)
    assert optimum.hessian == pytest.approx(turned_basin(), abs=1e-9)
    steep, shallow = optimum.axes
    assert (steep.curvature, shallow.curvature) == pytest.approx((0.1, 0.02), abs=1e-9)
    assert steep.direction == pytest.approx((np.cos(np.pi / 6), np.sin(np.pi / 6)), abs=1e-9)
    assert shallow.direction == pytest.approx((-0.5, np.cos(np.pi / 6)), abs=1e-9)
    assert optimum.flags == ((), ())


def test_curvature_of_one_is_that_with_the_other_tuned_again() -> None:
    bend = turned_basin()
    expected = [np.linalg.det(bend) / bend[1, 1], np.linalg.det(bend) / bend[0, 0]]
    found = [joint(pairs()).along(direction, 64).curvature for direction in np.eye(2)]
    assert found == pytest.approx(expected, abs=1e-9)


def test_along_a_principal_axis_the_curvature_is_that_of_the_axis() -> None:
    optimum = joint(pairs())
    directions = flat_and_steep([optimum])
    assert directions is not None
    for direction, axis in zip(directions, reversed(optimum.axes), strict=True):
        assert np.abs(direction).max() == 1
        found = optimum.along(direction, 64)
        assert found.curvature * (direction @ direction) == pytest.approx(axis.curvature)
        assert found.log2 == pytest.approx(optimum.log2 @ direction)
        assert found.located and (found.scale, found.flags) == (64, ())


def test_scattered_points_serve_as_well_as_a_grid() -> None:
    rng = np.random.default_rng(3)
    places = rng.uniform([-10, 2], [-3, 10], size=(60, 2))
    t = places - BEST
    loss = 3.0 + 0.5 * np.einsum("ki,ij,kj->k", t, turned_basin(), t)
    frame = pd.DataFrame({"lr": 2.0 ** places[:, 0], "bs": 2.0 ** places[:, 1], "loss": loss})
    optimum = joint(frame.assign(seed=0, outcome="completed"))
    assert optimum.log2 == pytest.approx(BEST, abs=1e-6)


def test_a_grid_with_undeclared_cells_is_read_from_what_there_is() -> None:
    optimum = joint(pairs(kept=0.55, noise=0.002))
    assert np.all(optimum.low <= BEST)
    assert np.all(optimum.high >= BEST)
    assert np.all(optimum.high - optimum.low < 0.5)


def test_shuffled_and_doubled_rows_change_nothing() -> None:
    frame = pairs(noise=0.003, seeds=2)
    again = pd.concat([frame, frame.iloc[:7]]).sample(frac=1, random_state=1)
    one, two = joint(frame), joint(again[["loss", "outcome", "bs", "seed", "lr"]])
    assert np.array_equal(one.log2, two.log2)
    assert np.array_equal(one.low, two.low)


def test_a_ridge_is_called_one() -> None:
    ridge = turned_basin(45.0, (0.16, 1e-4))
    optimum = joint(pairs(hessian=ridge, noise=0.002))
    assert "ridge" in optimum.flags[0]
    assert "ridge" in optimum.flags[1]


def test_a_minimum_at_an_edge_is_a_bound_and_the_other_says_nothing() -> None:
    optimum = joint(pairs(best=(-2.5, 5.4)))
    assert optimum.flags[0] == ("censored_high",)
    assert optimum.flags[1] == ("conditional",)
    assert (optimum.low[0], optimum.high[0]) == (-4, np.inf)
    assert (optimum.low[1], optimum.high[1]) == (-np.inf, np.inf)
    assert not optimum.located


def test_a_minimum_beside_a_divergence_is_a_bound() -> None:
    frame = pairs(best=(-5.1, 5.0))
    gone = frame["lr"] > 2.0**-4.5
    frame["loss"] = frame["loss"].mask(gone)
    frame["outcome"] = frame["outcome"].mask(gone, "diverged")
    optimum = joint(frame)
    assert optimum.flags[0] == ("cliff",)
    assert optimum.high[0] == -4


def test_a_wall_two_steps_away_moves_the_optimum_little() -> None:
    frame = pairs(best=(-6.2, 5.4))
    wall = frame["lr"] > 2.0**-4.5
    frame.loc[wall, "loss"] += 3.0
    assert joint(frame).log2 == pytest.approx((-6.2, 5.4), abs=0.05)


def test_two_basins_that_noise_cannot_order_are_said_to_be_two() -> None:
    one = pairs(best=(-8, 4), noise=0.003, seeds=3)
    two = pairs(best=(-5, 8), noise=0.003, seeds=3, draw=1)
    frame = one.assign(loss=np.minimum(one["loss"], two["loss"]))
    optimum = joint(frame)
    assert "bimodal" in optimum.flags[0]
    assert optimum.low[0] <= -8 + 0.3
    assert optimum.high[0] >= -5 - 0.3


def test_a_missing_neighbour_is_refused_unless_holes_are_allowed() -> None:
    frame = pairs()
    hole = np.isclose(frame["lr"], 2.0**-7) & np.isclose(frame["bs"], 2.0**6)
    frame["loss"] = frame["loss"].mask(hole)
    frame["outcome"] = frame["outcome"].mask(hole, "failed")
    with pytest.raises(AnalysisRefusal, match=r"no result at lr × bs = \(0.0078125, 64\)"):
        joint(frame)
    optimum = joint(frame, allow_holes=True)
    assert "sparse" in optimum.flags[0]
    assert optimum.log2 == pytest.approx(BEST, abs=1e-6)


def test_a_cross_of_points_is_refused() -> None:
    frame = pairs()
    cross = np.isclose(frame["lr"], 2.0**-6) | np.isclose(frame["bs"], 2.0**5)
    with pytest.raises(AnalysisRefusal, match="points off the cross"):
        joint(frame[cross])


def test_equal_losses_are_refused() -> None:
    with pytest.raises(AnalysisRefusal, match="all losses are equal"):
        joint(pairs().assign(loss=3.0))


def test_the_cost_of_a_setting_is_read_from_the_surface() -> None:
    optimum = joint(pairs())
    t = np.array([0.5, -0.5])
    assert optimum.rise(np.array(BEST) + t) == pytest.approx(0.5 * t @ turned_basin() @ t)
    assert optimum.rise(np.array([-20.0, 5.0])) is None
    far = optimum.rise(np.array([-10.0, 9.0]))
    t = np.array([-10.0, 9.0]) - BEST
    assert far == pytest.approx(0.5 * t @ turned_basin() @ t)


def surfaces_over_scales(noise: float = 0.0) -> pd.DataFrame:
    """Returns trials shaped like a public sweep of learning rate and batch size: optima at
    lr = 1.79 N^-0.713 D^0.307 and bs = 0.58 D^0.571, on grids that are the same at all places."""
    rng = np.random.default_rng(2)
    parts = []
    for size in (6e7, 2.1e8, 5.4e8, 1.1e9):
        for data in (2e9, 8e9, 2e10, 1e11):
            best = np.log2([1.79 * size**-0.713 * data**0.307, 0.58 * data**0.571])
            rates, batches = [k / 2 for k in range(-25, -9)], range(15, 22)
            part = pairs(
                best=best, rates=rates, batches=batches, noise=noise, draw=int(rng.integers(99))
            )
            parts.append(part.assign(N=size, D=data))
    return pd.concat(parts, ignore_index=True)


def joint_rules(frame: pd.DataFrame) -> dict[str, Rule]:
    found = joint_survey(frame, scales=("N", "D"), hyperparameters=("lr", "bs"), resamples=200)
    return {
        name: fit_rule(found.site_optima(name), hyperparameter=name, scales=("N", "D"))
        for name in ("lr", "bs")
    }


def test_exponents_of_a_public_sweep_come_back_over_both_scales() -> None:
    rules = joint_rules(surfaces_over_scales(noise=0.002))
    for name, truth in {"lr": (-0.713, 0.307), "bs": (0.0, 0.571)}.items():
        for term, exponent in zip(rules[name].terms, truth, strict=True):
            assert term.exponent == pytest.approx(exponent, abs=0.03), (name, term)
            assert term.low <= exponent <= term.high, (name, term)


def test_clean_exponents_come_back_exactly() -> None:
    rules = joint_rules(surfaces_over_scales())
    assert [t.exponent for t in rules["lr"].terms] == pytest.approx([-0.713, 0.307], abs=1e-6)
    assert [t.exponent for t in rules["bs"].terms] == pytest.approx([0.0, 0.571], abs=1e-6)
    assert 2.0 ** rules["lr"].intercept.value == pytest.approx(1.79, rel=1e-4)
    assert 2.0 ** rules["bs"].intercept.value == pytest.approx(0.58, rel=1e-4)


@pytest.mark.slow
def test_joint_intervals_cover_as_often_as_stated() -> None:
    count = draws(80, 200)
    hits = np.zeros(3)
    for draw in range(count):
        optimum = joint(pairs(noise=0.006, draw=draw))
        hits[:2] += (optimum.low <= BEST) & (np.array(BEST) <= optimum.high)
        hits[2] += optimum.loss_low <= 3.0 <= optimum.loss_high
    assert np.all(hits / count >= (0.93 if LONG else floor(0.95, count))), hits / count
