"""The store: the one class on the database, composed of functions that work inside a
transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection

from sweeper.errors import StoreMoved
from sweeper.outcome import Outcome
from sweeper.store import (
    accounts,
    activity,
    attempts,
    controllers,
    frames,
    notes,
    outcomes,
    upkeep,
    wishes,
)
from sweeper.store import studies as members
from sweeper.store.database import Database, current_time
from sweeper.store.files import Paths
from sweeper.store.location import locate, locate_files, new_place
from sweeper.store.owner import Owner
from sweeper.store.query import run_query
from sweeper.store.schema import exists, missing_rights, open_database

if TYPE_CHECKING:
    import pandas

P = ParamSpec("P")
R = TypeVar("R")


def _reads(
    function: Callable[Concatenate[Connection, P], R],
) -> Callable[Concatenate[Store, P], R]:
    """The method that calls a function with a connection that sees one moment of the database."""

    @wraps(function)
    def method(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with store.database.read() as connection:
            return function(connection, *args, **kwargs)

    return method


def _writes(
    function: Callable[Concatenate[Connection, P], R],
) -> Callable[Concatenate[Store, P], R]:
    """The method that calls a function inside the only writing transaction: all of it or none."""

    @wraps(function)
    def method(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with store.database.write() as connection:
            return function(connection, *args, **kwargs)

    return method


def _uses(
    function: Callable[Concatenate[Database, P], R],
) -> Callable[Concatenate[Store, P], R]:
    """The method that calls a function which opens the transactions that it needs."""

    @wraps(function)
    def method(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(store.database, *args, **kwargs)

    return method


class Store:
    """Studies, trials, attempts and results, in SQLite or PostgreSQL.

    Every method may be called from any thread, and raises StoreError if the database is out of
    reach, locked, full, damaged or not writable. A method that is a function of another module
    takes that function's arguments but for the first, the connection or the database, which is
    the store's own; what it does is said there, and by ``help(Store.claim)``.

    Args:
        database: its database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._reader = ThreadPoolExecutor(max_workers=1)
        self._ahead: dict[str, Future[frames.Points]] = {}

    @classmethod
    def open(
        cls,
        location: str | Path | None = None,
        *,
        create: bool = False,
        read_only: bool = False,
        checked: bool = False,
    ) -> Self:
        """Returns the store at a place, made or migrated if need be.

        Args:
            location: a folder or a database URL; None takes ``SWEEPER_STORE``, and failing
                that the folder ``sweeper-results``.
            create: make the store where there is none; otherwise that is refused.
            read_only: refuse all writes; never creates nor migrates.
            checked: read the whole of an SQLite file first, so that damage is noticed before
                anything is built on it.

        Raises:
            RequestError: the location is neither a folder nor the URL of a known database.
            StoreError: there is no store, or it is out of reach, damaged, not writable, of
                another program or of a newer sweeper.
        """
        database = open_database(locate(location), create=create, read_only=read_only)
        try:
            if checked:
                database.require_whole(thorough=False)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections to the database."""
        self._reader.shutdown()
        self.database.close()

    def require_kept(self, keys: Collection[str]) -> None:
        """Raises StoreError if the database was moved, removed or replaced since it was opened, or
        no longer holds results of the trials, even withdrawn ones, that were recorded since."""
        self.database.require_in_place()
        if not keys:
            return
        self.database.read_anew()
        with self.database.read() as connection:
            kept = attempts.with_result(connection, keys)
        if lost := len({*keys} - kept):
            raise StoreMoved(
                f"store {self.shown}: {lost} of the {len(keys)} results that this run recorded "
                "are not in the database any more: it was emptied, or put back as it was before; "
                "run the same command again: what is missing is taken over from its curve files"
            )

    @property
    def paths(self) -> Paths:
        """The names of curves and checkpoints, and where they are."""
        return self.database.location.paths

    @property
    def shown(self) -> str:
        """The store's place for messages, without a password."""
        return self.database.location.shown

    # Studies, and where their trials stand
    save_study = _writes(members.save_study)
    add_trials = _writes(members.add_trials)
    studies = _reads(members.all_studies)
    study = _reads(members.find_study)
    members_of = _reads(members.members_of)
    derived_of = _reads(members.derived_of)
    results_of = _reads(accounts.results_of)
    outcomes_of = _reads(accounts.outcomes_of)
    with_marks = _reads(accounts.with_marks)
    device_seconds = _reads(accounts.device_seconds)
    failures_of = _reads(accounts.failures_of)
    worker_deaths = _reads(accounts.worker_deaths)
    account = _reads(accounts.account)
    attempts_of = _reads(accounts.attempts_of)

    # Attempts, and how they ended
    claim = _writes(attempts.claim)
    heartbeat = _writes(attempts.heartbeat)
    holders = _reads(attempts.holders)
    held_elsewhere = _reads(attempts.held_elsewhere)
    record_many = _writes(outcomes.record_many)
    save_imported = _writes(outcomes.save_imported)

    def release(self, owner: Owner) -> int:
        """Closes what an owner still runs as ``stopped``, so that anybody may claim it; returns
        the number of attempts. The owner claims nothing more: to this process it is gone, even
        if the store cannot be told."""
        owner.retire()
        with self.database.write() as connection:
            controllers.leave(connection, owner)
            return attempts.release(connection, owner)

    def record(self, outcome: Outcome, *, objective: float | None) -> bool:
        """Keeps how one attempt ended, as :func:`outcomes.record_many` does; returns True if it
        is the accepted result of its trial."""
        return self.record_many([(outcome, objective)])[0]

    # What people want of studies at work, and who is at work
    make_wish = _writes(wishes.make_wish)
    lift_wishes = _writes(wishes.lift_wishes)
    wishes_of = _reads(wishes.wishes_of)
    held_places = _reads(activity.held_places)
    report = _writes(controllers.report)
    controllers_of = _reads(controllers.controllers_of)
    activity = _reads(activity.activity)

    # Answers
    def read_ahead(self, name: str) -> None:
        """Begins to read the trials of a study for the next frame of them without attempts
        counted, so that the database is at work while the caller loads what analyses them."""
        self._ahead[name] = self._reader.submit(self._points, name, counted=False)

    def frame(self, name: str, *, hidden: bool = False, counted: bool = True) -> pandas.DataFrame:
        """Returns the trials of a study, see :func:`trial_frame`."""
        ahead = None if hidden or counted else self._ahead.pop(name, None)
        points = None if ahead is None else ahead.result()
        return self._frame(name, hidden=hidden, counted=counted, points=points)

    _points = _reads(frames.read_points)
    _frame = _reads(frames.trial_frame)
    marks = _reads(frames.mark_frame)
    derived_places = _reads(frames.derived_places)
    derived = _reads(frames.derived_frame)
    curve_files = _reads(frames.curve_files)
    ended_attempts = _reads(frames.ended_attempts)
    query = _uses(run_query)

    # The database itself
    time = _reads(current_time)
    missing_rights = _writes(missing_rights)

    # Measured speeds and estimates
    save_probe = _writes(notes.save_probe)
    probe_for = _reads(notes.find_probe)
    save_estimates = _writes(notes.save_estimates)
    estimates = _reads(notes.find_estimates)

    # Upkeep
    retry = _uses(upkeep.retry_trials)
    forgive = _writes(upkeep.forgive)
    prune = _uses(upkeep.prune_store)

    @classmethod
    def move(
        cls,
        old: str | Path | None,
        to: str | None,
        to_files: str | None,
        *,
        dry_run: bool = False,
        note: Callable[[str], None] = lambda text: None,
    ) -> tuple[upkeep.Move, str, str]:
        """Copies a store to another place (:func:`upkeep.move_store`); removes nothing.

        Args:
            old: where it is.
            to: a folder or database URL for the rows, and of a folder for the files, too; None
                leaves the rows where they are.
            to_files: a place for the files; None leaves those of a database URL where they are.
            dry_run: tell what there is, and copy nothing.
            note: is told what is being done.

        Returns:
            What was moved; the new places of rows and files, for messages.

        Raises:
            RequestError: nothing would move, or see :func:`upkeep.move_store`.
            StoreError: something cannot be read or written.
        """
        with cls.open(old, create=False) as source:
            here = source.database.location
            there = new_place(here, to, to_files)
            files = None if there.paths == here.paths else there.paths.files
            database = None
            if there.url != here.url and not (dry_run and not exists(there)):
                database = open_database(there, create=not dry_run, read_only=False)
            try:
                if dry_run:
                    done = upkeep.survey(source.database, database, files)
                else:
                    done = upkeep.move_store(source.database, database, files, note=note)
            finally:
                if database is not None:
                    database.close()
            return done, there.shown, there.paths.files.shown("")

    def merge(
        self,
        other: str | Path,
        files: str | None = None,
        *,
        studies: Sequence[str] = (),
        keep: upkeep.Side | None = None,
        dry_run: bool = False,
        note: Callable[[str], None] = lambda text: None,
    ) -> upkeep.Merge:
        """Takes studies of another store in (:func:`upkeep.merge_store`), of which nothing is
        changed.

        Args:
            other: a folder or database URL.
            files: where its curves and checkpoints are; None is in that folder, and of a URL
                where ``SWEEPER_FILES`` says.
            studies, keep, dry_run, note: see :func:`upkeep.merge_store`.

        Raises:
            RequestError: see :func:`upkeep.merge_store`.
            StoreError: something cannot be read or written.
        """
        there = locate(other)
        if files is not None:
            there = replace(there, paths=locate_files(files))
        database = open_database(there, create=False, read_only=True)
        try:
            return upkeep.merge_store(
                self.database, database, studies, keep=keep, dry_run=dry_run, note=note
            )
        finally:
            database.close()

    backup = _uses(upkeep.back_up)
    rename = _uses(upkeep.rename_study)
    delete = _uses(upkeep.delete_study)
    disposal_of = _uses(upkeep.disposal_of)
    verify = _uses(upkeep.verify_store)
    orphans = _uses(upkeep.orphans)
