"""Least squares of many small nonlinear problems at once, within bounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sweeper.analysis.points import Floats

STEPS = 300
"""Steps at most; a smooth fit takes ten, a Huber fit far from its corner about a hundred."""

CLOSE = 1e-13
"""Relative decrease of the cost in a step at which a problem counts as solved."""

DAMPING = (1e-12, 1e12)
"""Range of the damping; beyond its end no step improves the fit any more."""

Residuals = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""(parameters [R, p], data [R, n]) -> residuals [R, n] and their Jacobian [R, n, p]."""


def descend(
    residuals: Residuals,
    data: Floats,
    start: Floats,
    bounds: tuple[Floats, Floats],
    *,
    huber: float = np.inf,
) -> tuple[Floats, Floats]:
    """Returns the parameters [R, p] and costs [R] of R local minima of sum rho(residual).

    Levenberg and Marquardt's method with iteratively reweighted residuals; a parameter that its
    gradient presses against a bound rests there for the step.

    Args:
        residuals: the problem.
        data: what is fitted, shape [R, n].
        start: first parameters, within the bounds, shape [R, p].
        bounds: lowest and highest parameters, shape [p] each; may be infinite.
        huber: rho is r^2 / 2 up to here and linear beyond; infinite for plain squares.
    """
    theta = start.copy()
    cost = _cost(residuals(theta, data)[0], huber)
    damping = np.full(len(theta), 1e-3)
    todo = np.arange(len(theta))
    for _ in range(STEPS):
        trial = _step(residuals, data[todo], theta[todo], damping[todo], bounds, huber)
        found = _cost(residuals(trial, data[todo])[0], huber)
        before = cost[todo]
        better = found < before
        theta[todo[better]], cost[todo[better]] = trial[better], found[better]
        damping[todo] = np.clip(damping[todo] * np.where(better, 0.2, 5.0), *DAMPING)
        solved = better & (before - found <= CLOSE * before)
        todo = todo[~solved & (damping[todo] < DAMPING[1])]
        if not len(todo):
            break
    return theta, cost


def _cost(residual: Floats, huber: float) -> Floats:
    size = np.abs(residual)
    near = np.minimum(size, huber)
    with np.errstate(invalid="ignore"):
        # Beyond the corner the slope stays; 0 times infinity is where there is no corner.
        far = np.where(size > huber, huber * (size - huber), 0.0)
    return np.asarray(np.sum(near**2 / 2 + far, axis=1))


def _step(
    residuals: Residuals,
    data: Floats,
    theta: Floats,
    damping: Floats,
    bounds: tuple[Floats, Floats],
    huber: float,
) -> Floats:
    """Returns the parameters after one damped Gauss-Newton step."""
    residual, jacobian = residuals(theta, data)
    size = np.abs(residual)
    weight = np.where(size > huber, huber / np.maximum(size, 1e-300), 1.0)
    weighted = jacobian * weight[:, :, None]
    gradient = np.einsum("rnp,rn->rp", weighted, residual)
    normal = np.einsum("rnp,rnq->rpq", weighted, jacobian)
    low, high = bounds
    free = ~(((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0)))
    normal = normal * (free[:, :, None] & free[:, None, :])
    scale = np.einsum("rpp->rp", normal)
    extra = damping[:, None] * scale + np.where(free & (scale > 0), 0.0, 1.0)
    normal += extra[:, :, None] * np.eye(theta.shape[1])
    move = np.linalg.solve(normal, (gradient * free)[:, :, None])[:, :, 0]
    return np.clip(theta - move, low, high)
