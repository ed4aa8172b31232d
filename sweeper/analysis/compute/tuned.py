"""Tuned losses of a variant, one for every amount of compute, with their standard errors and what
they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from sweeper.analysis.compute.frontier import Frontier, FrontierPoint, frontier_of
from sweeper.analysis.optimum import (
    DEFAULT,
    LEAST_REPLICATE_DOF,
    SHARED,
    SKEW_REACH,
    BlowUp,
    Curve,
    Estimator,
    Floats,
    Noise,
    Reading,
    best_readings,
    doubts,
    estimator_named,
    locate_together,
    measured_curves,
    pooled_noise,
    require_columns,
    require_estimator,
    require_minimum,
    stated_noise,
    without_blow_ups,
)
from sweeper.errors import AnalysisRefusal
from sweeper.words import setting

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
        noise: noise of single runs; None where only seeds can tell it and none is stated.
        poor: True where the usual fit contradicts its points, and the lowest of them counts.
    """

    curve: Curve
    log2: float
    loss: float
    bound: bool
    weights: Floats = field(repr=False)
    noise: Noise | None
    poor: bool = False

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


def read_minimum(curve: Curve, estimator: Estimator, noise: Noise, reading: Reading) -> Minimum:
    """Returns the tuned loss of a curve that has a minimum.

    Args:
        curve: the curve.
        estimator: how the minimum is read off the points.
        noise: noise of single runs.
        reading: how the points are read under it.
    """
    finite = np.flatnonzero(np.isfinite(curve.means))
    count = len(finite)
    span = float(np.ptp(curve.means[finite])) or float(np.abs(curve.means[finite]).max()) or 1.0
    step = NUDGE * span
    moved = np.tile(curve.means, (1 + 2 * count, 1))
    moved[1 + np.arange(count), finite] += step
    moved[1 + count + np.arange(count), finite] -= step
    vertices = estimator(curve.log2, moved, reading)
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
        noise=stated_noise([curve.stated], [np.ones(1)]),
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


Cost = Literal["compute", "seconds"]
"""What a frontier is drawn against: training FLOPs of the model, or seconds on the device."""

_UNKNOWN = {
    "compute": "its training FLOPs are not known; name their column when importing, or compare "
    "by seconds",
    "seconds": "its device seconds are not known, as of all imported results; compare by compute",
}

_UNTUNED = "(untuned)"
"""Stands for the hyperparameter where none is swept: one point a scale."""


