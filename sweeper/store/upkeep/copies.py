"""Rows and files copied from one store to another: what a move, a backup and a merge share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from sqlalchemy import Connection, Row, Table, func, insert, select, text, tuple_, update

from sweeper.errors import StoreError
from sweeper.store.database import CHUNK, Database
from sweeper.store.files import TEMPORARY_PREFIX, FileInfo, FileStore
from sweeper.store.tables import metadata

FOLDERS = ("curves/", "checkpoints/", "logs/", "tables/", "checks/")
"""What of a place of files belongs to a store."""

AT_ONCE = 8
"""Files that are copied side by side."""

PIECE = 1 << 20
"""Bytes that are read at a time."""


# Rows -----------------------------------------------------------------------------------------


def tables() -> list[Table]:
    """Returns the tables, those first that others refer to."""
    return list(metadata.sorted_tables)


def chunks(connection: Connection, table: Table) -> Iterator[list[Row[Any]]]:
    """Yields the rows of a table, some at a time."""
    rows = connection.execution_options(yield_per=CHUNK).execute(select(table))
    yield from (list(chunk) for chunk in rows.partitions())


def rows_there(
    connection: Connection, table: Table, rows: Sequence[Row[Any]]
) -> dict[Any, Row[Any]]:
    """Returns those of the rows that a database has, by their keys, as it has them."""
    columns = tuple_(*table.primary_key.columns)
    width = len(table.primary_key.columns)
    found: dict[Any, Row[Any]] = {}
    keys = [key_of(table, row) for row in rows]
    for start in range(0, len(keys), CHUNK // width):
        wanted = select(table).where(columns.in_(keys[start : start + CHUNK // width]))
        found |= {key_of(table, row): row for row in connection.execute(wanted)}
    return found


def key_of(table: Table, row: Row[Any]) -> tuple[Any, ...]:
    """Returns the primary key of a row."""
    return tuple(row._mapping[column] for column in table.primary_key.columns)


def copy_rows(reading: Connection, target: Database, table: Table) -> int:
    """Copies a table; returns how many rows the target lacked, or had otherwise."""
    copied = 0
    for rows in chunks(reading, table):
        with target.write() as writing:
            copied += _copy_chunk(writing, table, rows)
    with target.write() as writing:
        _count_on(writing, table)
    return copied


def _copy_chunk(writing: Connection, table: Table, rows: Sequence[Row[Any]]) -> int:
    there = rows_there(writing, table, rows)
    new = [dict(row._mapping) for row in rows if key_of(table, row) not in there]
    if new:
        writing.execute(insert(table), new)
    other = [row for row in rows if there.get(key_of(table, row), row) != row]
    for row in other:
        pairs = zip(table.primary_key.columns, key_of(table, row), strict=True)
        same = [column == value for column, value in pairs]
        writing.execute(update(table).where(*same).values(dict(row._mapping)))
    return len(new) + len(other)


def _count_on(writing: Connection, table: Table) -> None:
    """Has a server number the next row of a table after those that were copied."""
    if writing.dialect.name == "sqlite" or "id" not in table.c:
        return
    writing.execute(
        text(
            f"select setval(pg_get_serial_sequence('{table.name}', 'id'), "
            f"coalesce(max(id), 0) + 1, false) from {table.name}"
        )
    )


def unlike_rows(reading: Connection, other: Connection, table: Table) -> int:
    """Returns how many rows of a table are missing in another database, or not the same there in
    every column, or more than here."""
    counts = [
        link.execute(select(func.count()).select_from(table)).scalar_one()
        for link in (reading, other)
    ]
    wrong: int = abs(counts[0] - counts[1])
    for rows in chunks(reading, table):
        there = rows_there(other, table, rows)
        wrong += sum(there.get(key_of(table, row)) != row for row in rows)
    return wrong


# Files ----------------------------------------------------------------------------------------


def files_of(files: FileStore) -> dict[str, FileInfo]:
    """Returns size and age of the files of a store by name, but for unfinished ones."""
    return {
        name: info
        for folder in FOLDERS
        for name, info in files.infos(folder).items()
        if not name.rpartition("/")[2].startswith(TEMPORARY_PREFIX)
    }


def copy_file(old: FileStore, name: str, new: FileStore, to: str | None = None) -> bytes:
    """Copies a file, which outlives a loss of power once the new place was asked to ``sync``.

    Args:
        old: where it is.
        name: what it is called there.
        new: where to.
        to: what it is called there; None is the same name.

    Returns:
        The SHA-256 of the bytes that were read.

    Raises:
        FileNotFoundError: it is not there.
        StoreError: it cannot be read or written.
    """
    digest = hashlib.sha256()
    with (
        old.open(name) as source,
        new.write(to or name, durable=False) as aside,
        aside.open("wb") as file,
    ):
        while piece := source.read(PIECE):
            digest.update(piece)
            file.write(piece)
    old.release(name)
    return digest.digest()


def copy_checked(old: FileStore, name: str, new: FileStore, to: str | None = None) -> None:
    """Copies a file unless the new place has it, and reads it back there.

    Raises:
        FileNotFoundError: it is not there.
        StoreError: it cannot be read or written, or did not arrive as it was.
    """
    there = to or name
    if new.info(there) is not None and alike(old, new, name, there):
        return
    read = copy_file(old, name, new, there)
    with new.open(there) as copied:
        arrived = _sha256(copied)
    new.release(there)
    if arrived != read:
        raise StoreError(
            f"{new.shown(there)} did not arrive as it is at {old.shown(name)}; give the same "
            "command again"
        )


def alike(old: FileStore, new: FileStore, name: str, to: str | None = None) -> bool:
    """Returns whether a file has the same bytes at both places; False if one lacks it."""
    digests = []
    for files, each in ((old, name), (new, to or name)):
        try:
            with files.open(each) as source:
                digests.append(_sha256(source))
        except FileNotFoundError:
            return False
        files.release(each)
    return digests[0] == digests[1]


def _sha256(source: BinaryIO) -> bytes:
    return hashlib.file_digest(source, "sha256").digest()  # type: ignore[arg-type]
