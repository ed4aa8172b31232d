"""Files that nothing needs any more: which they are, and their removal."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from sqlalchemy import Connection, case, func, select

from sweeper.store.attempts import holders
from sweeper.store.database import Database, present_in, rows_in
from sweeper.store.files import FileInfo, FileStore, Paths, listed, read_journal
from sweeper.store.studies import member_keys
from sweeper.store.tables import results, study_trials, trials

OLD_SECONDS = 86_400.0
"""Age from which a file is nobody's where the database does not say whose it is: two databases
may share a folder."""

GROUP = 100
"""Trials whose files are removed in one transaction; until it ends nobody can claim them."""

Kind = Literal["checkpoint", "output", "temporary", "withdrawn"]


@dataclass(frozen=True, kw_only=True)
class Waste:
    """A file or folder that nothing needs.

    Attributes:
        kind: what it is.
        name: the file, or the folder with a slash at its end.
        key: key of the trial that it is of; None if it is of none that is known.
        files: number of files.
        size: their bytes.
        why: why nothing needs it.
    """

    kind: Kind
    name: str
    key: str | None
    files: int
    size: int
    why: str


class Standing:
    """What the database says of trials that have files on disk.

    Args:
        connection: an open transaction.
        keys: keys of the trials.

    Attributes:
        known: those that are in the database.
        done: those with an accepted result.
        hidden: those that no study declares any more.
        running: those that somebody runs now.
    """

    def __init__(self, connection: Connection, keys: Sequence[str]) -> None:
        here = study_trials.c.trial_key
        shown = func.max(case((study_trials.c.hidden, 0), else_=1)).label("shown")
        placed = rows_in(connection, select(here, shown).group_by(here), here, keys)
        declared = {row.trial_key for row in placed if row.shown}
        self.known = present_in(connection, trials.c.key, keys)
        self.done = present_in(connection, results.c.trial_key, keys)
        self.hidden = self.known - declared
        self.running = set(holders(connection, keys))


def prune_store(
    database: Database,
    study: str | None = None,
    *,
    hidden: bool = False,
    withdrawn: bool = False,
    logs: bool = False,
    dry_run: bool = False,
) -> list[Waste]:
    """Removes files that nothing needs (:func:`find_waste`), and returns what they were.

    Args:
        database: whose files are looked through.
        study: name of a study whose files alone are looked at.
        hidden: remove the checkpoints and the output of hidden trials, too.
        withdrawn: remove the curves of withdrawn results, too.
        logs: remove the output of trials that have their result, too.
        dry_run: remove nothing.

    Raises:
        UnknownNameError: there is no such study.
        StoreError: a folder cannot be read, or a file not be removed.
    """
    paths = as_listed(database.location.paths)
    with database.read() as connection:
        scope = None if study is None else member_keys(connection, study)
        found = find_waste(connection, paths, scope, hidden=hidden, withdrawn=withdrawn, logs=logs)
    return found if dry_run else remove(database, found)


def as_listed(paths: Paths) -> Paths:
    """Returns the files as they lie now, listed once: before the transaction in which they are
    judged, so that whoever writes one later is seen to be running."""
    return Paths(listed(paths.files, ("curves/", "checkpoints/", "logs/")))


def find_waste(
    connection: Connection,
    paths: Paths,
    scope: Collection[str] | None,
    *,
    hidden: bool,
    withdrawn: bool,
    logs: bool = False,
) -> list[Waste]:
    """Returns the files that nothing needs, sorted by kind and place.

    These are checkpoints of trials that have their result, all but the newest of the others,
    files that dead writers left unfinished, and what programs printed of trials that are not
    known; never those of running trials.

    Args:
        connection: an open transaction.
        paths: the files that are looked through (:func:`as_listed`).
        scope: keys of the trials to look at; None looks at all files.
        hidden: count the checkpoints and the output of hidden trials among them.
        withdrawn: count the curves of withdrawn results among them.
        logs: count the output of trials that have their result among them.

    Raises:
        StoreError: a folder cannot be read.
    """
    files = paths.files
    folders = [item for item in paths.checkpoint_folders() if scope is None or item[0] in scope]
    begun = [item for item in paths.unfinished_files() if scope is None or item[0] in scope]
    kept = [item for item in paths.withdrawn_files() if scope is None or item[0] in scope]
    printed = [item for item in paths.output_files() if scope is None or item[0] in scope]
    keys = {key for key, _ in (*folders, *begun, *kept, *printed) if key is not None}
    standing = Standing(connection, sorted(keys))
    found = [
        *(
            item
            for key, each in folders
            for item in _of_folder(paths, key, each, standing, hidden)
        ),
        *(item for key, name in begun for item in _of_unfinished(files, key, name, standing)),
        *(
            item
            for key, name in printed
            for item in _of_output(files, key, name, standing, hidden, logs)
        ),
        *(
            _waste(files, "withdrawn", name, key, "its result was withdrawn")
            for key, name in kept
            if withdrawn
        ),
    ]
    return sorted(found, key=lambda item: (item.kind, item.name))


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
            running = holders(connection, keys)
            for item in (item for items in group for item in items if item.key not in running):
                database.location.paths.files.remove(item.name)
                removed.append(item)
    return removed


def _key(item: Waste) -> str:
    return item.key or ""


def _of_folder(
    paths: Paths, key: str, folder: str, standing: Standing, hidden: bool
) -> Iterator[Waste]:
    if key in standing.running:
        return
    if key not in standing.known:
        if _age(paths.files, folder) > OLD_SECONDS:
            yield _waste(paths.files, "checkpoint", folder, None, "no trial of this key is known")
    elif key in standing.done:
        yield _waste(paths.files, "checkpoint", folder, key, "the trial has its result")
    elif hidden and key in standing.hidden:
        yield _waste(paths.files, "checkpoint", folder, key, "the trial is hidden")
    else:
        yield from _older(paths, key)


def _older(paths: Paths, key: str) -> Iterator[Waste]:
    """All but the newest checkpoint that can be used; all of them are kept if none can."""
    checkpoints = paths.checkpoints_of(key)
    newest = next((each for each in reversed(checkpoints) if _is_whole(paths, each, key)), None)
    if newest is None:
        return
    for place, name in enumerate(checkpoints):
        if name != newest:
            older = place < checkpoints.index(newest)
            why = "there is a newer one" if older else "it is damaged"
            yield _waste(paths.files, "checkpoint", name, key, why)
            if paths.files.info(journal := paths.journal(name)) is not None:
                yield _waste(paths.files, "checkpoint", journal, key, why)


def _is_whole(paths: Paths, checkpoint: str, key: str) -> bool:
    try:
        read_journal(paths.files, checkpoint, key=key)
    except ValueError:
        return False
    return True


def _of_unfinished(
    files: FileStore, key: str | None, name: str, standing: Standing
) -> Iterator[Waste]:
    """Of a trial that nobody runs the writer is dead; of others age has to tell."""
    if key in standing.running:
        return
    if key in standing.known:
        yield _waste(files, "temporary", name, key, "its writer is gone")
    elif _age(files, name) > OLD_SECONDS:
        yield _waste(files, "temporary", name, None, "nobody has finished it for a day")


def _of_output(
    files: FileStore, key: str, name: str, standing: Standing, hidden: bool, logs: bool
) -> Iterator[Waste]:
    if key in standing.running:
        return
    if key not in standing.known:
        if _age(files, name) > OLD_SECONDS:
            yield _waste(files, "output", name, None, "no trial of this key is known")
    elif logs and key in standing.done:
        yield _waste(files, "output", name, key, "the trial has its result")
    elif hidden and key in standing.hidden:
        yield _waste(files, "output", name, key, "the trial is hidden")


def _waste(files: FileStore, kind: Kind, name: str, key: str | None, why: str) -> Waste:
    infos = _infos(files, name)
    return Waste(
        kind=kind, name=name, key=key, files=len(infos), size=sum(i.size for i in infos), why=why
    )


def _age(files: FileStore, name: str) -> float:
    """Seconds since a file, or the newest file of a folder, was written."""
    now = time.time()
    return now - max((info.written for info in _infos(files, name)), default=now)


def _infos(files: FileStore, name: str) -> list[FileInfo]:
    """Of a file, or of the files in a folder; none of what its writer has just renamed."""
    if name.endswith("/"):
        return list(files.infos(name).values())
    info = files.info(name)
    return [] if info is None else [info]
