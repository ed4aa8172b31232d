"""Histories of runs as tables: a CSV or Parquet file a run, one of many runs, or what W&B exports
of a panel; alone, or beside a table of the runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.errors import RequestError, shown
from sweeper.imports.bounds import Limits, reading, refusal
from sweeper.imports.cells import Codes, Floats, as_cell, measured
from sweeper.imports.files import open_table
from sweeper.imports.sheet import Sheet, Wanted
from sweeper.imports.trackers.runs import Run, Tracked
from sweeper.imports.trackers.settings import is_settings, settings_beside
from sweeper.words import listed, plural

STEPS = ("_step", "step", "global_step", "trainer/global_step", "iteration", "epoch")
"""Names of columns of steps, in any case, where none was named."""

NAMES = ("id", "run_id", "run id", "name", "run_name", "run name", "run", "key")
"""Names of columns that tell runs, in any case, the surest first."""

STATES = ("state", "status")
"""Names of columns that say how a run ended, in any case."""

_TABLES = (".csv", ".parquet", ".tsv", ".csv.gz", ".csv.zst", ".csv.bz2")
_BETWEEN = " - "
_ENDS = ("__MIN", "__MAX")
_HISTORY = re.compile(r"(?:run-)?(?P<id>.+?)(?:-history)?(?::v\d+)?")
"""A folder of W&B's artifact of a history, ``run-1a2b3c4d-history:v0``."""

_SHOWN = 3


def is_folder(folder: Path) -> bool:
    """Returns whether a folder holds histories: tables, or folders with a run's tables each."""
    with reading(folder):
        inside = [path for each in folder.iterdir() for path in _inside(each)]
    alone = any(path.suffix == ".json" and path.parent == folder for path in inside)
    return not alone and any(map(_is_table, inside))  # runs as JSON may have tables beside them


def _inside(path: Path) -> list[Path]:
    if path.name.startswith("."):
        return []
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _is_table(path: Path) -> bool:
    return path.name.endswith(_TABLES) and path.is_file()


def is_panel(names: Sequence[str]) -> bool:
    """Returns whether columns are those of what W&B exports of a panel: steps, and a column for
    each run and metric, with the lowest and highest value beside it."""
    pairs = [name for name in names[1:] if not name.endswith(_ENDS)]
    return (
        bool(pairs)
        and _BETWEEN not in names[0]
        and all(_BETWEEN in name for name in names[1:])
        and any(f"{name}{end}" in names for name in pairs for end in _ENDS)
    )


def read_panel(sheet: Sheet, wanted: Wanted) -> Tracked:
    """Returns the runs of a panel.

    Raises:
        RequestError: a step is no whole number, or a value no number.
    """
    step, pairs = sheet.names[0], [n for n in sheet.names[1:] if not n.endswith(_ENDS)]
    runs: dict[str, Run] = {}
    columns = {pair: pair.rpartition(_BETWEEN)[::2] for pair in pairs}
    for name, metric in columns.values():
        run = runs.setdefault(name, Run(name=name, said={"name": name}))
        run.last.setdefault(metric, "")
    beside = [f"{pair}{end}" for pair in pairs for end in _ENDS if f"{pair}{end}" in sheet.names]
    averaged, seen = False, 0
    for batch in sheet.batches([step, *pairs, *beside]):
        steps = _steps(sheet, batch[step], step, seen)
        for pair, (name, metric) in columns.items():
            values, there = _numbers(sheet, batch[pair], pair, seen)
            for place in np.flatnonzero(there):
                value = float(values[place])
                follow = wanted.follows(metric)
                runs[name].log(metric, int(steps[place]), value, follow=follow)
            for end in _ENDS:
                if f"{pair}{end}" in sheet.names:
                    ends = measured(batch[f"{pair}{end}"])[0]
                    averaged |= bool((np.isfinite(ends) & (ends != values))[there].any())
        seen += len(steps)
    note = (
        "the panel holds means over runs or over steps, since the lowest and highest values "
        "beside them differ: the last of them is no result of one run; export the runs' histories"
    )
    notes = (note,) if averaged else ()
    return Tracked(path=sheet.path, runs=list(runs.values()), step=step, notes=notes)


