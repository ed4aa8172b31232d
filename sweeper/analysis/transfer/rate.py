"""Rates: how fast a gap closes as the scale grows, for many resamples at once.

In every array of rows the first row is what was measured and the others are its resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from sweeper.analysis.optimum import Floats, interval_round, rival_of, stretch
from sweeper.analysis.scaling.models import find_least, fit_levelling
from sweeper.analysis.scaling.regression import plane_weights

SLOWEST, FASTEST = 0.02, 4.0
"""Rates that are told apart from none, and from a gap that is closed at once."""

CELLS = 32
"""Cells of the grid of rates that the search begins with."""

LEAST_LOG_SD = 1e-3
"""Relative error of a gap at the least: keeps the weights of noise-free gaps finite."""

OPEN = 1e-3
"""An end of an interval this close to a bound of the search is open."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RateFit:
    """A fitted rate and what is known of its error.

    Attributes:
        value: the rate that was measured.
        draws: the resampled rates, shape [R]; empty without resamples.
        extra: half width of a 95% interval from the scatter that noise does not explain.
    """

    value: float
    draws: Floats
    extra: float

    def minus(self, other: RateFit, part: Callable[[Floats], Floats]) -> RateFit:
        """Returns this rate minus a function of another, resample by resample."""
        step = 1e-4
        at = part(other.value + np.array([-step, 0.0, step]))
        slope = float(at[2] - at[0]) / (2 * step)
        return RateFit(
            value=self.value - float(at[1]),
            draws=self.draws - part(other.draws),
            extra=float(np.hypot(self.extra, slope * other.extra)),
        )

    def interval(self, rivals: Sequence[RateFit] = (), *, contain_all: bool = False) -> Interval:
        """Returns the 95% interval, stretched to what other estimators say.

        Args:
            rivals: the same rate by other estimators, with resamples that share the random draws.
            contain_all: whether the interval must hold every rival in any case.
        """
        low = high = self.value
        if len(self.draws):
            low, high = interval_round(self.value, self.draws)
            others = [rival_of(o.value, o.draws, self.draws) for o in rivals]
            low, high = stretch(self.value, low, high, others, contain_all=contain_all)
        low = self.value - float(np.hypot(self.value - low, self.extra))
        return low, self.value + float(np.hypot(high - self.value, self.extra))


Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Approach:
    """Rows of fits y = limit + size (scale / middle)^-rate.

    Attributes:
        limit: what y goes to, shape [rows].
        rate: how fast, within SLOWEST and FASTEST, shape [rows].
        size: distance to the limit at the middle scale, shape [rows].
        middle: geometric mean of the scales.
        extra: as in :class:`RateFit`.
    """

    limit: Floats
    rate: Floats
    size: Floats
    middle: float
    extra: float

    @property
    def fit(self) -> RateFit:
        """The rate with its resamples."""
        return RateFit(value=float(self.rate[0]), draws=self.rate[1:], extra=self.extra)

    @property
    def found(self) -> bool:
        """False where the measured rate lies at a bound, so that there is no limit in sight."""
        return bool(SLOWEST + OPEN < self.rate[0] < FASTEST - OPEN)


