"""How an optimum may depend on the scales: not at all, as a power law, bent, or levelling off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sweeper.analysis.optimum import Floats
from sweeper.analysis.scaling.regression import fill_bounds, fit_planes

ModelName = Literal["constant", "power", "bent", "offset"]
"""What log2 of the optimum is in n places with scales s_i, u_i = log2 s_i:

- ``constant``: k.
- ``power``: k + sum_i e_i u_i, a power law in every scale.
- ``bent``: k + e u + b u^2 / 2, whose slope changes by b per doubling of the one scale.
- ``offset``: limit + amplitude s^-rate, which levels off as the one scale grows."""

RATES = np.geomspace(0.08, 4.0, 48)
"""Rates that the search for an offset begins with. Slower ones cannot be told from a power law,
faster ones not from a constant behind the first scale."""

GOLDEN = (np.sqrt(5) - 1) / 2
STEPS = 40
"""Golden sections of the bracket round the best rate: to 4e-9 of its width."""


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
class Bent:
    """A drift that changes along one scale; parameters: value and slope at the reference, bend.

    Attributes:
        reference: log2 of the scale where value and slope are told.
    """

    reference: float
    name: ModelName = "bent"
    size: int = 3

    def fit(self, u: Floats, low: Floats, high: Floats, sd: Floats) -> Floats:
        """Returns value, slope and bend, shape [R, 3]."""
        return fit_planes(self._design(u), low, high, sd)

    def values(self, parameters: Floats, u: Floats) -> Floats:
        """Returns value + slope v + bend v^2 / 2, v doublings from the reference, [R, t]."""
        return np.asarray(parameters @ self._design(u).T)

    def _design(self, u: Floats) -> Floats:
        v = u[:, 0] - self.reference
        return np.stack([np.ones_like(v), v, v**2 / 2], axis=1)


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

        Bounds are filled in by expectation maximisation round :func:`fit_levelling`.
        """
        t = (u[:, 0] - self.reference) * np.log(2)
        filled = fill_bounds(low, high, sd, lambda y: self.values(fit_levelling(t, y, sd), u))
        found = fit_levelling(t, filled, sd)
        bounded = np.sum(np.isfinite(low) & np.isfinite(high), axis=1)
        return np.where((bounded >= self.size)[:, None], found, np.nan)

    def values(self, parameters: Floats, u: Floats) -> Floats:
        """Returns limit + amplitude 2^(-rate (u - reference)), shape [R, t]."""
        limit, amplitude, rate = parameters.T[:, :, None]
        return np.asarray(limit + amplitude * np.exp2(-rate * (u[:, 0] - self.reference)))


def _with_ones(u: Floats) -> Floats:
    return np.concatenate([np.ones((len(u), 1)), u], axis=1)


def fit_levelling(t: Floats, y: Floats, sd: Floats, rates: Floats = RATES) -> Floats:
    """Returns limit, size and rate of y = limit + size e^(-rate t), shape [R, 3].

    For a given rate the other two are linear, and are eliminated (variable projection, Golub
    and Pereyra 1973); the rate is searched for.

    Args:
        t: natural logarithms of n scales, shape [n].
        y: values there, shape [R, n].
        sd: standard deviations of the values, positive, shape [n].
        rates: rates that the search begins with, rising, shape [C].
    """
    weight = (sd.min() / sd) ** 2
    share = weight / np.sum(weight)
    centred = (y - (y @ share)[:, None])[:, None, :]

    def line(rate: Floats) -> tuple[Floats, Floats]:
        """Returns z = e^(-rate t) less its mean, and the slope of y by it, at rates [R, C]."""
        z = np.exp(-rate[..., None] * t)
        z -= (z @ share)[..., None]
        return z, np.asarray((z * centred) @ share / (z**2 @ share))

    def cost(rate: Floats) -> Floats:
        z, slope = line(rate)
        return np.asarray((centred - slope[..., None] * z) ** 2 @ share)

    rate = find_least(cost, rates)
    size = line(rate[:, None])[1][:, 0]
    limit = y @ share - size * (np.exp(-rate[:, None] * t) @ share)
    return np.stack([limit, size, rate], axis=1)


def find_least(cost: Callable[[Floats], Floats], grid: Floats) -> Floats:
    """Returns where R costs are least: on a grid first, then by golden sections, shape [R].

    Args:
        cost: from places of shape [1, C] or [R, C] to costs [R, C].
        grid: places that the search begins with, rising; the ends bound it, shape [C].
    """
    best = np.argmin(cost(grid[None, :]), axis=1)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, len(grid) - 1)]
    for _ in range(STEPS):
        step = GOLDEN * (high - low)
        left, right = high - step, low + step
        lower = np.less_equal(*cost(np.stack([left, right], axis=1)).T)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    return np.asarray((low + high) / 2)
