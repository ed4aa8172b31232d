"""Landscape: what there is to know about tuning at larger scales, as plain constants."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeper.analysis.cost import RunCost

FINEST = 1 / 16
"""Octaves between grid points below which no published sweep has told losses apart."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How far the optimum moves between two scales.

    Attributes:
        size, rate: log2 optimum = limit + size scale^-rate; ``rate`` 0 for none.
        slope, error: octaves per doubling and its standard error, where no rate is known.
    """

    size: float = 0.0
    rate: float = 0.0
    slope: float = 0.0
    error: float = 0.0

    def squared(self, proxy: float, target: float) -> float:
        """Returns the expected squared distance between the optima of two scales, octaves^2."""
        power = self.size * (proxy**-self.rate - target**-self.rate)
        line = (self.slope**2 + self.error**2) * math.log2(target / proxy) ** 2
        return float(power**2 + line)


@dataclass(frozen=True, kw_only=True)
class Found:
    """An optimum that is known already.

    Attributes:
        scale: where it was found.
        error: its standard error in octaves.
    """

    scale: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """What an advice is computed from.

    Attributes:
        asymptote, amplitude, alpha: tuned loss = asymptote + amplitude scale^-alpha.
        curvature: second derivative of the loss at the optimum, per octave^2.
        movement: how far the optimum moves.
        cost: cost of a run.
        hyperparameters: how many are tuned together, each over the same range.
        octaves: width of the range that is searched.
        smallest: smallest scale that may serve as a proxy.
        whole: whether scales are whole numbers.
        noise: standard deviation of the loss of one run; 0 where unknown.
        found: the optimum that is known already; None if there is none.
        finest: finest resolution of a grid, in octaves; finer ones cost runs and gain nothing
            that could be measured.
    """

    asymptote: float
    amplitude: float
    alpha: float
    curvature: float
    movement: Movement
    cost: RunCost
    hyperparameters: int
    octaves: float
    smallest: float
    whole: bool
    noise: float = 0.0
    found: Found | None = None
    finest: float = FINEST

    def tuned(self, scale: float) -> float:
        """Returns the loss of a perfectly tuned run."""
        return float(self.asymptote + self.amplitude * scale**-self.alpha)

    def price(self, squared: float) -> float:
        """Returns the loss of being off by a mean squared distance in every hyperparameter."""
        return self.hyperparameters * self.curvature / 2 * squared
