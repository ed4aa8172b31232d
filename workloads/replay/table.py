"""Tables of recorded results, and the surface of losses that the cells of one span.

Between cells a surface is interpolated in log2 of the axes, along one after the other, by cubic
pieces that do not overshoot (modified Akima). What lies beyond the cells is not guessed.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from workloads.workload import DataUnavailableError, Tables

MOST_BYTES = 64 << 20
"""Larger files are no table of a study's results."""

DIVERGED = frozenset({"", "nan", "inf", "+inf", "infinity", "diverged"})
"""How a table writes, in any case, the loss of a run that diverged."""


@dataclass(frozen=True)
class Table:
    """A CSV file with a heading, read.

    Attributes:
        path: the absolute path.
        digest: SHA-256 of the bytes.
        columns: by name, the cells of each as written, without blanks round them.
    """

    path: str
    digest: str
    columns: Mapping[str, tuple[str, ...]]
    _read: dict[tuple[str, str], tuple[float, ...] | None] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def num_rows(self) -> int:
        """The number of rows below the heading."""
        return len(next(iter(self.columns.values())))

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """Returns the cells of a column as finite numbers, NaN where one is empty; None if one
        is something else, or all are empty."""
        if ("numbers", name) not in self._read:
            self._read["numbers", name] = self._numbers(name)
        return self._read["numbers", name]

    def _numbers(self, name: str) -> tuple[float, ...] | None:
        try:
            values = tuple(float(cell) if cell else math.nan for cell in self.columns[name])
        except ValueError:
            return None
        given = [value for value, cell in zip(values, self.columns[name], strict=True) if cell]
        return values if given and all(map(math.isfinite, given)) else None

    def losses(self, name: str) -> tuple[float, ...]:
        """Returns the cells of a column of losses, those of diverged runs as infinity.

        Raises:
            ValueError: a cell is neither a number nor a diverged run; says which.
        """
        found = self._read.get(("losses", name))
        if found is None:
            cells = enumerate(self.columns[name], start=1)
            found = tuple(self._loss(name, row, cell) for row, cell in cells)
            self._read["losses", name] = found
        return found

    def _loss(self, name: str, row: int, cell: str) -> float:
        if cell.lower() in DIVERGED:
            return math.inf
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"row {row} of column {name} holds {cell!r}, which is no number")
        return value


STUDY, CONTENT = "study:", "sha256:"
"""How the names of tables begin that are no paths: the results of a study, and a table that lies
with such results, by its digest."""


def find_table(name: str, tables: Tables | None) -> Table:
    """Returns the table of a CSV file, or one that ``tables`` finds.

    Raises:
        DataUnavailableError: it is not found, cannot be read or is no table.
    """
    if not name.startswith((STUDY, CONTENT)):
        return read_table(name)
    if tables is None:
        raise DataUnavailableError(
            f"{name} lies in a store, and none was given; sweeper plan and sweeper run look into "
            "that of --store"
        )
    return read_table(str(tables(name)))


def read_table(path: str) -> Table:
    """Returns the table of a CSV file; one that was read and has not changed is not read again.

    Raises:
        DataUnavailableError: the file cannot be read or is no table.
    """
    file = Path(path).expanduser().absolute()
    try:
        about = file.stat()
        if about.st_size > MOST_BYTES:
            raise DataUnavailableError(f"{file} has more than {MOST_BYTES >> 20} MiB")
        return _read(file, about.st_mtime_ns, about.st_size)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        why = getattr(error, "strerror", None) or str(error)
        raise DataUnavailableError(f"table {file} cannot be read: {why}") from None


