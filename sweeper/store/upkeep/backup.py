"""A copy of the whole store as it was at one moment, made while runs go on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, func, select, update

from sweeper.errors import RequestError, StoreError
from sweeper.store.attempts import RUNNING
from sweeper.store.database import Database, current_time, present_in
from sweeper.store.faults import store_fault
from sweeper.store.files import TEMPORARY_PREFIX, FileStore, Paths, disk_fault, flush, read_journal
from sweeper.store.location import Location, locate
from sweeper.store.owner import signature, signer_has_ended
from sweeper.store.schema import open_database
from sweeper.store.tables import attempts, controllers, results
from sweeper.store.upkeep.copies import (
    AT_ONCE,
    copy_checked,
    copy_rows,
    files_of,
    tables,
    unlike_rows,
)
from sweeper.store.upkeep.prune import as_listed

_MARK = "-backup"
"""End of the name of the file that stands in a backup until it is whole."""


@dataclass(kw_only=True)
class Backup:
    """What a backup holds.

    Attributes:
        rows: rows, by table.
        files: curves, checkpoints, tables and checks.
        size: their bytes.
        running: attempts that ran at that moment, which are ``stopped`` in the copy: their trials
            are pending there, and go on from their last checkpoint.
        missing_curves: curves that results name and that the store itself lacks.
    """

    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    size: int = 0
    running: int = 0
    missing_curves: int = 0


def back_up(
    database: Database,
    to: str | os.PathLike[str],
    *,
    note: Callable[[str], None] = lambda text: None,
) -> Backup:
    """Copies a store into a folder, which then is a store with an SQLite database.

    The rows are those of one moment; runs go on meanwhile, and what they write later is not in
    the copy. Every file is compared after it was copied. The database takes its place last, so
    that a folder without it is no backup yet; the same call goes on with one that was cut short.

    Args:
        database: of the store, of which nothing is changed.
        to: a folder that is not there, or empty.
        note: is told what is being done.

    Raises:
        RequestError: the folder holds something, lies inside the store, or is none.
        StoreError: something cannot be read or written, or did not arrive as it was.
    """
    there = _place(to, database.location.paths.files)
    file = there.sqlite_file
    assert file is not None
    found = Backup()
    with _marked(file.parent) as signed:
        old = as_listed(database.location.paths)  # before the rows: what is written later is not
        before = set(files_of(old.files))
        aside = file.with_name(f"{TEMPORARY_PREFIX}{signed}-{file.name}")
        note("copying the rows")
        copy = _copied(database, Location(there.url.set(database=str(aside)), there.paths), found)
        try:
            with copy.read() as connection:
                wanted = _wanted(connection, old, before)
            with copy.write() as connection:
                found.running = _put_to_rest(connection)
            note(f"copying {len(wanted)} files")
            _copy_files(database.location.paths, there.paths.files, wanted, found)
            _forget_useless(there.paths)
            copy.require_whole(thorough=False)
        finally:
            copy.close()
        kept = files_of(there.paths.files)
        found.files, found.size = len(kept), sum(info.size for info in kept.values())
        there.paths.files.sync()
        try:
            os.replace(aside, file)
            flush(file.parent)
        except OSError as error:
            raise disk_fault("write", file, error) from error
    return found


def _place(to: str | os.PathLike[str], files: FileStore) -> Location:
    if "://" in str(to) or not str(to).strip():
        raise RequestError(
            "backup: give a folder that is not there yet; sweeper move-store --to copies a store "
            "that nobody runs to a database server, --to-files to a bucket"
        )
    there = locate(Path(to))
    file = there.sqlite_file
    if file is not None and file.exists():
        raise RequestError(
            f"{file.parent} holds a store, which a backup does not overwrite; name a folder that "
            "is not there yet"
        )
    own = os.path.realpath(files.shown(""))
    if file is not None and Path(os.path.realpath(file.parent)).is_relative_to(own):
        raise RequestError(f"{file.parent} lies inside the store; name a folder of its own")
    return there


@contextmanager
def _marked(folder: Path) -> Iterator[str]:
    """Marks a folder as an unfinished backup until the body has ended well; yields the mark.

    Raises:
        RequestError: it holds something else, or another process is making a backup there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in folder.iterdir()]
        marks = [name for name in names if _is_mark(name)]
        if names and not marks:
            raise RequestError(
                f"{folder} is not empty, and holds no unfinished backup; name a folder that is "
                "not there yet"
            )
        for name in marks:
            _require_ended(folder / name)
        for name in names:
            if name.startswith(TEMPORARY_PREFIX):
                (folder / name).unlink()
        signed = signature()
        mark = folder / f"{TEMPORARY_PREFIX}{signed}{_MARK}"
        mark.touch()
        yield signed
        mark.unlink()
    except OSError as error:
        raise disk_fault("write", folder, error) from error


