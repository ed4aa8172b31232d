"""What every source of results is read as: a table of named columns, and what is asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.imports.json_records import runs_of

Batch = Mapping[str, Any]
"""pyarrow arrays of one length by column name; the cells of text formats are strings."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an import looks for, for sources that would have too much to tell.

    Attributes:
        names: columns that were asked for, by their names or the ends of them.
        settings: those among them that every run with a result has.
        objective: the one that is compared, None for a table of optima.
        step: the column of steps, if each run is to have a row a step.
        outcome: column that says how a run ended, if one was named.
        experiments: the only experiments or projects that count; empty for all.
        history: file or folder that holds the histories of the runs.
    """

    names: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    objective: str | None = None
    step: str | None = None
    outcome: str | None = None
    experiments: tuple[str, ...] = ()
    history: Path | None = None
    _told: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    def follows(self, column: str) -> bool:
        """Returns whether the values of a metric on the way may be needed."""
        return self.step is not None and self.asks(column)

    def asks(self, column: str) -> bool:
        """Returns whether a column may be one of those that were asked for."""
        if column not in self._told:  # of every value of a metric it is asked again
            ends = (column.removesuffix(name) for name in self.names if column.endswith(name))
            self._told[column] = any(not end or end[-1] in "./" for end in ends)
        return self._told[column]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A file as a table of named columns.

    Attributes:
        path: the file, or the folder; of what is none, how it is called.
        names: its columns in their order; nested fields joined by dots.
        batches: reads some columns, in batches of rows, from the first row on.
        goals: which ends of the objective those who made the file were after, min or max, where
            it says so.
        sha256: of the rows, where they are in no file.
        run_of: name of the run of a row, by its number from 1, where rows are those of runs.
        notes: sentences on what was not taken as it stands there.
    """

    path: Path | str
    names: tuple[str, ...]
    batches: Callable[[Sequence[str]], Iterator[Batch]]
    goals: frozenset[str] = frozenset()
    sha256: str | None = None
    run_of: Callable[[int], str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How answers call it: the last part of its path."""
        path = self.path
        return path if isinstance(path, str) else path.name or path.resolve().name

    def place(self, row: int) -> str:
        """Returns how messages call a row, by its number from 1."""
        return f"row {row}" if self.run_of is None else f"run {self.run_of(row)}"

    def digest(self) -> str:
        """Returns the SHA-256 of the file's bytes, 64 hex digits; of a folder that of the names
        and digests of its files, of a database that of its rows."""
        if self.sha256 is not None:
            return self.sha256
        path = Path(self.path)
        if path.is_dir():
            whole = hashlib.sha256()
            for each in (file for files in runs_of(path).values() for file in files):
                name = each.relative_to(path).as_posix()
                whole.update(f"{name} {hashlib.sha256(each.read_bytes()).hexdigest()}\n".encode())
            return whole.hexdigest()
        with path.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
