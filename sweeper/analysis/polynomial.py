"""Weighted least-squares parabolas and shrunken cubics, many at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweeper.analysis.points import Floats

LEAST_RIDGE = 1e-9
"""Penalty on the cubic term relative to its own weight, at the least: decides in favour of the
parabola where three points or fewer leave the cubic term open."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Polynomials:
    """R polynomials: loss = constant + slope t + bend t^2 + skew t^3 with t = log2 - origin.

    Attributes:
        origin: log2 position that t is measured from, shape [R].
        constant, slope, bend, skew: coefficients in loss / octave^k, shape [R].
    """

    origin: Floats
    constant: Floats
    slope: Floats
    bend: Floats
    skew: Floats

    def minima(self) -> tuple[Floats, Floats]:
        """Returns the log2 positions of the local minima and the second derivatives there.

        NaN where a polynomial has no minimum; shape [R] each.
        """
        root = np.sqrt(np.maximum(self.bend**2 - 3 * self.skew * self.slope, 0.0))
        # The root of the derivative where the second derivative is +2 root; this form of it
        # stays exact as the cubic term vanishes.
        below = self.bend + root
        there = (root > 0) & (below > 0)
        place = self.origin - self.slope / np.where(there, below, np.nan)
        return place, np.where(there, 2 * root, np.nan)

    def at(self, log2: Floats) -> Floats:
        """Returns the losses at positions of shape [K] or [R, K], shape [R, K]."""
        t = log2 - self.origin[:, None]
        upper = self.bend[:, None] + self.skew[:, None] * t
        return np.asarray(self.constant[:, None] + (self.slope[:, None] + upper * t) * t)


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
    return _fit(log2, losses, weights, origin, None)


def fit_cubics(
    log2: Floats, losses: Floats, weights: Floats, origin: Floats, *, noise: float, prior: float
) -> Polynomials:
    """Returns cubics whose cubic term is shrunk as far as the noise makes it doubtful.

    Minimises sum_k w_k (loss_k - cubic(log2_k))^2 + (noise / (prior bend))^2 skew^2: the
    posterior mode if the skew is Normal(0, (prior bend)^2). Free of noise it is the plain
    cubic, in strong noise the parabola, whose bend sets the scale of the prior.

    Args:
        log2, losses, weights, origin: as in :func:`fit_parabolas`.
        noise: standard deviation of a loss; 0 where it is unknown.
        prior: how large skew / bend typically is, per octave.
    """
    parabolas = fit_parabolas(log2, losses, weights, origin)
    bend = np.maximum(parabolas.bend, np.finfo(float).tiny ** 0.25)
    return _fit(log2, losses, weights, origin, (noise / (prior * bend)) ** 2)


def _fit(
    log2: Floats, losses: Floats, weights: Floats, origin: Floats, ridge: Floats | None
) -> Polynomials:
    """Returns parabolas without a ridge, cubics with one of shape [R]."""
    size = 3 if ridge is None else 4
    enough = np.sum(weights > 0, axis=1) >= 3
    t = log2 - origin[:, None]
    powers = np.stack([t**power for power in range(size)], axis=-1)
    # Losses relative to the smallest: a large offset in the loss costs no digits.
    base = np.min(losses, axis=1)
    target = np.where(weights > 0, losses, base[:, None]) - base[:, None]
    weighted = powers * weights[..., None]
    normal = np.einsum("rki,rkj->rij", weighted, powers)
    if ridge is not None:
        normal[:, 3, 3] += np.maximum(ridge, LEAST_RIDGE * normal[:, 3, 3])
    normal[~enough] = np.eye(size)
    right = np.einsum("rki,rk->ri", weighted, target)
    right[~enough] = 0.0
    solution = np.linalg.solve(normal, right[..., None])[..., 0]
    return Polynomials(
        origin=origin,
        constant=solution[:, 0] + base,
        slope=solution[:, 1],
        bend=solution[:, 2],
        skew=solution[:, 3] if size == 4 else np.zeros(len(base)),
    )