def read_folder(folder: Path, wanted: Wanted, limits: Limits) -> Tracked:
    """Returns the runs of a folder: a table each, or a folder each with tables and files of
    settings.

    Raises:
        RequestError: a file cannot be read; names it and the row.
    """
    runs, step = [], wanted.step or STEPS[0]
    for name, files in _files(folder).items():
        run = Run(name=name, said={"name": name})
        if files[0].parent != folder:
            run.said |= settings_beside(files[0].parent, limits)
        tables = [open_table(file, limits) for file in files if not is_settings(file)]
        for table in tables:
            step = _step_in(table.names, wanted) or step
            _add(table, wanted, run)
        runs.append(run)
    state = _found(STATES, [name for run in runs for name in run.said])
    return Tracked(path=folder, runs=runs, step=step, state=state)


def _files(folder: Path) -> dict[str, list[Path]]:
    """The tables of each run of a folder."""
    found: dict[str, list[Path]] = {}
    with reading(folder):
        for entry in sorted(folder.iterdir()):
            tables = [path for path in _inside(entry) if _is_table(path)]
            if tables:
                suffix = next(end for end in _TABLES if tables[0].name.endswith(end))
                name = entry.name if entry.is_dir() else entry.name.removesuffix(suffix)
                found.setdefault(name, []).extend(tables)
    return found


def _step_in(names: Sequence[str], wanted: Wanted) -> str | None:
    return wanted.step if wanted.step in names else _found(STEPS, names)


def _found(known: Sequence[str], names: Sequence[str]) -> str | None:
    """The first column of some name, in any case."""
    small = {name.lower(): name for name in reversed(names)}
    return next((small[each] for each in known if each in small), None)


def _add(table: Sheet, wanted: Wanted, run: Run) -> None:
    """Adds the history in a table to the run whose table it is."""
    step = _step_in(table.names, wanted)
    asked = [name for name in table.names if name != step and wanted.asks(name)]
    for name in table.names:
        if name != step:
            run.last.setdefault(name, "")
    seen = 0
    for batch in table.batches([*([] if step is None else [step]), *asked]):
        count = len(next(iter(batch.values()), ()))
        steps = np.arange(seen, seen + count)
        if step is not None:
            steps = _steps(table, batch[step], step, seen)
        for name in asked:
            values, empty, wrong = measured(batch[name])
            if wrong is not None:  # words, and so a setting
                words = [str(word) for word in batch[name].to_pylist() if word not in (None, "")]
                run.said[name] = words[-1]
                continue
            for place in np.flatnonzero(~empty):
                run.log(name, int(steps[place]), float(values[place]), follow=wanted.follows(name))
        seen += count


def _numbers(table: Sheet, array: Any, name: str, seen: int) -> tuple[Floats, NDArray[np.bool_]]:
    """The numbers of a column, and where there are any; the arguments are those of ``_steps``."""
    values, empty, wrong = measured(array)
    if wrong is not None:
        cell = shown(array[wrong].as_py())
        raise refusal(table.path, f"row {seen + wrong + 1}, column {name}: {cell} is no number")
    return values, ~empty


def _steps(table: Sheet, array: Any, name: str, seen: int) -> Codes:
    """A column of steps.

    Args:
        table: whose it is.
        array: the column.
        name: its name.
        seen: rows before it.
    """
    values, empty, wrong = measured(array)
    odd = empty | ~np.isfinite(values) | (values != np.round(values)) | (np.abs(values) >= 2.0**63)
    if wrong is not None or odd.any():
        place = wrong if wrong is not None else int(np.argmax(odd))
        raise refusal(
            table.path,
            f"row {seen + place + 1}, column {name}: {shown(array[place].as_py())}, where a step "
            "is a whole number; --step names another column",
        )
    return values.astype(np.int64)


# Beside a table of the runs -------------------------------------------------------------------


class _Owners:
    """Runs of a table by what tells them, and which of their histories were found.

    Args:
        sheet: the table.
    """

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self.runs = _runs_of(sheet)
        self._known: dict[str, tuple[str, list[Run]]] = {}
        self._found: set[str] = set()
        self._lost: dict[str, None] = {}
        for key in NAMES:
            column = _found([key], sheet.names) or ""
            for run in self.runs:
                name = str(run.said.get(column, ""))
                if name:
                    self._known.setdefault(name, (column, []))[1].append(run)
        for name, (column, runs) in self._known.items():
            self._known[name] = column, list({id(run): run for run in runs}.values())

    def of(self, *names: str) -> Run | None:
        """Returns the run that a history is of, going by one of its names; None if of none.

        Raises:
            RequestError: several runs are called so.
        """
        name = next((each for each in names if each in self._known), None)
        if name is None:
            self._lost[names[0]] = None
            return None
        column, runs = self._known[name]
        if len(runs) > 1:
            raise RequestError(
                f"{self._sheet.path}: {len(runs)} runs have the {column} {shown(name)}, so that "
                "their histories cannot be told apart; go by IDs in both"
            )
        self._found.add(name)
        return runs[0]

    def notes(self, path: Path) -> tuple[str, ...]:
        """Returns a sentence on histories of no run.

        Raises:
            RequestError: there are no others.
        """
        some = [shown(each) for each in islice(self._lost, _SHOWN)]
        some += ["others"] if len(self._lost) > _SHOWN else []
        if not self._found:
            example = shown(next(iter(self._known), ""))
            others = f", but of {listed(some)}" if some else ""
            raise refusal(
                path, f"holds no history of a run of {self._sheet.path}, such as {example}{others}"
            )
        count = plural(len(self._lost), "history", "histories")
        return (f"{count} of no run in the table: {listed(some)}",) if some else ()


