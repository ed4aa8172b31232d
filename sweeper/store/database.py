"""Connections to the database: transactions that behave alike on SQLite and PostgreSQL.

There is one writer at a time. SQLite has ``BEGIN IMMEDIATE`` for that; on PostgreSQL every
writing transaction takes one advisory lock first. So whatever a writer reads stays true until it
commits, which is all that leases need.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from sweeper.errors import StoreError, StoreMoved, StoreReadOnly
from sweeper.store.faults import DAMAGED, store_fault
from sweeper.store.location import Location
from sweeper.store.tables import json_text

BUSY_SECONDS = 30
"""How long a writer waits for another one before it gives up."""

CONNECT_SECONDS = 10
"""How long a server may take to answer."""

_SILENCE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""After how long a machine that has gone without a word is given up: a minute. The system's own
limits are two hours for an answer and a quarter of an hour for a question."""

CHUNK = 1000
"""Keys in one IN list; SQLite takes 32,766 parameters, PostgreSQL 65,535."""

MOST_WORDS = 3
"""Complaints of SQLite that a message repeats."""

_WRITER_LOCK = 0x5357_4545_5045_52  # "SWEEPER"


class Database:
    """Opens transactions; every failure becomes a StoreError that names the place.

    Args:
        location: where the database is.
        read_only: refuse to write, in the database itself.
        busy_seconds: how long a writer waits for another one before it gives up.

    Attributes:
        clock: tells the time inside a transaction (:func:`current_time`).
        timed: is told after every transaction whether it wrote, and how many seconds it took.
    """

    def __init__(
        self,
        location: Location,
        *,
        read_only: bool = False,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.location = location
        self.read_only = read_only
        self.clock: Callable[[Connection], datetime] = shared_clock
        self.timed: Callable[[bool, float], None] = lambda writes, seconds: None
        self.is_sqlite = location.sqlite_file is not None
        self._file: tuple[int, int] | None = None
        self._settings = postgres_settings(location, busy_seconds=busy_seconds)
        self._engine = (
            _sqlite_engine(location, read_only=read_only, busy_seconds=busy_seconds)
            if self.is_sqlite
            else postgres_engine(location)
        )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yields a connection inside the only writing transaction; commits at the end.

        Raises:
            StoreError: the database is out of reach, full, locked, damaged or not writable.
        """
        if self.read_only:
            raise StoreReadOnly(
                f"store {self.location.shown}: it was opened for reading alone, since you may not "
                "write there or did not ask to"
            )
        with self._transaction(writes=True, isolation="READ COMMITTED") as connection:
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_WRITER_LOCK)))
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yields a connection that sees one moment of the database throughout.

        Raises:
            StoreError: the database is out of reach or damaged.
        """
        with self._transaction(writes=False, isolation="REPEATABLE READ") as connection:
            yield connection

    def require_whole(self, *, thorough: bool) -> None:
        """Raises StoreError if an SQLite file is damaged. A server looks after its files itself.

        Args:
            thorough: compare indices with their tables, too.
        """
        if not self.is_sqlite:
            return
        pragma = "integrity_check" if thorough else "quick_check"
        with self.read() as connection:
            rows = connection.exec_driver_sql(f"PRAGMA {pragma}({MOST_WORDS})").scalars().all()
        if rows != ["ok"]:
            words = "; ".join(" ".join(str(row).split()) for row in rows)
            raise StoreError(f"store {self.location.shown}: {words}; {DAMAGED}")

    def require_in_place(self) -> None:
        """Raises StoreError if the SQLite file at the path is another one than was opened, or
        none: what was written since would be lost with the open file."""
        file = self.location.sqlite_file
        if file is None:
            return
        try:
            found = file.stat()
        except FileNotFoundError:
            now = None
        except OSError as error:
            raise store_fault(self.location.shown, error) from error
        else:
            now = (found.st_dev, found.st_ino)
        if self._file is None:
            self._file = now
        if now is None or now != self._file:
            how = "moved or removed" if now is None else "replaced"
            raise StoreMoved(
                f"store {file}: the database was {how} while it was in use; put it back (with the "
                "files beside it whose names end in -wal and -shm) and run the same command "
                "again: what was not recorded is taken over from its curve files"
            )

    def read_anew(self) -> None:
        """Looks at the database itself from here on: a connection goes on to see what it has read
        before, though another file was written over that of the database.

        Raises:
            StoreError: an SQLite file is damaged.
        """
        self._engine.dispose()
        self.require_whole(thorough=False)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, writes: bool, isolation: str) -> Iterator[Connection]:
        began = time.monotonic()
        options: dict[str, Any] = {"sweeper_write": writes, "sweeper_clock": cache(self.clock)}
        if not self.is_sqlite:
            options |= {"isolation_level": isolation, "postgresql_readonly": not writes}
            options["sweeper_settings"] = [self._settings]
        try:
            with self._engine.connect() as plain:
                connection = plain.execution_options(**options)
                with connection.begin():
                    self.require_in_place()
                    yield connection
                    if writes:
                        self.require_in_place()
            self.timed(writes, time.monotonic() - began)
        except DBAPIError as error:
            file = self.location.sqlite_file
            raise store_fault(self.location.shown, error.orig or error, file) from error


