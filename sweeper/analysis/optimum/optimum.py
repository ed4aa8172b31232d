"""The optimum of one scale: estimate, interval, flags and the curve it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sweeper.analysis.optimum import cubics
from sweeper.analysis.optimum.curve import Floats, equal_runs
from sweeper.analysis.optimum.estimators import Shape, Vertices
from sweeper.analysis.optimum.noise import NoiseSource

Flag = Literal[
    "censored_low",
    "censored_high",
    "cliff",
    "bimodal",
    "flat",
    "sparse",
    "poor_fit",
    "few_points",
    "conditional",
]
"""What is wrong with an optimum:

- ``censored_low``, ``censored_high``: the lowest loss is at the edge of the grid; the optimum
  lies at or beyond it, and enters a drift as a bound.
- ``cliff``: the lowest loss is next to a diverged point; the optimum lies before that point,
  and enters a drift as a bound.
- ``bimodal``: two separated minima are closer in loss than the noise; the interval holds both.
- ``flat``: the interval is wider than the grid, or the fit has no minimum; a fit without a
  minimum enters a drift as a range.
- ``sparse``: neighbours of the minimum have no result, and holes were allowed.
- ``poor_fit``: the usual fit contradicts its own points; fewer of them are fitted, and the
  interval is wider. Where the lowest three contradict any fit nothing is fitted: the optimum is
  the lowest point, its interval holds both neighbours.
- ``few_points``: fewer than five points were fitted; the interval holds what shapes that they do
  not show would do.
