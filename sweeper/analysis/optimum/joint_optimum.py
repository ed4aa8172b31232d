"""The joint optimum of two hyperparameters at one place, with its principal axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sweeper.analysis.optimum.cloud import Cloud
from sweeper.analysis.optimum.curve import Floats
from sweeper.analysis.optimum.estimators import Vertices
from sweeper.analysis.optimum.interval import quantile_interval
from sweeper.analysis.optimum.joint_estimators import MAIN
from sweeper.analysis.optimum.noise import NoiseSource
from sweeper.analysis.optimum.optimum import ScaleEstimate
from sweeper.analysis.optimum.surface import Surfaces, Windows

JointFlag = Literal[
    "censored_low", "censored_high", "cliff", "conditional", "bimodal", "flat", "ridge", "sparse"
]
"""What is wrong with one hyperparameter of a joint optimum:

- ``censored_low``, ``censored_high``, ``cliff``: the lowest loss is at an edge of the points, or
  beside a divergence; the optimum is a bound.
- ``conditional``: the other hyperparameter is only bounded, so that this one's best value is
  the best at that edge, and says nothing of the joint optimum.
- ``bimodal``: two separated minima are closer in loss than the noise.
- ``flat``: the interval is wider than the points, or the fit has no minimum.
- ``ridge``: along a principal axis the interval is longer than the points reach: only a
  combination of the two is determined.
