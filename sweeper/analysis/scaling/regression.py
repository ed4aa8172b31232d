"""Linear rules through points that may be known as intervals only, many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import fdtri, log_ndtr

from sweeper.analysis.optimum import Bools, Floats

ROUNDS = 500
"""Steps at most: Newton's are few; of expectation maximisation each gains a constant factor."""

CLOSE = 1e-7
"""Change of a fitted value, in octaves, at which the rounds end."""

LEAST_INFORMATION = 1e-6
"""Share of an observation's information that an interval has at the least in a step."""

SCATTER_LEVEL = 0.9
"""Quantile of the noise's own scatter beyond which optima count as scattered. Taking every
positive excess as real, a third of all straight lines, put intervals at 98% instead of 95%."""

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, kw_only=True, eq=False)
class Truncated:
    """Normals (mean, sd^2) restricted to intervals; one of no width is an observation.

    Attributes:
        mean: their means.
        likelihood: log probability of the interval, or log density of the observation.
        information: what the interval says of the mean, as a share of what an observation says.
    """

    mean: Floats
    likelihood: Floats
    information: Floats


def truncated(mean: Floats, sd: Floats, low: Floats, high: Floats) -> Truncated:
    """Returns the moments of normals restricted to [low, high], elementwise.

    Exact in the far tails, where the probability itself underflows.
    """
    alpha, beta = (low - mean) / sd, (high - mean) / sd
    # By symmetry the interval is put on the left, where log_ndtr keeps its precision.
    flip = alpha > 0
    alpha, beta = np.where(flip, -beta, alpha), np.where(flip, -alpha, beta)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        upper = log_ndtr(beta)
        mass = upper + np.log1p(-np.exp(log_ndtr(alpha) - upper))
        left = np.exp(-(alpha**2) / 2 - HALF_LOG_2PI - mass)
        right = np.exp(-(beta**2) / 2 - HALF_LOG_2PI - mass)
        excess = left - right
        slant = np.where(left > 0, alpha * left, 0.0) - np.where(right > 0, beta * right, 0.0)
        information = excess**2 - slant
    shift = np.where(flip, -excess, excess) * sd
    middle = _finite_guess(low, high)
    narrow = np.log(np.where(beta > alpha, beta - alpha, 1.0)) - HALF_LOG_2PI
    narrow -= ((middle - mean) / sd) ** 2 / 2
    wide = np.isfinite(shift)
    return Truncated(
        mean=np.clip(np.where(wide, mean + shift, middle), low, high),
        likelihood=np.where(wide, mass, narrow),
        information=np.where(wide, information.clip(LEAST_INFORMATION, 1.0), 1.0),
    )


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
    The likelihood of interval-censored data is concave, and maximised by Newton's method, a step
    that does not raise it being halved. Where it has no maximum (see :func:`has_maximum`) the
    coefficients come back as NaN: the data leave them open.

    Args:
        design: regressors of the n points, of full rank, shape [n, p].
        low, high: what is known of y, shape [R, n]; an open end is infinite.
        sd: standard deviations, positive, shape [n].
    """
    found = _finite_guess(low, high) @ plane_weights(design, sd).T
    found[~has_maximum(design, low, high)] = np.nan
    todo = np.flatnonzero(np.isfinite(found[:, 0]) & np.any(low < high, axis=1))
    if not len(todo):
        return found
    low, high, best = low[todo], high[todo], np.full(len(todo), -np.inf)
    here, step = found[todo], np.zeros((len(todo), design.shape[1]))
    for _ in range(ROUNDS):
        ahead = here + step
        mean = ahead @ design.T
        at = truncated(mean, sd, low, high)
        likelihood = at.likelihood.sum(axis=1)
        higher = likelihood >= best - CLOSE**2 * np.abs(best)
        uphill = ((at.mean - mean) / sd**2) @ design
        curvature = np.einsum("rn,np,nq->rpq", at.information / sd**2, design, design)
        newton = np.linalg.solve(curvature, uphill[..., None])[..., 0]
        here = np.where(higher[:, None], ahead, here)
        best = np.where(higher, likelihood, best)
        step = np.where(higher[:, None], newton, step / 2)
        found[todo] = here
        going = np.max(np.abs(step @ design.T), axis=1, initial=0.0) > CLOSE
        todo, low, high = todo[going], low[going], high[going]
        here, best, step = here[going], best[going], step[going]
        if not len(todo):
            break
    return found


def fill_bounds(
    low: Floats, high: Floats, sd: Floats, fitted: Callable[[Floats], Floats]
) -> Floats:
    """Returns y with bounds replaced by the means of the truncated normals, shape [R, n]: the
    data of highest likelihood for a rule that is no plane, by expectation maximisation (Dempster,
    Laird and Rubin 1977, section 4.3).

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
        mean = truncated(fitted(part), sd, low[todo], high[todo]).mean
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

    The directions d with G d >= 0, of the bounds' rows G, are a cone without a line in it if G has
    full rank p; unless it is d = 0 alone it has an edge, where p - 1 rows of G are zero.
    """
    rows = np.concatenate([design[below], -design[above]])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    size = design.shape[1]
    if np.linalg.matrix_rank(rows) < size:
        return False
    sets = np.array(list(combinations(range(len(rows)), size - 1)), dtype=int)
    edges = np.linalg.svd(rows[sets].reshape(len(sets), size - 1, size))[2][:, -1]
    along = np.concatenate([edges, -edges]) @ rows.T
    return not np.any(np.all(along >= -CLOSE, axis=1))


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
