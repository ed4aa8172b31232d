"""From rows to runs: settings and seed, how it ended, and the way there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.imports.cells import Plain
from sweeper.imports.table import COMPLETED, DIVERGED, KINDS, Rows


@dataclass(frozen=True, kw_only=True)
class Deduplicated:
    """Rows of which each cell and step has one.

    Attributes:
        rows: sorted by cell and step.
        repeated: rows that said again what another one says.
        set_aside: rows without a result beside others of the same cell that have one.
    """

    rows: Rows
    repeated: int
    set_aside: int


def deduplicated(rows: Rows) -> Deduplicated | tuple[int, ...]:
    """Returns one row a cell and step of sorted rows; or, if two results of one cell and step
    differ, the numbers of the first such rows, followed by how many cells are like that."""
    rank = np.maximum(rows.kind - 1, 0)  # results first, then failed, then missing
    starts = _starts(rows)
    best = np.minimum.reduceat(rank, starts)
    kept = rank == np.repeat(best, np.diff(np.append(starts, len(rank))))
    aside = int((~kept).sum())
    rows = rows.take(kept) if aside else rows
    again = (np.diff(rows.cell) == 0) & (np.diff(rows.step) == 0)
    if again.any():
        odd = again & ~_agree(rows)
        if odd.any():
            return _conflict(rows, odd)
        rows = rows.take(np.concatenate([[True], ~again]))
    return Deduplicated(rows=rows, repeated=int(again.sum()), set_aside=aside)


def _starts(rows: Rows) -> NDArray[np.intp]:
    """The place of the first row of each cell."""
    return np.flatnonzero(np.concatenate([[True], np.diff(rows.cell) != 0]))


def _agree(rows: Rows) -> NDArray[np.bool_]:
    """Whether each row but the first says what the one before it says."""
    agree: NDArray[np.bool_] = np.diff(rows.kind) == 0
    result = rows.kind[1:] == COMPLETED
    for values in (rows.value, *rows.extras.values()):
        same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
        agree &= same | ~result
    return agree


def _conflict(rows: Rows, odd: NDArray[np.bool_]) -> tuple[int, ...]:
    first = int(np.argmax(odd))
    count = len(np.unique(rows.cell[1:][odd]))
    return int(rows.row[first]), int(rows.row[first + 1]), count


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One run of somebody's table.

    Attributes:
        cell: settings in the order of the request, and the seed.
        kind: one of :data:`KINDS`.
        value: the objective of a completed run, else None.
        row: number of its last row.
        step: optimizer steps done, 0 if unknown.
        extras: flops, tokens and params where known.
        path: the rows on the way in the order of their steps, the last one too; None without
            steps.
    """

    cell: tuple[Plain, ...]
    kind: str
    value: float | None
    row: int
    step: int
    extras: Mapping[str, float]
    path: Rows | None


class Runs:
    """The runs of rows that each stand once, by the numbers of their cells.

    Args:
        rows: sorted by cell and step; every cell has one at least.
        cells: settings and seed of every cell, by its number.
        steps: whether the rows of a cell are the steps of a path.
    """

    def __init__(self, rows: Rows, cells: Sequence[tuple[Plain, ...]], *, steps: bool) -> None:
        self._rows, self._cells, self._steps = rows, cells, steps
        self._starts = _starts(rows)
        self._ends = np.append(self._starts[1:], len(rows.cell))

    def __iter__(self) -> Iterator[Run]:
        return map(self.run, range(len(self._starts)))

    def kinds(self) -> dict[str, int]:
        """Returns how many runs ended in each way, all ways."""
        counts = np.bincount(self._rows.kind[self._ends - 1], minlength=len(KINDS))
        return dict(zip(KINDS, counts.tolist(), strict=True))

    def run(self, number: int) -> Run:
        """Returns the run of a cell."""
        rows, last = self._rows, int(self._ends[number]) - 1
        kind = int(rows.kind[last])
        known = {name: float(values[last]) for name, values in rows.extras.items()}
        has_path = self._steps and kind <= DIVERGED
        return Run(
            cell=self._cells[int(rows.cell[last])],
            kind=KINDS[kind],
            value=float(rows.value[last]) if kind == COMPLETED else None,
            row=int(rows.row[last]),
            step=int(rows.step[last]),
            extras={name: amount for name, amount in known.items() if amount == amount},
            path=rows.part(int(self._starts[number]), last + 1) if has_path else None,
        )
