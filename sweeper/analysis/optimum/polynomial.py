"""Weighted least-squares polynomials, their higher terms shrunk by the noise, many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sweeper.analysis.optimum.curve import Floats

LEAST_RIDGE = 1e-9
"""Penalty on a shrunk term relative to its own weight, at the least: decides in favour of the
lower terms where there are too few points for all."""

MOST_RIDGE = 1e9
"""The same at the most: it leaves nothing of a term, and more would cost the others their
digits."""

CELLS = 32
"""Parts into which a window is cut to find the minima of a polynomial in it."""

NEWTON_ROUNDS = 5
"""Each doubles the digits; a cell is narrow, so the first has two already."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Polynomials:
    """R polynomials: loss = sum_k coefficients_k t^k with t = log2 - origin.

    Attributes:
        origin: log2 position that t is measured from, shape [R].
        coefficients: in loss / octave^k, shape [R, order + 1].
    """

    origin: Floats
    coefficients: Floats

    def at(self, log2: Floats) -> Floats:
        """Returns the losses at positions of shape [K] or [R, K], shape [R, K]."""
        return self._derivative(log2 - self.origin[:, None], 0)

    def part(self, rows: slice) -> Polynomials:
        """Returns some of the polynomials."""
        return Polynomials(origin=self.origin[rows], coefficients=self.coefficients[rows])

    def vertices(self) -> tuple[Floats, Floats]:
        """Returns the log2 positions of the minima of parabolas and the second derivatives
        there, shape [R] each; NaN where a parabola has none."""
        slope, bend = self.coefficients[:, 1], self.coefficients[:, 2]
        upward = np.where(bend > 0, bend, np.nan)
        return self.origin - slope / (2 * upward), 2 * upward

    def minima(self, left: Floats, right: Floats) -> tuple[Floats, Floats]:
        """Returns the log2 positions of the lowest minima inside windows and the second
        derivatives there, shape [R] each.

        A polynomial that rises or falls throughout has its minimum at that end of the window;
        NaN where it has neither.

        Args:
            left, right: ends of the windows in log2, shape [R].
        """
        share = np.linspace(0.0, 1.0, CELLS + 1)
        t = (left - self.origin)[:, None] + (right - left)[:, None] * share
        values = self._derivative(t, 0)
        before, after = values[:, :-2], values[:, 2:]
        inner = values[:, 1:-1]
        lowest = np.where((inner < before) & (inner <= after), inner, np.inf)
        rows, cell = np.arange(len(t)), np.argmin(lowest, axis=1)
        place = self._polish(t[rows, cell], t[rows, cell + 1], t[rows, cell + 2])
        change = np.diff(values, axis=1)
        found = np.isfinite(lowest[rows, cell])
        place = np.where(found, place, np.nan)
        place = np.where(~found & (change > 0).all(axis=1), t[:, 0], place)
        place = np.where(~found & (change < 0).all(axis=1), t[:, -1], place)
        return place + self.origin, self._derivative(place[:, None], 2)[:, 0]

    def _polish(self, low: Floats, start: Floats, high: Floats) -> Floats:
        """Returns the roots of the derivatives between ``low`` and ``high`` by Newton's method,
        shape [R]."""
        t = start
        for _ in range(NEWTON_ROUNDS):
            slope = self._derivative(t[:, None], 1)[:, 0]
            bend = self._derivative(t[:, None], 2)[:, 0]
            step = np.divide(slope, bend, out=np.zeros_like(slope), where=bend > 0)
            t = np.clip(t - step, low, high)
        return t

    def _derivative(self, t: Floats, order: int) -> Floats:
        """Returns a derivative at t of shape [K] or [R, K], shape [R, K] (Horner's scheme)."""
        total = np.zeros(np.broadcast_shapes(t.shape, (len(self.origin), 1)))
        for power in range(self.coefficients.shape[1] - 1, order - 1, -1):
            total *= t
            total += math.perm(power, order) * self.coefficients[:, power, None]
        return total


def fit_parabolas(log2: Floats, losses: Floats, weights: Floats, origin: Floats) -> Polynomials:
    """Returns the parabolas that minimise sum_k w_k (loss_k - parabola(log2_k))^2.

    Fewer than three weighted points leave a parabola undetermined; it comes back flat
    (bend 0), so that it counts as one without a minimum.

    Args:
        log2: positions, shape [K].
        losses: losses, shape [R, K]; where the weight is 0 they may be infinite.
        weights: weights, shape [R, K].
        origin: where each parabola is centred, shape [R], for the sake of precision.
    """
    return _sums(log2, losses, weights, origin, order=2).fit()


@dataclass(frozen=True, kw_only=True, eq=False)
class Unseen:
    """What the terms beyond the parabola are where the points do not say.

    Drawn from a standard normal, they make the fits of resamples draws from the posterior of the
    coefficients rather than its mode: points without spare ones among them leave these terms as
    wide as they are in curves at large, others determine them.

    Attributes:
        error: standard error of a loss, shape [R].
        terms: coefficients of t^3, t^4, ... in multiples of their typical sizes, shape [R, J].
    """

    error: Floats
    terms: Floats