- ``conditional``: another hyperparameter that was tuned at every value of this one is best at an
  edge of its values, or beside a divergence: this is the best value at that edge."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resamples:
    """The resampled curves behind an interval, as they were drawn.

    Attributes:
        losses: seed means of every resample, shape [R, K].
        vertices: what the estimator says of them, before anything is corrected.
    """

    losses: Floats
    vertices: Vertices


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """The best value of one hyperparameter under one setting of all else, with its resamples.

    Attributes:
        log2: log2 of the best value; the lowest grid point where it is only bounded.
        low, high: 95% interval in log2; -inf or +inf where the data set no bound.
        loss: fitted loss at the optimum.
        loss_low, loss_high: its 95% interval.
        curvature: second derivative of the loss there, per octave^2, other hyperparameters of a
            joint optimum tuned again; NaN if unknown.
        estimator: name of the estimator behind ``log2``.
        noise_source: where the noise of the interval comes from.
        noise_dof: degrees of freedom behind the noise of the interval.
        flags: what is wrong with it, see :data:`Flag` and :data:`JointFlag`.
        answered, declared: trials with a result, and trials declared.
        seeds: smallest number of seeds at a point of the fitted window.
        draws: resampled vertices by estimator, all from the same random draws: R of the
            estimator behind ``log2``, of others the first of them or all.
        measured: the vertex of the measured points by estimator, R = 1.
    """

    log2: float
    low: float
    high: float
    loss: float
    loss_low: float
    loss_high: float
    curvature: float
    estimator: str
    noise_source: NoiseSource
    noise_dof: float
    flags: tuple[str, ...]
    answered: int
    declared: int
    seeds: int
    draws: Mapping[str, Vertices] = field(repr=False)
    measured: Mapping[str, Vertices] = field(repr=False)

    @property
    def located(self) -> bool:
        """True where the optimum is one place rather than a bound or a range."""
        vertex = self.measured[self.estimator]
        return bool(vertex.low[0] == vertex.high[0])

    @property
    def value(self) -> float:
        """The best hyperparameter itself."""
        return float(2.0**self.log2)

    @property
    def censored(self) -> bool:
        """True where the optimum is a bound: at a grid edge or beside a divergence."""
        return any(flag in self.flags for flag in ("censored_low", "censored_high", "cliff"))


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaleEstimate(Estimate):
    """The estimate of one scale, as a drift is fitted to it.

    Attributes:
        scale: value of the scale.
    """

    scale: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum(ScaleEstimate):
    """The optimum of one scale, with the curve that it was read from.

    Attributes:
        points: points of the grid with a finite loss.
        noise: standard deviation of the loss of one run, pooled over scales.
        flags: see :data:`Flag`.
        estimators: log2 optimum by estimator, for the spread.
        grid: log2 positions of all points with a result, rising, shape [K].
        losses: seed means there, +inf where diverged, shape [K].
        shape: the polynomial near the minimum (R = 1); None where the estimator fits none.
        resamples: the curves behind the draws.
        tuned: the best values there of other hyperparameters that were tuned at every value of
            this one; empty where none was.
    """

    points: int
    noise: float
    flags: tuple[Flag, ...]
    estimators: Mapping[str, float]
    grid: Floats = field(repr=False)
    losses: Floats = field(repr=False)
    shape: Shape | None = field(repr=False)
    resamples: Resamples = field(repr=False)
    tuned: Mapping[str, float] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Share of the declared trials that have a result."""
        return self.answered / self.declared

    def curve(self, log2: Floats) -> Floats:
        """Returns fitted losses at log2 positions of any shape.

        NaN outside the measured range and between a finite and a diverged point, +inf at and
        between diverged points. Within, ``quadratic`` and ``skewed`` give their polynomial near
        the minimum and go over, as the weights of the fit fall, to the shape-preserving
        interpolation of the seed means; ``spline`` gives the spline, the others the
        interpolation.
        """
        places = np.asarray(log2, dtype=np.float64)
        means = self.losses[None, :]
        return self._losses_at(places.reshape(1, -1), means, self.shape).reshape(places.shape)

    def regret_draws(self, log2: float) -> Floats:
        """Returns the loss at a place less that at the optimum in every resample, shape [R]: NaN
        where the place, as far from the optimum as it is in the resample, was not measured."""
        return self._regrets(self._moved_along(log2))

    def least_regret_draws(self, log2: float) -> Floats:
        """Returns what is lost at a place at least in every resample, shape [R]: where the place
        was not measured, what the last point on the way to it loses."""
        parts = (self.grid[part] for part in equal_runs(np.isfinite(self.losses)))
        around = [x for x in parts if x[0] <= self.log2 <= x[-1]]
        if not around:
            return self.regret_draws(log2)
        known = around[0]
        places = self._moved_along(log2)
        unknown = np.isnan(self._regrets(places))
        return self._regrets(np.where(unknown, np.clip(places, known[0], known[-1]), places))

    def _moved_along(self, log2: float) -> Floats:
        """Returns where a place lies in every resample, as far from the optimum as it is there."""
        drawn, vertices = self.draws[self.estimator], self.resamples.vertices
        return np.asarray(log2 + vertices.log2 - drawn.log2, np.float64)

    def _regrets(self, places: Floats) -> Floats:
        vertices = self.resamples.vertices
        found = self._losses_at(places[:, None], self.resamples.losses, vertices.shape)
        return np.maximum(found[:, 0] - vertices.loss, 0.0)

    def _losses_at(self, places: Floats, losses: Floats, shape: Shape | None) -> Floats:
        """Returns the losses of R curves, shape [R, K], at places of each, shape [R, P]."""
        out = np.full(places.shape, np.nan)
        for part in equal_runs(np.isfinite(self.losses)):
            x = self.grid[part]
            within = (places >= x[0]) & (places <= x[-1])
            found = self._segment(part, np.clip(places, x[0], x[-1]), losses[:, part], shape)
            out[within] = found[within]
        return out

    def _segment(self, part: slice, places: Floats, y: Floats, shape: Shape | None) -> Floats:
        x = self.grid[part]
        if not np.isfinite(self.losses[part][0]):
            return np.full(places.shape, np.inf)
        if len(x) == 1:
            return np.broadcast_to(y[:, :1], places.shape)
        if self.estimator == "spline" and len(x) > 2:
            return cubics.spline(x, y).at(places)
        ends = np.searchsorted(x, [places.min(), places.max()], side="right") - 1
        first, last = np.clip(ends, 0, len(x) - 2).tolist()
        near = slice(max(0, first - 1), last + 3)  # the ends of the cells and their neighbours
        bare = shape is None or self.censored or not shape.weights[:, part].any()
        if shape is None or bare:
            return cubics.interpolation(x[near], y[:, near]).at(places)
        # The polynomial, plus the interpolated residuals of the points that it gave up.
        given_up = (1 - shape.weights[:, part][:, near]) * (y[:, near] - shape.fit.at(x[near]))
        return shape.fit.at(places) + cubics.interpolation(x[near], given_up).at(places)