- ``sparse``: neighbours of the minimum have no result, and holes were allowed."""


@dataclass(frozen=True, kw_only=True)
class PrincipalAxis:
    """A direction in which the loss is curved apart from the other.

    Attributes:
        direction: unit vector in octaves of the two hyperparameters, its largest part positive.
        curvature: second derivative of the loss along it, per octave^2.
        low, high: 95% interval of the optimum along it, in octaves from the optimum.
    """

    direction: tuple[float, float]
    curvature: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class JointOptimum:
    """The joint optimum at one place.

    Attributes:
        label: how messages name the place.
        names: the two hyperparameters.
        log2: log2 of the best values, shape [2]; the lowest point where they are only bounded.
        low, high: 95% intervals in log2, shape [2]; infinite where the data set no bound.
        loss: fitted loss at the optimum.
        loss_low, loss_high: its 95% interval.
        hessian: second derivatives of the loss, per octave^2, shape [2, 2]; NaN if unknown.
        axes: principal axes, the most curved first; none where the optimum is not located.
        points: points with a finite loss.
        noise: standard deviation of the loss of one run, pooled over places.
        noise_source, noise_dof: where it comes from, and its degrees of freedom.
        flags: what is wrong with each hyperparameter, see :data:`JointFlag`.
        answered, declared: trials with a result, and trials declared.
        seeds: smallest number of seeds at a point of the window.
        cloud: the measured points.
        fit: the paraboloid (R = 1).
        windows: the window that it was fitted in (R = 1).
        measured: what every estimator says, R = 1.
        draws: the same of every resample.
    """

    label: str
    names: tuple[str, str]
    log2: Floats
    low: Floats
    high: Floats
    loss: float
    loss_low: float
    loss_high: float
    hessian: Floats
    axes: tuple[PrincipalAxis, ...]
    points: int
    noise: float
    noise_source: NoiseSource
    noise_dof: float
    flags: tuple[tuple[JointFlag, ...], tuple[JointFlag, ...]]
    answered: int
    declared: int
    seeds: int
    cloud: Cloud = field(repr=False)
    fit: Surfaces = field(repr=False)
    windows: Windows = field(repr=False)
    measured: Mapping[str, Vertices] = field(repr=False)
    draws: Mapping[str, Vertices] = field(repr=False)

    @property
    def located(self) -> bool:
        """True where both hyperparameters have one place for their optimum."""
        vertex = self.measured[MAIN]
        return bool(np.all(vertex.low == vertex.high))

    def along(self, direction: Floats, scale: float) -> ScaleEstimate:
        """Returns the estimate of a combination of the two hyperparameters, the product of their
        powers, or of one of them.

        Args:
            direction: the power of each, shape [2]; [1, 0] is the first hyperparameter alone.
            scale: value of the scale.
        """
        measured, draws = (
            {name: _along(vertex, direction) for name, vertex in said.items()}
            for said in (self.measured, self.draws)
        )
        main, spread = measured[MAIN], draws[MAIN]
        low, high = quantile_interval(spread.low, spread.high)
        flags: tuple[JointFlag, ...] = tuple(dict.fromkeys((*self.flags[0], *self.flags[1])))
        alone = np.flatnonzero(direction)
        if len(alone) == 1 and direction[alone[0]] == 1:
            low, high = float(self.low[alone[0]]), float(self.high[alone[0]])
            flags = self.flags[alone[0]]
        return ScaleEstimate(
            scale=scale,
            log2=float(main.log2[0]),
            low=low,
            high=high,
            loss=self.loss,
            loss_low=self.loss_low,
            loss_high=self.loss_high,
            curvature=float(_along_hessian(self.hessian, direction)),
            estimator=MAIN,
            noise_source=self.noise_source,
            noise_dof=self.noise_dof,
            flags=flags,
            answered=self.answered,
            declared=self.declared,
            seeds=self.seeds,
            draws=draws,
            measured=measured,
        )

    def rise(self, log2: Floats) -> float | None:
        """Returns the loss at a setting [2] above that at the optimum; None if not measured.

        The paraboloid within its window, interpolated means elsewhere between the points.
        """
        inside = np.all((log2 >= self.windows.low[0]) & (log2 <= self.windows.high[0]))
        if inside and self.located:
            return float(self.fit.each_at(log2[None, :])[0] - self.loss)
        value = float(self.cloud.between(log2[None, :])[0])
        return value - self.loss if math.isfinite(value) else None


def flat_and_steep(optima: Sequence[JointOptimum]) -> tuple[Floats, Floats] | None:
    """Returns the directions of least and of most curvature of several joint optima, shape [2]
    each, the larger power being 1; None where no optimum is located.

    Those of the mean of their Hessians, each over its trace, so that every place counts alike.
    """
    known = [o.hessian for o in optima if o.located and np.isfinite(o.hessian).all()]
    if not known:
        return None
    mean = np.mean([hessian / np.trace(hessian) for hessian in known], axis=0)
    _, vectors = np.linalg.eigh(mean)
    flat, steep = (each / each[_lead(each)] for each in vectors.T)
    return flat, steep


def _lead(direction: Floats) -> int:
    """Returns which hyperparameter has the larger power, the first where they are alike."""
    return 0 if abs(direction[0]) >= abs(direction[1]) * (1 - 1e-3) else 1


def _along(vertex: Vertices, direction: Floats) -> Vertices:
    """Returns what is said of the product of powers of the two hyperparameters."""
    used = direction != 0
    powers = direction[used]
    ends = np.stack([vertex.low[:, used] * powers, vertex.high[:, used] * powers])
    return Vertices(
        log2=vertex.log2 @ direction,
        low=ends.min(axis=0).sum(axis=1),
        high=ends.max(axis=0).sum(axis=1),
        loss=vertex.loss,
        curvature=_along_hessian(vertex.curvature, direction),
    )


def _along_hessian(hessian: Floats, direction: Floats) -> Floats:
    """Returns the curvature in a combination with all else tuned again: of [..., 2, 2], [...]."""
    first, second = direction
    mixed = hessian[..., 0, 1]
    spread = first**2 * hessian[..., 1, 1] + second**2 * hessian[..., 0, 0]
    determinant = hessian[..., 0, 0] * hessian[..., 1, 1] - mixed**2
    return np.asarray(determinant / (spread - 2 * first * second * mixed))
