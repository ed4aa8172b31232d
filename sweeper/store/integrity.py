"""Whether the database is whole in itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from sqlalchemy import Connection

from sweeper.errors import StoreError
from sweeper.store.database import Database
from sweeper.store.faults import DAMAGED
from sweeper.store.upkeep import Finding

MOST_WORDS = 3
"""Complaints of SQLite that a message repeats."""


def require_whole(database: Database, *, thorough: bool) -> None:
    """Raises StoreError if an SQLite file is damaged. A server looks after its files itself.

    Args:
        database: which one.
        thorough: compare indices with their tables, too.
    """
    if not database.is_sqlite:
        return
    pragma = "integrity_check" if thorough else "quick_check"
    with database.read() as connection:
        rows = connection.exec_driver_sql(f"PRAGMA {pragma}({MOST_WORDS})").scalars().all()
    if rows != ["ok"]:
        words = "; ".join(" ".join(str(row).split()) for row in rows)
        raise StoreError(f"store {database.location.shown}: {words}; {DAMAGED}")


def dangling_rows(connection: Connection, database: Database) -> Iterator[Finding]:
    """Yields rows that refer to rows that are not there; on a server there cannot be any."""
    if not database.is_sqlite:
        return
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    places = sorted((str(row[0]), str(row[2])) for row in rows)
    for (table, parent), group in groupby(places):
        yield Finding(
            kind="dangling",
            where=f"table {table}",
            what=f"{len(list(group))} rows refer to rows of {parent} that are not there",
            remedy="something else than sweeper has deleted them; restore the database from a "
            "backup, or move it away and run the studies again: results are taken over from "
            "their curve files",
        )
