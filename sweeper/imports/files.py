"""A table in a file as batches of columns: CSV, Parquet, JSON, or a folder of JSON runs."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.imports.bounds import (
    LIMITS,
    Limits,
    reading,
    refusal,
    require_bounded,
    require_columns,
    require_rows,
    stream,
)
from sweeper.imports.json_records import Clash, Record, records_of, records_of_folder
from sweeper.imports.sheet import Batch, Sheet
from sweeper.words import quantity

HEAD_BYTES = 1 << 20
"""How much of a file is looked at to tell its format, and the longest header of a CSV file."""

BLOCK_BYTES = 1 << 23
"""How much of a CSV file is held as text at a time."""

BATCH_ROWS = 1 << 17
"""Rows of a batch of the other formats."""

_DELIMITERS = (",", ";", "\t")
_ENCODINGS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def open_table(path: Path, limits: Limits = LIMITS) -> Sheet:
    """Returns a file as a sheet; its format is told by its content, not by its name.

    Files compressed with gzip, bzip2 or zstd are read as they are, going by their names.

    Raises:
        RequestError: the file is missing, empty, unreadable, in no known format or too large; it
            is a pipe or device; the folder holds no runs.
    """
    if not path.is_dir():
        require_bounded(path, limits)
    sheet = _table_of(path, limits)
    require_columns(path, len(sheet.names), limits)

    def batches(wanted: Sequence[str]) -> Iterator[Batch]:
        rows = 0
        for batch in sheet.batches(wanted):
            rows += max(map(len, batch.values()), default=0)
            require_rows(path, rows, limits)
            yield batch

    return replace(sheet, batches=batches)


def _table_of(path: Path, limits: Limits) -> Sheet:
    if path.is_dir():
        return sheet_of_records(path, limits, lambda: records_of_folder(path, limits))
    head = _head(path)
    if head.startswith(b"PAR1"):
        return _parquet(path, limits)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return sheet_of_records(path, limits, lambda: records_of(path, limits))
    encoding = _ENCODINGS.get(head[:2], "utf-8")
    if encoding == "utf-8" and b"\0" in head:
        raise refusal(
            path,
            "is none of CSV, Parquet and JSON, nor a storage of Optuna or MLflow; export it as "
            "one of these",
        )
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


def sheet_of_records(path: Path, limits: Limits, read: Callable[[], Iterator[Record]]) -> Sheet:
    """Returns records as a sheet, which reads them once for the names of their columns, and once
    for each look at some of these."""
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
                if isinstance(clash, Clash):
                    raise clash.refusal(path, number, name)
            waiting.append(cells)
            if len(waiting) == BATCH_ROWS:
                yield batch(waiting)
                waiting = []
        yield batch(waiting)

    return Sheet(path=path, names=tuple(names), batches=batches)