def fit_shrunk(
    log2: Floats,
    losses: Floats,
    weights: Floats,
    origin: Floats,
    *,
    noise: Floats,
    priors: Sequence[float],
    unseen: Unseen | None = None,
) -> Polynomials:
    """Returns polynomials whose terms beyond the parabola are shrunk as far as the noise makes
    them doubtful.

    Minimises sum_k w_k (loss_k - polynomial(log2_k))^2 + sum_j (noise / (prior_j bend))^2
    coefficient_j^2 over j = 3, 4, ...: the posterior mode if each such coefficient is
    Normal(0, (prior_j bend)^2). Free of noise it is the plain polynomial, in strong noise the
    parabola, whose bend sets the scale of the priors.

    Args:
        log2, losses, weights, origin: as in :func:`fit_parabolas`.
        noise: standard deviation of a loss, shape [R]; 0 where it is unknown.
        priors: typical ratios of the coefficients of t^3, t^4, ... to that of t^2, in
            octave^-1, octave^-2, ...
        unseen: what the coefficients are taken to be where the points do not say; None for 0.
    """
    sums = _sums(log2, losses, weights, origin, order=2 + len(priors))
    bend = np.maximum(sums.fit().coefficients[:, 2], np.finfo(float).tiny ** 0.25)
    typical = bend[:, None] * np.array(priors)
    found = sums.fit(noise[:, None] / typical)
    if unseen is None:
        return found
    moved = sums.pulled(unseen.error[:, None] / typical, unseen.terms * typical)
    return replace(found, coefficients=found.coefficients + moved)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sums:
    """The weighted sums over the points of R curves that polynomials up to some order need.

    Attributes:
        origin: log2 position that t is measured from, shape [R].
        base: the smallest loss, shape [R]; losses are relative to it, so that a large offset
            costs no digits.
        scale: powers |t|^j of the weighted point that is farthest from the origin, shaped like
            ``moments``: t is in units of its |t|, so that a coarse grid costs no digits either;
            1 where fewer than three points have weight.
        enough: whether at least three points have weight, shape [R].
        moments: sum_k w_k t_k^j for j up to twice the order, shape [R, 2 order + 1].
        right: sum_k w_k loss_k t_k^j, shape [R, order + 1].
    """

    origin: Floats
    base: Floats
    scale: Floats
    enough: NDArray[np.bool_]
    moments: Floats
    right: Floats

    def fit(self, ridge: Floats | None = None) -> Polynomials:
        """Returns polynomials of order 2 + J under a ridge of shape [R, J] on the terms beyond
        the parabola; parabolas without one."""
        size = 3 if ridge is None else 3 + ridge.shape[1]
        penalty = None if ridge is None else self._penalty(ridge)
        coefficients = self._solved(self.right[:, :size], penalty)
        coefficients[:, 0] += self.base
        return Polynomials(origin=self.origin, coefficients=coefficients)

    def pulled(self, ridge: Floats, towards: Floats) -> Floats:
        """Returns by how much a ridge towards coefficients of the terms beyond the parabola,
        shape [R, J] both, moves the coefficients of a fit, shape [R, 3 + J]."""
        right = np.zeros((len(self.base), 3 + ridge.shape[1]))
        penalty = self._penalty(ridge)
        right[:, 3:] = penalty * towards * self.scale[:, 3 : right.shape[1]]
        return self._solved(right, penalty)

    def _penalty(self, ridge: Floats) -> Floats:
        """Returns the penalty of a ridge on the terms beyond the parabola in their units, between
        what decides in favour of the lower terms and what leaves nothing of the others, shape
        [R, J]."""
        higher = np.arange(3, 3 + ridge.shape[1])
        own = self.moments[:, 2 * higher]
        return np.clip((ridge / self.scale[:, higher]) ** 2, LEAST_RIDGE * own, MOST_RIDGE * own)

    def _solved(self, right: Floats, penalty: Floats | None) -> Floats:
        """Returns the coefficients in loss / octave^k that belong to a right side of shape [R, p]
        under a penalty on the terms beyond the parabola; 0 where fewer than three points have
        weight.

        Gaussian elimination of all R systems at once, many times faster than one by one; they
        are positive definite, so that none needs pivots.
        """
        size = right.shape[1]
        each = np.arange(size)
        rows = np.concatenate([self.moments.T[each[:, None] + each], right.T[:, None]], axis=1)
        if penalty is not None:
            rows[each[3:], each[3:]] += penalty.T
        rows[..., ~self.enough] = np.eye(size, size + 1)[..., None]
        for k in range(size):
            rows[k, k + 1 :] /= rows[k, k]
            rows[k + 1 :, k + 1 :] -= rows[k + 1 :, k, None] * rows[k, k + 1 :]
        solved = rows[:, -1]
        for k in range(size - 1, 0, -1):
            solved[:k] -= rows[:k, k] * solved[k]
        return np.asarray(solved.T / self.scale[:, :size])


def _sums(log2: Floats, losses: Floats, weights: Floats, origin: Floats, *, order: int) -> _Sums:
    enough = np.sum(weights > 0, axis=1) >= 3
    base = np.min(losses, axis=1)
    used = (weights > 0).any(axis=0)
    log2, losses, weights = log2[used], losses[:, used], weights[:, used]
    target = np.where(weights > 0, losses, base[:, None]) - base[:, None]
    moments = np.empty((len(losses), 2 * order + 1))
    right = np.empty((len(losses), order + 1))
    scale = np.empty_like(moments)
    for place in np.unique(origin):
        rows = np.flatnonzero(origin == place)
        inside = weights[rows]
        t = log2 - place
        powers = t[:, None] ** np.arange(2 * order + 1)
        farthest = np.argmax((inside > 0) * np.abs(t), axis=1)
        scale[rows] = np.abs(powers)[farthest]
        moments[rows] = inside @ powers
        right[rows] = (inside * target[rows]) @ powers[:, : order + 1]
    scale[~enough] = 1.0
    return _Sums(
        origin=origin,
        base=base,
        scale=scale,
        enough=enough,
        moments=moments / scale,
        right=right / scale[:, : order + 1],
    )
