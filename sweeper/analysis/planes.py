"""Linear rules in several regressors through points that may be known as intervals only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import fdtri

from sweeper.analysis.basin import Bools
from sweeper.analysis.drift import SCATTER_LEVEL
from sweeper.analysis.line import CLOSE, ROUNDS, truncated_mean
from sweeper.analysis.points import Floats


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
    Expectation maximisation as in :func:`sweeper.analysis.line.fit_lines`, of which this is the
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
