"""From a frame of trials to one measured curve a scale: checked, sorted, seeds kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.errors import AnalysisRefusal

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

OUTCOMES = ("completed", "diverged", "missing", "failed")
"""What the outcome column may say; the first two are results, the last two leave a hole."""

SAME_LOG2_DECIMALS = 9
"""Settings whose log2 agree to this many decimals are one point of the grid."""

NEAR = 1e-6
"""Octaves: settings nearer than this are one point too, but for their digits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Loss against log2 of the hyperparameter at one scale.

    Attributes:
        scale: value of the scale, for example the width.
        label: how messages name it, for example ``width 64``.
        log2: positions of the K points that have a result, rising, shape [K].
        means: seed means of the loss, shape [K]; +inf where any seed diverged.
        runs: per point the losses of its seeds, in the order of ``seeds``.
        seeds: per point the seeds behind it, rising.
        holes: log2 positions that were declared and have no result at all, rising.
        answered: trials with a result.
        declared: trials declared, results or not.
        errors: standard deviation of one result where it was stated, by log2 position.
    """

    scale: float
    label: str
    log2: Floats
    means: Floats
    runs: tuple[Floats, ...]
    seeds: tuple[tuple[int, ...], ...]
    holes: Floats
    answered: int
    declared: int
    errors: Mapping[float, float] = field(default_factory=dict)

    @property
    def stated(self) -> Floats:
        """Stated standard deviation of one result at each point, NaN without, shape [K]."""
        return np.array([self.errors.get(place, np.nan) for place in self.log2.tolist()])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Seeds per point, shape [K]."""
        return np.array([len(run) for run in self.runs], dtype=np.int64)


def over_same_points(curves: Sequence[Curve]) -> Iterator[tuple[list[int], Floats, Floats]]:
    """Yields the indices of C curves over the same points, with the points, shape [K], and the
    seed means, shape [C, K]."""
    alike: dict[bytes, list[int]] = {}
    for index, curve in enumerate(curves):
        alike.setdefault(curve.log2.tobytes(), []).append(index)
    for rows in alike.values():
        yield rows, curves[rows[0]].log2, np.stack([curves[row].means for row in rows])