def join(sheet: Sheet, wanted: Wanted, limits: Limits) -> Tracked:
    """Returns the runs of a table with the histories of another file or folder.

    Raises:
        RequestError: no column tells the runs, two of a history have one name, or no history is
            of one of them.
    """
    assert wanted.history is not None
    path, owners = wanted.history, _Owners(sheet)
    if path.is_dir():
        step = _join_folder(owners, path, wanted, limits)
    else:
        table = open_table(path, limits)
        step = _step_in(table.names, wanted) or table.names[0]
        if is_panel(table.names):
            step = table.names[0]
            for found in read_panel(table, wanted).runs:
                owner = owners.of(found.name)
                if owner is not None:
                    owner.last |= found.last
                    owner.series, owner.length = found.series, found.length
        else:
            _join_table(owners, table, step, wanted)
    for run in owners.runs:
        run.said.pop(step, None)  # the last one, which the history knows
    return Tracked(
        path=sheet.path,
        runs=owners.runs,
        step=step,
        state=_found(STATES, sheet.names),
        notes=owners.notes(path),
    )


def _join_folder(owners: _Owners, folder: Path, wanted: Wanted, limits: Limits) -> str:
    """Adds histories of a folder to their runs; returns the column of their steps."""
    step = wanted.step or STEPS[0]
    for name, files in _files(folder).items():
        owner = owners.of(name, _id_of(name))
        if owner is None:
            continue
        for file in files:
            table = open_table(file, limits)
            step = _step_in(table.names, wanted) or step
            _add(table, wanted, owner)
    return step


def _join_table(owners: _Owners, table: Sheet, step: str, wanted: Wanted) -> None:
    """Adds histories of a table of many runs to these."""
    told = _found(NAMES, table.names)
    if told is None:
        raise refusal(table.path, f"has no column that tells the runs: {', '.join(NAMES)}")
    asked = [name for name in table.names if name not in (step, told) and wanted.asks(name)]
    for run in owners.runs:
        for name in table.names:
            if name not in (step, told):
                run.last.setdefault(name, "")
    seen = 0
    for batch in table.batches([step, told, *asked]):
        steps = _steps(table, batch[step], step, seen)
        names = [str(as_cell(cell)) for cell in batch[told].to_pylist()]
        runs = {name: owners.of(name) for name in dict.fromkeys(names)}
        for name in asked:
            values, there = _numbers(table, batch[name], name, seen)
            for place in np.flatnonzero(there):
                owner = runs[names[place]]
                if owner is not None:
                    value = float(values[place])
                    owner.log(name, int(steps[place]), value, follow=wanted.follows(name))
        seen += len(steps)


def _id_of(name: str) -> str:
    match = _HISTORY.fullmatch(name)
    return name if match is None else match["id"]


def _runs_of(sheet: Sheet) -> list[Run]:
    """The rows of a table of runs."""
    column = _found(NAMES, sheet.names)
    if column is None:
        raise RequestError(
            f"{sheet.path}: has no column that tells the runs, for --history: {', '.join(NAMES)}"
        )
    title = _found(("name", "run_name", "run name"), sheet.names) or column
    return [Run(name=str(row[title]), said=dict(row)) for row in _rows(sheet)]


def _rows(sheet: Sheet) -> Iterator[dict[str, str]]:
    for batch in sheet.batches(list(dict.fromkeys(sheet.names))):
        columns = [array.to_pylist() for array in batch.values()]
        for cells in zip(*columns, strict=True):
            texts = ("" if cell is None else str(cell) for cell in cells)
            yield dict(zip(batch, texts, strict=True))