@dataclass(frozen=True, kw_only=True)
class TunedPoint:
    """The best loss at one scale and one amount of compute.

    Attributes:
        label: the scale and what else sets the point apart, for example ``width 128``.
        scale: value of the scale.
        settings: the other swept settings at the best of their values.
        value: best value of the hyperparameter; None where none is swept.
        flops: training FLOPs of one run; NaN if unknown.
        seconds: median device seconds of a completed run; NaN if unknown.
        loss: tuned loss.
        error: standard error of the loss; NaN where nothing tells the noise.
        bound: True where the optimum lies at an edge of the grid or beside a divergence, so that
            the tuned loss is at most this.
        seeds: smallest number of seeds behind the loss.
        by_seed: the tuned loss of each seed; empty where the points behind it have different
            seeds, or one.
        poor: True where the usual fit contradicts its points, so that the loss is the lowest that
            was observed.
    """

    label: str
    scale: float
    settings: Mapping[str, Any]
    value: float | None
    flops: float
    seconds: float
    loss: float
    error: float
    bound: bool
    seeds: int
    by_seed: Mapping[int, float]
    poor: bool = False

    def cost(self, cost: Cost) -> float:
        """Returns FLOPs or seconds; NaN if unknown."""
        return self.flops if cost == "compute" else self.seconds


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The tuned losses of one variant.

    Attributes:
        name: how messages name the variant.
        hyperparameter: what was tuned; None where the rows are tuned losses themselves.
        points: smallest scale first.
        dof: degrees of freedom behind the errors; infinite where none is known.
        left_out: label to the reason why a place has no tuned loss.
        blow_ups: runs that blew up without becoming infinite, or are left out as outliers.
    """

    name: str
    hyperparameter: str | None
    points: tuple[TunedPoint, ...]
    dof: float
    left_out: Mapping[str, str]
    blow_ups: tuple[BlowUp, ...] = ()

    def frontier(self, cost: Cost) -> Frontier:
        """Returns the frontier against a cost.

        Raises:
            AnalysisRefusal: a cost is unknown, or a loss is not positive.
        """
        unknown = [point.label for point in self.points if math.isnan(point.cost(cost))]
        if unknown:
            raise AnalysisRefusal(f"{self.name}, {unknown[0]}: {_UNKNOWN[cost]}")
        points = [
            FrontierPoint(
                label=point.label,
                compute=point.cost(cost),
                loss=point.loss,
                error=point.error,
                by_seed=point.by_seed,
            )
            for point in self.points
        ]
        return frontier_of(self.name, points, dof=self.dof)


def tuned_losses(
    frame: pd.DataFrame,
    *,
    name: str,
    scale: str,
    hyperparameter: str | None,
    settings: Sequence[str] = (),
    estimator: str = DEFAULT,
    allow_holes: bool = False,
) -> Tuned:
    """Returns the tuned loss of every scale, and of every amount of compute at that scale.

    A setting that leaves the compute alone is tuned on its grid; every value of one that changes
    it (a token budget, a depth) makes a point of its own.

    Args:
        frame: trials of one variant with the columns ``seed``, ``loss``, ``outcome``, ``flops``,
            ``device_seconds``, the scale, the hyperparameter and the settings.
        name: how messages name the variant.
        scale: column of the scale.
        hyperparameter: column whose optimum is read off; None takes rows as they are.
        settings: the other swept columns.
        estimator: how an optimum is read off its points.
        allow_holes: go on where neighbours of a minimum have no result.

    Raises:
        AnalysisRefusal: a column is missing, one cell has two results, or no scale has a tuned
            loss; the message says why.
        UnknownNameError: there is no such estimator.
    """
    require_estimator(estimator)
    given = [scale, *([] if hyperparameter is None else [hyperparameter]), *settings]
    require_columns(frame, [*given, "seed", "loss", "outcome", "flops", "device_seconds"])
    left_out: dict[str, str] = {}
    blow_ups: list[BlowUp] = []
    if estimator == SHARED and hyperparameter is not None:
        return _tuned_together(frame, name, scale, hyperparameter, settings)
    found: list[tuple[TunedPoint, Minimum]] = []
    for values, part in _groups(frame, settings):
        group = _Group(scale=scale, hyperparameter=hyperparameter, values=values, rows=part)
        found += group.tuned(estimator, allow_holes, left_out, blow_ups)
    if not found:
        raise AnalysisRefusal("\n".join(f"{name}: {why}" for why in left_out.values()))
    errors, dof = loss_errors([minimum for _, minimum in found])
    points = [replace(p, error=error) for (p, _), error in zip(found, errors, strict=True)]
    return Tuned(
        name=name,
        hyperparameter=hyperparameter,
        points=_named_apart(_best(points)),
        dof=dof,
        left_out=left_out,
        blow_ups=tuple(blow_ups),
    )


def _tuned_together(
    frame: pd.DataFrame, name: str, scale: str, hyperparameter: str, others: Sequence[str]
) -> Tuned:
    """Returns the tuned loss of every scale, read off all of them together."""
    located = locate_together(frame, scale=scale, hyperparameter=hyperparameter, others=others)
    left_out = {f"{scale} {value:g}": why for value, why in located.refused.items()}
    if not located.optima:
        raise AnalysisRefusal("\n".join(f"{name}: {why}" for why in left_out.values()))
    group = _Group(scale=scale, hyperparameter=hyperparameter, values={}, rows=frame)
    points = []
    for optimum in located.optima:
        flops, seconds = group.costs(optimum.scale, optimum.log2)
        point = TunedPoint(
            label=f"{scale} {optimum.scale:g}",
            scale=optimum.scale,
            settings=optimum.tuned,
            value=optimum.value,
            flops=flops,
            seconds=seconds,
            loss=optimum.loss,
            error=float(np.std(optimum.draws[SHARED].loss)),
            bound=optimum.censored,
            seeds=optimum.seeds,
            by_seed={},
        )
        points.append(point)
    return Tuned(
        name=name,
        hyperparameter=hyperparameter,
        points=tuple(points),
        dof=located.optima[0].noise_dof,
        left_out=left_out,
        blow_ups=located.blow_ups,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """Trials of one variant under fixed settings."""

    scale: str
    hyperparameter: str | None
    values: Mapping[str, Any]
    rows: pd.DataFrame

    def tuned(
        self,
        estimator: str,
        allow_holes: bool,
        left_out: dict[str, str],
        blow_ups: list[BlowUp],
    ) -> Iterator[tuple[TunedPoint, Minimum]]:
        """Yields the tuned losses; the scales without one go to ``left_out``, the runs that blew
        up to ``blow_ups``."""
        rows, column = self.rows, self.hyperparameter
        if column is None:
            rows, column = rows.assign(**{_UNTUNED: 1.0}), _UNTUNED
        kept = []
        for measured in measured_curves(rows, scale=self.scale, hyperparameter=column):
            curve, gone = (
                (measured, ()) if self.hyperparameter is None else without_blow_ups(measured)
            )
            blow_ups += gone
            why = _refusal(curve, lone=self.hyperparameter is None, allow_holes=allow_holes)
            if why is None:
                kept.append(curve)
            else:
                left_out[", ".join([curve.label, *_named_values(self.values)])] = why
        for minimum in _minima(kept, estimator, lone=self.hyperparameter is None):
            yield self._point(minimum), minimum

    def _point(self, minimum: Minimum) -> TunedPoint:
        flops, seconds = self.costs(minimum.curve.scale, minimum.log2)
        return TunedPoint(
            label=minimum.curve.label,
            scale=minimum.curve.scale,
            settings=self.values,
            value=None if self.hyperparameter is None else float(2.0**minimum.log2),
            flops=flops,
            seconds=seconds,
            loss=minimum.loss,
            error=math.nan,
            bound=minimum.bound,
            seeds=minimum.seeds,
            by_seed=minimum.by_seed(),
            poor=minimum.poor,
        )

    def costs(self, scale: float, log2: float) -> tuple[float, float]:
        """Returns the FLOPs at the point nearest to the optimum of a scale, and the median seconds
        of the completed runs at that compute: the setting itself hardly changes them."""
        rows = self.rows
        here = rows[(rows[self.scale] == scale) & (rows["outcome"] == "completed")]
        flops = here["flops"].to_numpy(dtype=np.float64)
        if self.hyperparameter is not None:
            away = np.abs(np.log2(here[self.hyperparameter].astype(float)) - log2)
            nearest = float(flops[int(np.argmin(away))])
        else:
            nearest = float(np.median(flops))
        alike = flops == nearest if math.isfinite(nearest) else np.ones(len(here), dtype=bool)
        seconds = here["device_seconds"].to_numpy(dtype=np.float64)[alike]
        return nearest, float(np.median(seconds))


def _minima(curves: Sequence[Curve], estimator: str, *, lone: bool) -> list[Minimum]:
    if lone:
        return [lone_minimum(curve) for curve in curves]
    if not curves:
        return []
    noise = pooled_noise(curves)
    found = []
    readings = best_readings(curves, noise)
    dips = doubts(curves, noise, readings)
    for curve, reading, dip in zip(curves, readings, dips, strict=True):
        inside = 0 < int(np.argmin(curve.means)) < len(curve.means) - 1
        poor = inside and (reading.reach < SKEW_REACH or not math.isnan(dip))
        read = estimator_named("argmin" if poor else estimator)
        found.append(replace(read_minimum(curve, read, noise, reading), poor=poor))
    return found


def _refusal(curve: Curve, *, lone: bool, allow_holes: bool) -> str | None:
    """Returns why a curve has no tuned loss, or None."""
    if not lone:
        try:
            require_minimum(curve, allow_holes=allow_holes)
        except AnalysisRefusal as refusal:
            return str(refusal)
        return None
    where = f"{curve.label} ({curve.answered} of {curve.declared} trials have a result)"
    if not curve.answered:
        return f"{where}: no trial has a result yet; run or retry the trials"
    return None if math.isfinite(curve.means[0]) else f"{where}: it diverged"


def _groups(
    frame: pd.DataFrame, settings: Sequence[str]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    if not settings:
        yield {}, frame
        return
    for key, part in frame.groupby(list(settings), sort=True, dropna=False):
        yield dict(zip(settings, key, strict=True)), part


def _best(points: Sequence[TunedPoint]) -> list[TunedPoint]:
    """Returns the best point of every scale and amount of compute, smallest first."""
    best: dict[tuple[float, float | None], TunedPoint] = {}
    for point in sorted(points, key=lambda p: (p.scale, p.loss, str(p.settings))):
        best.setdefault((point.scale, None if math.isnan(point.flops) else point.flops), point)
    return sorted(best.values(), key=lambda p: (p.scale, p.flops))


def _named_apart(points: Sequence[TunedPoint]) -> tuple[TunedPoint, ...]:
    """Returns the points, those that share a label told apart by their settings."""
    labels = [point.label for point in points]
    return tuple(
        point
        if labels.count(point.label) == 1
        else replace(point, label=", ".join([point.label, *_named_values(point.settings)]))
        for point in points
    )


def _named_values(settings: Mapping[str, Any]) -> list[str]:
    return [f"{name} {setting(value)}" for name, value in settings.items()]
