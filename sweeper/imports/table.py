"""The rows of somebody's table, every cell of them checked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.errors import RequestError, shown
from sweeper.imports.cells import (
    STATE_WORDS,
    Codes,
    Floats,
    Plain,
    as_cell,
    coded,
    is_number,
    measured,
    seed_of,
    state,
)
from sweeper.imports.request import ImportRequest
from sweeper.imports.sheet import Batch
from sweeper.rounding import merged, merged_words
from sweeper.words import plural

KINDS = ("completed", "diverged", "failed", "missing")
"""How a run ended, by the codes of :attr:`Rows.kind`."""

COMPLETED, DIVERGED, FAILED, MISSING = range(4)

AMOUNTS = ("flops", "tokens", "params")
"""Amounts that a row may hold beside the objective."""

EXTRAS = (*AMOUNTS, "error", "low", "high")
"""All that a row may hold beside the objective."""

_ROOM = 2**40

_LARGE = 2.0**63
"""Beyond the whole numbers that a database holds."""


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
        names: column of the runs' names, where settings stand in them.
        place: what messages call a row, by its number.

    Attributes:
        cells: settings in the order of ``request.settings``, and the seed, of each cell.
        seen: rows taken in, those that ``where`` leaves out too.
    """

    def __init__(
        self,
        request: ImportRequest,
        columns: Mapping[str, str],
        names: str | None = None,
        place: Callable[[int], str] = "row {}".format,
    ) -> None:
        self._request, self._columns, self._names = request, columns, names
        self._place = place
        self._misnamed: list[tuple[int, str]] = []  # numbers and names of rows that do not fit
        self._numbers = {*request.scales, *request.hyperparameters}
        self._known: dict[tuple[Plain, ...], int] = {}
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._left_out: dict[str, set[Plain]] = {}
        self._zeros: dict[str, tuple[int, int]] = {}  # number of the first such row, their count
        self._merged: dict[str, Mapping[float, float]] = {}  # values that stand for others
        self._ended: Counter[str] = Counter()
        self._texts: set[str] = set()  # seeds that are text
        self._sure = 0  # rows whose standard error is 0
        self.seen = 0

    @property
    def cells(self) -> list[tuple[Plain, ...]]:
        """Settings and seed of every cell, by its number."""
        return list(self._known)

    @property
    def left_out(self) -> int:
        """Rows without a log2, since a hyperparameter is 0, or whose names do not fit."""
        return sum(count for _, count in self._zeros.values()) + len(self._misnamed)

    def add(self, batch: Batch) -> None:
        """Takes in the next rows.

        Raises:
            RequestError: a cell is not what its column must hold; names its row and column.
        """
        arrays = {name: batch[column] for name, column in self._columns.items()}
        count = len(next(iter(arrays.values())))
        named = self._read_names(arrays, batch)
        kept = self._without_zeros(arrays, named & self._kept(arrays, count))
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
            RequestError: there are none, or zeros among them tell that a column holds logarithms.
        """
        if not self._parts:
            raise RequestError(self._nothing())
        self._require_no_logarithms()
        joined = {name: np.concatenate(self._parts.pop(name)) for name in list(self._parts)}
        self._merge(joined)
        joined.setdefault("step", np.zeros(len(joined["row"]), dtype=np.int32))
        order = np.lexsort((joined["step"], joined["cell"]))  # stable, and rows rise already
        if (order[1:] < order[:-1]).any():
            for name in list(joined):  # one by one: two copies of all would be too many
                joined[name] = joined[name][order]
        main = {name: joined[name] for name in ("cell", "row", "value", "kind", "step")}
        return Rows(**main, extras={name: joined[name] for name in EXTRAS if name in joined})

    def _merge(self, joined: dict[str, NDArray[Any]]) -> None:
        """Makes one cell of those whose numbers are a rounding apart."""
        for place, name in enumerate(self._request.settings):
            values = {cell[place] for cell in self._known if is_number(cell[place])}
            found = merged((float(value or 0) for value in values), whole=name in self._numbers)
            if not found:
                continue
            self._merged[name] = found
            before, self._known = self.cells, {}
            numbers = [
                self._number((*cell[:place], *_one_of(cell[place], found), *cell[place + 1 :]))
                for cell in before
            ]
            joined["cell"] = _small(np.array(numbers, dtype=np.int64)[joined["cell"]])

    def notes(self) -> Iterator[str]:
        """Yields a sentence on each thing that was not taken as it stands in the file."""
        if self._misnamed:
            row, name = self._misnamed[0]
            yield (
                f"left out: {plural(len(self._misnamed), 'row')} with names that do not fit "
                f"--name-pattern, for example row {row}, {shown(name)}"
            )
        for name, (row, count) in self._zeros.items():
            first = f" (row {row} the first)" if count > 1 else f" (row {row})"
            yield (
                f"left out: {plural(count, 'row')}{first}, where {name} is 0, which has no log2; "
                f"--fixed {name} in place of --hp compares its values as groups"
            )
        for name, found in self._merged.items():
            yield f"{name}: {merged_words(found)}"
        if self._ended:
            words = ", ".join(f"{count} {word}" for word, count in sorted(self._ended.items()))
            yield f"rows without a result by the column {self._request.outcome}: {words}"
        if self._texts:
            spellings = plural(len(self._texts), "spelling")
            yield (
                f"{self._request.seed} tells runs apart by text, in {spellings} such as "
                f"{shown(min(self._texts))}: each has a seed made of it"
            )
        if self._sure:
            yield (
                f"{plural(self._sure, 'row')} with {self._request.error} 0, which counts as not "
                "known: no result is without noise"
            )

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
            allowed = allowed | self._near(name, cells, allowed)
            hits = np.array([cell in allowed for cell in cells], dtype=np.bool_)
            self._left_out.setdefault(name, set()).update(cells)
            kept &= hits[codes] if len(cells) else True
        return kept

    def _near(self, name: str, cells: Iterable[Plain], allowed: set[Plain]) -> set[Plain]:
        """Returns the cells that are a rounding apart from an allowed one."""
        wanted = [float(value) for value in allowed if is_number(value)]
        near = {
            float(cell): value
            for cell in filter(is_number, set(cells) - allowed)
            for value in wanted
            # Many cells are far off, and told so at once: four digits leave 5e-4.
            if math.isclose(cell, value, rel_tol=1e-3)
            and merged((float(cell), value), whole=False)
        }
        if near:
            self._merged[name] = {**self._merged.get(name, {}), **near}
        return set(near)

    def _read_names(self, arrays: dict[str, Any], batch: Batch) -> NDArray[np.bool_]:
        """Adds the settings that stand in the runs' names; returns which names have them."""
        pattern = self._request.in_names
        if pattern is None or self._names is None:
            return np.ones(len(next(iter(arrays.values()))), dtype=np.bool_)
        import pyarrow

        column = batch[self._names]
        if pyarrow.types.is_dictionary(column.type):  # each name once, however often it is there
            words = [*column.dictionary.to_pylist(), None]
            places = column.indices.fill_null(len(words) - 1).to_pylist()
            column_words = [words[place] for place in places]
        else:
            column_words = column.to_pylist()
        texts = ["" if name is None else str(name) for name in column_words]
        found = {text: pattern.read(text) for text in set(texts)}
        none = ("",) * len(pattern.names)
        columns = zip(*(found[text] or none for text in texts), strict=True)
        for name, values in zip(pattern.names, columns, strict=True):
            arrays[name] = pyarrow.array(values, "string")
        odd = [place for place, text in enumerate(texts) if found[text] is None]
        self._misnamed += [(self.seen + 1 + place, texts[place]) for place in odd]
        fits = np.ones(len(texts), dtype=np.bool_)
        fits[odd] = False
        return fits

    def _without_zeros(self, arrays: Batch, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Returns which rows are kept, without those where a hyperparameter is 0."""
        for name in self._request.hyperparameters:
            codes, cells = coded(arrays[name])
            zero = np.array([is_number(cell) and cell == 0 for cell in cells], dtype=np.bool_)
            hits = kept & zero[codes] if zero.any() else np.zeros_like(kept)
            if hits.any():
                first, count = self._zeros.get(name, (self.seen + 1 + int(np.argmax(hits)), 0))
                self._zeros[name] = (first, count + int(hits.sum()))
                kept = kept & ~hits
        return kept

    def _require_no_logarithms(self) -> None:
        """Refuses 0, 1, 2, 3, ...: no rates, but logarithms or the places of rates in a list."""
        for name, (row, _) in self._zeros.items():
            place = self._request.settings.index(name)
            values = {cell[place] for cell in self._known}
            if len(values) > 1 and values == set(range(1, len(values) + 1)):
                raise self._refusal(row, name, f"0, {self._no_log2(name)}")

    def _nothing(self) -> str:
        file = self._request.file
        if not self.seen:
            return f"{file}: the file has a header and no rows"
        if self.left_out:
            return f"{file}: no row is left; {'; '.join(self.notes())}"
        asked = ", ".join(f"{name}={text}" for name, text in self._request.where)
        found = "; ".join(
            f"{name} is {', '.join(word[:40] for word in sorted(map(str, cells))[:12])}"
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
            if name == self._request.seed:
                self._texts |= {value for value in cells if isinstance(value, str)}
                cells = [seed_of(v) if isinstance(v, str) else v for v in cells]
            columns.append((codes, cells))
            mixed, size = mixed * len(cells) + codes, size * len(cells)
            if size > _ROOM:
                mixed = np.unique(mixed, return_inverse=True)[1].astype(np.int64)
                size = int(mixed.max()) + 1
        seed = () if self._request.seed else (0,)
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        numbers = [
            self._number((*(cells[codes[place]] for codes, cells in columns), *seed))
            for place in first
        ]
        return np.array(numbers, dtype=np.int64)[inverse]

    def _number(self, cell: tuple[Plain, ...]) -> int:
        return self._known.setdefault(cell, len(self._known))

    def _check(self, name: str, value: Plain, codes: Codes, code: int, rows: Codes) -> None:
        """Refuses a setting or seed that its part cannot hold."""
        why = self._fault(name, value)
        if why is not None:
            row = rows[int(np.argmax(codes == code))]
            said = "empty" if value is None else shown(value)
            raise self._refusal(row, name, f"{said}, {why}")

    def _fault(self, name: str, value: Plain) -> str | None:
        if name == self._request.seed:
            whole = is_number(value) and isinstance(value, int) and abs(value) < 2**63
            told = isinstance(value, str) and not value.lstrip("+-").isdecimal()
            return None if whole or told else "where a seed is a whole number below 2^63, or text"
        if isinstance(value, int) and abs(value) >= 2**63:
            return "where a whole number is below 2^63; write it with an exponent, as 1e19"
        if name in self._request.variant:
            return None if value is not None else "and a variant's name needs it"
        if name not in self._numbers:
            return None
        if not is_number(value):
            return f"where a number is needed{_hint(value)}"
        return None if float(value or 0) > 0 else self._no_log2(name)

    def _no_log2(self, name: str) -> str:
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
        if self._request.holds_optima:
            self._check_intervals(value, rows)

    def _check_intervals(self, value: Floats, rows: Codes) -> None:
        """Refuses optima outside their intervals, and without any; an empty end is open."""
        low, high = self._parts["low"][-1], self._parts["high"][-1]
        wrong = (low > value) | (high < value) | (low >= high) | (np.isnan(low) & np.isnan(high))
        if wrong.any():
            place = int(np.argmax(wrong))
            raise self._refusal(
                rows[place],
                self._request.hyperparameters[0],
                f"{value[place]:g} with the interval {low[place]:g} to {high[place]:g}, where an "
                "optimum lies inside its interval, of which one end may be empty, being open",
            )

    def _amounts(self, arrays: Batch, name: str, rows: Codes) -> tuple[Floats, NDArray[np.bool_]]:
        values, empty, wrong = measured(arrays[name])
        if wrong is not None:
            cell = arrays[name][wrong].as_py()
            raise self._refusal(
                rows[wrong], name, f"{shown(cell)}, where a number is needed{_hint(as_cell(cell))}"
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
        meant = np.array([self._told(cell, codes, i, rows) for i, cell in enumerate(cells)])
        told = meant[codes]
        counts = np.bincount(codes, minlength=len(cells))
        for cell, kind, count in zip(cells, meant, counts, strict=True):
            if kind >= FAILED:
                self._ended["empty" if cell is None else str(cell).lower()] += int(count)
        return np.where(told == COMPLETED, own, told).astype(np.int8)

    def _told(self, cell: Plain, codes: Codes, code: int, rows: Codes) -> int:
        meaning = state(cell)
        if meaning is not None:
            return KINDS.index(meaning)
        row = rows[int(np.argmax(codes == code))]
        raise self._refusal(
            row,
            str(self._request.outcome),
            f"{shown(cell)}, where one of these words says how a run ended, in any case: "
            f"{STATE_WORDS}",
        )

    def _steps(self, arrays: Batch, rows: Codes) -> Codes:
        name = str(self._request.step)
        values, empty = self._amounts(arrays, name, rows)
        wrong = empty | ~np.isfinite(values) | (values < 0) | (values != np.round(values))
        wrong |= values >= _LARGE
        if wrong.any():
            place = int(np.argmax(wrong))
            cell = arrays[name][place].as_py()
            why = f"{shown(cell)}, where a step is a whole number below 2^63"
            raise self._refusal(rows[place], name, why)
        return values.astype(np.int64)

    def _extra(self, arrays: Batch, name: str, rows: Codes) -> Floats:
        values, empty = self._amounts(arrays, name, rows)
        wrong = ~empty & ~(np.isfinite(values) & (values >= 0))
        if name == self._request.error:
            self._sure += int((values == 0).sum())
            empty |= np.isnan(values) | (values == 0)
            wrong &= ~empty
        if wrong.any():
            place = int(np.argmax(wrong))
            raise self._refusal(rows[place], name, f"{values[place]:g}, where an amount is needed")
        large = values >= _LARGE
        if large.any() and name in (self._request.tokens, self._request.params):
            place = int(np.argmax(large))
            why = f"{values[place]:g}, where a count is below 2^63; FLOPs go to --flops"
            raise self._refusal(rows[place], name, why)
        return np.where(empty, np.nan, values)

    def _refusal(self, row: int | np.int64, name: str, why: str) -> RequestError:
        return RequestError(
            f"{self._request.file}: {self._place(int(row))}, column {self._columns[name]}: {why}"
        )


def _one_of(value: Plain, found: Mapping[float, float]) -> tuple[Plain]:
    best = found.get(float(value)) if is_number(value) else None
    return (value if best is None else as_cell(best),)


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


def first_rows(rows: Rows) -> NDArray[np.intp]:
    """Returns the place of the first row of each cell, of rows sorted by cell."""
    return np.flatnonzero(np.concatenate([[True], np.diff(rows.cell) != 0]))
