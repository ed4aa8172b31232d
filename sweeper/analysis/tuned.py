"""Tuned losses of a variant, one for every amount of compute, with what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from sweeper.analysis.estimator import DEFAULT, estimator_named
from sweeper.analysis.frontier import Frontier, FrontierPoint, frontier_of
from sweeper.analysis.group_label import setting
from sweeper.analysis.loss_error import Minimum, lone_minimum, loss_errors, read_minimum
from sweeper.analysis.noise import error_of, pooled_noise
from sweeper.analysis.optima import require_minimum
from sweeper.analysis.points import Curve, measured_curves, require_columns
from sweeper.errors import AnalysisRefusal

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
    """

    name: str
    hyperparameter: str | None
    points: tuple[TunedPoint, ...]
    dof: float
    left_out: Mapping[str, str]

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
    estimator_named(estimator)
    given = [scale, *([] if hyperparameter is None else [hyperparameter]), *settings]
    require_columns(frame, [*given, "seed", "loss", "outcome", "flops", "device_seconds"])
    left_out: dict[str, str] = {}
    found: list[tuple[TunedPoint, Minimum]] = []
    for values, part in _groups(frame, settings):
        group = _Group(scale=scale, hyperparameter=hyperparameter, values=values, rows=part)
        found += group.tuned(estimator, allow_holes, left_out)
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
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """Trials of one variant under fixed settings."""

    scale: str
    hyperparameter: str | None
    values: Mapping[str, Any]
    rows: pd.DataFrame

    def tuned(
        self, estimator: str, allow_holes: bool, left_out: dict[str, str]
    ) -> Iterator[tuple[TunedPoint, Minimum]]:
        """Yields the tuned losses; the scales without one go to ``left_out``."""
        rows, column = self.rows, self.hyperparameter
        if column is None:
            rows, column = rows.assign(**{_UNTUNED: 1.0}), _UNTUNED
        kept = []
        for curve in measured_curves(rows, scale=self.scale, hyperparameter=column):
            why = _refusal(curve, lone=self.hyperparameter is None, allow_holes=allow_holes)
            if why is None:
                kept.append(curve)
            else:
                left_out[", ".join([curve.label, *_words(self.values)])] = why
        for minimum in _minima(kept, estimator, lone=self.hyperparameter is None):
            yield self._point(minimum), minimum

    def _point(self, minimum: Minimum) -> TunedPoint:
        flops, seconds = self._costs(minimum)
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
        )

    def _costs(self, minimum: Minimum) -> tuple[float, float]:
        """Returns the FLOPs at the grid point nearest to the optimum, and the median seconds of
        the completed runs at that compute: the setting itself hardly changes them."""
        rows = self.rows
        here = rows[(rows[self.scale] == minimum.curve.scale) & (rows["outcome"] == "completed")]
        flops = here["flops"].to_numpy(dtype=np.float64)
        if self.hyperparameter is not None:
            away = np.abs(np.log2(here[self.hyperparameter].astype(float)) - minimum.log2)
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
    read = estimator_named(estimator)
    return [read_minimum(curve, read, noise, error_of(curve, noise)) for curve in curves]


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
        else replace(point, label=", ".join([point.label, *_words(point.settings)]))
        for point in points
    )


def _words(settings: Mapping[str, Any]) -> list[str]:
    return [f"{name} {setting(value)}" for name, value in settings.items()]
