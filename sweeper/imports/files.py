"""A file of results as batches of columns: CSV, Parquet or JSON, or a folder of JSON runs."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from sweeper.errors import RequestError, shown
from sweeper.imports.bounds import (
    LIMITS,
    Limits,
    piece,
    reading,
    refusal,
    require_bounded,
    require_columns,
    require_rows,
    stream,
)
from sweeper.imports.cells import as_cell
from sweeper.words import quantity

HEAD_BYTES = 1 << 20
"""How much of a file is looked at to tell its format, and the longest header of a CSV file."""

BLOCK_BYTES = 1 << 23
"""How much of a CSV file is held as text at a time."""

BATCH_ROWS = 1 << 17
"""Rows of a batch of the other formats."""


_SPACE = re.compile(r"\s*")
_DELIMITERS = (",", ";", "\t")
_ENCODINGS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Record = Mapping[str, "str | _Clash"]
"""A record of JSON: its leaves as text by dotted name."""

Batch = Mapping[str, Any]
"""pyarrow arrays of one length by column name; the cells of text formats are strings."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A file as a table of named columns.

    Attributes:
        path: the file, or the folder.
        names: its columns in their order; nested fields joined by dots.
        batches: reads some columns, in batches of rows, from the first row on.
    """

    path: Path
    names: tuple[str, ...]
    batches: Callable[[Sequence[str]], Iterator[Batch]]

    def digest(self) -> str:
        """Returns the SHA-256 of the file's bytes, 64 hex digits; of a folder that of the names
        and digests of its files."""
        if self.path.is_dir():
            whole = hashlib.sha256()
            for path in (file for files in _runs_of(self.path).values() for file in files):
                name = path.relative_to(self.path).as_posix()
                whole.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
            return whole.hexdigest()
        with self.path.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()


def open_sheet(path: Path, limits: Limits = LIMITS) -> Sheet:
    """Returns a file as a sheet; its format is told by its content, not by its name.

    Files compressed with gzip, bzip2 or zstd are read as they are, going by their names.

    Raises:
        RequestError: the file is missing, empty, unreadable, in no known format or too large; it
            is a pipe or device; the folder holds no runs.
    """
    if not path.is_dir():
        require_bounded(path, limits)
    sheet = _sheet_of(path, limits)
    require_columns(path, len(sheet.names), limits)

    def batches(wanted: Sequence[str]) -> Iterator[Batch]:
        rows = 0
        for batch in sheet.batches(wanted):
            rows += max(map(len, batch.values()), default=0)
            require_rows(path, rows, limits)
            yield batch

    return replace(sheet, batches=batches)


def _sheet_of(path: Path, limits: Limits) -> Sheet:
    if path.is_dir():
        return _of_records(path, limits, lambda: _folder_records(path, limits))
    head = _head(path)
    if head.startswith(b"PAR1"):
        return _parquet(path, limits)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return _of_records(path, limits, lambda: _records(path, limits))
    encoding = _ENCODINGS.get(head[:2], "utf-8")
    if encoding == "utf-8" and b"\0" in head:
        raise refusal(path, "is none of CSV, Parquet and JSON; export it as one of these")
    return _csv(path, head, encoding)


def release_batches() -> None:
    """Gives the memory of batches that nobody holds any more back to the system; pyarrow keeps it
    for the next file, 110 MiB after one of ten million rows."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def _head(path: Path) -> bytes:
    with reading(path), stream(path) as source:
        head = bytes(source.read(HEAD_BYTES))
    if not head.strip():
        raise refusal(path, "the file is empty")
    return head


# CSV ------------------------------------------------------------------------------------------


def _csv(path: Path, head: bytes, encoding: str) -> Sheet:
    with reading(path):
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        text = decoder.decode(head).removeprefix("\ufeff")
    rows = [_first_row(text, delimiter) for delimiter in _DELIMITERS]
    names, delimiter = max(zip(rows, _DELIMITERS, strict=True), key=lambda item: len(item[0]))

    def batches(wanted: Sequence[str]) -> Iterator[Batch]:
        from pyarrow import csv as arrow_csv

        raw = {name.strip(): name for name in names}
        with reading(path) as said, stream(path) as source:
            options = _csv_options([raw[name] for name in wanted], delimiter, encoding, said)
            reader = arrow_csv.open_csv(_Decodable(source, encoding), **options)
            for batch in reader:
                yield {name: batch.column(raw[name]) for name in wanted}

    return Sheet(path=path, names=tuple(name.strip() for name in names), batches=batches)


class _Decodable(io.RawIOBase):
    """Bytes of a file that are text: pyarrow cannot tell of an odd row that is not.

    Raises:
        UnicodeDecodeError: on reading, before what is not text is handed on.
    """

    def __init__(self, source: Any, encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._seen = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = bytes(self._source.read(None if size < 0 else size))
        pending = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(found, final=not found)
        except UnicodeDecodeError as fault:
            fault.start += self._seen - pending  # from the beginning of the file
            raise
        self._seen += len(found)
        return found


def _first_row(text: str, delimiter: str) -> list[str]:
    """The names in the first line that is not blank, which the reader takes for the header."""
    rows = csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=delimiter)
    return next(rows, [])


