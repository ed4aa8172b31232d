"""Rates: how fast a gap closes as the scale grows, for many resamples at once.

In every array of rows the first row is what was measured and the others are its resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from sweeper.analysis.optimum import Floats, quantile_interval, rival_of, stretch

SLOWEST, FASTEST = 0.02, 4.0
"""Rates that are told apart from none, and from a gap that is closed at once."""

CELLS = 32
"""Cells of the grid of rates in each round of the search."""

ROUNDS = 8
"""Rounds of the search; each narrows the range by CELLS / 2, together below 1e-8."""

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
            low, high = quantile_interval(self.draws, self.draws)
            others = [rival_of(o.value, o.draws, self.draws) for o in rivals]
            low, high = min(low, self.value), max(high, self.value)
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

    rates = _search(cost, len(gaps), -power * FASTEST, power * FASTEST)
    tangent = _tangent(shape, float(rates[0]))
    tangent -= np.average(tangent, weights=weights)
    extra = _scatter(float(cost(rates[:1, None])[0, 0]), len(t) - 2, weights, tangent)
    return RateFit(value=float(rates[0]), draws=rates[1:], extra=extra)


def fit_approach(scales: Floats, values: Floats, sd: Floats) -> Approach:
    """Returns the fits of values that go to a limit as a power of the scale.

    Limit and size are linear, and are eliminated; the rate is searched for (variable
    projection, Golub and Pereyra 1973).

    Args:
        scales: scales, shape [n] with n >= 4.
        values: values, shape [rows, n].
        sd: standard errors of the values, not negative, shape [n].
    """
    middle = float(np.exp(np.mean(np.log(scales))))
    t = np.log(scales / middle)
    spread = float(np.ptp(values[0])) or 1.0
    weights = np.hypot(sd, LEAST_LOG_SD * spread) ** -2
    share = weights / weights.sum()
    centred = values - (values @ share)[:, None]

    def design(rates: Floats) -> Floats:
        power = np.exp(-rates[..., None] * t)
        return np.asarray(power - (power @ share)[..., None])

    def coefficient(rates: Floats) -> Floats:
        x = design(rates)
        return np.asarray(
            np.sum(weights * x * centred[:, None, :], axis=-1) / np.sum(weights * x * x, axis=-1)
        )

    def cost(rates: Floats) -> Floats:
        left = centred[:, None, :] - coefficient(rates)[..., None] * design(rates)
        return np.asarray(np.sum(weights * left**2, axis=-1))

    rates = _search(cost, len(values), SLOWEST, FASTEST)
    size = coefficient(rates[:, None])[:, 0]
    limit = values @ share - size * (np.exp(-rates[:, None] * t) @ share)
    # What moves the rate alone: its derivative, less what limit and size can follow.
    slant = -size[0] * t * np.exp(-rates[0] * t)
    base = np.stack([np.ones_like(t), np.exp(-rates[0] * t)], axis=1) * np.sqrt(weights)[:, None]
    follow = np.linalg.lstsq(base, slant * np.sqrt(weights), rcond=None)[0]
    slant -= base @ follow / np.sqrt(weights)
    least = float(np.min(cost(rates[:, None])[0]))
    extra = _scatter(least, len(t) - 3, weights, slant)
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


def _search(cost: Callable[[Floats], Floats], rows: int, low: float, high: float) -> Floats:
    """Returns the rates of least cost between two bounds, shape [rows]."""
    left, right = np.full(rows, low), np.full(rows, high)
    grid = np.linspace(0.0, 1.0, CELLS + 1)
    for _ in range(ROUNDS):
        rates = left[:, None] + (right - left)[:, None] * grid
        best = np.argmin(cost(rates), axis=1)
        every = np.arange(rows)
        left, right = (
            rates[every, np.maximum(best - 1, 0)],
            rates[every, np.minimum(best + 1, CELLS)],
        )
    return np.asarray((left + right) / 2)


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
