"""Standard errors of tuned losses: what the noise of single runs does to a fitted minimum.

A fitted minimum is to first order a weighted sum of the seed means of its curve. Where all its
points ran with the same seeds, the same sum over the runs of each seed gives one value a seed, and
their spread holds both what a seed adds to all points alike and what it adds to each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sweeper.analysis.estimator import Estimator
from sweeper.analysis.noise import LEAST_REPLICATE_DOF, Noise
from sweeper.analysis.points import Curve, Floats

NUDGE = 1e-5
"""Share of a curve's range by which a loss is moved to see how the minimum follows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """The tuned loss of a curve.

    Attributes:
        curve: the curve that it was read from.
        log2: log2 of the best hyperparameter.
        loss: the tuned loss.
        bound: True where it is the lowest loss at an edge of the grid or beside a divergence.
        weights: d loss / d seed mean of every point, shape [K].
        noise: noise of single runs; None where only seeds can tell it.
    """

    curve: Curve
    log2: float
    loss: float
    bound: bool
    weights: Floats = field(repr=False)
    noise: Noise | None

    @property
    def seeds(self) -> int:
        """Smallest number of seeds at a point that the loss depends on."""
        return int(self.curve.counts[self.weights != 0].min())

    def by_seed(self) -> dict[int, float]:
        """Returns the loss by seed; empty where its points have different seeds, or one."""
        inside = [int(k) for k in np.flatnonzero(self.weights)]
        if len({self.curve.seeds[k] for k in inside}) > 1 or self.seeds < 2:
            return {}
        losses = np.asarray(sum(self.weights[k] * self.curve.runs[k] for k in inside))
        return dict(zip(self.curve.seeds[inside[0]], losses.tolist(), strict=True))


def read_minimum(curve: Curve, estimator: Estimator, noise: Noise, error: float) -> Minimum:
    """Returns the tuned loss of a curve that has a minimum.

    Args:
        curve: the curve.
        estimator: how the minimum is read off the points.
        noise: noise of single runs.
        error: standard error of a seed mean, for the estimator.
    """
    finite = np.flatnonzero(np.isfinite(curve.means))
    count = len(finite)
    step = NUDGE * float(np.ptp(curve.means[finite]))
    moved = np.tile(curve.means, (1 + 2 * count, 1))
    moved[1 + np.arange(count), finite] += step
    moved[1 + count + np.arange(count), finite] -= step
    vertices = estimator(curve.log2, moved, error)
    up = (vertices.loss[1 : 1 + count] - vertices.loss[0]) / step
    down = (vertices.loss[0] - vertices.loss[1 + count :]) / step
    weights = np.zeros(len(curve.means))
    # Where two points tie, one of the two moves makes the window jump; the other tells the slope.
    weights[finite] = np.where(np.abs(up) < np.abs(down), up, down)
    return Minimum(
        curve=curve,
        log2=float(vertices.log2[0]),
        loss=float(vertices.loss[0]),
        bound=bool(vertices.low[0] < vertices.high[0]),
        weights=weights,
        noise=noise,
    )


def lone_minimum(curve: Curve) -> Minimum:
    """Returns the seed mean of a curve of one point, where there is nothing to tune."""
    return Minimum(
        curve=curve,
        log2=float(curve.log2[0]),
        loss=float(curve.means[0]),
        bound=False,
        weights=np.ones(1),
        noise=None,
    )


def loss_errors(minima: Sequence[Minimum]) -> tuple[list[float], float]:
    """Returns the standard errors of tuned losses, and the degrees of freedom behind them.

    The spread between seeds is pooled over all minima; where a minimum has none, or too few
    degrees of freedom are there and something else tells the noise, that of single runs is
    taken. NaN where nothing tells it.
    """
    between = [np.array(list(minimum.by_seed().values())) for minimum in minima]
    squares = sum(float(np.sum((b - b.mean()) ** 2)) for b in between if len(b))
    dof = float(sum(len(b) - 1 for b in between if len(b)))
    errors: list[float] = []
    used: set[float] = set()
    for minimum, values in zip(minima, between, strict=True):
        noise = minimum.noise if minimum.noise is not None and minimum.noise.dof > 0 else None
        if len(values) and (dof >= LEAST_REPLICATE_DOF or noise is None):
            errors.append(math.sqrt(squares / dof / len(values)))
            used.add(dof)
        elif noise is not None:
            share = float(np.sum(minimum.weights**2 / minimum.curve.counts))
            errors.append(noise.level * math.sqrt(share))
            used.add(noise.dof)
        else:
            errors.append(math.nan)
    return errors, min(used, default=math.inf)