def require_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Checks that a frame has the columns that an analysis reads, and any row.

    Raises:
        AnalysisRefusal: a column is missing, or the frame is empty.
    """
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise AnalysisRefusal(
            f"the table of trials has no column {', '.join(map(repr, absent))}; "
            f"it has {', '.join(map(str, sorted(frame.columns, key=str)))}"
        )
    if frame.empty:
        raise AnalysisRefusal("the table of trials is empty; run the study first")


def measured_curves(frame: pd.DataFrame, *, scale: str, hyperparameter: str) -> tuple[Curve, ...]:
    """Returns one curve a scale, smallest scale first.

    Args:
        frame: trials of one group, with the columns ``scale``, ``hyperparameter``, ``seed``,
            ``loss`` and ``outcome``; the order of rows and columns does not matter, and a row
            that stands there twice counts once. A column ``loss_error`` states the standard
            error of each loss.
        scale: name of the scale column.
        hyperparameter: name of the hyperparameter column.

    Raises:
        AnalysisRefusal: a column is missing; an outcome is unknown; a scale or hyperparameter
            is not a positive number; a completed trial has no finite loss; one cell has two
            results that differ.
    """
    require_columns(frame, [scale, hyperparameter, "seed", "loss", "outcome"])
    cells = _Cells(
        scale=_positive(frame, scale),
        log2=_places(np.log2(_positive(frame, hyperparameter))),
        seed=frame["seed"].to_numpy(),
        loss=_losses(frame, scale, hyperparameter),
        result=frame["outcome"].isin(OUTCOMES[:2]).to_numpy(),
        error=np.asarray(frame.get("loss_error", np.full(len(frame), np.nan)), np.float64),
    ).one_row_each(scale, hyperparameter)
    return tuple(
        _curve(cells, part, f"{scale} {cells.scale[part.start]:g}")
        for part in equal_runs(cells.scale)
    )


def _places(log2: Floats) -> Floats:
    """Returns places on the grid: of values nearer than :data:`NEAR` to the one below, that one.
    No polynomial can tell them apart."""
    places, index = np.unique(np.round(log2, SAME_LOG2_DECIMALS), return_inverse=True)
    near = np.diff(places) < NEAR
    if near.any():
        first = np.concatenate([[True], ~near])
        places = places[first][np.cumsum(first) - 1]
    return np.asarray(places[index], np.float64)


def _positive(frame: pd.DataFrame, column: str) -> Floats:
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        culprit = frame[column].iloc[int(np.argmax(wrong))]
        raise AnalysisRefusal(
            f"{column} = {culprit!r} in {int(wrong.sum())} of {len(frame)} trials: optima are "
            "tracked in log2, so only positive finite numbers can be analysed; leave those "
            "trials out or choose another column"
        )
    return values


def _losses(frame: pd.DataFrame, scale: str, hyperparameter: str) -> Floats:
    """Returns the loss of every row: finite if completed, +inf if diverged, NaN if none."""
    outcome = frame["outcome"]
    unknown = sorted(set(map(str, outcome.unique())) - set(OUTCOMES))
    if unknown:
        raise AnalysisRefusal(f"unknown outcome {unknown[0]!r}; allowed are {', '.join(OUTCOMES)}")
    loss = pd.to_numeric(frame["loss"], errors="coerce").to_numpy(dtype=np.float64)
    completed = (outcome == "completed").to_numpy()
    wrong = completed & ~np.isfinite(loss)
    if wrong.any():
        row = frame.iloc[int(np.argmax(wrong))]
        raise AnalysisRefusal(
            f"{scale} {row[scale]}, {hyperparameter} {row[hyperparameter]}, seed {row['seed']}: "
            f"completed with loss {row['loss']} ({int(wrong.sum())} such trials); a completed "
            "trial needs a finite loss, a diverged one must have the outcome 'diverged'"
        )
    return np.where(completed, loss, np.where((outcome == "diverged").to_numpy(), np.inf, np.nan))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """Trials by their cell (scale, place, seed), as columns of n values.

    Plain arrays: a study has a thousand points, and pandas takes longer to cut out each of them
    than all the arithmetic on it.
    """

    scale: Floats
    log2: Floats
    seed: NDArray[Any]
    loss: Floats
    result: NDArray[np.bool_]
    error: Floats

    def at(self, rows: NDArray[Any]) -> _Cells:
        """Returns some of the rows."""
        return _Cells(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})

    def one_row_each(self, scale: str, hyperparameter: str) -> _Cells:
        """Returns one row a cell, sorted: repeated rows counted once, results put before holes."""
        order = np.lexsort((self.loss, ~self.result, self.seed, self.log2, self.scale))
        rows = self.at(order)
        cell = (rows.scale, rows.log2, rows.seed)
        again = np.logical_and.reduce([each[1:] == each[:-1] for each in cell])
        differ = again & rows.result[1:] & (rows.loss[1:] != rows.loss[:-1])
        if differ.any():
            first = int(np.argmax(differ))
            raise AnalysisRefusal(
                f"{scale} {rows.scale[first]:g}, {hyperparameter} {2 ** rows.log2[first]:g}, "
                f"seed {rows.seed[first]} has two different results, {rows.loss[first]:g} and "
                f"{rows.loss[first + 1]:g}; if another setting was swept too, name it among the "
                "settings, so that its values become groups"
            )
        return rows.at(np.concatenate([[True], ~again]))


def _curve(cells: _Cells, part: slice, label: str) -> Curve:
    result = cells.result[part]
    log2, loss = cells.log2[part][result], cells.loss[part][result]
    seeds = cells.seed[part][result].tolist()
    points = equal_runs(log2)
    runs = tuple(loss[point] for point in points)
    places = log2[[point.start for point in points]]
    squares = cells.error[part][result] ** 2
    stated = points if np.isfinite(squares).any() else ()
    return Curve(
        scale=float(cells.scale[part.start]),
        label=label,
        log2=places,
        means=np.array([float(run.mean()) for run in runs], dtype=np.float64),
        runs=runs,
        seeds=tuple(tuple(seeds[point]) for point in points),
        holes=np.setdiff1d(cells.log2[part], places),
        answered=len(log2),
        declared=len(result),
        errors={
            float(log2[point.start]): float(np.sqrt(squares[point][known].mean()))
            for point in stated
            if (known := np.isfinite(squares[point])).any()
        },
    )


def equal_runs(values: NDArray[Any]) -> list[slice]:
    """Returns where equal values stand together, in order; none of no values."""
    if not len(values):
        return []
    cuts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return [slice(first, last) for first, last in pairwise(cuts)]
