"""The joint optimum of two hyperparameters at one place, with its principal axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sweeper.analysis.optimum.cloud import Cloud
from sweeper.analysis.optimum.curve import Floats
from sweeper.analysis.optimum.estimators import Vertices
from sweeper.analysis.optimum.joint_estimators import MAIN
from sweeper.analysis.optimum.noise import NoiseSource
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

    @property
    def curvatures(self) -> Floats:
        """Curvature in each hyperparameter with the other tuned again, shape [2]; NaN if
        unknown."""
        if not np.isfinite(self.hessian).all():
            return np.full(2, np.nan)
        return np.asarray(1 / np.diag(np.linalg.inv(self.hessian)))

    def vertices(self, axis: int) -> tuple[dict[str, Vertices], dict[str, Vertices]]:
        """Returns what estimators say of one hyperparameter, measured and resampled."""
        return (
            {name: _of_axis(vertex, axis) for name, vertex in self.measured.items()},
            {name: _of_axis(vertex, axis) for name, vertex in self.draws.items()},
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


def _of_axis(vertex: Vertices, axis: int) -> Vertices:
    hessian = vertex.curvature
    other = 1 - axis
    curvature = hessian[:, axis, axis] - hessian[:, 0, 1] ** 2 / hessian[:, other, other]
    return Vertices(
        log2=vertex.log2[:, axis],
        low=vertex.low[:, axis],
        high=vertex.high[:, axis],
        loss=vertex.loss,
        curvature=curvature,
    )
