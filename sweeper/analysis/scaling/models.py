"""How an optimum may depend on the scales: not at all, as a power law, or levelling off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sweeper.analysis.optimum import Floats
from sweeper.analysis.scaling.regression import fill_bounds, fit_planes

ModelName = Literal["constant", "power", "offset"]
"""What log2 of the optimum is in n places with scales s_i, u_i = log2 s_i:

- ``constant``: k.
- ``power``: k + sum_i e_i u_i, a power law in every scale.
- ``offset``: limit + amplitude s^-rate, which levels off as the one scale grows."""

RATES = np.geomspace(0.08, 4.0, 48)
"""Rates that the search for an offset begins with. Slower ones cannot be told from a power law,
faster ones not from a constant behind the first scale."""

GOLDEN = (np.sqrt(5) - 1) / 2
STEPS = 32
"""Golden sections of the bracket round the best rate: to 2e-7 of its width."""


class Model(Protocol):
    """A form of the rule.

    Attributes:
        name: its name.
        size: number of its parameters q.
    """

    @property
    def name(self) -> ModelName:
        """Name of the form."""

    @property
    def size(self) -> int:
        """Number of parameters q."""

    def fit(self, u: Floats, low: Floats, high: Floats, sd: Floats) -> Floats:
        """Returns the parameters of highest likelihood, shape [R, q]; NaN where left open.

        Args:
            u: log2 of the scales of n places, shape [n, s].
            low, high: what is known of log2 optimum there, shape [R, n].
            sd: standard deviations, positive, shape [n].
        """

    def values(self, parameters: Floats, u: Floats) -> Floats:
        """Returns log2 optima at places of shape [t, s] by parameters [R, q], shape [R, t]."""


@dataclass(frozen=True)
class Constant:
    """The same optimum at every place; one parameter, k."""

    name: ModelName = "constant"
    size: int = 1

    def fit(self, u: Floats, low: Floats, high: Floats, sd: Floats) -> Floats:
        """Returns k, shape [R, 1]."""
        return fit_planes(np.ones((len(u), 1)), low, high, sd)

    def values(self, parameters: Floats, u: Floats) -> Floats:
        """Returns k everywhere, shape [R, t]."""
        return np.repeat(parameters, len(u), axis=1)


@dataclass(frozen=True)
class Power:
    """A power law in ``scales`` scales; parameters k, e_1 .. e_s."""

    scales: int
    name: ModelName = "power"

    @property
    def size(self) -> int:
        """Number of parameters: one more than scales."""
        return self.scales + 1

    def fit(self, u: Floats, low: Floats, high: Floats, sd: Floats) -> Floats:
        """Returns k and the exponents, shape [R, s + 1]."""
        # Centred, so that scales near 2^30 cost no digits.
        centre = u.mean(axis=0)
        found = fit_planes(_with_ones(u - centre), low, high, sd)
        found[:, 0] -= found[:, 1:] @ centre
        return found

    def values(self, parameters: Floats, u: Floats) -> Floats:
        """Returns k + sum_i e_i u_i, shape [R, t]."""
        return np.asarray(parameters @ _with_ones(u).T)


@dataclass(frozen=True)
class Offset:
    """An optimum that levels off along one scale; parameters limit, amplitude, rate.

    Attributes:
        reference: log2 of the scale at which the amplitude is told.
    """

    reference: float
    name: ModelName = "offset"
    size: int = 3

    def fit(self, u: Floats, low: Floats, high: Floats, sd: Floats) -> Floats:
        """Returns limit, amplitude at the reference and rate, shape [R, 3].

        For a given rate the other two are linear; the rate is searched on a grid and refined
        by golden sections, with bounds filled in by expectation maximisation.
        """
        v = u[:, 0] - self.reference
        filled = fill_bounds(low, high, sd, lambda y: self.values(_levelling(v, y, sd), u))
        found = _levelling(v, filled, sd)
        bounded = np.sum(np.isfinite(low) & np.isfinite(high), axis=1)
        return np.where((bounded >= self.size)[:, None], found, np.nan)

    def values(self, parameters: Floats, u: Floats) -> Floats:
        """Returns limit + amplitude 2^(-rate (u - reference)), shape [R, t]."""
        limit, amplitude, rate = parameters.T[:, :, None]
        return np.asarray(limit + amplitude * np.exp2(-rate * (u[:, 0] - self.reference)))


def _with_ones(u: Floats) -> Floats:
    return np.concatenate([np.ones((len(u), 1)), u], axis=1)


def _levelling(v: Floats, y: Floats, sd: Floats) -> Floats:
    """Returns limit, amplitude and rate of y = limit + amplitude 2^(-rate v), shape [R, 3]."""
    weights = sd**-2 / np.sum(sd**-2)
    centred = y - (y @ weights)[:, None]

    def left(rate: Floats) -> Floats:
        """Weighted squares that a line in 2^(-rate v) leaves; rate [R] or [R, 1]."""
        return _line(v, centred, weights, rate)[2]

    squares = np.stack([left(np.full(len(y), rate)) for rate in RATES], axis=1)
    best = np.argmin(squares, axis=1)
    below, above = RATES[np.maximum(best - 1, 0)], RATES[np.minimum(best + 1, len(RATES) - 1)]
    rate = _golden(left, below, above)
    slope, mean, _ = _line(v, centred, weights, rate)
    return np.stack([y @ weights - slope * mean, slope, rate], axis=1)


def _line(v: Floats, y: Floats, weights: Floats, rate: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns slope of centred y by z = 2^(-rate v), the mean of z, and the squares left."""
    z = np.exp2(-rate[:, None] * v)
    mean = z @ weights
    z = z - mean[:, None]
    across = z**2 @ weights
    slope = (z * y) @ weights / across
    return slope, mean, (y - slope[:, None] * z) ** 2 @ weights


def _golden(value: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Returns where functions with one minimum between low and high are least, shape [R]."""
    for _ in range(STEPS):
        step = GOLDEN * (high - low)
        left, right = high - step, low + step
        lower = value(left) <= value(right)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    return np.asarray((low + high) / 2)
