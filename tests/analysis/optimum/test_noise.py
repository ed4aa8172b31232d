"""Noise near the minimum, seeds that move curves, and fits that their points contradict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import curve_of, curves_of
from planted import parabola

from sweeper.analysis.optimum.curve import Curve
from sweeper.analysis.optimum.locate import Located, locate
from sweeper.analysis.optimum.noise import pooled_noise
from sweeper.analysis.optimum.seed_shift import STILL
from sweeper.analysis.scaling.drift import measure_drift

SCALES = (32.0, 64.0, 128.0, 256.0)


def planted(
    draw: int,
    *,
    noise: float = 0.01,
    growth: float = 0.0,
    shift: float = 0.0,
    shared: bool = False,
) -> list[Curve]:
    """Returns four parabolas of three seeds with their optimum at 2^-5.2."""
    rng = np.random.default_rng(draw)
    together = shift * rng.standard_normal(3)
    curves = []
    for scale in SCALES:
        moved = together if shared else shift * rng.standard_normal(3)
        losses = {}
        for place in range(-9, 0):
            above = np.array([parabola()(place + 5.2 - each) for each in moved])
            error = (noise + growth * above) * rng.standard_normal(3)
            losses[float(place)] = (3 + above + error).tolist()
        curves.append(curve_of(losses, scale))
    return curves


def test_noise_that_grows_with_the_loss_is_read_as_it_is_at_the_minimum() -> None:
    found = [pooled_noise(planted(draw, noise=0.003, growth=0.3)) for draw in range(40)]
    # The points nearest to the minimum have 0.0035 and 0.011; all of a window pooled, 0.1.
    assert 0.002 < np.median([noise.level for noise in found]) < 0.008
    assert np.median([noise.growth for noise in found]) == pytest.approx(0.3, rel=0.25)
    assert all(noise.growth > 0 for noise in found)


def test_noise_that_is_the_same_everywhere_is_rarely_said_to_grow() -> None:
    found = [pooled_noise(planted(draw)) for draw in range(100)]
    assert sum(noise.growth > 0 for noise in found) <= 5
    assert sum(noise.shift is not STILL for noise in found) <= 5
    assert np.median([noise.level for noise in found]) == pytest.approx(0.01, rel=0.05)


def stated(draw: int) -> list[Curve]:
    """Returns four parabolas of one run a point that state their errors: from 0.003 up to 0.1,
    alternating, beside a minimum at 2^-5.2."""
    rng = np.random.default_rng(draw)
    curves = []
    for scale in SCALES:
        errors = {float(place): 0.1 if place % 2 else 0.003 for place in range(-9, 0)}
        losses = {
            place: [3 + parabola()(place + 5.2) + error * rng.standard_normal()]
            for place, error in errors.items()
        }
        curves.append(replace(curve_of(losses, scale), errors=errors))
    return curves


def test_each_point_counts_with_the_error_that_it_states() -> None:
    assert pooled_noise(stated(0)).source == "stated"
    found = [optimum for draw in range(25) for optimum in locate(stated(draw), seed=draw).optima]
    errors = np.array([optimum.log2 + 5.2 for optimum in found])
    halves = np.array([(optimum.high - optimum.low) / 2 for optimum in found])
    assert np.sqrt(np.mean(errors**2)) < 0.25  # 0.47 where all count alike
    assert np.mean([optimum.low <= -5.2 <= optimum.high for optimum in found]) >= 0.9
    assert np.median(halves) < 0.35  # 0.76 where all count alike


def test_a_point_that_states_no_error_does_not_decide_alone() -> None:
    (curve, *_) = stated(0)
    exact = replace(curve, errors={**curve.errors, -5.0: 0.0})
    noise = pooled_noise([exact])
    assert 0 < noise.level < 0.1
    assert noise.at(exact).min() > 0


@pytest.mark.parametrize("shared", [False, True])
def test_seeds_that_move_curves_are_measured(shared: bool) -> None:
    found = [pooled_noise(planted(d, noise=0.002, shift=0.3, shared=shared)) for d in range(60)]
    assert all(noise.shift is not STILL for noise in found)
    squares = np.mean([noise.shift.total**2 for noise in found])
    assert np.sqrt(squares) == pytest.approx(0.3, rel=0.15)
    agree = np.mean([(noise.shift.shared > noise.shift.own) == shared for noise in found])
    assert agree >= 0.9


def test_a_shift_that_all_scales_share_is_in_the_optima_and_not_in_the_drift() -> None:
    held = slopes = 0
    for draw in range(40):
        curves = planted(draw, noise=0.002, shift=0.3, shared=True)
        optima = locate(curves, resamples=200, seed=draw).optima
        held += sum(o.low <= -5.2 <= o.high for o in optima)
        drift = measure_drift(optima)
        slopes += drift.low <= 0 <= drift.high
        assert drift.high - drift.low < 0.1
    assert held >= 0.88 * 4 * 40  # 95% less three standard errors of 40 draws that move alike
    assert slopes >= 34


def test_the_shift_of_seeds_is_in_the_answer_about_the_case() -> None:
    for variant in ("d0", "d1", "d2"):
        located = locate(curves_of("seeds_that_shift_the_optimum", variant), resamples=300)
        drift = measure_drift(located.optima)
        assert drift.low < -0.5 < drift.high


def soap() -> Located:
    return locate(curves_of("digits_optimizers", "soap"), resamples=300)


@pytest.mark.parametrize("variant", ["adamw", "muon", "shampoo", "soap"])
def test_a_tuned_loss_is_never_far_below_what_was_run(variant: str) -> None:
    located = locate(curves_of("digits_optimizers", variant), resamples=300)
    assert located.noise is not None
    assert located.noise.level < 0.03  # not that of the high losses, up to 0.4
    for optimum in located.optima:
        error = located.noise.level / np.sqrt(optimum.seeds)
        best = float(optimum.losses.min())
        assert best - 2 * error < optimum.loss < best + 2 * error
        assert optimum.loss_low < best < optimum.loss_high


def test_a_fit_that_its_points_contradict_is_said_to_be_poor() -> None:
    assert all("poor_fit" in optimum.flags for optimum in soap().optima)
    kinked = locate(curves_of("digits_cnn", "mup"), resamples=300).optima
    assert all("poor_fit" in optimum.flags for optimum in kinked)
    for optimum in kinked:
        assert optimum.loss_low < float(optimum.losses.min()) < optimum.loss_high
    plain = locate(planted(0), resamples=300).optima
    assert not any("poor_fit" in optimum.flags for optimum in plain)


def test_three_points_are_not_certainty() -> None:
    optima = locate(curves_of("three_points"), resamples=1000).optima
    for optimum in optima:
        assert optimum.flags == ("few_points",)
        assert 0.5 < optimum.high - optimum.low < 3.4  # less than between the outer points
    assert optima[0].low < -8.20 < optima[0].high
    assert measure_drift(optima).high - measure_drift(optima).low > 0.1


def test_points_that_are_many_decide_by_themselves() -> None:
    basin = parabola()
    exact = [
        curve_of(
            {float(x): [3 + basin(x + 5.2) + e for e in (1e-6, -1e-6, 0)] for x in range(-9, 0)}
        )
    ]
    (optimum,) = locate(exact, resamples=300).optima
    assert optimum.high - optimum.low < 3e-3
    assert not optimum.flags


EXACT = {
    "parabola": lambda t: t**2 / 2,
    "cubic": lambda t: t**2 / 2 + 0.03 * t**3,
    "steep": lambda t: (np.exp(0.5 * t) - 0.5 * t - 1) / 0.25,
    "steep on the left": lambda t: (np.exp(-0.5 * t) + 0.5 * t - 1) / 0.25,
    "walls": lambda t: t**2 / 2 + 0.02 * t**4,
    "flat shoulders": lambda t: 4 * np.log(np.cosh(t / 2)),
}


@pytest.mark.parametrize(
    "seeds, first, number, step",
    [(1, -4, 9, 1.0), (2, -4, 9, 1.0), (2, -3, 7, 1.0), (2, -3, 13, 0.5)],
)
def test_losses_without_any_noise_leave_open_what_their_points_do_not_see(
    seeds: int, first: int, number: int, step: float
) -> None:
    truth = [-0.4 * step, 0.2 * step]
    for basin in EXACT.values():
        curves = []
        for best, scale in zip(truth, SCALES, strict=False):
            places = (first + step * np.arange(number)).tolist()
            losses = {x: [3 + 0.08 * float(basin(x - best))] * seeds for x in places}
            curves.append(curve_of(losses, scale))
        found = locate(curves, resamples=100).optima
        assert all(o.low < best < o.high for o, best in zip(found, truth, strict=True))


def test_a_wide_grid_sees_less_of_an_exact_parabola_than_a_narrow_one() -> None:
    widths = []
    for step in (0.5, 1.0, 2.0):
        losses = {
            x: [3 + 0.04 * (x - 0.3 * step) ** 2] for x in (step * np.arange(-4, 5)).tolist()
        }
        (optimum,) = locate([curve_of(losses)]).optima
        widths.append(optimum.high - optimum.low)
    # The term of order 9 shrinks with the eighth power of the step.
    assert widths[1] == pytest.approx(2**8 * widths[0], rel=0.05)
    assert widths[2] == pytest.approx(2**8 * widths[1], rel=0.05)
    assert 0.3 < widths[2] < 0.8


def test_an_interval_ends_where_points_are_worse_beyond_doubt() -> None:
    for variant in ("adamw", "muon", "shampoo", "soap"):
        located = locate(curves_of("digits_optimizers", variant), resamples=300)
        assert located.noise is not None
        for optimum in located.optima:
            worse = optimum.grid[optimum.losses > optimum.losses.min() + 0.25]
            slack = 2 * located.noise.shift.total
            assert optimum.low > worse[worse < optimum.log2].max() - slack
            above = worse[worse > optimum.log2]
            assert not len(above) or optimum.high < above.min() + slack
