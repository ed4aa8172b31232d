"""The rows of somebody's table, every cell of them checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeper.errors import RequestError
from sweeper.imports.cells import Codes, Floats, Plain, as_cell, coded, is_number, measured, state
from sweeper.imports.files import Batch
from sweeper.imports.request import ImportRequest

KINDS = ("completed", "diverged", "failed", "missing")
"""How a run ended, by the codes of :attr:`Rows.kind`."""

COMPLETED, DIVERGED, FAILED, MISSING = range(4)

EXTRAS = ("flops", "tokens", "params")
"""Amounts that a row may hold beside the objective."""

_ROOM = 2**40


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The rows that were kept, one array a column, all of shape [rows].

    Attributes:
        cell: number of the row's cell: its settings and seed.
        row: number of the row in the file, from 1 after the header.
        value: the objective; NaN or infinite where the run was beyond the cliff, NaN if empty.
        kind: index into :data:`KINDS`.
        step: optimizer step, 0 if the file has none.
        extras: amounts by name, NaN where empty.
    """

    cell: Codes
    row: Codes
    value: Floats
    kind: NDArray[np.int8]
    step: Codes
    extras: Mapping[str, Floats]

    def take(self, chosen: NDArray[Any] | slice) -> Rows:
        """Returns the chosen rows, given their places, a mask, or a slice, which copies none."""
        return Rows(
            cell=self.cell[chosen],
            row=self.row[chosen],
            value=self.value[chosen],
            kind=self.kind[chosen],
            step=self.step[chosen],
            extras={name: values[chosen] for name, values in self.extras.items()},
        )


