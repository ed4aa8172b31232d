"""Rates of exact power laws, of gaps to a proxy, and of laws with a limit."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.analysis.transfer.rate import RateFit, fit_approach, fit_rate

SCALES = 2.0 ** np.arange(5, 11)
EXACT = np.zeros(len(SCALES))


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 2.3])
def test_a_power_law_gives_its_exponent(rate: float) -> None:
    gaps = 3 * SCALES[None, :] ** -rate
    assert fit_rate(SCALES, gaps, EXACT).value == pytest.approx(rate, abs=1e-7)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 2.3])
def test_a_gap_to_a_proxy_gives_the_rate_of_the_gap_to_the_limit(rate: float) -> None:
    away = (SCALES**-rate - 2048.0**-rate)[None, :]
    assert fit_rate(SCALES, 3 * away, EXACT, proxy=2048).value == pytest.approx(rate, abs=1e-6)
    squares = fit_rate(SCALES, 7 * away**2, EXACT, proxy=2048, power=2)
    assert squares.value == pytest.approx(2 * rate, abs=1e-6)


def test_a_straight_drift_has_rate_zero_where_a_log_log_slope_sees_speed() -> None:
    drift = np.log2(2048 / SCALES)[None, :]
    assert fit_rate(SCALES, drift, EXACT, proxy=2048).value == pytest.approx(0, abs=1e-6)
    assert fit_rate(SCALES, drift, EXACT).value > 0.4


def test_a_gap_that_opens_has_a_negative_rate() -> None:
    gaps = 0.01 * SCALES[None, :] ** 0.3
    assert fit_rate(SCALES, gaps, EXACT).value == pytest.approx(-0.3, abs=1e-7)


@pytest.mark.parametrize(("limit", "size", "rate"), [(3.0, 5.0, 0.37), (-6.8, -7.8, 1.2)])
def test_values_that_approach_a_limit_give_limit_and_rate(
    limit: float, size: float, rate: float
) -> None:
    found = fit_approach(SCALES, (limit + size * SCALES**-rate)[None, :], EXACT)
    assert found.found
    assert found.rate[0] == pytest.approx(rate, abs=1e-6)
    assert found.limit[0] == pytest.approx(limit, abs=1e-6)
    assert found.size[0] == pytest.approx(size * found.middle**-rate, rel=1e-5)


def test_a_straight_drift_has_no_limit_in_sight() -> None:
    assert not fit_approach(SCALES, np.log2(SCALES)[None, :], EXACT).found


def test_rows_are_fitted_apart() -> None:
    rates = np.array([0.2, 0.7, 1.5])
    gaps = SCALES ** -rates[:, None]
    fit = fit_rate(SCALES, gaps, EXACT)
    assert [fit.value, *fit.draws] == pytest.approx(rates, abs=1e-7)
    found = fit_approach(SCALES, 1 + gaps, EXACT)
    assert found.rate == pytest.approx(rates, abs=1e-6)


def test_the_weighted_slope_is_that_of_the_normal_equations() -> None:
    rng = np.random.default_rng(1)
    gaps = SCALES**-0.5 * np.exp(rng.normal(0, 0.2, len(SCALES)))
    sd = gaps * rng.uniform(0.1, 0.5, len(SCALES))
    slope = np.polyfit(np.log(SCALES), np.log(gaps), 1, w=gaps / sd)[0]
    assert fit_rate(SCALES, gaps[None, :], sd).value == pytest.approx(-slope, abs=1e-5)


def test_scatter_beyond_the_noise_widens_the_interval_as_regression_does() -> None:
    rng = np.random.default_rng(2)
    gaps = SCALES**-0.5 * np.exp(rng.normal(0, 0.2, len(SCALES)))
    fit = fit_rate(SCALES, gaps[None, :], EXACT)
    u, y = np.log(SCALES), np.log(gaps)
    line = np.polyfit(u, y, 1)
    spare = len(u) - 2
    error = np.sqrt(np.sum((y - np.polyval(line, u)) ** 2) / spare / np.sum((u - u.mean()) ** 2))
    assert fit.extra == pytest.approx(2.7764 * error, rel=1e-3)  # Student's t, 4 degrees, 95%
    low, high = fit.interval()
    assert (low, high) == pytest.approx((fit.value - fit.extra, fit.value + fit.extra))


def test_a_difference_of_rates_carries_both_errors() -> None:
    beta = RateFit(value=1.0, draws=np.array([0.9, 1.1]), extra=0.3)
    alpha = RateFit(value=0.6, draws=np.array([0.4, 0.8]), extra=0.8)
    lead = beta.minus(alpha, lambda rate: rate / 2)
    assert lead.value == pytest.approx(0.7)
    assert lead.draws == pytest.approx([0.7, 0.7])
    assert lead.extra == pytest.approx(0.5)


def test_a_rival_that_disagrees_beyond_its_noise_stretches_the_interval() -> None:
    rng = np.random.default_rng(3)
    draws = 1.0 + 0.01 * rng.standard_normal(400)
    main = RateFit(value=1.0, draws=draws, extra=0.0)
    rival = RateFit(value=1.4, draws=draws + 0.4, extra=0.0)
    assert main.interval()[1] < 1.05
    assert main.interval([rival])[1] > 1.38
