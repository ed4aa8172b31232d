"""A store at another place: rows and files copied, and compared one by one; nothing is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Table, func, select

from sweeper.errors import RequestError, StoreError, StoreMoved
from sweeper.store.attempts import RUNNING, liveness, lost_reason
from sweeper.store.controllers import controllers_of
from sweeper.store.database import Database, current_time
from sweeper.store.files import FileInfo, FileStore
from sweeper.store.tables import attempts, results
from sweeper.store.upkeep.copies import (
    AT_ONCE,
    alike,
    chunks,
    copy_file,
    copy_rows,
    files_of,
    rows_there,
    tables,
    unlike_rows,
)


@dataclass(kw_only=True)
class Move:
    """What a move comes to.

    Attributes:
        rows: rows of the store, by table.
        copied_rows: those of them that the new place lacked, or had otherwise.
        files: files of the store; 0 where they stay.
        size: their bytes.
        copied_files: those that the new place lacked, or had otherwise.
        missing_curves: curves that results name and that the place of the files lacks.
    """

    rows: dict[str, int] = field(default_factory=dict)
    copied_rows: int = 0
    files: int = 0
    size: int = 0
    copied_files: int = 0
    missing_curves: int = 0


def move_store(
    source: Database,
    target: Database | None,
    files: FileStore | None,
    *,
    note: Callable[[str], None] = lambda text: None,
) -> Move:
    """Copies a store, compares every row and every file, and returns what there was to do.

    What is there already is kept, so that a move that was cut short goes on where it was.

    Args:
        source: the store, of which nothing is changed.
        target: the database at the new place, at this code's schema; None leaves the rows where
            they are.
        files: the new place of the files; None leaves them where they are.
        note: is told what is being done.

    Raises:
        RequestError: somebody runs trials of the store, or the new place holds another store.
        StoreError: something cannot be read or written, or did not arrive as it was.
    """
    found = survey(source, target, files)
    old = source.location.paths.files
    # The rows come last: whoever finds the new database finds the files that it names.
    if files is not None:
        note(f"copying {found.files} files")
        before = files_of(old)
        found.copied_files = _copy_files(old, files, before)
        files.sync()
        note("comparing every file")
        _compare_files(old, files, before)
    if target is not None:
        note(f"copying {sum(found.rows.values())} rows")
        for table in tables():
            with source.read() as reading:
                found.copied_rows += copy_rows(reading, target, table)
        note("comparing every row")
        _require_idle(source)  # or what was begun meanwhile is told as a difference
        for table in tables():
            _compare_rows(source, target, table)
    _require_idle(source)
    return found


def survey(source: Database, target: Database | None, files: FileStore | None) -> Move:
    """Returns what a move would copy, without copying anything.

    Raises:
        RequestError: as :func:`move_store`.
    """
    _require_idle(source)
    found = Move()
    with source.read() as connection:
        for table in tables():
            count = select(func.count()).select_from(table)
            found.rows[table.name] = connection.execute(count).scalar_one()
    if target is not None:
        for table in tables():
            _require_own(source, target, table)
    if files is not None:
        old = files_of(source.location.paths.files)
        if strange := sorted(files_of(files).keys() - old.keys()):
            raise RequestError(
                f"{files.shown('')} holds {len(strange)} files that the store does not have, such "
                f"as {strange[0]}; move it to a place of its own"
            )
        found.files, found.size = len(old), sum(info.size for info in old.values())
        with source.read() as connection:
            named = connection.scalars(select(results.c.curve).where(results.c.curve.is_not(None)))
            found.missing_curves = sum(name not in old for name in named)
    return found


def _require_idle(source: Database) -> None:
    """Raises RequestError if somebody runs trials of a store, or a study that waits or is paused:
    what they record would be left behind."""
    with source.read() as connection:
        now, is_alive = current_time(connection), liveness()
        rows = connection.execute(select(attempts).where(attempts.c.state == RUNNING))
        busy = [row for row in rows if lost_reason(row, now, is_alive) is None]
        runs = [each for each in controllers_of(connection) if each.alive]
    if busy:
        who = {f"process {row.pid} on {row.host}" for row in busy}
        what = "1 trial is running" if len(busy) == 1 else f"{len(busy)} trials are running"
    elif runs:
        who = {f"process {each.pid} on {each.host}" for each in runs}
        what = f"a run of {', '.join(sorted({each.study for each in runs}))} has not ended"
    else:
        return
    raise RequestError(
        f"store {source.location.shown}: {what} ({', '.join(sorted(who))}); end those runs first, "
        "or wait for them, and give the same command again"
    )


def _require_own(source: Database, target: Database, table: Table) -> None:
    """Raises RequestError if a database has rows that are none of the store's."""
    with source.read() as reading, target.read() as other:
        for rows in chunks(other, table):
            if len(rows_there(reading, table, rows)) < len(rows):
                raise RequestError(
                    f"store {target.location.shown}: it has rows in {table.name} that the store "
                    "to be moved does not have, so it is another one, or was used since it was "
                    "moved; give an empty place"
                )


def _compare_rows(source: Database, target: Database, table: Table) -> None:
    """Raises StoreMoved if a row is missing or not the same in every column."""
    with source.read() as reading, target.read() as other:
        wrong = unlike_rows(reading, other, table)
    if wrong:
        raise StoreMoved(
            f"store {target.location.shown}: {wrong} rows of {table.name} are not those of "
            f"{source.location.shown}, which was changed meanwhile; give the same command again"
        )


def _copy_files(old: FileStore, new: FileStore, names: Mapping[str, FileInfo]) -> int:
    there = files_of(new)

    def copy(name: str) -> bool:
        known = there.get(name)
        if known is not None and known.size == names[name].size and alike(old, new, name):
            return False
        copy_file(old, name, new)
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(copy, names))


def _compare_files(old: FileStore, new: FileStore, names: Mapping[str, FileInfo]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        same = pool.map(lambda name: alike(old, new, name), names)
        wrong = [name for name, same_bytes in zip(names, same, strict=True) if not same_bytes]
    wrong += sorted(files_of(old).keys() ^ names.keys())
    if wrong:
        raise StoreError(
            f"{new.shown(wrong[0])} and {len(wrong) - 1} other files are not those of "
            f"{old.shown('')}, which was changed meanwhile; give the same command again"
        )
