"""Runs that blew up without becoming infinite, and runs that only look so."""

from __future__ import annotations

import numpy as np
import pytest
from cases import curve_of, curves_of, steep_curves
from planted import parabola

from sweeper.analysis.optimum.cliff import without_blow_ups
from sweeper.analysis.optimum.locate import locate


@pytest.mark.parametrize("name", ["finite_blow_up", "finite_blow_up_huge"])
def test_blown_up_runs_are_beyond_the_cliff_and_nothing_is_fitted_through_them(name: str) -> None:
    located = locate(curves_of(name), resamples=300)
    assert len(located.blow_ups) == len(located.optima) == 4
    for optimum, blow_up in zip(located.optima, located.blow_ups, strict=True):
        assert blow_up.above
        assert min(blow_up.losses) > 7
        gone = np.isin(optimum.grid, blow_up.places)
        assert np.isinf(optimum.losses[gone]).all()
        assert optimum.losses[~gone].max() < 4
        lowest = float(optimum.losses.min())
        assert lowest - 0.02 < optimum.loss_low <= optimum.loss <= optimum.loss_high
        beside = blow_up.places[0] - optimum.grid[int(np.argmin(optimum.losses))] == 1
        assert ("cliff" in optimum.flags) == beside


def test_the_sentence_says_which_runs_blew_up_and_what_the_basin_allows() -> None:
    found = locate(curves_of("finite_blow_up_huge"), resamples=100).blow_ups[0]
    assert found.sentence().startswith("width 128: runs at 0.0156 = 2^-6 and above (loss 1e+09, ")
    assert found.sentence().endswith("nothing is fitted through them")


def test_two_points_before_a_blow_up_give_a_bound_and_no_refusal() -> None:
    curve = curve_of({-10.0: [3.270], -9.0: [3.262], -8.0: [7.435], -7.0: [7.658]})
    located = locate([curve], resamples=100)
    assert not located.refused
    (optimum,) = located.optima
    assert optimum.flags == ("cliff",)
    assert (optimum.low, optimum.high) == (-10, -8)
    assert optimum.loss == 3.262


def test_one_point_between_divergences_gives_a_bound() -> None:
    nowhere = float("inf")
    curve = curve_of({-10.0: [nowhere], -9.0: [3.2], -8.0: [nowhere]})
    (optimum,) = locate([curve], resamples=100).optima
    assert "cliff" in optimum.flags
    assert (optimum.low, optimum.high) == (-10, -8)


@pytest.mark.parametrize("skew", [0.5, 0.85, 1.2])
@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_a_steep_side_is_no_blow_up(skew: float, step: float) -> None:
    for curves in steep_curves(skew, step):
        for curve in curves:
            assert without_blow_ups(curve) == (curve, ())


@pytest.mark.parametrize("variant", ["adamw", "muon", "shampoo", "soap"])
def test_measured_basins_with_sharp_sides_have_no_blow_ups(variant: str) -> None:
    for curve in curves_of("digits_optimizers", variant):
        assert without_blow_ups(curve)[1] == ()


def test_losses_that_level_off_at_that_of_no_training_are_no_blow_up() -> None:
    for curve in (*curves_of("digits_cnn", "sp"), *curves_of("digits_cnn", "mup")):
        assert without_blow_ups(curve)[1] == ()


def test_one_run_far_off_inside_the_basin_is_left_out_as_an_outlier() -> None:
    basin = parabola()
    losses = {
        float(x): [3 + basin(x + 5.2) + e for e in (0.0, 0.003, -0.002)] for x in range(-9, 0)
    }
    losses[-6.0][1] = 9.0
    curve, (found,) = without_blow_ups(curve_of(losses))
    assert found.alone
    assert found.places == (-6.0,)
    assert "outlier" in found.sentence()
    index = curve.log2.tolist().index(-6.0)
    assert len(curve.runs[index]) == 2
    assert curve.seeds[index] == (0, 2)
    assert curve.means[index] == pytest.approx(3 + basin(-0.8), abs=0.01)
    assert np.isfinite(curve.means).all()


def test_a_blow_up_on_the_low_side_is_found_as_well() -> None:
    basin = parabola()
    losses = {float(x): [3 + basin(x + 5.2)] for x in range(-9, 0)}
    losses |= {-9.0: [11.0], -8.0: [11.1]}
    curve, (found,) = without_blow_ups(curve_of(losses))
    assert not found.above
    assert found.places == (-8.0, -9.0)
    assert np.isinf(curve.means[:2]).all()
