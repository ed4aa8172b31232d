"""Profiles: loss against one hyperparameter with others tuned at every value of it.

In each column, the cells that share a scale and a value of the hyperparameter, a weighted parabola
through the lowest cell and up to two neighbours on each side gives the best value of each other
hyperparameter. The loss there is a weighted sum of the losses of the cells, with the same weights
for every seed. So each seed has a profile of its own, whose scatter is the noise of the profile,
and by the envelope theorem an error in the place of the minimum counts in second order only: what
is said of an optimum holds for a profile as for a curve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.analysis.optimum.curve import (
    SAME_LOG2_DECIMALS,
    Floats,
    equal_runs,
    require_columns,
)
from sweeper.analysis.optimum.estimators import REACH
from sweeper.analysis.optimum.optimum import Flag, Optimum
from sweeper.analysis.optimum.window import find_fit_windows

BEST = "best_"
"""Prefix of the columns that say where a profile has the others: log2, -inf for a value of 0."""

AT_EDGE = "at_edge"
"""Column: the hyperparameters whose lowest loss lies at an edge of their values or beside a
divergence, joined by spaces."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """The J cells of a column.

    Attributes:
        places: log2 of the other hyperparameters, -inf where one is 0, shape [J, m].
        means: seed means; +inf where a seed diverged, NaN without a result, shape [J].
        squares: mean square of the stated standard deviations, NaN without, shape [J].
        runs: the losses of each cell by seed.
        seeds: all seeds of the column, rising.
    """

    places: Floats
    means: Floats
    squares: Floats
    runs: Sequence[dict[Any, float]]
    seeds: Sequence[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Best:
    """Where a column is lowest.

    Attributes:
        cell: index of the lowest cell.
        weights: weight of each cell in the loss at the minimum; they sum to 1, shape [J].
        place: log2 of the other hyperparameters at the minimum, shape [m].
        at_edge: whether each is bounded on one side only, shape [m].
        hole: whether a neighbour of the lowest cell has no result.
    """

    cell: int
    weights: Floats
    place: Floats
    at_edge: list[bool]
    hole: bool


def profiled_over(
    frame: pd.DataFrame,
    others: Sequence[str],
    *,
    scales: Sequence[str],
    hyperparameter: str,
    allow_holes: bool = False,
) -> pd.DataFrame:
    """Returns the trials of a group with other hyperparameters tuned: one row for each
    combination of scales, value of the hyperparameter and seed.

    A column where every cell with a result diverged has diverged; one in which a neighbour of the
    lowest cell has no result has none, unless holes are allowed. The rows have the columns of
    :data:`BEST` and :data:`AT_EDGE` besides.

    Args:
        frame: trials with the scales, the hyperparameters, ``seed``, ``loss`` and ``outcome``;
            ``loss_error`` where it is stated.
        others: the hyperparameters that are tuned; values are 0 or positive. Without any, or
            where none applies to the group, the frame itself comes back.
        scales: columns of the scales.
        hyperparameter: whose profile it is.
        allow_holes: go on where neighbours of a minimum have no result.
    """
    columns = [*scales, hyperparameter]
    require_columns(frame, [*columns, *others, "seed", "loss", "outcome"])
    others = [name for name in others if frame[name].notna().any()]
    if not others:
        return frame
    codes = frame.groupby(columns, sort=True, dropna=False).ngroup().to_numpy()
    trials = _Trials.of(frame, others)
    order = np.argsort(codes, kind="stable")
    heads = frame[columns].to_dict("records")
    rows: list[dict[str, Any]] = []
    for part in equal_runs(codes[order]):
        head = heads[order[part.start]]
        column = _column(trials.cells(order[part]), others, allow_holes=allow_holes)
        rows += [head | row for row in column]
    return pd.DataFrame(rows)


def with_others(
    optimum: Optimum, profile: pd.DataFrame, others: Sequence[str], hyperparameter: str
) -> Optimum:
    """Returns an optimum of a profile with the values of the others there.

    The flag ``conditional`` says that another one is best at an edge of its values, so that the
    optimum is the one at that edge.

    Args:
        optimum: of the hyperparameter.
        profile: rows of its scale, from :func:`profiled_over`.
        others: what was tuned; without any, or where none applies, the optimum comes back as it
            is.
        hyperparameter: column of the hyperparameter.
    """
    others = [name for name in others if f"{BEST}{name}" in profile]
    if not others:
        return optimum
    found = profile[profile["outcome"] == "completed"].drop_duplicates(hyperparameter)
    at = np.log2(found[hyperparameter].to_numpy(dtype=np.float64))
    order = np.argsort(at)
    at, found = at[order], found.iloc[order]
    nearest = int(np.argmin(np.abs(at - optimum.log2)))
    values = {}
    for name in others:
        best = found[f"{BEST}{name}"].to_numpy(dtype=np.float64)
        # A value of 0 has no log2 to draw a line through.
        beside = np.interp(optimum.log2, at, best) if np.isfinite(best).all() else best[nearest]
        values[name] = float(2.0**beside)
    conditional: tuple[Flag, ...] = ("conditional",) if found[AT_EDGE].iloc[nearest] else ()
    return replace(optimum, tuned=values, flags=(*optimum.flags, *conditional))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trials:
    """The n trials of a frame as arrays: pandas takes far longer to cut out small columns.

    Attributes:
        places: log2 of the other hyperparameters, -inf where one is 0, shape [n, m].
        seeds: their seeds.
        losses: +inf where a trial diverged, NaN where it has no result, shape [n].
        errors: stated standard deviation of each loss, NaN where it is not, shape [n].
    """

    places: Floats
    seeds: list[Any]
    losses: Floats
    errors: Floats

    @classmethod
    def of(cls, frame: pd.DataFrame, others: Sequence[str]) -> _Trials:
        """Returns the trials of a frame as :func:`profiled_over` takes it."""
        values = frame[list(others)].apply(pd.to_numeric).to_numpy(dtype=np.float64)
        with np.errstate(divide="ignore"):
            places = np.round(np.log2(np.nan_to_num(values)), SAME_LOG2_DECIMALS)
        outcome = frame["outcome"].to_numpy()
        loss = pd.to_numeric(frame["loss"], errors="coerce").to_numpy(dtype=np.float64)
        bare = np.where(outcome == "diverged", np.inf, np.nan)
        error = frame["loss_error"] if "loss_error" in frame else np.full(len(frame), np.nan)
        return cls(
            places=places,
            seeds=frame["seed"].tolist(),
            losses=np.where(outcome == "completed", loss, bare),
            errors=np.asarray(error, dtype=np.float64),
        )

    def cells(self, rows: NDArray[np.intp]) -> _Cells:
        """Returns the cells of the column that some trials make."""
        runs: dict[tuple[float, ...], dict[Any, float]] = {}
        squares: dict[tuple[float, ...], list[float]] = {}
        # Seeds in order, so that sums come to the same last digit whatever the order of the rows.
        rows = np.array(sorted(rows.tolist(), key=self.seeds.__getitem__), dtype=np.intp)
        of_rows = (self.places[rows], self.losses[rows], self.errors[rows])
        for row, at, loss, error in zip(
            rows.tolist(), *(each.tolist() for each in of_rows), strict=True
        ):
            place = tuple(at)
            cell = runs.setdefault(place, {})
            if not np.isnan(loss):
                cell[self.seeds[row]] = loss
                squares.setdefault(place, []).append(error**2)
        places = sorted(runs)
        return _Cells(
            places=np.array(places, dtype=np.float64),
            means=np.array([_mean(list(runs[place].values())) for place in places]),
            squares=np.array([_mean(squares.get(place, [])) for place in places]),
            runs=[runs[place] for place in places],
            seeds=sorted({self.seeds[row] for row in rows.tolist()}),
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else np.nan


def _column(
    cells: _Cells, others: Sequence[str], *, allow_holes: bool
) -> Iterator[dict[str, Any]]:
    """Yields the rows of one column, one a seed."""
    bare = dict.fromkeys([f"{BEST}{name}" for name in others], np.nan)
    outcome, seeds = "missing", cells.seeds
    if np.isfinite(cells.means).any():
        best = _lowest(cells)
        if allow_holes or not best.hole:
            said = {f"{BEST}{n}": at for n, at in zip(others, best.place.tolist(), strict=True)}
            edges = [n for n, edge in zip(others, best.at_edge, strict=True) if edge]
            said |= {"outcome": "completed", AT_EDGE: " ".join(edges)}
            used = best.weights != 0
            said["loss_error"] = float(np.sqrt(best.weights[used] ** 2 @ cells.squares[used]))
            for seed, loss in _runs(cells, best):
                yield {"seed": seed, "loss": loss} | said
            return
    elif np.isinf(cells.means).any() and (allow_holes or not np.isnan(cells.means).any()):
        outcome, seeds = "diverged", sorted({seed for runs in cells.runs for seed in runs})
    for seed in seeds:
        yield {"seed": seed, "loss": np.nan, "outcome": outcome, AT_EDGE: ""} | bare


def _lowest(cells: _Cells) -> _Best:
    """Returns where a column with a finite cell is lowest."""
    cell = int(np.argmin(np.where(np.isfinite(cells.means), cells.means, np.inf)))
    weights = np.zeros(len(cells.means))
    weights[cell] = 1.0
    place, at_edge, hole = cells.places[cell].copy(), [], False
    for axis in range(cells.places.shape[1]):
        apart = np.delete(cells.places, axis, axis=1)
        line = np.flatnonzero(np.all(apart == apart[cell], axis=1))
        line = line[np.argsort(cells.places[line, axis], kind="stable")]
        here = int(np.flatnonzero(line == cell)[0])
        hole |= bool(np.isnan(cells.means[line[max(0, here - 1) : here + 2]]).any())
        # A value of 0 has no log2: its cell may be the lowest, but no parabola goes through it.
        line = line[np.isfinite(cells.places[line, axis]) & ~np.isnan(cells.means[line])]
        found = _vertex(cells.places[line, axis], cells.means[line], place[axis])
        at_edge.append(found is None)
        if found is not None:
            place[axis] = found[0]
            weights[line] += found[1]
            weights[cell] -= 1.0
    return _Best(cell=cell, weights=weights, place=place, at_edge=at_edge, hole=hole)


def _vertex(log2: Floats, means: Floats, lowest: float) -> tuple[float, Floats] | None:
    """Returns log2 of the minimum of a parabola round the lowest cell, and the weight of each
    cell in the loss there; None where that cell has no finite neighbour on one side.

    Args:
        log2, means: the cells along one axis, shape [n].
        lowest: position of the lowest cell.
    """
    here = np.flatnonzero(log2 == lowest)
    if not len(here):
        return None
    window = find_fit_windows(log2, means[None, :], reach=REACH)
    alone = (log2 == lowest).astype(np.float64)
    if not window.bounded[0]:
        return None
    terms = (log2 - lowest)[:, None] ** np.arange(3)
    root = np.sqrt(window.weights[0])
    # The coefficients of the weighted parabola as weighted sums of the losses, shape [3, n].
    solve = np.linalg.pinv(terms * root[:, None]) * root
    slope, bend = solve[1:] @ np.where(window.weights[0] > 0, means, 0.0)
    if bend <= 0:
        return lowest, alone
    step = float(np.clip(-slope / (2 * bend), window.low[0] - lowest, window.high[0] - lowest))
    return lowest + step, np.asarray(step ** np.arange(3) @ solve)


def _runs(cells: _Cells, best: _Best) -> Iterator[tuple[Any, float]]:
    """Yields each seed with its loss at the minimum of a column.

    Where the cells have other seeds, those of the lowest cell scatter as they do there.
    """
    used = np.flatnonzero(best.weights)
    lowest = cells.runs[best.cell]
    shared = all(cells.runs[k].keys() == lowest.keys() for k in used.tolist())
    level = float(best.weights[used] @ cells.means[used])
    for seed, loss in sorted(lowest.items()):
        if shared:
            yield seed, float(sum(best.weights[k] * cells.runs[k][seed] for k in used.tolist()))
        else:
            yield seed, level + loss - float(cells.means[best.cell])
