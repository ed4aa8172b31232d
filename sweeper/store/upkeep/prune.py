"""Files that nothing needs any more: which they are, and their removal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, case, func, select

from sweeper.store.attempts import holders
from sweeper.store.database import Database, present_in, rows_in
from sweeper.store.files import (
    Paths,
    checkpoint_folders,
    disk_fault,
    read_journal,
    unfinished_files,
    withdrawn_files,
)
from sweeper.store.tables import results, study_trials, trials

OLD_SECONDS = 86_400.0
"""Age from which a file is nobody's where the database does not say whose it is: two databases
may share a folder."""

GROUP = 100
"""Trials whose files are removed in one transaction; until it ends nobody can claim them."""

Kind = Literal["checkpoint", "temporary", "withdrawn"]


@dataclass(frozen=True, kw_only=True)
class Waste:
    """A file or folder that nothing needs.

    Attributes:
        kind: what it is.
        path: where it is.
        key: key of the trial that it is of; None if it is of none that is known.
        files: number of files.
        size: their bytes.
        why: why nothing needs it.
    """

    kind: Kind
    path: Path
    key: str | None
    files: int
    size: int
    why: str


class Standing:
    """What the database says of trials that have files on disk.

    Args:
        connection: an open transaction.
        database: whose clock says which leases have lapsed.
        keys: keys of the trials.

    Attributes:
        known: those that are in the database.
        done: those with an accepted result.
        hidden: those that no study declares any more.
        running: those that somebody runs now.
    """

    def __init__(self, connection: Connection, database: Database, keys: Sequence[str]) -> None:
        here = study_trials.c.trial_key
        shown = func.max(case((study_trials.c.hidden, 0), else_=1)).label("shown")
        placed = rows_in(connection, select(here, shown).group_by(here), here, keys)
        declared = {row.trial_key for row in placed if row.shown}
        self.known = present_in(connection, trials.c.key, keys)
        self.done = present_in(connection, results.c.trial_key, keys)
        self.hidden = self.known - declared
        self.running = set(holders(connection, database.now(connection), keys))


def find_waste(
    connection: Connection,
    database: Database,
    scope: Collection[str] | None,
    *,
    hidden: bool,
    withdrawn: bool,
) -> list[Waste]:
    """Returns the files that nothing needs, sorted by kind and place.

    These are checkpoints of trials that have their result, all but the newest of the others, and
    files that dead writers left unfinished; never those of running trials.

    Args:
        connection: an open transaction.
        database: whose files are looked through.
        scope: keys of the trials to look at; None looks at all files.
        hidden: count the checkpoints of hidden trials among them.
        withdrawn: count the curves of withdrawn results among them.

    Raises:
        StoreError: a folder cannot be read.
    """
    paths = database.location.paths
    folders = [item for item in checkpoint_folders(paths) if scope is None or item[0] in scope]
    begun = [item for item in unfinished_files(paths) if scope is None or item[0] in scope]
    kept = [item for item in withdrawn_files(paths) if scope is None or item[0] in scope]
    keys = {key for key, _ in (*folders, *begun, *kept) if key is not None}
    standing = Standing(connection, database, sorted(keys))
    found = [
        *(
            item
            for key, each in folders
            for item in _of_folder(paths, key, each, standing, hidden)
        ),
        *(item for key, path in begun for item in _of_unfinished(key, path, standing)),
        *(
            _waste("withdrawn", path, key, "its result was withdrawn")
            for key, path in kept
            if withdrawn
        ),
    ]
    return sorted(found, key=lambda item: (item.kind, item.path))


def remove(database: Database, found: Iterable[Waste]) -> list[Waste]:
    """Removes files unless their trial is running by now; returns what was removed.

    Raises:
        StoreError: a file cannot be removed.
    """
    removed: list[Waste] = []
    by_key = [list(group) for _, group in groupby(sorted(found, key=_key), key=_key)]
    for start in range(0, len(by_key), GROUP):
        group = by_key[start : start + GROUP]
        keys = [items[0].key for items in group if items[0].key is not None]
        with database.write() as connection:
            running = holders(connection, database.now(connection), keys)
            for item in (item for items in group for item in items if item.key not in running):
                _remove(item)
                removed.append(item)
    return removed


def _key(item: Waste) -> str:
    return item.key or ""


def _of_folder(
    paths: Paths, key: str, folder: Path, standing: Standing, hidden: bool
) -> Iterator[Waste]:
    if key in standing.running:
        return
    if key not in standing.known:
        if _age(folder) > OLD_SECONDS:
            yield _waste("checkpoint", folder, None, "no trial of this key is known")
    elif key in standing.done:
        yield _waste("checkpoint", folder, key, "the trial has its result")
    elif hidden and key in standing.hidden:
        yield _waste("checkpoint", folder, key, "the trial is hidden")
    else:
        yield from _older(paths, key)


def _older(paths: Paths, key: str) -> Iterator[Waste]:
    """All but the newest checkpoint that can be used; all of them are kept if none can."""
    checkpoints = paths.checkpoints_of(key)
    newest = next((path for path in reversed(checkpoints) if _is_whole(path, key)), None)
    if newest is None:
        return
    for path in checkpoints:
        if path != newest:
            why = "there is a newer one" if path < newest else "it is damaged"
            yield _waste("checkpoint", path, key, why)
            if (journal := paths.journal(path)).exists():
                yield _waste("checkpoint", journal, key, why)


def _is_whole(checkpoint: Path, key: str) -> bool:
    try:
        read_journal(checkpoint, key=key)
    except ValueError:
        return False
    return True


def _of_unfinished(key: str | None, path: Path, standing: Standing) -> Iterator[Waste]:
    """Of a trial that nobody runs the writer is dead; of others age has to tell."""
    if key in standing.running:
        return
    if key in standing.known:
        yield _waste("temporary", path, key, "its writer is gone")
    elif _age(path) > OLD_SECONDS:
        yield _waste("temporary", path, None, "nobody has finished it for a day")


def _waste(kind: Kind, path: Path, key: str | None, why: str) -> Waste:
    files = [path] if not path.is_dir() else [each for each in path.rglob("*") if each.is_file()]
    return Waste(
        kind=kind, path=path, key=key, files=len(files), size=sum(map(_size, files)), why=why
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # its writer has just renamed or removed it


def _age(path: Path) -> float:
    """Seconds since a file, or the newest file of a folder, was written."""
    times = [_written(each) for each in (path, *(path.iterdir() if path.is_dir() else ()))]
    return time.time() - max(times)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _remove(item: Waste) -> None:
    try:
        if item.path.is_dir():
            shutil.rmtree(item.path)
            return
        item.path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_fault("remove", item.path, error) from error