def _is_mark(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(_MARK)


def _require_ended(mark: Path) -> None:
    signed = mark.name.removeprefix(TEMPORARY_PREFIX).removesuffix(_MARK)
    ours = f".{os.getpid()}." in signed  # a call of this process that failed
    if not ours and not signer_has_ended(signed):
        raise RequestError(
            f"{mark.parent}: another process may be making a backup there; wait for it, or if "
            f"it is gone remove {mark}"
        )


def _copied(database: Database, aside: Location, found: Backup) -> Database:
    """Returns a database with the rows of another one as they are at one moment."""
    if database.is_sqlite:
        _copy_sqlite(database, aside)
        copy = open_database(aside, create=False, read_only=False)
    else:
        copy = open_database(aside, create=True, read_only=False)
    try:
        with database.read() as reading:
            for table in () if database.is_sqlite else tables():
                copy_rows(reading, copy, table)
                with copy.read() as other:
                    if unlike_rows(reading, other, table):
                        raise StoreError(
                            f"store {aside.shown}: rows of {table.name} did not arrive as they "
                            "were; give the same command again"
                        )
        with copy.read() as connection:
            for table in tables():
                count = select(func.count()).select_from(table)
                found.rows[table.name] = connection.execute(count).scalar_one()
    except BaseException:
        copy.close()
        raise
    return copy


def _copy_sqlite(database: Database, aside: Location) -> None:
    """Copies the pages of an SQLite file by its own means, all in one go: a write-ahead log keeps
    writers from being held up, and this reader from seeing what they write."""
    target = str(aside.sqlite_file)
    try:
        with database.read() as connection, closing(sqlite3.connect(target)) as link:
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            source.backup(link)
    except sqlite3.Error as error:
        raise store_fault(aside.shown, error) from error


def _wanted(connection: Connection, paths: Paths, before: set[str]) -> dict[str, str | None]:
    """Returns the files that go with the rows of a copy, each with the name that it has instead
    where its result has been withdrawn meanwhile.

    Left out are the curves of attempts that were running, which belong to no result of that
    moment, and the checkpoints of trials that had theirs.
    """
    running = select(attempts.c.trial_key, attempts.c.number).where(attempts.c.state == RUNNING)
    in_hand = {(row.trial_key, row.number) for row in connection.execute(running)}
    late = {each.name for each in paths.curve_files() if (each.key, each.attempt) in in_hand}
    folders = dict(paths.checkpoint_folders())
    done = present_in(connection, results.c.trial_key, folders)
    needless = tuple(folder for key, folder in folders.items() if key in done)
    named = select(results.c.curve).where(results.c.curve.is_not(None))
    curves = {str(name) for name in connection.scalars(named)}
    kept = {n for n in before - late if not n.startswith(needless)} if needless else before - late
    return {
        name: Paths.withdrawn(name) if name in curves else None for name in sorted(kept | curves)
    }


def _put_to_rest(connection: Connection) -> int:
    """Ends in a copy what ran at its moment; returns how many attempts did."""
    now = current_time(connection)
    ended = {"state": "stopped", "ended_at": now, "expires_at": None}
    running = update(attempts).where(attempts.c.state == RUNNING).values(ended)
    count = connection.execute(running).rowcount
    gone = update(controllers).where(controllers.c.ended_at.is_(None))
    connection.execute(gone.values(ended_at=controllers.c.seen_at, expires_at=None, trials={}))
    return count


def _copy_files(
    source: Paths, new: FileStore, wanted: dict[str, str | None], found: Backup
) -> None:
    for name in files_of(new).keys() - wanted.keys():
        new.remove(name)  # of a backup that was cut short

    def copy(name: str) -> bool:
        for each in (name, wanted[name]):
            try:
                if each is not None:
                    copy_checked(source.files, each, new, name)
                    return True
            except FileNotFoundError:
                continue  # pruned, or withdrawn just now
        return False

    with ThreadPoolExecutor(AT_ONCE) as pool:
        there = dict(zip(wanted, pool.map(copy, wanted), strict=True))
    found.missing_curves = sum(not there[name] for name, other in wanted.items() if other)


def _forget_useless(paths: Paths) -> None:
    """Removes the checkpoints of a copy that were only half there when they were copied."""
    for key, _ in paths.checkpoint_folders():
        for name in paths.checkpoints_of(key):
            try:
                read_journal(paths.files, name, key=key)
            except ValueError:
                paths.files.remove(name)
                paths.files.remove(paths.journal(name))
        for journal in paths.lone_journals_of(key):
            paths.files.remove(journal)