def _csv_options(
    names: Sequence[str], delimiter: str, encoding: str, said: list[str]
) -> dict[str, Any]:
    """How some columns of a CSV file are read, as text; what is wrong with a row is said."""
    import pyarrow
    from pyarrow import csv as arrow_csv

    def note(row: Any) -> str:
        said.append(
            f"row {row.number - 1}: {row.actual_columns} cells where the header names "
            f"{row.expected_columns} columns: {row.text[:80]!r}; quote cells that hold the "
            f"delimiter {delimiter!r}"
        )
        return "error"

    return {
        "read_options": arrow_csv.ReadOptions(
            block_size=BLOCK_BYTES,
            encoding=encoding,
            use_threads=False,  # threads do not know the number of a row
        ),
        "parse_options": arrow_csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note
        ),
        "convert_options": arrow_csv.ConvertOptions(
            include_columns=list(names), column_types=dict.fromkeys(names, pyarrow.string())
        ),
    }


# Parquet --------------------------------------------------------------------------------------


def _parquet(path: Path, limits: Limits) -> Sheet:
    from pyarrow import parquet, types

    with reading(path):
        leaves = _leaves(parquet.read_schema(path).empty_table())
    # Their words are kept once, however many rows repeat them.
    words = [f.name for f in leaves.schema if types.is_string(f.type) or types.is_binary(f.type)]

    def batches(wanted: Sequence[str]) -> Iterator[Batch]:
        import pyarrow

        with reading(path), parquet.ParquetFile(path, read_dictionary=words) as source:
            _require_unpacked(path, source.metadata, wanted, limits)
            for batch in source.iter_batches(batch_size=BATCH_ROWS, columns=list(wanted)):
                table = _leaves(pyarrow.Table.from_batches([batch]))
                yield {name: table.column(name).combine_chunks() for name in wanted}

    return Sheet(path=path, names=tuple(leaves.column_names), batches=batches)


def _require_unpacked(path: Path, metadata: Any, wanted: Sequence[str], limits: Limits) -> None:
    """Refuses columns that the file itself says are too large."""
    require_rows(path, metadata.num_rows, limits)
    size, values = 0, Counter[str]()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            name = column.path_in_schema
            if any(f"{name}.".startswith(f"{each}.") for each in wanted):
                size += column.total_uncompressed_size
                values[name] += column.num_values
    require_rows(path, max(values.values(), default=0), limits)
    if size > limits.bytes:
        raise refusal(
            path,
            f"its columns unpack to {quantity(size, 'B')}, at most {quantity(limits.bytes, 'B')} "
            "are read; leave out rows that are not needed",
        )


