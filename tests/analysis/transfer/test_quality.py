"""E, kappa and R_inf of planted families, of which all three are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from planted import parabola, trials

from sweeper.analysis.compute.law import Law, fit_law
from sweeper.analysis.optimum.curve import measured_curves
from sweeper.analysis.optimum.locate import locate
from sweeper.analysis.transfer.quality import (
    TransferQuality,
    asymptotic_penalties,
    transfer_quality,
)

WIDTHS = (32, 64, 128, 256)


def quality_of(frame: pd.DataFrame) -> TransferQuality:
    curves = measured_curves(frame, scale="width", hyperparameter="learning_rate")
    optima = locate(curves, resamples=200, estimator="quadratic").optima
    return transfer_quality(optima, name="quadratic")


def family(
    places: list[float], *, kappa: float = 0.0, noise: float = 0.0, draw: int = 0
) -> pd.DataFrame:
    """Returns trials with optima at log2 places, and curvatures 0.08 (width / 32)^kappa."""
    parts = [
        trials(
            scales=(width,),
            start=place,
            shape=parabola(0.08 * (width / 32) ** kappa),
            noise=noise,
            draw=10 * draw + index,
        )
        for index, (width, place) in enumerate(zip(WIDTHS, places, strict=False))
    ]
    return pd.concat(parts, ignore_index=True)


def test_e_is_how_far_optima_lie_off_a_power_law() -> None:
    assert quality_of(family([-5.0, -5.2, -5.4, -5.6])).fit_error == pytest.approx(0, abs=1e-4)
    places = [-5.0, -5.4, -5.2, -5.6]
    doublings = np.arange(4)
    off = np.array(places) - np.polyval(np.polyfit(doublings, places, 1), doublings)
    expected = np.sqrt(np.sum(off**2) / 2)
    assert quality_of(family(places)).fit_error == pytest.approx(expected, abs=1e-4)


def test_two_scales_tell_no_e() -> None:
    two = quality_of(family([-5.0, -5.2]))
    assert two.fit_error is two.by_noise is None
    assert two.kappa is not None


def test_noise_alone_makes_the_e_that_is_said_to_be_its_own() -> None:
    found = [quality_of(family([-5.0] * 4, noise=0.02, draw=draw)) for draw in range(8)]
    errors = [each.fit_error or 0.0 for each in found]
    by_noise = [each.by_noise or 0.0 for each in found]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.mean(by_noise), rel=0.4)


@pytest.mark.parametrize("kappa", [-0.5, 0.0, 0.75])
def test_kappa_is_the_power_by_which_curvature_grows(kappa: float) -> None:
    exact = quality_of(family([-5.0, -5.1, -5.2, -5.3], kappa=kappa)).kappa
    assert exact is not None and exact.value == pytest.approx(kappa, abs=1e-3)
    noisy = quality_of(family([-5.0, -5.1, -5.2, -5.3], kappa=kappa, noise=0.01)).kappa
    assert noisy is not None and noisy.low < kappa < noisy.high
    assert noisy.high - noisy.low > 0.02


def law(asymptote: float, noise: float = 0.0) -> Law:
    scales = np.array([32.0, 64.0, 128.0, 256.0, 512.0, 1024.0])
    rng = np.random.default_rng(1)
    return fit_law(
        {"scale": scales},
        asymptote + 5 * scales**-0.5 + noise * rng.standard_normal(6),
        method="least_squares",
        errors=np.full(6, noise or 1e-3),
        free_asymptote=True,
        resamples=200,
    )


def test_r_inf_is_the_asymptote_above_the_lowest() -> None:
    above, lowest, unknown = asymptotic_penalties([law(3.2, 0.001), law(3.0), None])
    assert lowest is unknown is None
    assert above is not None
    assert above.low < 0.2 < above.high
    assert above.value == pytest.approx(0.2, abs=0.02)


def test_a_variant_that_does_not_fall_has_no_limit() -> None:
    scales = np.array([32.0, 64.0, 128.0, 256.0])
    level = fit_law(
        {"scale": scales},
        3 + 0.01 * np.array([0.0, 1.0, 2.0, 3.0]),
        method="least_squares",
        errors=np.full(4, 1e-3),
        free_asymptote=True,
        resamples=200,
    )
    assert "no_fall" in level.flags
    assert asymptotic_penalties([level, law(2.0)]) == [None, None]


def test_one_variant_has_nothing_to_be_compared_to() -> None:
    assert asymptotic_penalties([law(3.0)]) == [None]
    assert asymptotic_penalties([None]) == [None]