def fit_rate(
    scales: Floats, gaps: Floats, sd: Floats, *, proxy: float = np.inf, power: float = 1.0
) -> RateFit:
    """Returns the rate of gaps ~ scale^-rate, by weighted least squares of their logarithms.

    Gaps to a proxy at a finite scale close at the proxy, which a plain log-log slope takes for
    speed. The fitted law is therefore that of a gap to the proxy itself,
    gap = size (scale^-q - proxy^-q)^power with q = rate / power, which goes over to a straight
    log-log line as the proxy goes to infinity. Then -rate is the slope of the gap to the limit.

    Args:
        scales: scales, below the proxy, shape [n] with n >= 2.
        gaps: positive gaps, shape [rows, n].
        sd: standard errors of the gaps, shape [n].
        proxy: scale that the gaps are measured from.
        power: 2 for gaps that are squares of a distance to the proxy, else 1.
    """
    t = np.log(scales / np.exp(np.mean(np.log(scales))))
    end = float(np.log(proxy) - np.mean(np.log(scales))) if np.isfinite(proxy) else np.inf
    logs = np.log(gaps)
    weights = np.hypot(sd / gaps[0], LEAST_LOG_SD) ** -2

    def shape(rates: Floats) -> Floats:
        return power * _log_distance(rates / power, t, end)

    def cost(rates: Floats) -> Floats:
        left = logs[:, None, :] - shape(rates)
        left -= np.average(left, axis=-1, weights=weights)[..., None]
        return np.asarray(np.sum(weights * left**2, axis=-1))

    rates = find_least(cost, np.linspace(-power * FASTEST, power * FASTEST, CELLS + 1))
    tangent = _tangent(shape, float(rates[0]))
    tangent -= np.average(tangent, weights=weights)
    extra = _scatter(float(cost(rates[:1, None])[0, 0]), len(t) - 2, weights, tangent)
    return RateFit(value=float(rates[0]), draws=rates[1:], extra=extra)


def fit_approach(scales: Floats, values: Floats, sd: Floats) -> Approach:
    """Returns the fits of values that go to a limit as a power of the scale.

    Args:
        scales: scales, shape [n] with n >= 4.
        values: values, shape [rows, n].
        sd: standard errors of the values, not negative, shape [n].
    """
    middle = float(np.exp(np.mean(np.log(scales))))
    t = np.log(scales / middle)
    sd = np.hypot(sd, LEAST_LOG_SD * (float(np.ptp(values[0])) or 1.0))
    found = fit_levelling(t, values, sd, np.linspace(SLOWEST, FASTEST, CELLS + 1))
    limit, size, rates = found.T
    power = np.exp(-rates[0] * t)
    # What moves the rate alone: its derivative, less what limit and size can follow.
    base = np.stack([np.ones_like(t), power], axis=1)
    slant = -size[0] * t * power
    slant -= base @ (plane_weights(base, sd) @ slant)
    left = values[0] - limit[0] - size[0] * power
    extra = _scatter(float(np.sum((left / sd) ** 2)), len(t) - 3, sd**-2, slant)
    return Approach(limit=limit, rate=rates, size=size, middle=middle, extra=extra)


def _log_distance(rates: Floats, t: Floats, end: float) -> Floats:
    """Returns log((e^(-rate t) - e^(-rate end)) / rate), and -rate t for an infinite end.

    Args:
        rates: rates of shape [rows, cells].
        t: logarithms of the scales, shape [n].
        end: logarithm of the scale where the distance is 0.
    """
    rate = rates[..., None]
    if np.isinf(end):
        return np.asarray(-rate * t)
    run = end - t
    inner = rate * run
    small = np.abs(inner) < 1e-8
    # (1 - e^(-rate run)) / rate is run itself where the rate vanishes.
    closed = np.where(small, run, -np.expm1(-inner) / np.where(small, 1.0, rate))
    return np.asarray(-rate * t + np.log(closed))


def _tangent(shape: Callable[[Floats], Floats], rate: float) -> Floats:
    """Returns the derivative of a law's logarithm by its rate, shape [n]."""
    step = 1e-4
    both = shape(np.array([[rate - step, rate + step]]))[0]
    return np.asarray((both[1] - both[0]) / (2 * step))


def _scatter(cost: float, spare: int, weights: Floats, tangent: Floats) -> float:
    """Returns the half width of a 95% interval from scatter beyond the noise.

    Args:
        cost: weighted sum of squared residuals, whose mean under the noise is ``spare``.
        spare: degrees of freedom that are left.
        weights: inverse variances, shape [n].
        tangent: how the law moves with the rate alone, shape [n].
    """
    if spare < 1 or cost <= spare:
        return 0.0
    variance = (cost / spare - 1) / float(np.sum(weights * tangent**2))
    return float(student.ppf(0.975, spare) * np.sqrt(variance))
