"""Checkpoints, unfinished files and attempts that somebody left behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from sqlalchemy import Connection, select

from sweeper.store.attempts import RUNNING, close_lost, liveness, lost_reason
from sweeper.store.database import Database, current_time, rows_in
from sweeper.store.files import FileStore, Paths, read_journal
from sweeper.store.tables import attempts
from sweeper.store.upkeep.check_results import Finding
from sweeper.store.upkeep.prune import Standing, Waste, find_waste, remove


def stale_attempts(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields attempts that are marked as running and that nobody runs."""
    now, is_alive = current_time(connection), liveness()
    running = select(attempts).where(attempts.c.state == RUNNING)
    for row in rows_in(connection, running, attempts.c.trial_key, keys):
        reason = lost_reason(row, now, is_alive)
        if reason is not None:
            yield Finding(
                kind="stale",
                where=f"table attempts, attempt {row.number} of {row.trial_key[:12]}",
                what=f"it is marked as running, but {reason}",
                remedy="it is closed as lost; the trial is pending",
                key=row.trial_key,
                repair=partial(_close, database, row.trial_key),
            )


def bad_checkpoints(
    connection: Connection, database: Database, folders: Sequence[tuple[str, str]]
) -> Iterator[Finding]:
    """Yields checkpoints that cannot be used, and those of trials that need none.

    Args:
        connection: an open transaction, begun after the folders were listed.
        database: which one.
        folders: keys of trials and the folders of their checkpoints.
    """
    standing = Standing(connection, [key for key, _ in folders])
    paths = database.location.paths
    for key, folder in folders:
        if key in standing.running or not paths.files.names(folder):
            continue
        if key not in standing.known:
            yield Finding(
                kind="unknown",
                where=paths.files.shown(folder),
                what="they are checkpoints of a trial that the database does not know",
                remedy="run the study that the trial belongs to, or remove them with `sweeper "
                "prune` once they are a day old",
                key=key,
            )
        elif key not in standing.done:
            yield from _of_trial(paths, key)


def needless_files(
    connection: Connection, database: Database, paths: Paths, scope: Collection[str] | None
) -> Iterator[Finding]:
    """Yields unfinished files of dead writers, checkpoints of trials with a result, and what
    programs printed of trials that are not known; the files were listed before the transaction
    began."""
    found = find_waste(connection, paths, scope, hidden=False, withdrawn=False)
    for item in found:
        if item.kind == "output":
            yield Finding(
                kind="unknown",
                where=paths.files.shown(item.name),
                what="it is the output of a trial that the database does not know",
                remedy="run the study that the trial is of, or remove it with `sweeper prune`",
                key=None,
            )
        elif item.kind == "temporary" or item.name.endswith("/"):
            yield Finding(
                kind=item.kind,
                where=paths.files.shown(item.name),
                what=f"nothing needs it: {item.why}",
                remedy="it is removed",
                key=item.key,
                repair=partial(_remove_waste, database, item),
            )


def _of_trial(paths: Paths, key: str) -> Iterator[Finding]:
    for name in paths.checkpoints_of(key):
        try:
            read_journal(paths.files, name, key=key)
        except ValueError as fault:
            what = f"it cannot be used: {fault}"
            yield _useless(paths.files, what, key, name, paths.journal(name))
    for journal in paths.lone_journals_of(key):
        yield _useless(paths.files, "its checkpoint is missing", key, journal)


def _useless(files: FileStore, what: str, key: str, *names: str) -> Finding:
    return Finding(
        kind="checkpoint",
        where=files.shown(names[0]),
        what=what,
        remedy="it is removed; the trial goes on from an older one, or from its beginning",
        key=key,
        repair=partial(_remove_files, files, names),
    )


def _remove_files(files: FileStore, names: Sequence[str]) -> None:
    for name in names:
        files.remove(name)


def _close(database: Database, key: str) -> None:
    with database.write() as connection:
        close_lost(connection, [key])


def _remove_waste(database: Database, item: Waste) -> None:
    remove(database, [item])
