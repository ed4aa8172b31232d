"""Studies and results of another store taken into this one, by the keys of their trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, select

from sweeper.errors import RequestError, StoreError, UnknownNameError
from sweeper.store.database import Database
from sweeper.store.files import FileStore, Paths, read_journal
from sweeper.store.tables import studies
from sweeper.store.upkeep.copies import AT_ONCE, copy_checked
from sweeper.store.upkeep.merge_plan import CopiedFile, Merge, Plan, Side

TRIES = 5
"""How often a merge begins anew because this store was written meanwhile."""


def merge_store(
    database: Database,
    other: Database,
    names: Sequence[str] = (),
    *,
    keep: Side | None = None,
    dry_run: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> Merge:
    """Takes studies of another store in, with trials, ended attempts, results, marks, curves, the
    newest checkpoints, checks and estimates; nothing of the other store is changed.

    A trial is known by its key. It has one accepted result: of two that are the same, that of
    this store. Every attempt comes once, under a number that is free here. Files come first, and
    each is compared; the rows come in one transaction. The same call again changes nothing.

    Args:
        database: of the store that takes in.
        other: of the other store.
        names: studies to take; none for all of them.
        keep: which result counts where both stores have one and they differ; the other one is
            kept as an attempt beside it.
        dry_run: tell what there is, and change nothing.
        note: is told what is being done.

    Raises:
        RequestError: it is the same store, both have a study of one name that asks something
            else, or results differ and ``keep`` does not say which counts.
        UnknownNameError: the other store has no such study.
        StoreError: something cannot be read or written, or did not arrive as it was.
    """
    _require_other(database, other)
    with other.read() as there:
        chosen = _chosen(there, names)
        paths = other.location.paths
        begun = {key for key, _ in paths.checkpoint_folders()}
        folders = ("checks/", "logs/", "tables/")
        beside = [name for folder in folders for name in paths.files.infos(folder)]
        with database.read() as here:
            plan = Plan(here, there, chosen, keep, beside=beside, begun=begun)
        if dry_run:
            return plan.found
        plan.require_agreement()
        for _ in range(TRIES):
            note(f"copying {len(plan.files)} files")
            missing = _copy(paths, database.location.paths, plan.files)
            with database.write() as here:
                again = Plan(here, there, chosen, keep, beside=beside, begun=begun)
                if again.files == plan.files:
                    note(f"writing {again.found.trials} trials, {again.found.results} results")
                    again.require_agreement()
                    again.write()
                    again.found.missing_curves = missing
                    return again.found
            plan = again
    raise StoreError(
        f"store {database.location.shown}: it was written at every try, so that nothing was "
        "merged; give the same command again when fewer runs begin and end"
    )


def _require_other(database: Database, other: Database) -> None:
    same = database.location.url == other.location.url
    files = [each.location.sqlite_file for each in (database, other)]
    if same or (files[0] is not None and files[1] is not None and files[0].samefile(files[1])):
        raise RequestError(f"{other.location.shown} is the store itself; name another one")


def _chosen(there: Connection, names: Sequence[str]) -> list[str]:
    known = list(there.scalars(select(studies.c.name).order_by(studies.c.created_at)))
    for name in names:
        if name not in known:
            raise UnknownNameError("study of the other store", name, known)
    return [name for name in known if not names or name in names]


def _copy(old: Paths, new: Paths, files: Sequence[CopiedFile]) -> int:
    """Copies what a plan asks for; returns how many curves the other store lacks."""

    def bring(file: CopiedFile) -> int:
        if file.name.startswith("checkpoints/"):
            _copy_checkpoint(old, new, file.name)
        elif file.name.startswith("checks/") and new.files.info(file.to) is not None:
            return 0  # of a study of that name which is no longer here
        elif (old.files, file.name) != (new.files, file.to):
            try:
                copy_checked(old.files, file.name, new.files, file.to)
            except FileNotFoundError:
                return 1
        return 0

    with ThreadPoolExecutor(AT_ONCE) as pool:
        missing = sum(pool.map(bring, files))
    new.files.sync()
    return missing


def _copy_checkpoint(old: Paths, new: Paths, folder: str) -> None:
    """Copies the newest good checkpoint of a trial if this store has none as late."""
    key = folder.rstrip("/").rpartition("/")[2]
    for name in reversed(old.checkpoints_of(key)):
        if Paths.step_of(name) <= new.kept_step(key):
            return
        if _is_good(old.files, name, key):
            copy_checked(old.files, name, new.files)
            copy_checked(old.files, Paths.journal(name), new.files)
            return


def _is_good(files: FileStore, name: str, key: str) -> bool:
    try:
        read_journal(files, name, key=key)
    except ValueError:
        return False
    return True
