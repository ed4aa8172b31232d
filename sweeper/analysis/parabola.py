"""Weighted least-squares parabolas, many at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweeper.analysis.basin import Bools
from sweeper.analysis.points import Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Parabolas:
    """R parabolas: loss = constant + slope t + bend t^2 with t = log2 - origin.

    Attributes:
        origin: log2 position that t is measured from, shape [R].
        constant, slope, bend: coefficients in loss, loss / octave and loss / octave^2, shape [R].
    """

    origin: Floats
    constant: Floats
    slope: Floats
    bend: Floats

    @property
    def convex(self) -> Bools:
        """True where the parabola has a minimum, shape [R]."""
        return np.asarray(self.bend > 0)

    def vertex(self) -> Floats:
        """Returns the log2 positions of the minima, NaN where there is none, shape [R]."""
        bend = np.where(self.convex, self.bend, np.nan)
        return np.asarray(self.origin - self.slope / (2 * bend))

    def at(self, log2: Floats) -> Floats:
        """Returns the losses at positions of shape [K] or [R, K], shape [R, K]."""
        t = log2 - self.origin[:, None]
        return self.constant[:, None] + (self.slope[:, None] + self.bend[:, None] * t) * t


def fit_parabolas(log2: Floats, losses: Floats, weights: Floats, origin: Floats) -> Parabolas:
    """Returns the parabolas that minimise sum_k w_k (loss_k - parabola(log2_k))^2.

    Fewer than three weighted points leave a parabola undetermined; it comes back flat
    (bend 0), so that it counts as one without a minimum.

    Args:
        log2: positions, shape [K].
        losses: losses, shape [R, K]; where the weight is 0 they may be infinite.
        weights: weights, shape [R, K].
        origin: where each parabola is centred, shape [R], for the sake of precision.
    """
    enough = np.sum(weights > 0, axis=1) >= 3
    t = log2 - origin[:, None]
    powers = np.stack([np.ones_like(t), t, t * t], axis=-1)
    # Losses relative to a weighted point: large offsets in the loss cost no digits.
    base = np.min(losses, axis=1, keepdims=True)
    target = np.where(weights > 0, losses, base) - base
    weighted = powers * weights[..., None]
    normal = np.einsum("rki,rkj->rij", weighted, powers)
    normal[~enough] = np.eye(3)
    right = np.einsum("rki,rk->ri", weighted, target)
    right[~enough] = 0.0
    solution = np.linalg.solve(normal, right[..., None])[..., 0]
    return Parabolas(
        origin=origin,
        constant=solution[:, 0] + base[:, 0],
        slope=solution[:, 1],
        bend=solution[:, 2],
    )
