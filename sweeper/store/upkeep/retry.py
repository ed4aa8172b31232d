"""Making trials pending again: failures are excused, results withdrawn; nothing is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, case, delete, func, select, update

from sweeper.errors import RequestError, StoreAway
from sweeper.store.accounts import failures_of
from sweeper.store.attempts import RUNNING, holders, last_numbers
from sweeper.store.database import CHUNK, Database, rows_in
from sweeper.store.files import FileStore, Paths
from sweeper.store.records import IMPORTED, Retried
from sweeper.store.studies import find_study, key_named
from sweeper.store.tables import attempts, finite, marks, results, study_trials


class Renaming:
    """Context that takes its renamings back if its body raises.

    It is entered before the transaction that it goes with. A process that dies between the two
    leaves a file under its new name and the database as it was, which `sweeper verify` mends. So
    does a server that goes away: it may have committed, and a withdrawn result whose file has its
    old name would be taken over again.
    """

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._done: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and not issubclass(kind, StoreAway):
            for source, target in reversed(self._done):
                self._files.rename(target, source)

    def move(self, source: str, target: str) -> None:
        """Renames a file; one that is not there is left out.

        Raises:
            StoreError: its folder cannot be written.
        """
        if self._files.rename(source, target):
            self._done.append((source, target))


@dataclass(frozen=True)
class _Member:
    """A trial of the study: whether all its places are hidden, and its accepted outcome."""

    hidden: bool
    outcome: str | None


def retry_trials(
    database: Database,
    study: str,
    *,
    failed: bool = False,
    diverged: bool = False,
    dominated: bool = False,
    keys: Sequence[str] = (),
) -> Retried:
    """Makes trials of a study pending again, all that are asked for or none.

    The failures of a trial are excused. A result is withdrawn: its row and marks go, its attempt
    keeps the metrics and is not accepted any more, and its curve file is renamed, so that no
    worker takes the result over.

    Args:
        database: where they are.
        study: name of the study.
        failed: all its failed trials, and those completed without a finite objective, which
            older versions took for results.
        diverged: all its diverged trials, and those.
        dominated: all its trials that were stopped because others dominated them.
        keys: single trials, by at least six digits of their keys, whatever became of them.

    Raises:
        RequestError: a key names no trial or several, or a trial that is hidden or running, or
            the study was imported.
        UnknownNameError: there is no such study.
    """
    paths = database.location.paths
    with Renaming(paths.files) as renaming, database.write() as connection:
        if find_study(connection, study).workload == IMPORTED:
            raise RequestError(
                f"study {study} holds imported results, which nothing here can run again; "
                "sweeper import brings in others"
            )
        members = _members(connection, study)
        numberless = _numberless(connection, study, [*members]) if failed or diverged else set()
        hidden = {key: member.hidden for key, member in members.items()}
        named = [key_named(text, study, hidden) for text in keys]
        shown = [key for key, member in members.items() if not member.hidden]
        failing = failures_of(connection, shown)
        busy = holders(connection, shown)
        chosen = set(named)
        chosen |= {key for key in failing if failed and key not in busy}
        kinds = {"diverged"} if diverged else set()
        kinds |= {"dominated"} if dominated else set()
        chosen |= {key for key in shown if members[key].outcome in kinds}
        chosen |= numberless & {*shown}
        wanted = [key for key in members if key in chosen]
        for key in wanted:
            if key in busy:
                holder = busy[key]
                raise RequestError(
                    f"trial {key[:12]} of study {study} is running on {holder.host} (process "
                    f"{holder.pid}); nothing was changed: end that run first, or wait for it"
                )
        withdrawn = [key for key in wanted if members[key].outcome is not None]
        _withdraw(connection, paths, renaming, withdrawn)
        forgive(connection, wanted)
        return Retried(
            failed=tuple(key for key in wanted if key in failing),
            withdrawn=tuple(withdrawn),
            pending=tuple(
                key for key in wanted if key not in failing and members[key].outcome is None
            ),
        )


def _members(connection: Connection, study: str) -> dict[str, _Member]:
    hidden = func.min(case((study_trials.c.hidden, 1), else_=0))
    statement = (
        select(study_trials.c.trial_key, hidden, results.c.outcome)
        .outerjoin(results, results.c.trial_key == study_trials.c.trial_key)
        .where(study_trials.c.study == study)
        .group_by(study_trials.c.trial_key, results.c.outcome)
        .order_by(func.min(study_trials.c.position), study_trials.c.trial_key)
    )
    rows = connection.execute(statement)
    return {key: _Member(hidden=bool(hidden), outcome=outcome) for key, hidden, outcome in rows}


def _numberless(connection: Connection, study: str, keys: Sequence[str]) -> set[str]:
    """The trials that are completed and have no finite value of the study's metric."""
    metric = find_study(connection, study).metric
    statement = select(results.c.trial_key, results.c.metrics).where(
        results.c.outcome == "completed"
    )
    return {
        row.trial_key
        for row in rows_in(connection, statement, results.c.trial_key, keys)
        if finite(row.metrics.get(metric)) is None
    }


def _withdraw(
    connection: Connection, paths: Paths, renaming: Renaming, keys: Sequence[str]
) -> None:
    """Removes results and marks; the attempts keep their metrics, the curves another name."""
    numbers = last_numbers(connection, keys)
    statement = select(results.c.trial_key, results.c.curve)
    for row in list(rows_in(connection, statement, results.c.trial_key, keys)):
        if row.curve:
            paths.files.shown(row.curve)  # a fault if it leads out of the folder
        # All of its own, which would be taken over again; what else a foreign database may name
        # (another trial's file, the database itself) is left alone.
        for name in paths.curves_of(row.trial_key, attempts=numbers.get(row.trial_key, 0)):
            renaming.move(name, paths.withdrawn(name))
    for chunk in _chunks(keys):
        for table in (marks, results):
            connection.execute(delete(table).where(table.c.trial_key.in_(chunk)))


def forgive(connection: Connection, keys: Sequence[str]) -> None:
    """Makes the ended attempts of trials count no more: neither as failures nor as results."""
    for chunk in _chunks(keys):
        ended = attempts.c.trial_key.in_(chunk) & (attempts.c.state != RUNNING)
        connection.execute(update(attempts).where(ended).values(excused=True, accepted=False))


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))