def current_time(connection: Connection) -> datetime:
    """Returns the time of a transaction by the clock of its database: the same one however often
    it is asked, so that nothing in it seems to begin before what it ended."""
    moment: datetime = connection.get_execution_options()["sweeper_clock"](connection)
    return moment


def shared_clock(connection: Connection) -> datetime:
    """Returns the time by the clock that all machines of a cluster share: the server's."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = connection.execute(text("select clock_timestamp()")).scalar_one()
    return moment.astimezone(UTC)


def rows_in(
    connection: Connection,
    statement: Select[Any],
    column: ColumnElement[Any],
    values: Iterable[str],
) -> Iterator[Row[Any]]:
    """Yields the rows whose column is among the values, however many these are."""
    remaining = list(values)
    for start in range(0, len(remaining), CHUNK):
        chunk = remaining[start : start + CHUNK]
        yield from connection.execute(statement.where(column.in_(chunk)))


def present_in(
    connection: Connection, column: ColumnElement[str], values: Iterable[str]
) -> set[str]:
    """Returns those of the values that stand in a column."""
    return {row[0] for row in rows_in(connection, select(column), column, values)}


def sqlite_uri(file: Path) -> str:
    """Returns the URI under which an SQLite file is opened for reading alone.

    In a folder that may not be written SQLite can read a database only if told that nobody
    else writes it; that is so when there is no write-ahead log beside it.
    """
    alone = not os.access(file.parent, os.W_OK) and not Path(f"{file}-wal").exists()
    return f"file:{quote(os.fsencode(file))}?mode=ro{'&immutable=1' if alone else ''}"


def _require_psycopg(location: Location) -> None:
    """Raises StoreError if the driver, which is optional, is not installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise StoreError(
            f"store {location.shown}: the PostgreSQL driver is missing ({error}); install it with "
            "`pip install 'sweeper[postgres]'`"
        ) from error


def _sqlite_engine(location: Location, *, read_only: bool, busy_seconds: float) -> Engine:
    file = location.sqlite_file
    assert file is not None

    def connect() -> sqlite3.Connection:
        target = sqlite_uri(file) if read_only else f"file:{quote(os.fsencode(file))}?mode=rw"
        link = sqlite3.connect(
            target,
            uri=True,
            timeout=busy_seconds,
            isolation_level=None,  # transactions are begun below, not by the driver
            check_same_thread=False,  # the pool hands a connection to one thread at a time
        )
        _tune(link, read_only)
        return link

    engine = create_engine(location.url, creator=connect, json_serializer=json_text)
    event.listen(engine, "begin", _begin)
    return engine


def _tune(link: sqlite3.Connection, read_only: bool) -> None:
    link.execute("PRAGMA foreign_keys = ON")
    if read_only:
        link.execute("PRAGMA query_only = ON")
        return
    link.execute("PRAGMA journal_mode = WAL")  # readers never block the writer, nor it them
    link.execute("PRAGMA synchronous = FULL")  # an accepted result survives a loss of power


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("sweeper_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


SETTINGS = (
    "select set_config('lock_timeout', %(busy)s, true), set_config('timezone', 'UTC', true), "
    "set_config('statement_timeout', "
    "coalesce(%(patience)s::text, current_setting('statement_timeout')), true)"
)
"""What is set in every transaction, for it alone: behind a pooler a session is nobody's own."""


def postgres_settings(
    location: Location, *, busy_seconds: float = BUSY_SECONDS
) -> dict[str, str | None]:
    """Returns the values for :data:`SETTINGS`.

    Args:
        location: its URL may set a statement_timeout; a role's own may be shorter than a wait
            for another writer, and is not kept.
        busy_seconds: how long a writer waits for another one.
    """
    given = "statement_timeout" in str(location.url.query.get("options", ""))
    return {"busy": f"{round(1000 * busy_seconds)}ms", "patience": None if given else "0"}


def postgres_engine(location: Location) -> Engine:
    """Returns an engine for a PostgreSQL server, or for a pooler before it; nothing is connected
    yet.

    Raises:
        StoreError: the driver is not installed.
    """
    _require_psycopg(location)
    engine = create_engine(
        location.url,
        json_serializer=json_text,
        pool_pre_ping=True,  # a server that was restarted is found again
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "sweeper",
            "client_encoding": "utf8",  # or psycopg gives bytes where the server's is SQL_ASCII
            "prepare_threshold": None,  # the next transaction may be another connection's
            **{name: n for name, n in _SILENCE.items() if name not in location.url.query},
        },
    )
    event.listen(engine, "before_cursor_execute", _set)
    return engine


def _set(connection: Connection, cursor: Any, *_: Any) -> None:
    """Sets what holds for a transaction before its first statement; one without any is never
    begun."""
    waiting = connection.get_execution_options().get("sweeper_settings")
    if waiting:
        cursor.connection.execute(SETTINGS, waiting.pop())
