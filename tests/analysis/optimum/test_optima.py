"""Optima of planted surfaces: estimates, intervals, flags, refusals and curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import steep_to_the_right, trials, without

from sweeper.analysis.optimum.curve import measured_curves
from sweeper.analysis.optimum.interval import RivalEstimate, quantile_interval, reflect, stretch
from sweeper.analysis.optimum.locate import Located, locate
from sweeper.analysis.optimum.noise import pooled_noise


def located(frame: pd.DataFrame, **options: Any) -> Located:
    curves = measured_curves(frame, scale="width", hyperparameter="learning_rate")
    return locate(curves, **({"resamples": 300} | options))


def test_clean_basins_are_read_without_bias() -> None:
    for start in np.linspace(-5.5, -4.5, 11).tolist():
        for optimum in located(trials(start=start, slope=-0.3)).optima:
            best = start - 0.3 * np.log2(optimum.scale / 32)
            assert optimum.log2 == pytest.approx(best, abs=1e-6)
            assert optimum.value == pytest.approx(2**best)
            assert optimum.low <= best + 1e-9
            assert optimum.high >= best - 1e-9


def test_the_default_follows_a_steep_side() -> None:
    frame = trials(shape=steep_to_the_right(0.7), noise=1e-4)
    for optimum in located(frame).optima:
        assert optimum.log2 == pytest.approx(-5, abs=0.02)
        assert optimum.low < -5 < optimum.high


def test_a_parabola_follows_a_steep_side_only_through_its_interval() -> None:
    frame = trials(shape=steep_to_the_right(0.7), noise=1e-4)
    for optimum in located(frame, estimator="quadratic").optima:
        assert abs(optimum.log2 + 5) > 0.2
        assert optimum.low < -5 < optimum.high
        assert optimum.estimators["skewed"] == pytest.approx(-5, abs=0.02)


def test_noise_comes_from_the_seeds_of_the_scale_where_there_are_three() -> None:
    optimum = located(trials(noise=0.02)).optima[0]
    assert optimum.noise_source == "seeds"
    assert optimum.noise == pytest.approx(0.02, rel=0.25)
    assert optimum.seeds == 3


def test_two_seeds_are_pooled_over_scales() -> None:
    optimum = located(trials(noise=0.02, seeds=2)).optima[0]
    assert optimum.noise_source == "seed replicates pooled"
    assert optimum.noise == pytest.approx(0.02, rel=0.3)


def test_single_seeds_take_their_noise_from_the_fits() -> None:
    optimum = located(trials(noise=0.02, seeds=1)).optima[0]
    assert optimum.noise_source == "fit residuals"
    assert 0.007 < optimum.noise < 0.04


def test_a_stated_noise_is_taken_where_points_have_too_few_seeds_of_their_own() -> None:
    frame = trials(noise=0.002, seeds=1)
    found = [located(frame.assign(loss_error=level)).optima[0] for level in (0.002, 0.02)]
    for optimum, level in zip(found, (0.002, 0.02), strict=True):
        assert (optimum.noise_source, optimum.noise) == ("stated", pytest.approx(level))
        assert optimum.low < -5 < optimum.high
    assert found[1].high - found[1].low > 2 * (found[0].high - found[0].low)
    own = located(trials(noise=0.02).assign(loss_error=0.02)).optima[0]
    assert own.noise_source == "seeds"


def test_points_that_state_no_noise_take_it_from_those_that_do() -> None:
    frame = trials(noise=0.002, seeds=1)
    some = frame["width"] == frame["width"].min()
    assert located(frame.assign(loss_error=np.where(some, 0.01, np.nan))).noise is not None
    for optimum in located(frame.assign(loss_error=np.where(some, 0.01, np.nan))).optima:
        assert (optimum.noise_source, optimum.noise) == ("stated", pytest.approx(0.01))
    unstated = located(frame.assign(loss_error=np.nan)).optima[0]
    assert unstated.noise_source == "fit residuals"


def test_without_any_measure_of_noise_the_interval_is_the_bracket() -> None:
    optimum = located(trials(noise=0.0, seeds=1, octaves=(-6, -5, -4))).optima[0]
    assert optimum.noise_source == "grid bracket"
    assert (optimum.low, optimum.high) == pytest.approx((-6, -4), abs=0.15)


def test_the_noise_level_is_right_on_average() -> None:
    levels = []
    for draw in range(60):
        frame = trials(noise=0.01, seeds=1, draw=draw, start=-5.3)
        curves = measured_curves(frame, scale="width", hyperparameter="learning_rate")
        levels.append(pooled_noise(curves).level ** 2)
    assert math.sqrt(np.mean(levels)) == pytest.approx(0.01, rel=0.1)


def test_what_a_seed_does_everywhere_alike_costs_no_precision() -> None:
    plain = located(trials(noise=0.01)).optima
    shifted = located(trials(noise=0.01, seed_effect=0.5)).optima
    for left, right in zip(plain, shifted, strict=True):
        assert (left.log2, left.low, left.high) == pytest.approx(
            (right.log2, right.low, right.high), abs=1e-6
        )


def test_a_minimum_at_the_edge_is_censored_and_open() -> None:
    high = located(trials(start=1.0)).optima[0]
    assert high.flags[0] == "censored_high"
    assert (high.log2, high.high) == (-1.0, math.inf)
    assert high.low <= -2.0
    low = located(trials(start=-11.0)).optima[0]
    assert low.flags[0] == "censored_low"
    assert (low.log2, low.low) == (-9.0, -math.inf)
    assert low.high >= -8.0


def test_a_minimum_beside_a_divergence_is_bounded_by_it() -> None:
    optimum = located(trials(start=-3.9, cliff=0.5)).optima[0]
    assert optimum.flags == ("cliff",)
    assert optimum.log2 == -4.0
    assert (optimum.low, optimum.high) == (-5.0, -3.0)


def test_a_cliff_further_away_leaves_the_optimum_alone() -> None:
    for optimum in located(trials(start=-5.2, cliff=1.5)).optima:
        assert optimum.flags == ()
        assert optimum.log2 == pytest.approx(-5.2, abs=1e-6)
        assert optimum.points == 6


def test_two_separated_minima_within_the_noise_are_bimodal_and_both_inside() -> None:
    def two_basins(t: float) -> float:
        return 0.2 * min((t + 2) ** 2, (t - 2) ** 2 + 0.002)

    frame = trials(shape=two_basins, noise=0.01, scales=(32, 64))
    for optimum in located(frame).optima:
        assert "bimodal" in optimum.flags
        assert optimum.low <= -6.9
        assert optimum.high >= -3.1


def test_one_clear_basin_is_not_bimodal() -> None:
    flagged = [
        "bimodal" in optimum.flags
        for draw in range(20)
        for optimum in located(trials(noise=0.02, draw=draw)).optima
    ]
    assert np.mean(flagged) < 0.05


def test_a_basin_below_the_noise_is_flat() -> None:
    frame = trials(shape=lambda t: 1e-4 * t * t, noise=0.05)
    assert any("flat" in optimum.flags for optimum in located(frame).optima)


@pytest.mark.parametrize("outcome", ["missing", "failed"])
def test_a_hole_beside_the_minimum_is_refused_with_its_coverage(outcome: str) -> None:
    frame = without(trials(), width=64, octave=-6, outcome=outcome)
    answer = located(frame)
    assert [optimum.scale for optimum in answer.optima] == [32, 128, 256]
    assert list(answer.refused) == [64]
    assert "24 of 27 trials" in answer.refused[64]
    assert "0.015625" in answer.refused[64]


def test_a_hole_that_is_allowed_is_flagged_sparse() -> None:
    frame = without(trials(), width=64, octave=-6, outcome="failed")
    optimum = located(frame, allow_holes=True).optima[1]
    assert optimum.flags == ("sparse",)
    assert optimum.coverage == pytest.approx(24 / 27)
    assert optimum.log2 == pytest.approx(-5, abs=1e-6)


def test_a_hole_far_from_the_minimum_does_not_matter() -> None:
    frame = without(trials(), width=64, octave=-1, outcome="missing")
    assert located(frame).optima[1].flags == ()


def test_a_hole_beyond_the_lowest_point_is_seen() -> None:
    frame = trials(start=-3.0)
    for octave in (-2, -1):
        frame = without(frame, width=64, octave=octave, outcome="missing")
    assert 64 in located(frame).refused


def test_scales_that_cannot_answer_say_why() -> None:
    base = trials()
    all_gone = base.assign(loss=np.nan, outcome="diverged")
    assert "every point diverged" in located(all_gone).refused[32]
    pending = base.assign(loss=np.nan, outcome="missing")
    assert "no trial has a result yet" in located(pending).refused[32]
    assert "all losses are equal" in located(base.assign(loss=2.5)).refused[32]
    two = base[np.isin(np.log2(base["learning_rate"]), [-5, -4])]
    assert "2 finite points" in located(two).refused[32]
    one = base[np.log2(base["learning_rate"]) == -5]
    assert "1 finite point round" in located(one).refused[32]


def test_the_same_seed_gives_the_same_interval() -> None:
    frame = trials(noise=0.02)
    first, again = located(frame, seed=5).optima[0], located(frame, seed=5).optima[0]
    other = located(frame, seed=6).optima[0]
    assert (first.low, first.high) == (again.low, again.high)
    assert (first.low, first.high) != (other.low, other.high)


def test_the_curve_goes_through_the_minimum_and_keeps_walls_and_cliffs() -> None:
    frame = trials(start=-5.2, cliff=3.0, seeds=1)
    wall = np.isclose(np.log2(frame["learning_rate"]), -3)
    frame.loc[wall, "loss"] += 1.4
    optimum = located(frame).optima[0]
    x = np.array([optimum.log2, -3.0, -2.5, -2.0, -1.5, -9.5])
    at_best, at_wall, gap, gone, beyond, outside = optimum.curve(x).tolist()
    assert at_best == pytest.approx(3.0, abs=1e-3)
    expected = frame.loc[wall & (frame["width"] == 32), "loss"].iloc[0]
    assert at_wall == pytest.approx(expected, abs=1e-3)
    assert math.isnan(gap)
    assert gone == beyond == math.inf
    assert math.isnan(outside)


@pytest.mark.parametrize("estimator", ["quadratic", "skewed", "quadratic3", "spline", "argmin"])
def test_every_estimator_draws_a_curve_through_clean_data(estimator: str) -> None:
    optimum = located(trials(start=-5.2), estimator=estimator).optima[0]
    drawn = optimum.curve(optimum.grid)
    assert drawn == pytest.approx(optimum.losses, abs=1e-6)


def test_set_valued_resamples_open_an_end_only_when_enough_of_them_do() -> None:
    low = np.linspace(-6, -4, 1000)
    rare, often = low.copy(), low.copy()
    rare[:10], often[:60] = -np.inf, -np.inf
    assert math.isfinite(quantile_interval(rare, low)[0])
    assert quantile_interval(often, low)[0] == -np.inf


def test_rivals_within_noise_leave_an_interval_alone_and_others_stretch_it() -> None:
    near = RivalEstimate(value=0.1, half=0.4, scatter=0.2)
    assert stretch(0.0, -0.3, 0.3, [near], contain_all=False) == (-0.3, 0.3)
    far = RivalEstimate(value=1.0, half=0.4, scatter=0.01)
    low, high = stretch(0.0, -0.3, 0.3, [far], contain_all=False)
    assert low == -0.3
    assert high == pytest.approx(1.4, abs=0.01)
    blurred = RivalEstimate(value=0.5, half=0.4, scatter=0.6)
    assert stretch(0.0, -0.3, 0.3, [blurred], contain_all=False) == (-0.3, 0.3)
    assert stretch(0.0, -0.3, 0.3, [blurred], contain_all=True) == (-0.3, 0.5)


def test_rivals_away_from_a_cliff_show_how_far_the_optimum_may_lie_towards_it() -> None:
    away = RivalEstimate(value=-0.5, half=0.1, scatter=0.3)
    towards = RivalEstimate(value=0.7, half=0.1, scatter=0.0)
    low, high = reflect(0.0, -0.2, 0.2, [away, towards], above=True)
    assert (low, high) == pytest.approx((-0.2, 0.6))
    low, high = reflect(0.0, -0.2, 0.2, [away, towards], above=False)
    assert (low, high) == pytest.approx((-0.9, 0.2))
    within_noise = RivalEstimate(value=-0.2, half=0.1, scatter=0.3)
    assert reflect(0.0, -0.2, 0.2, [within_noise], above=True) == (-0.2, 0.2)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_steep_side_cut_off_by_a_cliff_stays_inside_the_interval(mirrored: bool) -> None:
    frame = trials(
        start=-5.3, scales=(32, 64), shape=steep_to_the_right(0.7), noise=0.002, cliff=1.6
    )
    if mirrored:
        frame["learning_rate"] = 2.0**-10 / frame["learning_rate"]
    best = -4.7 if mirrored else -5.3
    for optimum in located(frame).optima:
        off = (optimum.log2 - best) * (1 if mirrored else -1)
        assert off > 0.05
        assert optimum.low < best < optimum.high