class Reader:
    """Takes in batches of a file; checks every cell that it reads.

    Args:
        request: what the columns are.
        columns: name in the file of every column of the request.

    Attributes:
        cells: settings in the order of ``request.settings``, and the seed, of each cell.
        seen: rows taken in, those that ``where`` leaves out too.
    """

    def __init__(self, request: ImportRequest, columns: Mapping[str, str]) -> None:
        self._request, self._columns = request, columns
        self._numbers = {*request.scales, *request.hyperparameters}
        self._known: dict[tuple[Plain, ...], int] = {}
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._left_out: dict[str, set[Plain]] = {}
        self.seen = 0

    @property
    def cells(self) -> list[tuple[Plain, ...]]:
        """Settings and seed of every cell, by its number."""
        return list(self._known)

    def add(self, batch: Batch) -> None:
        """Takes in the next rows.

        Raises:
            RequestError: a cell is not what its column must hold; names its row and column.
        """
        arrays = {name: batch[column] for name, column in self._columns.items()}
        count = len(next(iter(arrays.values())))
        kept = self._kept(arrays, count)
        rows = self.seen + 1 + np.flatnonzero(kept)
        self.seen += count
        if len(rows) < count:
            import pyarrow

            arrays = {name: array.filter(pyarrow.array(kept)) for name, array in arrays.items()}
        if len(rows):
            self._keep("row", _small(rows))
            self._keep("cell", _small(self._cells(arrays, rows)))
            self._measurements(arrays, rows)

    def rows(self) -> Rows:
        """Returns all rows that were kept, sorted by cell, step and row; the reader is empty
        afterwards.

        Raises:
            RequestError: there are none.
        """
        if not self._parts:
            raise RequestError(self._nothing())
        joined = {name: np.concatenate(self._parts.pop(name)) for name in list(self._parts)}
        joined.setdefault("step", np.zeros(len(joined["row"]), dtype=np.int32))
        order = np.lexsort((joined["step"], joined["cell"]))  # stable, and rows rise already
        if (order[1:] < order[:-1]).any():
            for name in list(joined):  # one by one: two copies of all would be too many
                joined[name] = joined[name][order]
        main = {name: joined[name] for name in ("cell", "row", "value", "kind", "step")}
        return Rows(**main, extras={name: joined[name] for name in EXTRAS if name in joined})

    # The parts of a batch ---------------------------------------------------------------------

    def _keep(self, name: str, values: NDArray[Any]) -> None:
        self._parts.setdefault(name, []).append(values)

    def _kept(self, arrays: Batch, count: int) -> NDArray[np.bool_]:
        wanted: dict[str, set[Plain]] = {}
        for name, text in self._request.where:
            wanted.setdefault(name, set()).add(as_cell(text))
        kept = np.ones(count, dtype=np.bool_)
        for name, allowed in wanted.items():
            codes, cells = coded(arrays[name])
            hits = np.array([cell in allowed for cell in cells], dtype=np.bool_)
            self._left_out.setdefault(name, set()).update(cells)
            kept &= hits[codes] if len(cells) else True
        return kept

    def _nothing(self) -> str:
        file = self._request.file
        if not self.seen:
            return f"{file}: the file has a header and no rows"
        asked = ", ".join(f"{name}={text}" for name, text in self._request.where)
        found = "; ".join(
            f"{name} is {', '.join(sorted(map(str, cells))[:12])}"
            for name, cells in self._left_out.items()
        )
        return f"{file}: none of its {self.seen} rows has --where {asked}; {found}"

    def _cells(self, arrays: Batch, rows: Codes) -> Codes:
        """The number of each row's cell; new cells are given the next numbers."""
        mixed = np.zeros(len(rows), dtype=np.int64)
        size = 1
        columns: list[tuple[Codes, list[Plain]]] = []
        for name in (*self._request.settings, *filter(None, [self._request.seed])):
            codes, cells = coded(arrays[name])
            for code, value in enumerate(cells):
                self._check(name, value, codes, code, rows)
            columns.append((codes, cells))
            mixed, size = mixed * len(cells) + codes, size * len(cells)
            if size > _ROOM:
                mixed = np.unique(mixed, return_inverse=True)[1].astype(np.int64)
                size = int(mixed.max()) + 1
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        numbers = [
            self._number(tuple(cells[codes[place]] for codes, cells in columns)) for place in first
        ]
        return np.array(numbers, dtype=np.int64)[inverse]

    def _number(self, cell: tuple[Plain, ...]) -> int:
        cell = cell if self._request.seed else (*cell, 0)
        return self._known.setdefault(cell, len(self._known))

    def _check(self, name: str, value: Plain, codes: Codes, code: int, rows: Codes) -> None:
        """Refuses a setting or seed that its part cannot hold."""
        why = self._fault(name, value)
        if why is not None:
            row = rows[int(np.argmax(codes == code))]
            shown = "empty" if value is None else repr(value)
            raise self._refusal(row, name, f"{shown}, {why}")

    def _fault(self, name: str, value: Plain) -> str | None:
        if name == self._request.seed:
            whole = is_number(value) and isinstance(value, int) and abs(value) < 2**63
            return None if whole else "where a seed is a whole number"
        if name in self._request.variant:
            return None if value is not None else "and a variant's name needs it"
        if name not in self._numbers:
            return None
        if not is_number(value):
            return f"where a number is needed{_hint(value)}"
        if float(value or 0) > 0:
            return None
        return (
            "where optima are tracked in log2, so that it must be positive; write the value "
            f"itself, not its logarithm, or use --fixed {name} to compare its values as groups"
        )

    def _measurements(self, arrays: Batch, rows: Codes) -> None:
        value, empty = self._amounts(arrays, self._request.objective, rows)
        self._keep("value", value)
        self._keep("kind", self._kinds(arrays, rows, value, empty))
        if self._request.step:
            self._keep("step", _small(self._steps(arrays, rows)))
        for part in EXTRAS:
            name = getattr(self._request, part)
            if name is not None:
                self._keep(part, self._extra(arrays, name, rows))

    def _amounts(self, arrays: Batch, name: str, rows: Codes) -> tuple[Floats, NDArray[np.bool_]]:
        values, empty, wrong = measured(arrays[name])
        if wrong is not None:
            cell = arrays[name][wrong].as_py()
            raise self._refusal(
                rows[wrong], name, f"{cell!r}, where a number is needed{_hint(as_cell(cell))}"
            )
        return values, empty

    def _kinds(
        self, arrays: Batch, rows: Codes, value: Floats, empty: NDArray[np.bool_]
    ) -> NDArray[np.int8]:
        """How each row's run ended, as the outcome column says; a completed one is judged by
        its objective."""
        own = np.where(empty, MISSING, np.where(np.isfinite(value), COMPLETED, DIVERGED))
        if self._request.outcome is None:
            return own.astype(np.int8)
        codes, cells = coded(arrays[self._request.outcome])
        told = np.array([self._told(cell, codes, i, rows) for i, cell in enumerate(cells)])[codes]
        return np.where(told == COMPLETED, own, told).astype(np.int8)

    def _told(self, cell: Plain, codes: Codes, code: int, rows: Codes) -> int:
        meaning = state(cell)
        if meaning is not None:
            return KINDS.index(meaning)
        row = rows[int(np.argmax(codes == code))]
        raise self._refusal(
            row,
            str(self._request.outcome),
            f"{cell!r}, where finished, diverged, crashed, failed, running or the like says how "
            "a run ended",
        )

    def _steps(self, arrays: Batch, rows: Codes) -> Codes:
        name = str(self._request.step)
        values, empty = self._amounts(arrays, name, rows)
        wrong = empty | ~np.isfinite(values) | (values < 0) | (values != np.round(values))
        if wrong.any():
            place = int(np.argmax(wrong))
            cell = arrays[name][place].as_py()
            raise self._refusal(rows[place], name, f"{cell!r}, where a step is a whole number")
        return values.astype(np.int64)

    def _extra(self, arrays: Batch, name: str, rows: Codes) -> Floats:
        values, empty = self._amounts(arrays, name, rows)
        wrong = ~empty & ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            place = int(np.argmax(wrong))
            raise self._refusal(rows[place], name, f"{values[place]:g}, where an amount is needed")
        return np.where(empty, np.nan, values)

    def _refusal(self, row: int, name: str, why: str) -> RequestError:
        return RequestError(
            f"{self._request.file}: row {row}, column {self._columns[name]}: {why}"
        )