def _leaves(table: Any) -> Any:
    """A table whose nested columns are spread out under dotted names."""
    from pyarrow import types

    while any(types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


# JSON -----------------------------------------------------------------------------------------


def _of_records(path: Path, limits: Limits, read: Callable[[], Iterator[Record]]) -> Sheet:
    names: dict[str, None] = {}
    for count, record in enumerate(read(), start=1):
        names.update(dict.fromkeys(record))
        require_columns(path, len(names), limits)
        require_rows(path, count, limits)

    def batches(wanted: Sequence[str]) -> Iterator[Batch]:
        import pyarrow

        def batch(records: Iterable[Mapping[str, str]]) -> Batch:
            rows = list(records)
            return {
                name: pyarrow.array([row.get(name, "") for row in rows], pyarrow.string())
                for name in wanted
            }

        waiting: list[Mapping[str, str]] = []
        for number, record in enumerate(read(), start=1):
            kept = {name: record[name] for name in wanted if name in record}
            cells = {name: text for name, text in kept.items() if isinstance(text, str)}
            for name, clash in kept.items():
                if isinstance(clash, _Clash):
                    raise clash.refusal(path, number, name)
            waiting.append(cells)
            if len(waiting) == BATCH_ROWS:
                yield batch(waiting)
                waiting = []
        yield batch(waiting)

    return Sheet(path=path, names=tuple(names), batches=batches)


def _records(path: Path, limits: Limits) -> Iterator[Record]:
    """Yields the records of a list, of lines with one each, or of objects over several lines, as
    text by dotted name."""
    with reading(path), stream(path) as source:
        text = io.TextIOWrapper(source, encoding="utf-8-sig")
        lines = iter(lambda: piece(path, text.readline(limits.text + 1), limits), "")
        first = next((line for line in lines if line.strip()), "")
        items: Iterable[tuple[int, Any]]
        if first.lstrip().startswith("["):
            whole = piece(path, first + text.read(limits.text + 1), limits)
            items = enumerate(_loaded(path, whole, "the list"), start=1)
        elif not _is_json(first):
            whole = piece(path, first + text.read(limits.text + 1), limits)
            items = enumerate(_objects(path, whole), start=1)
        else:
            numbered = enumerate(chain([first], lines), start=1)
            items = (
                (n, _loaded(path, line, f"record {n}")) for n, line in numbered if line.strip()
            )
        for number, item in items:
            if not isinstance(item, dict):
                raise refusal(path, f"record {number} is no object but {str(item)[:40]!r}")
            record = _record(item)
            for name, cell in record.items():
                if not _is_whole(name) or (isinstance(cell, str) and not _is_whole(cell)):
                    raise refusal(
                        path,
                        f"record {number}: {shown(name)} holds half a character, of a text that "
                        "was cut in two; write the whole of it, or leave it out",
                    )
            yield record


def _is_whole(text: str) -> bool:
    """Returns whether a text can be written, having no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _why(error: ValueError | RecursionError) -> str:
    """What is wrong with a text that is not read as JSON."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if "integer string conversion" in str(error):
        return "a number has more than 4,300 digits"
    return str(error)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _objects(path: Path, text: str) -> Iterator[Any]:
    """Yields the objects of a text, one after the other and each over several lines."""
    decoder, number = json.JSONDecoder(object_pairs_hook=_object), 0
    text = text.strip()
    start = 0
    while start < len(text):
        number += 1
        try:
            item, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            raise refusal(path, f"record {number} is not JSON: {_why(error)}") from error
        yield item
        space = _SPACE.match(text, start)
        assert space is not None  # no space at all is a match too
        start = space.end()


def _runs_of(folder: Path) -> dict[str, list[Path]]:
    """Returns the .json files of each run of a folder by its name: one beside the others, or all
    of a folder of its own."""
    runs: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        files = sorted(entry.glob("*.json")) if entry.is_dir() else [entry]
        files = [file for file in files if file.suffix == ".json" and file.is_file()]
        if files and not entry.name.startswith("."):
            runs.setdefault(entry.name if entry.is_dir() else entry.stem, []).extend(files)
    return runs


def _folder_records(folder: Path, limits: Limits) -> Iterator[Record]:
    """Yields the runs of a folder. Where a run has a folder of its own, its files' names come
    before those of their fields, as in ``config.lr``; a run without a name has its file's."""
    runs = _runs_of(folder)
    for file in chain.from_iterable(runs.values()):
        require_bounded(file, limits)
    if not runs:
        raise refusal(
            folder,
            "is a folder without .json files of runs; name the file that holds the table",
        )
    for run, files in runs.items():
        records = [list(_records(file, limits)) for file in files]
        if files[0].parent == folder:
            found = [record for each in records for record in each]
        else:
            single = zip(files, records, strict=True)
            found = [
                {
                    f"{file.stem}.{name}": value
                    for file, each in single
                    if len(each) == 1
                    for name, value in each[0].items()
                }
            ]
        for record in found:
            named = any(name.lower() == "name" for name in record)
            yield record if named else {"Name": run, **record}


def _loaded(path: Path, text: str, what: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise refusal(
            path, f"{what} is not JSON: {_why(error)}; write one object a line"
        ) from error


@dataclass(frozen=True)
class _Clash:
    """Two values of one name in one record."""

    one: Any
    other: Any

    def refusal(self, path: Path, number: int, name: str) -> RequestError:
        """Returns what to say where the name is asked for."""
        return refusal(
            path,
            f"record {number}: {name} is there twice, as {_shown(self.one)} and as "
            f"{_shown(self.other)}; remove one",
        )


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:40]


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object of JSON; a key that is there twice has one value only if both agree."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = _both(found[key], value) if key in found else value
    return found


def _both(one: Any, other: Any) -> Any:
    """Returns what two values of one name are together."""
    if isinstance(one, dict) and isinstance(other, dict):
        return _object([*one.items(), *other.items()])
    if isinstance(one, _Clash) or isinstance(other, _Clash):
        return one if isinstance(one, _Clash) else other
    mine, its = (None if isinstance(each, dict) else as_cell(_cell(each)) for each in (one, other))
    same = mine == its and type(mine) is type(its) and not isinstance(one, dict)
    return one if same and not isinstance(other, dict) else _Clash(one, other)


def _record(item: Mapping[str, Any]) -> Record:
    """Returns the leaves of a record by dotted name, as text; ``a.b`` and b inside a are one."""
    leaves = _object(list(_leaves_of(item, "")))
    return {n: each if isinstance(each, _Clash) else _cell(each) for n, each in leaves.items()}


def _leaves_of(item: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yields the leaves of a record; W&B wraps some settings, {"value": ...}."""
    for key, value in item.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}:
            value = value["value"]
        if isinstance(value, dict):
            yield from _leaves_of(value, f"{name}.")
            continue
        yield name, value
        for part in (value.one, value.other) if isinstance(value, _Clash) else ():
            if isinstance(part, dict):  # all that lies below it is as doubtful
                yield from ((leaf, value) for leaf, _ in _leaves_of(part, f"{name}."))


def _cell(value: Any) -> str:
    """A leaf as the text that a CSV file would hold."""
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value)
