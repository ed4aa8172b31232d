"""Results that a program writes to files: each source gives the rows that are new since it was
last asked, of files that grow while it runs."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from workloads.command.results import Results, Row, number_in, row_of, row_of_json
from workloads.programs import TrialFailedError

Stamp = tuple[int, int, int]
"""By which a file is told from what it was: inode, size, time of its last change."""


class Source(Protocol):
    """Files of results."""

    def rows(self, *, last: bool = False) -> list[Row]:
        """Returns the rows that have come since the last call.

        Args:
            last: the program has ended: nothing is half written any more.

        Raises:
            TrialFailedError: the program has ended and a file cannot be read, or a package that
                reads it is missing.
        """
        ...


def sources_of(results: Results, report: Path) -> list[Source]:
    """Returns the files that the results of a program are read from, before it starts: what is
    there already is none of its own.

    Args:
        results: where they are.
        report: file of JSON lines that is read in any case.
    """
    found: list[Source] = [_Growing(report)]
    if results.file is not None:
        path = Path(results.file)
        whole = {".json": _json_rows, ".parquet": _parquet_rows}.get(path.suffix.lower())
        found.append(_Growing(path) if whole is None else _Whole(path, whole))
    if results.tensorboard is not None:
        found.append(_Events(Path(results.tensorboard)))
    if results.wandb is not None:
        found.append(_Run(Path(results.wandb)))
    return found


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _unreadable(path: Path, fault: Exception) -> TrialFailedError:
    said = " ".join(str(fault).split()) or type(fault).__name__
    return TrialFailedError(f"the results in {path} cannot be read: {said}")


class _Growing:
    """A CSV file, or one of JSON lines, that is appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = _stamp(path)
        self._inode, self._read = (found[0], found[1]) if found else (0, 0)
        self._rest = b""
        self._is_csv = path.suffix.lower() == ".csv"
        self._heading: list[str] | None = None
        if found and self._is_csv:
            self._begin_after(path)

    def _begin_after(self, path: Path) -> None:
        """Takes up the heading of a file that a program goes on with."""
        with path.open("rb") as source:
            first = source.readline()
        if first.endswith(b"\n"):
            self._heading = next(csv.reader([first.decode(errors="replace")]), None)

    def rows(self, *, last: bool = False) -> list[Row]:
        """Returns the rows of the lines that have come."""
        found = _stamp(self._path)
        if found is None:
            return []
        if found[0] != self._inode or found[1] < self._read:  # written anew
            self._inode, self._read, self._rest, self._heading = found[0], 0, b"", None
        if found[1] > self._read:
            try:
                with self._path.open("rb") as source:
                    source.seek(self._read)
                    self._rest += source.read()
                    self._read = source.tell()
            except OSError as fault:
                if last:
                    raise _unreadable(self._path, fault) from fault
                return []
        whole, _, self._rest = (self._rest, b"", b"") if last else self._rest.rpartition(b"\n")
        lines = whole.decode("utf-8-sig", errors="replace").splitlines()
        return list(self._csv(lines) if self._is_csv else _json_lines(lines))

    def _csv(self, lines: list[str]) -> Iterator[Row]:
        for cells in csv.reader(io.StringIO("\n".join(lines))):
            if self._heading is None:
                self._heading = [cell.strip() for cell in cells] or None
            elif cells and [cell.strip() for cell in cells] != self._heading:
                pairs = zip(self._heading, map(number_in, cells), strict=False)
                yield {name: value for name, value in pairs if value is not None}


def _json_lines(lines: list[str]) -> Iterator[Row]:
    for line in lines:
        if row := row_of_json(line):
            yield row


class _Whole:
    """A file that is written again whenever there is more."""

    def __init__(self, path: Path, read: Any) -> None:
        self._path = path
        self._rows_of = read
        self._seen = _stamp(path)
        self._known: list[Row] = []

    def rows(self, *, last: bool = False) -> list[Row]:
        """Returns the rows that the file has now and had not before."""
        found = _stamp(self._path)
        if found is None or found == self._seen:
            return []
        try:
            rows: list[Row] = self._rows_of(self._path)
        except Exception as fault:  # half written, perhaps
            if last:
                raise _unreadable(self._path, fault) from fault
            return []
        self._seen = found
        known, self._known = self._known, rows
        return rows[len(known) :] if rows[: len(known)] == known else rows


def _json_rows(path: Path) -> list[Row]:
    """The rows of a JSON document: a list of objects, an object of lists, or one object."""
    document = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(document, list):
        return [row_of(each) for each in document if isinstance(each, dict)]
    if not isinstance(document, dict):
        raise ValueError("it is neither an object nor a list of objects")
    columns = {name: each for name, each in document.items() if isinstance(each, list)}
    rows = [row_of(document)]
    if columns:
        length = max(map(len, columns.values()))
        rows[:0] = [
            row_of({name: each[at] for name, each in columns.items() if at < len(each)})
            for at in range(length)
        ]
    return [row for row in rows if row]