def _small(values: Codes) -> Codes:
    """Returns whole numbers in half the room where they fit: files have millions of rows."""
    return values.astype(np.int32) if values.max(initial=0) < 2**31 else values


def _hint(value: Plain) -> str:
    text = str(value)
    if value is None:
        return "; fill it in, or leave its rows out with --where"
    if text.endswith("%"):
        return "; write a percentage as the number that it stands for"
    if "," in text:
        return "; write numbers with a decimal point and without thousands separators"
    return "; units, powers and words have to be written out, for example 0.001 or 1.9e8"


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
    rank = np.maximum(rows.kind - 1, 0)  # results first, then failed, then missing
    starts = first_rows(rows)
    best = np.minimum.reduceat(rank, starts)
    kept = rank == np.repeat(best, np.diff(np.append(starts, len(rank))))
    aside = int((~kept).sum())
    rows = rows.take(kept) if aside else rows
    again = (np.diff(rows.cell) == 0) & (np.diff(rows.step) == 0)
    if again.any():
        odd = again & ~_agree(rows)
        if odd.any():
            first, second = rows.row[int(np.argmax(odd)) :][:2]
            return Conflict(int(first), int(second), len(np.unique(rows.cell[1:][odd])))
        rows = rows.take(np.concatenate([[True], ~again]))
    return Deduplicated(rows=rows, repeated=int(again.sum()), set_aside=aside)


def first_rows(rows: Rows) -> NDArray[np.intp]:
    """Returns the place of the first row of each cell, of rows sorted by cell."""
    return np.flatnonzero(np.concatenate([[True], np.diff(rows.cell) != 0]))


def _agree(rows: Rows) -> NDArray[np.bool_]:
    """Whether each row but the first says what the one before it says."""
    agree: NDArray[np.bool_] = np.diff(rows.kind) == 0
    result = rows.kind[1:] == COMPLETED
    for values in (rows.value, *rows.extras.values()):
        same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
        agree &= same | ~result
    return agree
