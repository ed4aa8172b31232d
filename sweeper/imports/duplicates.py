"""Rows of one run: those that say the same again, those that contradict each other, repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeper.imports.cells import Plain
from sweeper.imports.table import COMPLETED, DIVERGED, Rows, first_rows


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


class Conflict(NamedTuple):
    """Results of one cell and step that differ: the numbers of the first two such rows, and how
    many cells have some."""

    first: int
    second: int
    cells: int


def deduplicated(rows: Rows) -> Deduplicated | Conflict:
    """Returns one row a cell and step of rows sorted by them; or, if two results of one cell and
    step differ, where."""
    rows, aside = _with_results(rows)
    again = (np.diff(rows.cell) == 0) & (np.diff(rows.step) == 0)
    if again.any():
        odd = again & ~_agree(rows)
        if odd.any():
            first, second = rows.row[int(np.argmax(odd)) :][:2]
            return Conflict(int(first), int(second), len(np.unique(rows.cell[1:][odd])))
        rows = rows.take(np.concatenate([[True], ~again]))
    return Deduplicated(rows=rows, repeated=int(again.sum()), set_aside=aside)


def numbered_repeats(
    rows: Rows, cells: Sequence[tuple[Plain, ...]]
) -> tuple[Deduplicated, list[tuple[Plain, ...]]]:
    """Returns one row a repeat of rows sorted by cell and without steps, and the cells of the
    repeats: the settings, and the repeat's place among those of its cell as the seed.

    Rows that agree in a finite loss too are one: a file that holds its rows twice has no more
    to tell than one that holds them once.
    """
    import pandas

    rows, aside = _with_results(rows)
    result = rows.kind == COMPLETED
    said = {"value": rows.value, **rows.extras}
    told = pandas.DataFrame(
        {"cell": rows.cell, "kind": rows.kind}
        | {name: np.where(result, values, np.nan) for name, values in said.items()}
    )
    again = (told.duplicated() & (told["kind"] != DIVERGED)).to_numpy()
    rows = rows.take(~again)
    seeds = pandas.Series(rows.cell).groupby(rows.cell).cumcount().tolist()
    own = [(*cells[cell][:-1], seed) for cell, seed in zip(rows.cell.tolist(), seeds, strict=True)]
    numbered = replace(rows, cell=np.arange(len(own)))
    return Deduplicated(rows=numbered, repeated=int(again.sum()), set_aside=aside), own


def _with_results(rows: Rows) -> tuple[Rows, int]:
    """Returns the rows without those that have no result where another of their cell has one,
    and how many these are."""
    rank = np.maximum(rows.kind - 1, 0)  # results first, then failed, then missing
    starts = first_rows(rows)
    best = np.minimum.reduceat(rank, starts)
    kept = rank == np.repeat(best, np.diff(np.append(starts, len(rank))))
    aside = int((~kept).sum())
    return rows.take(kept) if aside else rows, aside


def _agree(rows: Rows) -> NDArray[np.bool_]:
    """Whether each row but the first says what the one before it says."""
    agree: NDArray[np.bool_] = np.diff(rows.kind) == 0
    result = rows.kind[1:] == COMPLETED
    for values in (rows.value, *rows.extras.values()):
        same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
        agree &= same | ~result
    return agree
