"""Sums of an offset and one or two powers, fitted to points: the numerics behind a law.

A law has bounds, may have two powers, and may be fitted under a Huber loss, so its terms cannot be
projected out one by one, as ``scaling.models`` does for a single power under least squares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.random import Generator

from sweeper.analysis.optimum import Floats

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
    # Data beyond all bounds have no direction to go in: they stay.
    known = np.isfinite(normal).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1)
    gradient[~known], normal[~known] = 0.0, 0.0
    low, high = bounds
    free = ~(((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0)))
    normal = normal * (free[:, :, None] & free[:, None, :])
    scale = np.einsum("rpp->rp", normal)
    extra = damping[:, None] * scale + np.where(free & (scale > 0), 0.0, 1.0)
    normal += extra[:, :, None] * np.eye(theta.shape[1])
    move = np.linalg.solve(normal, (gradient * free)[:, :, None])[:, :, 0]
    return np.clip(theta - move, low, high)


Method = Literal["huber", "least_squares"]
"""What is made small: the Huber loss of the residuals of ln L, or the squares of those of L."""

CORNER = 1e-3
"""Corner of the Huber loss in ln L, as in Hoffmann et al. 2022 (arXiv 2203.15556, section D.2).
"""

EXPONENTS = (1e-3, 10.0)
"""Range of the exponents."""

STARTS = (0.03, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
"""Exponents from which the fit starts, every combination of them with two scales."""

RESTARTS = (1.0, 0.5, 2.0)
"""Factors on the fitted exponents from which resamples start."""

LOUDEST = 50.0
"""Noise of the logarithm of a loss, either way, beyond which a draw tells no more."""

OWN_RESIDUALS = 8
"""Points per parameter from which the residuals of a Huber fit, outliers among them, are resampled
themselves; with fewer, drawing from the residuals understates their spread."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Powers:
    """The fit of E + sum_j A_j exp(-alpha_j u_j) to n points.

    Parameters stand in the order E, A [k], alpha [k]; p = 1 + 2k of them.

    Attributes:
        offset: u, ln scales less their means, shape [n, k].
        method: what is made small.
        free: whether E may be negative.
    """

    offset: Floats
    method: Method
    free: bool

    @property
    def terms(self) -> int:
        """The number of terms, k."""
        return int(self.offset.shape[1])

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """Lowest and highest parameters, shape [p] each."""
        k = self.terms
        floor = -np.inf if self.free else 0.0
        low = np.array([floor, *[0.0] * k, *[EXPONENTS[0]] * k])
        return low, np.array([np.inf] * (1 + k) + [EXPONENTS[1]] * k)

    def residuals(self, theta: Floats, losses: Floats) -> tuple[Floats, Floats]:
        """Returns residuals [R, n] and their Jacobian [R, n, p]."""
        k = self.terms
        powers = np.exp(-theta[:, None, 1 + k :] * self.offset)
        parts = theta[:, None, 1 : 1 + k] * powers
        value = theta[:, :1] + parts.sum(axis=2)
        ones = np.ones((*value.shape, 1))
        jacobian = np.concatenate([ones, powers, -parts * self.offset], axis=2)
        if self.method == "least_squares":
            return value - losses, jacobian
        value = np.maximum(value, 1e-300)
        return np.log(value / losses), jacobian / value[:, :, None]

    def descend(self, losses: Floats, start: Floats) -> tuple[Floats, Floats]:
        """Returns the minima [R, p] that starts [R, p] lead to, and their costs [R]."""
        huber = CORNER if self.method == "huber" else np.inf
        return descend(self.residuals, losses, start, self.bounds, huber=huber)

    def start(self, losses: Floats, exponents: Floats) -> Floats:
        """Returns parameters [R, p] with given exponents [k], the rest by linear least squares
        put within the bounds."""
        powers = np.exp(-exponents * self.offset)
        basis = np.concatenate([np.ones((len(powers), 1)), powers], axis=1)
        linear = losses @ np.linalg.pinv(basis).T
        if not self.free:
            linear[:, 0] = np.maximum(linear[:, 0], 0.0)
        least = 1e-3 * np.abs(losses).max(axis=1, keepdims=True)
        linear[:, 1:] = np.maximum(linear[:, 1:], least)
        return np.concatenate([linear, np.tile(exponents, (len(losses), 1))], axis=1)

    def best(self, losses: Floats) -> Floats:
        """Returns the parameters [p] of the lowest minimum that any start leads to."""
        row = losses[None, :]
        starts = [self.start(row, np.array(e)) for e in product(STARTS, repeat=self.terms)]
        start = np.concatenate(starts)
        theta, cost = self.descend(np.tile(row, (len(start), 1)), start)
        lowest = int(np.argmin(cost))
        return np.asarray(theta[lowest])

    def redrawn(
        self, theta: Floats, losses: Floats, errors: Floats | None, count: int, rng: Generator
    ) -> Floats:
        """Returns parameters [count, p] of refits to the law plus noise; no row if the noise is
        unknown."""
        noise = self._noise(theta, losses, errors, count, rng)
        if noise is None:
            return np.empty((0, len(theta)))
        law = powers_at(theta[None, :], self.offset)
        relative = np.exp(np.clip(noise, -LOUDEST, LOUDEST))
        return self.refitted(
            theta, law + noise if self.method == "least_squares" else law * relative
        )

    def refitted(self, theta: Floats, drawn: Floats) -> Floats:
        """Returns parameters [R, p] of fits to drawn losses [R, n], from those of a law [p]."""
        low, high = self.bounds
        starts = []
        for factor in RESTARTS:
            start = np.tile(theta, (len(drawn), 1))
            start[:, 1 + self.terms :] *= factor
            starts.append(np.clip(start, low, high))
        ends = [self.descend(drawn, start) for start in starts]
        chosen = np.argmin([cost for _, cost in ends], axis=0)
        return np.asarray(np.stack([found for found, _ in ends])[chosen, np.arange(len(drawn))])

    def _noise(
        self, theta: Floats, losses: Floats, errors: Floats | None, count: int, rng: Generator
    ) -> Floats | None:
        """Returns drawn residuals [count, n], relative ones for ``huber``; None if unknown."""
        residual = self.residuals(theta[None, :], losses[None, :])[0][0]
        points, spare = len(losses), len(losses) - len(theta)
        if errors is None and spare == 0:
            return None
        if errors is None and self.method == "huber" and points >= OWN_RESIDUALS * len(theta):
            picks = rng.integers(0, points, size=(count, points))
            return np.asarray(residual[picks] * np.sqrt(points / spare))
        relative = 1.0 if self.method == "least_squares" else 1 / np.abs(losses)
        known = None if errors is None else errors * relative
        level, measured = _level(residual, known, spare)
        spread = np.sqrt(spare / rng.chisquare(spare, (count, 1))) if measured else 1.0
        return np.asarray(rng.standard_normal((count, points)) * level * spread)


def _level(residual: Floats, known: Floats | None, spare: int) -> tuple[Floats, bool]:
    """Returns the standard deviations of residuals [n], and whether residuals tell their size.

    Known errors hold unless the residuals are larger than they explain; then they are scaled up
    (Birge 1932).
    """
    if known is None:
        return np.full(len(residual), np.sqrt(float(np.sum(residual**2)) / spare)), True
    excess = float(np.sum((residual / known) ** 2)) / spare if spare else 0.0
    return known * max(1.0, np.sqrt(excess)), excess > 1


def powers_at(theta: Floats, offset: Floats) -> Floats:
    """Returns the values [R, n] of laws [R, 1 + 2k] at ln scales less the centre [n, k]."""
    k = offset.shape[1]
    powers = np.exp(-theta[:, None, 1 + k :] * offset)
    return np.asarray(theta[:, :1] + np.sum(theta[:, None, 1 : 1 + k] * powers, axis=2))