@lru_cache(maxsize=16)
def _read(file: Path, changed_ns: int, size: int) -> Table:
    content = file.read_bytes()
    try:
        lines = content.decode("utf-8-sig").splitlines()
        heading, *rows = [row for row in csv.reader(lines, strict=True) if row]
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise DataUnavailableError(f"{file} is no CSV file with a heading") from None
    names = [name.strip() for name in heading]
    if not rows or len(set(names)) < len(names) or not all(names):
        raise DataUnavailableError(f"{file} needs a heading of distinct names and rows below it")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise DataUnavailableError(
                f"row {number} of {file} has {len(row)} cells, the heading has {len(names)}"
            )
    columns = {
        name: tuple(cell.strip() for cell in cells)
        for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    }
    return Table(str(file), hashlib.sha256(content).hexdigest(), columns)


Cells = Mapping[tuple[float, ...], float]
"""Values by the place of a cell; infinite where runs diverged."""


@dataclass(frozen=True)
class Surface:
    """What the cells of a table say about every place among them.

    Attributes:
        axes: names of the axes.
        cells: the recorded values by place.
    """

    axes: tuple[str, ...]
    cells: Cells

    def at(self, place: Sequence[float]) -> float | None:
        """Returns the value at a place: infinite between the last cell that did not diverge and
        one that did, and beyond that; None beyond the table."""
        return _value(self.cells, tuple(place))

    def bounds(self) -> str:
        """Returns the ranges of the axes, in words."""
        ranges = (sorted({place[i] for place in self.cells}) for i in range(len(self.axes)))
        return ", ".join(
            f"{name} {values[0]:g} .. {values[-1]:g}"
            for name, values in zip(self.axes, ranges, strict=True)
        )


def surface_of(
    table: Table, values: Sequence[float], axes: Sequence[str], rows: Sequence[int]
) -> Surface:
    """Returns the surface of the rows of a table, equal cells (seeds) averaged.

    Args:
        table: the table.
        values: a value for each of its rows.
        axes: columns of numbers; a row without one of them is left out.
        rows: the rows that count.
    """
    columns = [table.numbers(axis) for axis in axes]
    gathered: dict[tuple[float, ...], list[float]] = {}
    for row in rows:
        place = tuple(column[row] for column in columns if column is not None)
        if not any(map(math.isnan, place)):
            gathered.setdefault(place, []).append(values[row])
    cells = {place: math.fsum(found) / len(found) for place, found in gathered.items()}
    return Surface(tuple(axes), cells)


def _value(cells: Cells, place: tuple[float, ...]) -> float | None:
    if not place:
        return cells[()]
    first, rest = place[0], place[1:]
    sheets: dict[float, dict[tuple[float, ...], float]] = {}
    for (along, *others), value in cells.items():
        sheets.setdefault(along, {})[tuple(others)] = value
    same = next((along for along in sheets if math.isclose(along, first, rel_tol=1e-9)), None)
    if same is not None:
        return _value(sheets[same], rest)
    if first <= 0:
        return None
    knots = {a: _value(sheet, rest) for a, sheet in sheets.items() if a > 0}
    known = sorted((math.log2(a), value) for a, value in knots.items() if value is not None)
    return _between(known, math.log2(first))


def _between(knots: Sequence[tuple[float, float]], x: float) -> float | None:
    """Returns the value between knots in ascending order, of which some may be infinite."""
    below = [knot for knot in knots if knot[0] < x]
    above = [knot for knot in knots if knot[0] > x]
    if any(math.isinf(value) for _, value in (*below[-1:], *above[:1])):
        return math.inf
    if not below or not above:
        return None
    run = [*_finite(below[::-1])[::-1], *_finite(above)]
    xs, ys = zip(*run, strict=True)
    if len(run) == 2:
        return float(ys[0] + (ys[1] - ys[0]) * (x - xs[0]) / (xs[1] - xs[0]))
    from scipy.interpolate import Akima1DInterpolator

    return float(Akima1DInterpolator(xs, ys, method="makima")(x))


def _finite(knots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the knots before the first infinite one."""
    ends = next((i for i, (_, value) in enumerate(knots) if math.isinf(value)), len(knots))
    return list(knots[:ends])
