"""A person's SQL, which can read everything and change nothing."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from sweeper.errors import RequestError
from sweeper.store.database import (
    BUSY_SECONDS,
    SETTINGS,
    Database,
    postgres_engine,
    postgres_settings,
    sqlite_uri,
)
from sweeper.store.faults import store_fault
from sweeper.store.location import Location
from sweeper.store.records import Table

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_INSPECTING = {"table_info", "table_xinfo", "table_list", "index_list", "index_info"}

_LOOK_UP = 100_000
"""Steps of SQLite's machine after which it asks whether to go on, some milliseconds."""

_READERS = ("select", "with", "values", "table", "explain", "show")
"""First words of the statements that a server is asked; a powerful role could run programs on it
with others, in a transaction that only reads, too."""

MOST_DIGITS = 4000
"""Digits from which on a number is told as text: Python writes none of more than 4,300."""

_BEFORE = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)*")
"""What may stand before the first word: space, parentheses and comments."""


def run_query(database: Database, sql: str, parameters: Sequence[Any] = ()) -> Table:
    """Returns the answer to one reading statement, over a connection that cannot write.

    Args:
        database: which one.
        sql: one statement in the database's own SQL.
        parameters: values for the placeholders, which are ``?`` on SQLite and ``%s`` on
            PostgreSQL.

    Raises:
        RequestError: the statement is wrong, or would write.
        StoreError: the database cannot be opened.
        KeyboardInterrupt: a person has waited for long enough.
    """
    location = database.location
    file = location.sqlite_file
    if file is None:
        return _ask_postgres(location, sql, parameters)
    return _ask_sqlite(location, file, sql, parameters)


def _ask_sqlite(location: Location, file: Path, sql: str, parameters: Sequence[Any]) -> Table:
    try:
        link = sqlite3.connect(sqlite_uri(file), uri=True, timeout=BUSY_SECONDS)
        link.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise store_fault(location.shown, error) from error
    with closing(link):
        link.set_authorizer(_authorize)
        link.set_progress_handler(lambda: 0, _LOOK_UP)  # signals are seen in what is Python
        link.text_factory = _text
        try:
            cursor = link.execute(sql, tuple(parameters))
            return _table(sql, cursor.description, cursor.fetchall())
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise KeyboardInterrupt from error
            raise _refusal(sql, error) from error


def _text(value: bytes) -> str | bytes:
    """Returns a text; as bytes where it is none, so that one such cell hides no other."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allows what reads; ATTACH, for one, could make a file even on a read-only connection."""
    inspects = action == sqlite3.SQLITE_PRAGMA and first in _INSPECTING
    return sqlite3.SQLITE_OK if action in _READING or inspects else sqlite3.SQLITE_DENY


def _ask_postgres(location: Location, sql: str, parameters: Sequence[Any]) -> Table:
    engine = postgres_engine(location)
    try:
        with closing(engine.raw_connection()) as pooled:
            link: Any = pooled.driver_connection
            link.read_only = True
            link.execute(SETTINGS, postgres_settings(location))
            return _fetch_postgres(link, sql, parameters)
    except DBAPIError as error:
        raise store_fault(location.shown, error.orig or error) from error
    finally:
        engine.dispose()


def require_reading(sql: str) -> None:
    """Checks that a statement for a server begins like one that reads.

    Raises:
        RequestError: it does not.
    """
    start = _BEFORE.match(sql)
    word = re.match(r"\w*", sql[start.end() if start else 0 :])
    if word is None or word[0].lower() not in _READERS:
        wrong = f"{word[0].lower() if word else ''!r} is no statement that reads"
        raise _refusal(sql, wrong, _READERS)


def _fetch_postgres(link: Any, sql: str, parameters: Sequence[Any]) -> Table:
    import psycopg  # an optional dependency, which only a PostgreSQL store needs

    require_reading(sql)
    _take_every_value(link.adapters)
    try:
        # In a pipeline a text with a second statement ("rollback; drop ...") is refused.
        with link.pipeline():
            cursor = link.execute(sql, tuple(parameters) or None)
        return _table(sql, cursor.description, cursor.fetchall() if cursor.description else [])
    except psycopg.Error as error:
        raise _refusal(sql, error, _READERS) from error


def _take_every_value(adapters: Any) -> None:
    """Has a value that Python has no form of (a date before Christ, ``infinity``) come as the text
    that it is for the server, and every interval, whose months Python takes for 30 days."""
    from psycopg.pq import Format
    from psycopg.types.string import TextLoader

    for name in ("date", "time", "timetz", "timestamp", "timestamptz", "json", "jsonb"):
        usual = adapters.get_loader(adapters.types[name].oid, Format.TEXT)
        adapters.register_loader(name, _lenient(usual))
    adapters.register_loader("interval", TextLoader)


def _lenient(usual: Any) -> Any:
    from psycopg.adapt import Loader

    class Lenient(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._usual = usual(oid, context)

        def load(self, data: Any) -> Any:
            try:
                return self._usual.load(data)
            except Exception:  # psycopg's own, or ValueError of a number that is too long
                return bytes(data).decode()

    return Lenient


def _table(sql: str, description: Any, rows: list[Any]) -> Table:
    if not description:
        raise _refusal(sql, "this asks for nothing")
    columns = tuple(column[0] for column in description)
    return Table(columns, [tuple(plain(value) for value in row) for row in rows])


def plain(value: Any) -> Any:
    """The value as SQLite would give it, so that both databases answer alike."""
    if isinstance(value, Decimal):
        if value.is_finite() and value.adjusted() >= MOST_DIGITS:
            return str(value)
        whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if whole else float(value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(UTC)
        return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=lambda each: plain(each))
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{bytes(value).hex()}"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def json_rows(table: Table) -> list[dict[str, Any]]:
    """Returns the rows of an answer for JSON: a name that several columns have is numbered, and
    what JSON has no number for is text, ``NaN`` or ``Infinity``."""
    names: list[str] = []
    for column in table.columns:
        name, count = column, 1
        while name in names:
            count += 1
            name = f"{column}_{count}"
        names.append(name)
    return [dict(zip(names, map(_finite, row), strict=True)) for row in table.rows]


def _finite(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _refusal(
    sql: str,
    error: BaseException | str,
    readers: Sequence[str] = ("select", "with", "values", "explain"),
) -> RequestError:
    words = " ".join(str(error).split())
    line = " ".join(sql.split())
    shown = line if len(line) <= 80 else f"{line[:77]}..."
    return RequestError(
        f"sql: {words}, in {shown!r}; one statement that reads is allowed ({', '.join(readers)}); "
        "the tables are studies, trials, study_trials, attempts, results, marks, probes and "
        "estimates"
    )
