"""The store: the one class that reads and writes the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sweeper.errors import RequestError
from sweeper.outcome import Outcome
from sweeper.store import accounts, frames, notes
from sweeper.store import attempts as leases
from sweeper.store import frames as derived
from sweeper.store import studies as members
from sweeper.store.database import Database
from sweeper.store.files import Paths
from sweeper.store.integrity import require_whole
from sweeper.store.location import locate
from sweeper.store.outcomes import Recording, record_new
from sweeper.store.owner import Owner
from sweeper.store.query import run_query
from sweeper.store.records import (
    Account,
    Changes,
    Claim,
    Estimate,
    Failure,
    Holder,
    Membership,
    Probe,
    Retried,
    StudyRecord,
    Table,
)
from sweeper.store.schema import open_database
from sweeper.store.upkeep import (
    Renaming,
    Verification,
    Waste,
    find_waste,
    forgive,
    orphans,
    remove,
    retry_trials,
    verify_store,
)

if TYPE_CHECKING:
    import pandas


class Store:
    """Studies, trials, attempts and results, in SQLite or PostgreSQL.

    Every method is one transaction and may be called from any thread. Every method raises
    StoreError if the database is out of reach, locked, full, damaged or not writable.

    Args:
        database: its database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(
        cls,
        location: str | Path | None = None,
        *,
        create: bool = True,
        read_only: bool = False,
        checked: bool = False,
    ) -> Self:
        """Returns the store at a place, made or migrated if need be.

        Args:
            location: a folder or a database URL; None takes ``SWEEPER_STORE``, and failing
                that the folder ``sweeper-results``.
            create: make the store where there is none.
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
                require_whole(database, thorough=False)
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
        self.database.close()

    @property
    def paths(self) -> Paths:
        """The names of curves and checkpoints, and where they are."""
        return self.database.location.paths

    @property
    def shown(self) -> str:
        """The store's place for messages, without a password."""
        return self.database.location.shown

    # Studies ----------------------------------------------------------------------------------

    def save_study(self, record: StudyRecord, declared: Sequence[Membership]) -> Changes:
        """Writes a study and makes its members exactly the declared ones, in their order.

        Trials that the store does not know are added; members that are no longer declared are
        hidden and never deleted; declared ones that had been hidden come back.
        """
        with self.database.write() as connection:
            now = self.database.now(connection)
            return members.save_study(connection, now, record, declared)

    def add_trials(self, study: str, added: Sequence[Membership], *, first: int) -> None:
        """Adds members to a study that is saved, all or none; hidden ones come back.

        Args:
            study: name of the study.
            added: the members.
            first: position of the first of them among the study's trials, from 0.
        """
        with self.database.write() as connection:
            now = self.database.now(connection)
            members.add_members(connection, now, study, added, first)

    def studies(self) -> list[StudyRecord]:
        """Returns all studies, the oldest first."""
        with self.database.read() as connection:
            return members.all_studies(connection)

    def study(self, name: str) -> StudyRecord:
        """Returns a study.

        Raises:
            UnknownNameError: there is none of this name.
        """
        with self.database.read() as connection:
            return members.find_study(connection, name)

    # What is done -----------------------------------------------------------------------------

    def results_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Returns ``completed`` or ``diverged`` by key, for the trials with an accepted result."""
        with self.database.read() as connection:
            return accounts.results_of(connection, keys)

    def outcomes_of(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """Returns the accepted outcomes by key, with their final metrics; without marks, curve
        and what is known of the machine."""
        with self.database.read() as connection:
            return accounts.outcomes_of(connection, keys)

    def step_seconds(self, keys: Sequence[str]) -> dict[str, float]:
        """Returns device seconds per optimizer step by key, for the completed trials."""
        with self.database.read() as connection:
            return accounts.step_seconds(connection, keys)

    def failures_of(self, keys: Iterable[str]) -> dict[str, Failure]:
        """Returns the failures of the trials without a result whose last attempt failed."""
        with self.database.read() as connection:
            return accounts.failures_of(connection, keys)

    def worker_deaths(self, keys: Iterable[str]) -> dict[str, int]:
        """Returns how many workers died under each trial since it was last excused, by key; 0
        is left out. Controllers and whole nodes that died are not among them."""
        with self.database.read() as connection:
            return accounts.worker_deaths(connection, keys)

    def account(self, study: str) -> Account:
        """Returns where the trials of a study stand; the parts add up.

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.read() as connection:
            members.find_study(connection, study)
            return accounts.account(connection, self.database.now(connection), study)

    # Attempts ---------------------------------------------------------------------------------

    def claim(self, keys: Iterable[str], *, owner: Owner, lease_s: float) -> list[Claim]:
        """Claims every key without an accepted result that nobody alive is running.

        A running attempt is given up (``lost_worker``) when its lease has lapsed, or at once
        when its owner was a process of this machine that has ended. Of several processes that
        claim a key at once, one is given it.

        Args:
            keys: keys of saved trials.
            owner: who will run them.
            lease_s: seconds for which the claim holds unless :meth:`heartbeat` renews it.

        Returns:
            The claims, in the order of the keys.
        """
        with self.database.write() as connection:
            now = self.database.now(connection)
            return leases.claim(connection, now, keys, owner, lease_s)

    def heartbeat(self, owner: Owner, lease_s: float) -> frozenset[str]:
        """Renews the leases of an owner; returns the keys that it still holds. What it had
        claimed and is not among them has ended, or was given to somebody else."""
        with self.database.write() as connection:
            return leases.heartbeat(connection, self.database.now(connection), owner, lease_s)

    def release(self, owner: Owner) -> int:
        """Closes what an owner still runs as ``stopped``, so that anybody may claim it; returns
        the number of attempts. The owner claims nothing more: to this process it is gone, even
        if the store cannot be told."""
        owner.retire()
        with self.database.write() as connection:
            return leases.release(connection, self.database.now(connection), owner)

    def holders(self, keys: Sequence[str]) -> dict[str, Holder]:
        """Returns who runs which of the trials now, by key; what nobody runs is left out."""
        with self.database.read() as connection:
            return leases.holders(connection, self.database.now(connection), keys)

    def record(self, outcome: Outcome, *, objective: float | None) -> bool:
        """Keeps how an attempt ended; returns True if it is the accepted result of its trial.

        When this returns, it is on the disk. The first result of a trial is accepted; a later
        one is kept as an attempt beside it. The same report twice counts once.

        Args:
            outcome: how it ended.
            objective: value of the study's metric, for the results table.
        """
        return self.record_many([(outcome, objective)])[0]

    def record_many(self, entries: Sequence[tuple[Outcome, float | None]]) -> list[bool]:
        """Keeps several outcomes, all or none; returns for each what :meth:`record` returns."""
        if not entries:
            return []
        with self.database.write() as connection:
            now = self.database.now(connection)
            recording = Recording(connection, now, [outcome.key for outcome, _ in entries])
            verdicts = [recording.add(outcome, objective) for outcome, objective in entries]
            recording.write()
            return verdicts

    def save_imported(
        self,
        record: StudyRecord,
        declared: Sequence[Membership],
        outcomes: Iterable[tuple[Outcome, float | None]],
        *,
        replace: bool,
    ) -> Changes:
        """Writes a study with outcomes that were made elsewhere, all or none.

        Args:
            record: the study.
            declared: its trials; others that it had are hidden.
            outcomes: outcomes and objectives of declared trials. A trial that has been
                attempted already is left as it is.
            replace: allow that trials are hidden.

        Raises:
            RequestError: trials would be hidden and ``replace`` is not asked for, or the study
                of this name is no imported one.
        """
        with self.database.write() as connection:
            now = self.database.now(connection)
            changes = members.save_study(connection, now, record, declared)
            if changes.hidden and not replace:
                raise RequestError(
                    f"study {record.name}: {changes.hidden} of the trials that it has are not in "
                    f"this import ({changes.added} of this import are new); --replace hides "
                    "them, another --study keeps both"
                )
            record_new(connection, now, outcomes)
            return changes

    # Answers ----------------------------------------------------------------------------------

    def frame(self, study: str, *, hidden: bool = False) -> pandas.DataFrame:
        """Returns one row a member of a study (see :func:`frames.trial_frame`).

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.read() as connection:
            return frames.trial_frame(
                connection, members.find_study(connection, study), hidden=hidden
            )

    def marks(self, study: str) -> pandas.DataFrame:
        """Returns the metrics at token marks of a study's results (:func:`frames.mark_frame`).

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.read() as connection:
            return frames.mark_frame(connection, members.find_study(connection, study))

    def derived_places(self, study: str) -> list[derived.Place]:
        """Returns where a study's trials have derived numbers (:func:`derived.derived_places`).

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.read() as connection:
            return derived.derived_places(connection, members.find_study(connection, study).name)

    def derived(
        self, study: str, wanted: Mapping[str, Sequence[derived.Place]]
    ) -> pandas.DataFrame:
        """Returns derived numbers by key of the trial (see :func:`derived.derived_frame`).

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.read() as connection:
            record = members.find_study(connection, study)
            return derived.derived_frame(connection, record.name, wanted)

    def curve_files(self, study: str) -> dict[str, str]:
        """Returns the curve file of each result of a study that has one, by key.

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.read() as connection:
            return frames.curve_files(connection, members.find_study(connection, study))

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Returns the answer to one reading statement; nothing can be written with it.

        Raises:
            RequestError: the statement is wrong, or would write.
        """
        return run_query(self.database.location, sql, parameters)

    # Notes ------------------------------------------------------------------------------------

    def save_probe(self, probe: Probe) -> None:
        """Keeps a measured speed in place of an older one of the same circumstances."""
        with self.database.write() as connection:
            notes.save_probe(connection, self.database.now(connection), probe)

    def probe_for(
        self,
        *,
        workload: str,
        workload_version: str,
        shape: Mapping[str, Any],
        device: str,
        threads: int,
        pack: int,
    ) -> Probe | None:
        """Returns the measured speed under the same circumstances, if there is one."""
        wanted = Probe(
            workload=workload,
            workload_version=workload_version,
            shape=shape,
            device=device,
            threads=threads,
            pack=pack,
            startup_seconds=0.0,
            step_seconds=0.0,
            steps=0,
        )
        with self.database.read() as connection:
            return notes.find_probe(connection, wanted)

    def save_estimates(self, study: str, hyperparameter: str, rows: Sequence[Estimate]) -> None:
        """Keeps the estimates of a study's hyperparameter in place of the earlier ones.

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.write() as connection:
            members.find_study(connection, study)
            now = self.database.now(connection)
            notes.save_estimates(connection, now, study, hyperparameter, rows)

    def estimates(self, study: str, hyperparameter: str) -> list[Estimate]:
        """Returns the newest estimates of a study's hyperparameter.

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.read() as connection:
            members.find_study(connection, study)
            return notes.find_estimates(connection, study, hyperparameter)

    # Upkeep -----------------------------------------------------------------------------------

    def retry(
        self,
        study: str,
        *,
        failed: bool = False,
        diverged: bool = False,
        keys: Sequence[str] = (),
    ) -> Retried:
        """Makes trials of a study pending again, all or none (:func:`upkeep.retry_trials`)."""
        with Renaming(self.paths.files) as renaming, self.database.write() as connection:
            return retry_trials(
                connection,
                self.database.now(connection),
                self.paths,
                renaming,
                study,
                failed=failed,
                diverged=diverged,
                keys=keys,
            )

    def forgive(self, keys: Sequence[str]) -> None:
        """Makes the ended attempts of trials without a result count no more, so that the trials
        wait to be run again."""
        with self.database.write() as connection:
            forgive(connection, keys)

    def prune(
        self,
        study: str | None = None,
        *,
        hidden: bool = False,
        withdrawn: bool = False,
        dry_run: bool = False,
    ) -> list[Waste]:
        """Removes files that nothing needs, unless it is a dry run, and returns what they were
        (:func:`upkeep.find_waste`); None as the study looks through the whole store.

        Raises:
            UnknownNameError: there is no such study.
        """
        with self.database.read() as connection:
            scope = None if study is None else members.member_keys(connection, study)
            found = find_waste(
                connection, self.database, scope, hidden=hidden, withdrawn=withdrawn
            )
        return found if dry_run else remove(self.database, found)

    def verify(self, study: str | None = None, *, repair: bool = False) -> Verification:
        """Checks database, curves and checkpoints, and mends them if asked to
        (:func:`upkeep.verify_store`)."""
        return verify_store(self.database, study, repair=repair)

    def orphans(self) -> int:
        """Returns how many trials have a curve file on disk and no result in the database, be
        it that the database was lost. Running them takes those results over."""
        files = list(self.paths.curve_files())
        with self.database.read() as connection:
            return orphans(connection, files)
