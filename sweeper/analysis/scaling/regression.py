"""Lines and linear rules through points that may be known as intervals only, many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtri, log_ndtr

from sweeper.analysis.optimum import Bools, Floats

ROUNDS = 500
"""Rounds of expectation maximisation at most; each gains a constant factor."""

CLOSE = 1e-7
"""Change of a fitted value, in octaves, at which the rounds end."""

SCATTER_LEVEL = 0.9
"""Quantile of the noise's own scatter beyond which optima count as scattered. Taking every
positive excess as real, a third of all straight lines, put intervals at 98% instead of 95%."""

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


def plane_weights(design: Floats, sd: Floats) -> Floats:
    """Returns C with coefficients = C y for weighted least squares, shape [p, n].

    Args:
        design: regressors of the n points, of full rank, shape [n, p].
        sd: standard deviations of the points, positive, shape [n].
    """
    return np.asarray(np.linalg.pinv(design / sd[:, None]) / sd)


def fit_planes(design: Floats, low: Floats, high: Floats, sd: Floats) -> Floats:
    """Returns the coefficients of highest likelihood for y ~ Normal(design b, sd^2), [R, p].

    A point with low = high is an observation; one with low < high says that y lies between.
    Expectation maximisation as in :func:`fit_lines`, of which this is the
    form for any number of regressors. Where the points that are bounded on both sides do not
    determine the coefficients they come back as NaN: the data leave them open.

    Args:
        design: regressors of the n points, of full rank, shape [n, p].
        low, high: what is known of y, shape [R, n]; an open end is infinite.
        sd: standard deviations, positive, shape [n].
    """
    weights = plane_weights(design, sd)
    y = fill_bounds(low, high, sd, lambda values: values @ weights.T @ design.T)
    return np.where(_determined(design, low, high)[:, None], y @ weights.T, np.nan)


def fill_bounds(
    low: Floats, high: Floats, sd: Floats, fitted: Callable[[Floats], Floats]
) -> Floats:
    """Returns y with bounds replaced by the means of the truncated normals, shape [R, n].

    Args:
        low, high: what is known of y, shape [R, n]; an open end is infinite.
        sd: standard deviations, positive, shape [n].
        fitted: from values of shape [S, n] to those of the fit through them, [S, n].
    """
    known = low == high
    left = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 0.0))
    y = (left + np.where(np.isfinite(high), high, left)) / 2
    todo = np.flatnonzero(~known.all(axis=1))
    for _ in range(ROUNDS):
        if not len(todo):
            break
        part = y[todo]
        mean = truncated_mean(fitted(part), sd, low[todo], high[todo])
        filled = np.where(known[todo], part, mean)
        y[todo] = filled
        todo = todo[np.max(np.abs(filled - part), axis=1) > CLOSE]
    return np.asarray(y)


def _determined(design: Floats, low: Floats, high: Floats) -> Bools:
    """Returns whether the points bounded on both sides determine the coefficients, [R]."""
    bounded = np.isfinite(low) & np.isfinite(high)
    if bounded.all():
        return np.full(len(low), np.linalg.matrix_rank(design) == design.shape[1])
    patterns, which = np.unique(bounded, axis=0, return_inverse=True)
    full = np.array([np.linalg.matrix_rank(design[rows]) == design.shape[1] for rows in patterns])
    return np.asarray(full[which.reshape(-1)])


def scatter_round(design: Floats, y: Floats, sd: Floats, dof: float) -> float:
    """Returns the standard deviation of points round a rule beyond their noise.

    tau^2 = (Q - (n - p)) / (tr W - tr((X'WX)^-1 X'W^2 X)), 0 where noise explains Q
    (DerSimonian and Laird 1986, equation 8, with p regressors).

    Args:
        design: regressors, shape [n, p].
        y: observations, shape [n].
        sd: their noise, positive, shape [n].
        dof: degrees of freedom behind the noise.
    """
    spare = len(y) - design.shape[1]
    if spare < 1:
        return 0.0
    weights = sd**-2
    coefficients = plane_weights(design, sd) @ y
    excess = float(weights @ (y - design @ coefficients) ** 2) - spare
    if excess < spare * (float(fdtri(spare, dof, SCATTER_LEVEL)) - 1):
        return 0.0
    normal = design.T @ (weights[:, None] * design)
    squared = design.T @ (weights[:, None] ** 2 * design)
    scale = float(weights.sum() - np.trace(np.linalg.solve(normal, squared)))
    return float(np.sqrt(max(0.0, excess / scale)))
