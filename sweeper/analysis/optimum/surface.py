"""Weighted paraboloids and shrunken cubic surfaces in two hyperparameters, many at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweeper.analysis.optimum.curve import Floats
from sweeper.analysis.optimum.polynomial import LEAST_RIDGE
from sweeper.analysis.optimum.window import Bools, Ints, fall_off

POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
"""Powers of the two coordinates in each term: six of a paraboloid, then four cubic ones."""

PARABOLOID = 6

ORDERINGS = np.array([1.0, 3.0, 3.0, 1.0])
"""How often each cubic term occurs in the third power of a sum."""

LEAST_DETERMINANT = 1e-13
"""Determinant of the correlations of the terms below which they determine no paraboloid."""

NEWTON = 12
"""Newton steps from the vertex of the paraboloid to the minimum of a cubic surface."""

STEP = 1.0
"""Octaves that one of them moves at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Which of K points R surfaces are fitted to.

    Attributes:
        lowest: index of the smallest loss, shape [R].
        weights: weight of each point, 0 outside the window, shape [R, K].
        low, high: corners of the window, shape [R, 2].
    """

    lowest: Ints
    weights: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Surfaces:
    """R polynomials in t = log2 - origin.

    Attributes:
        origin: position that t is measured from, shape [2].
        terms: coefficients in the order of :data:`POWERS`, in loss / octave^k, shape [R, 10].
    """

    origin: Floats
    terms: Floats

    def at(self, log2: Floats) -> Floats:
        """Returns the losses at positions of shape [K, 2], shape [R, K]."""
        return np.asarray(self.terms @ _powers(log2 - self.origin).T)

    def each_at(self, log2: Floats) -> Floats:
        """Returns the loss of every surface at a position of its own [R, 2], shape [R]."""
        return np.asarray(np.sum(self.terms * _powers(log2 - self.origin), axis=1))

    def minima(self) -> tuple[Floats, Floats, Bools]:
        """Returns positions of the minima [R, 2], second derivatives [R, 2, 2], and where
        there is one [R]."""
        t = np.zeros((len(self.terms), 2))
        hessian = self._hessian(t)
        there = _definite(hessian)
        safe = np.where(there[:, None, None], hessian, np.eye(2))
        t = _newton(safe, self._gradient(t))
        if np.any(self.terms[:, PARABOLOID:]):
            t, there = self._refined(t, there)
        return self.origin + t, self._hessian(t), there

    def _refined(self, t: Floats, there: Bools) -> tuple[Floats, Bools]:
        step = np.zeros_like(t)
        for _ in range(NEWTON):
            hessian = self._hessian(t)
            there = there & _definite(hessian)
            safe = np.where(there[:, None, None], hessian, np.eye(2))
            step = np.clip(_newton(safe, self._gradient(t)), -STEP, STEP)
            step = np.where(there[:, None], step, 0.0)
            t = t + step
        return t, there & _definite(self._hessian(t)) & np.all(np.abs(step) < 1e-6, axis=1)

    def _gradient(self, t: Floats) -> Floats:
        a, b = t.T
        _, p, q, pp, pq, qq, ppp, ppq, pqq, qqq = self.terms.T
        first = p + 2 * pp * a + pq * b + 3 * ppp * a**2 + 2 * ppq * a * b + pqq * b**2
        second = q + pq * a + 2 * qq * b + ppq * a**2 + 2 * pqq * a * b + 3 * qqq * b**2
        return np.stack([first, second], axis=1)

    def _hessian(self, t: Floats) -> Floats:
        a, b = t.T
        _, _, _, pp, pq, qq, ppp, ppq, pqq, qqq = self.terms.T
        first = 2 * pp + 6 * ppp * a + 2 * ppq * b
        mixed = pq + 2 * ppq * a + 2 * pqq * b
        second = 2 * qq + 2 * pqq * a + 6 * qqq * b
        return np.stack([first, mixed, mixed, second], axis=1).reshape(-1, 2, 2)


def find_windows(
    log2: Floats,
    losses: Floats,
    spacing: Floats,
    *,
    reach: float,
    least: int,
    tolerance: float,
    wall: float,
) -> Windows:
    """Returns the windows of R clouds over the same points, with the same ones diverged.

    Args:
        log2: positions, shape [K, 2].
        losses: losses, +inf where diverged, shape [R, K]; every cloud has a finite one.
        spacing: grid step of each hyperparameter, shape [2].
        reach: grid steps on each side of the lowest point that belong to the window.
        least: points that a window has at least, the nearest first, so far as there are any.
        tolerance, wall: as in :func:`find_fit_windows`.
    """
    finite = np.isfinite(losses[0])
    lowest = np.argmin(losses, axis=1)
    scaled = log2 / spacing
    far = np.max(np.abs(scaled[:, None, :] - scaled[None, :, :]), axis=2)
    far = np.where(finite[None, :], far, np.inf)
    enough = np.sort(far, axis=1)[:, min(least, int(finite.sum())) - 1]
    inside = far <= np.maximum(reach, enough)[:, None] + 1e-6
    inside = inside[lowest]
    if tolerance > 0:
        inside |= losses <= np.min(losses, axis=1, keepdims=True) + tolerance
    return Windows(
        lowest=lowest,
        weights=fall_off(losses, lowest, inside, tolerance, wall)[0],
        low=np.min(np.where(inside[:, :, None], log2, np.inf), axis=1),
        high=np.max(np.where(inside[:, :, None], log2, -np.inf), axis=1),
    )


def fit_paraboloids(log2: Floats, losses: Floats, weights: Floats) -> Surfaces:
    """Returns the paraboloids of least weighted squares.

    Where the weighted points do not determine one it comes back flat, as one without a minimum.

    Args:
        log2: positions, shape [K, 2].
        losses: losses, shape [R, K]; where the weight is 0 they may be infinite.
        weights: weights, shape [R, K].
    """
    return _fit(log2, losses, weights, None)


def fit_cubic_surfaces(
    log2: Floats, losses: Floats, weights: Floats, *, noise: float, prior: float
) -> Surfaces:
    """Returns surfaces whose cubic terms are shrunk as far as the noise makes them doubtful.

    The posterior mode if a cubic term a^i b^j is Normal(0, s^2), with s = ``prior`` times
    bend_a^(i/3) bend_b^(j/3) times how often the term occurs; the bends are the paraboloid's.

    Args:
        log2, losses, weights: as in :func:`fit_paraboloids`.
        noise: standard deviation of a loss; 0 where it is unknown.
        prior: how large the cubic terms typically are beside the quadratic ones, per octave.
    """
    flat = fit_paraboloids(log2, losses, weights).terms
    bends = np.maximum(flat[:, [3, 5]], np.finfo(float).tiny ** 0.25) ** (1 / 3)
    first = np.array([power for power, _ in POWERS[PARABOLOID:]])
    scale = bends[:, :1] ** first * bends[:, 1:] ** (3 - first) * ORDERINGS
    return _fit(log2, losses, weights, (noise / (prior * scale)) ** 2)


def surface_terms(log2: Floats, weights: Floats) -> Floats:
    """Returns the terms of the richest surface that weighted points can carry with points to
    spare, shape [K, 6 or 10]; fewer where they determine no paraboloid."""
    inside = weights > 0
    terms = _powers(log2 - log2[inside].mean(axis=0))
    for size in (len(POWERS), PARABOLOID, 3, 1):
        if inside.sum() > size and np.linalg.matrix_rank(terms[inside, :size]) == size:
            return terms[:, :size]
    return terms[:, :1]


def determined(log2: Floats, weights: Floats) -> bool:
    """Returns whether weighted points determine a paraboloid."""
    terms = _powers(log2 - log2.mean(axis=0))[weights > 0, :PARABOLOID]
    return bool(np.linalg.matrix_rank(terms) == PARABOLOID)


def _fit(log2: Floats, losses: Floats, weights: Floats, ridge: Floats | None) -> Surfaces:
    """Returns paraboloids without a ridge, cubic surfaces with one of shape [R, 4]."""
    size = PARABOLOID if ridge is None else len(POWERS)
    base = np.min(losses, axis=1)
    # About the middle of the lowest points: one origin for all keeps the products shared.
    origin = np.median(log2[np.argmin(losses, axis=1)], axis=0)
    terms = _powers(log2 - origin)[:, :size]
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(log2), -1)
    normal = (weights @ products).reshape(-1, size, size)
    if ridge is not None:
        cubic = np.arange(PARABOLOID, size)
        normal[:, cubic, cubic] += np.maximum(ridge, LEAST_RIDGE * normal[:, cubic, cubic])
    excess = np.where(weights > 0, losses, base[:, None]) - base[:, None]
    right = (weights * excess) @ terms
    singular = _is_singular(normal[:, :PARABOLOID, :PARABOLOID])
    normal[singular], right[singular] = np.eye(size), 0.0
    found = np.zeros((len(losses), len(POWERS)))
    found[:, :size] = np.linalg.solve(normal, right[..., None])[..., 0]
    found[:, 0] += base
    return Surfaces(origin=origin, terms=found)


def _is_singular(normal: Floats) -> Bools:
    """Returns whether symmetric matrices [R, p, p] are singular up to rounding."""
    scale = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), np.finfo(float).tiny))
    # Of a correlation matrix the determinant is 1 without any correlation, 0 if singular.
    correlations = normal / (scale[:, :, None] * scale[:, None, :])
    return np.asarray(np.linalg.det(correlations) < LEAST_DETERMINANT)


def _powers(t: Floats) -> Floats:
    return np.stack([t[:, 0] ** first * t[:, 1] ** second for first, second in POWERS], axis=1)


def _newton(hessian: Floats, gradient: Floats) -> Floats:
    return np.asarray(-np.linalg.solve(hessian, gradient[..., None])[..., 0])


def _definite(hessian: Floats) -> Bools:
    """Returns whether symmetric matrices [R, 2, 2] are positive definite, beyond rounding."""
    determinant = np.linalg.det(hessian)
    both = hessian[:, 0, 0] * hessian[:, 1, 1]
    return np.asarray((hessian[:, 0, 0] > 0) & (determinant > 1e-9 * both))
