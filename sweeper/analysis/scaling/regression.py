"""Linear rules through points that may be known as intervals only, many at once."""

from __future__ import annotations

from collections.abc import Callable

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


def allowed_slopes(u: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Returns the lowest and highest slope of the lines that meet all bounds, shape [R] each.

    Meant for bounds that leave the likelihood without a maximum: one end or both are infinite.

    Args:
        u: abscissae, shape [n], rising.
        low, high: what is known of y, shape [R, n]; an open end is infinite.
    """
    first, second = np.triu_indices(len(u), k=1)
    run = u[second] - u[first]
    least = np.max((low[:, second] - high[:, first]) / run, axis=1)
    most = np.min((high[:, second] - low[:, first]) / run, axis=1)
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
    The likelihood of interval-censored data is maximised by expectation maximisation: bounds
    are replaced by the mean of the truncated normal, then least squares (Dempster, Laird and
    Rubin 1977, section 4.3). Where the likelihood has no maximum (see :func:`has_maximum`) the
    coefficients come back as NaN: the data leave them open.

    Args:
        design: regressors of the n points, of full rank, shape [n, p].
        low, high: what is known of y, shape [R, n]; an open end is infinite.
        sd: standard deviations, positive, shape [n].
    """
    weights = plane_weights(design, sd)
    y = fill_bounds(low, high, sd, lambda values: values @ weights.T @ design.T)
    return np.where(has_maximum(design, low, high)[:, None], y @ weights.T, np.nan)


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
    todo = np.flatnonzero(~known.all(axis=1))
    y = _finite_guess(low, high) if len(todo) else low
    for _ in range(ROUNDS):
        if not len(todo):
            break
        part = y[todo]
        mean = truncated_mean(fitted(part), sd, low[todo], high[todo])
        filled = np.where(known[todo], part, mean)
        y[todo] = filled
        todo = todo[np.max(np.abs(filled - part), axis=1) > CLOSE]
    return y


def has_maximum(design: Floats, low: Floats, high: Floats) -> Bools:
    """Returns whether the likelihood of coefficients has a maximum, shape [R].

    It has none where the coefficients can move in some direction for ever without ever coming
    nearer to a bound: then it rises on and on, or stays level. Points that are bounded on both
    sides stop every direction if they determine the coefficients; bounds on one side can stop
    what is left if they pull against one another, as where the middle one of three optima lies
    above the grid and both others below what a line through it allows.

    Args:
        design: regressors of the n points, shape [n, p].
        low, high: what is known of y, shape [R, n]; an open end is infinite.
    """
    sides = np.stack([np.isfinite(low), np.isfinite(high)], axis=1)
    if sides.all():
        return np.full(len(low), np.linalg.matrix_rank(design) == design.shape[1])
    patterns, which = np.unique(sides, axis=0, return_inverse=True)
    return np.array([_closed(design, *pattern) for pattern in patterns])[which.reshape(-1)]


def _closed(design: Floats, below: Bools, above: Bools) -> bool:
    """Returns whether points bounded below and above, [n] each, stop every direction.

    None but d = 0 has G d >= 0 for the bounds' rows G, if G has full rank and its rows, each
    counted at least once, add up to nothing (Stiemke's lemma).
    """
    from scipy.optimize import nnls  # imported here: it takes longer than most answers

    rows = np.concatenate([design[below], -design[above]])
    if np.linalg.matrix_rank(rows) < design.shape[1]:
        return False
    left = nnls(rows.T, -rows.sum(axis=0))[1]
    return bool(left <= CLOSE * np.abs(rows).sum())


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
