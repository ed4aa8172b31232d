"""Straight lines through points that may be known as intervals only, many at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from sweeper.analysis.points import Floats

ROUNDS = 500
"""Rounds of expectation maximisation at most; each gains a constant factor."""

CLOSE = 1e-7
"""Change of a fitted value, in octaves, at which the rounds end."""

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """R lines y = intercept + slope u.

    Attributes:
        intercept, slope: coefficients, shape [R].
        low, high: slopes that the data allow, shape [R]: the slope itself where at least two
            points are bounded on both sides, else the slopes that meet every bound.
    """

    intercept: Floats
    slope: Floats
    low: Floats
    high: Floats


def slope_weights(u: Floats, sd: Floats) -> Floats:
    """Returns c with slope = c . y for the weighted least-squares line, shape [n]."""
    weights = 1 / sd**2
    centred = u - np.average(u, weights=weights)
    return np.asarray(weights * centred / np.sum(weights * centred**2))


def fit_lines(u: Floats, low: Floats, high: Floats, sd: Floats) -> Lines:
    """Returns the lines of highest likelihood for y ~ Normal(intercept + slope u, sd^2).

    A point with low = high is an observation; one with low < high says that y lies between.
    The likelihood of interval-censored data is maximised by expectation maximisation: bounds
    are replaced by the mean of the truncated normal, then least squares (Dempster, Laird and
    Rubin 1977, section 4.3).

    Args:
        u: abscissae, shape [n], not all equal.
        low, high: what is known of y, shape [R, n]; an open end is infinite.
        sd: standard deviations, positive, shape [n].
    """
    slopes = slope_weights(u, sd)
    weights = sd**-2 / np.sum(sd**-2)
    centre = float(weights @ u)
    known = low == high
    y = np.where(known, low, _finite_guess(low, high))
    todo = np.flatnonzero(~known.all(axis=1))
    for _ in range(ROUNDS):
        if not len(todo):
            break
        part = y[todo]
        line = (part @ weights)[:, None] + (part @ slopes)[:, None] * (u - centre)
        filled = np.where(known[todo], part, truncated_mean(line, sd, low[todo], high[todo]))
        y[todo] = filled
        todo = todo[np.max(np.abs(filled - part), axis=1) > CLOSE]
    slope = y @ slopes
    enough = np.sum(np.isfinite(low) & np.isfinite(high), axis=1) >= 2
    allowed_low, allowed_high = _allowed_slopes(u, low, high)
    return Lines(
        intercept=y @ weights - slope * centre,
        slope=slope,
        low=np.where(enough, slope, np.minimum(slope, allowed_low)),
        high=np.where(enough, slope, np.maximum(slope, allowed_high)),
    )


def truncated_mean(mean: Floats, sd: Floats, low: Floats, high: Floats) -> Floats:
    """Returns the mean of Normal(mean, sd^2) restricted to [low, high], elementwise.

    Exact in the far tails, where the probability itself underflows.
    """
    alpha, beta = (low - mean) / sd, (high - mean) / sd
    # By symmetry the interval is put on the left, where log_ndtr keeps its precision.
    flip = alpha > 0
    alpha, beta = np.where(flip, -beta, alpha), np.where(flip, -alpha, beta)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        upper = log_ndtr(beta)
        mass = upper + np.log1p(-np.exp(log_ndtr(alpha) - upper))
        excess = np.exp(-(alpha**2) / 2 - HALF_LOG_2PI - mass)
        excess -= np.exp(-(beta**2) / 2 - HALF_LOG_2PI - mass)
    shift = np.where(flip, -excess, excess) * sd
    middle = _finite_guess(low, high)
    return np.clip(np.where(np.isfinite(shift), mean + shift, middle), low, high)


def _finite_guess(low: Floats, high: Floats) -> Floats:
    """Returns the middle of an interval, its finite end, or 0 where both ends are open."""
    left = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 0.0))
    return np.asarray((left + np.where(np.isfinite(high), high, left)) / 2)


def _allowed_slopes(u: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Returns the range of slopes between any two points that their bounds allow, shape [R]."""
    least = np.full(len(low), -np.inf)
    most = np.full(len(low), np.inf)
    for first in range(len(u)):
        for second in range(first + 1, len(u)):
            run = u[second] - u[first]
            least = np.maximum(least, (low[:, second] - high[:, first]) / run)
            most = np.minimum(most, (high[:, second] - low[:, first]) / run)
    return least, most