def _parquet_rows(path: Path) -> list[Row]:
    from pyarrow import parquet  # what reads it is loaded where there is something to read

    return [row_of(each) for each in parquet.read_table(path).to_pylist()]


class _Below:
    """The files of some name in a folder and below it that were not there at first."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder, self._pattern = folder, pattern
        self._old = self._found()
        self._known: list[Path] = []
        self._next = 0.0

    def files(self, *, last: bool) -> list[Path]:
        """Returns them; a folder that takes long to look through is seldom looked through."""
        began = time.monotonic()
        if last or began >= self._next:
            self._known = sorted(self._found() - self._old)
            took = time.monotonic() - began
            self._next = began + (took * SELDOM if took > LONG_SECONDS else 0.0)
        return self._known

    def _found(self) -> set[Path]:
        return {path.resolve() for path in self._folder.rglob(self._pattern)}  # links lead to some


LONG_SECONDS, SELDOM = 0.01, 20
"""From which time on a folder is looked through no more often than once in so many times that."""


class _Events:
    """TensorBoard's event files in a folder and below it."""

    def __init__(self, folder: Path) -> None:
        self._below = _Below(folder, "*tfevents*")
        self._loaders: dict[Path, Any] = {}

    def rows(self, *, last: bool = False) -> list[Row]:
        """Returns the scalars of new events, those of one step as one row."""
        rows: list[Row] = []
        for path in self._below.files(last=last):
            if path not in self._loaders:
                self._loaders[path] = _loader(path)
            for event in self._loaders[path].Load():
                for value in event.summary.value:
                    scalar = _scalar(value)
                    if scalar is None:
                        continue
                    if not rows or rows[-1]["step"] != event.step:
                        rows.append({"step": float(event.step)})
                    rows[-1][value.tag] = scalar
        return rows


def _module(name: str, what: str) -> Any:
    """A module of a package that only such results need.

    Raises:
        TrialFailedError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as fault:
        package = name.partition(".")[0]
        raise TrialFailedError(
            f"{what} cannot be read without the package {package} ({fault}): pip install {package}"
        ) from fault


def _loader(path: Path) -> Any:
    name = "tensorboard.backend.event_processing.event_file_loader"
    return _module(name, "TensorBoard's events").EventFileLoader(str(path))


def _scalar(value: Any) -> float | None:
    tensor_util = _module("tensorboard.util.tensor_util", "TensorBoard's events")
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.HasField("tensor") and value.metadata.plugin_data.plugin_name in ("scalars", ""):
        found = tensor_util.make_ndarray(value.tensor)
        if found.size == 1 and found.dtype.kind in "fiu":
            return float(found.item())
    return None


BLOCK = 32_768
"""Bytes of a block of a run's file, which has the form of LevelDB's log."""

FILE_HEADER = 7
RECORD_HEADER = 7
FULL, FIRST, LAST = 1, 2, 4


class _Run:
    """The files of offline runs of Weights & Biases in a folder and below it."""

    def __init__(self, folder: Path) -> None:
        self._below = _Below(folder, "run-*.wandb")
        self._places: dict[Path, tuple[int, bytes]] = {}

    def rows(self, *, last: bool = False) -> list[Row]:
        """Returns the new rows of the history, and what the program puts into the summary."""
        rows: list[Row] = []
        for path in sorted(self._below.files(last=last), key=lambda path: path.parent.name):
            rows += self._new_of(path)
        return rows

    def _new_of(self, path: Path) -> Iterator[Row]:
        parse = _parser()
        start, part = self._places.get(path, (FILE_HEADER, b""))
        with path.open("rb") as source:
            source.seek(start)
            content = source.read()  # what is new
        at = start
        while True:
            left = BLOCK - at % BLOCK
            if left < RECORD_HEADER:
                at += left
                continue
            header = content[at - start : at - start + RECORD_HEADER]
            kind = header[6] if len(header) == RECORD_HEADER else 0
            begin = at - start + RECORD_HEADER
            end = begin + int.from_bytes(header[4:6], "little")
            if not kind or end > len(content):
                break
            part = (b"" if kind in (FULL, FIRST) else part) + content[begin:end]
            at = start + end
            if kind in (FULL, LAST):
                if row := parse(part):
                    yield row
                part = b""
        self._places[path] = at, part


def _parser() -> Any:
    messages = _module("wandb.proto.wandb_internal_pb2", "an offline run of W&B")

    def parse(packed: bytes) -> Row:
        record = messages.Record.FromString(packed)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
        elif record.WhichOneof("record_type") == "summary":
            items = record.summary.update
        else:
            return {}
        found: dict[str, Any] = {}
        for item in items:
            name = item.key or "/".join(item.nested_key)
            found[name] = json.loads(item.value_json)
        step = found.pop("_step", None)
        if step is not None and not record.HasField("history"):
            return {}  # the summary of a row that was told
        row = {name: each for name, each in row_of(found).items() if not name.startswith("_")}
        return row | ({} if step is None or not row else {"step": float(step)})

    return parse
