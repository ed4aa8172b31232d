"""Where the trials of a study stand; the parts always add up to what is declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, exists, func, select

from sweeper.outcome import FAILED, Outcome, cause
from sweeper.store.attempts import RUNNING, liveness, lost_reason
from sweeper.store.database import current_time, rows_in
from sweeper.store.records import Account, Cause, Failure
from sweeper.store.studies import find_study
from sweeper.store.tables import attempts, results, study_trials


def results_of(connection: Connection, keys: Iterable[str]) -> dict[str, str]:
    """Returns ``completed`` or ``diverged`` by key, for the trials with an accepted result."""
    statement = select(results.c.trial_key, results.c.outcome)
    rows = rows_in(connection, statement, results.c.trial_key, keys)
    return {row.trial_key: row.outcome for row in rows}


def outcomes_of(connection: Connection, keys: Iterable[str]) -> dict[str, Outcome]:
    """Returns the accepted outcomes by key, with their final metrics; without marks, curve and
    what is known of the machine."""
    names = ("metrics", "step", "tokens")
    statement = select(
        results.c.trial_key.label("key"),
        attempts.c.number.label("attempt"),
        results.c.outcome.label("kind"),
        *(results.c[name] for name in names),
    ).join(attempts, attempts.c.id == results.c.attempt_id)
    rows = rows_in(connection, statement, results.c.trial_key, keys)
    return {row.key: Outcome(**row._mapping) for row in rows}


def step_seconds(connection: Connection, keys: Sequence[str]) -> dict[str, float]:
    """Returns device seconds per optimizer step by key, for the completed trials."""
    statement = select(results.c.trial_key, results.c.device_seconds, results.c.step).where(
        results.c.outcome == "completed", results.c.step > 0
    )
    rows = rows_in(connection, statement, results.c.trial_key, keys)
    return {row.trial_key: row.device_seconds / row.step for row in rows}


def failures_of(connection: Connection, keys: Iterable[str]) -> dict[str, Failure]:
    """Returns the failures of each trial without a result whose last attempt failed, by key;
    excused attempts say nothing."""
    failed = select(attempts).where(_without_result(attempts.c.trial_key), ~attempts.c.excused)
    return _failures(list(rows_in(connection, failed, attempts.c.trial_key, keys)))


def worker_deaths(connection: Connection, keys: Iterable[str]) -> dict[str, int]:
    """Returns how many workers a controller reported dead under each trial, by key; 0 is left
    out. Whole nodes that died are not the trial's doing.

    An attempt whose controller is gone is closed by the next one without a report, and so
    without a step: that is not the trial's doing and does not count. Excused ones do not either.
    """
    key, number = attempts.c.trial_key, func.count().label("lost")
    lost = select(key, number).where(
        attempts.c.state == "lost_worker", attempts.c.step.is_not(None), ~attempts.c.excused
    )
    return {row.trial_key: row.lost for row in rows_in(connection, lost.group_by(key), key, keys)}


def account(connection: Connection, study: str) -> Account:
    """Returns where the trials of a study stand; the parts add up. A trial of several variants
    counts once.

    Raises:
        UnknownNameError: there is no such study.
    """
    find_study(connection, study)
    counts = _member_counts(connection, study)
    declared, done, diverged = counts.get(False, (0, 0, 0))
    # Whoever asks about a finished study need not wait for its attempts.
    rows = _member_attempts(connection, study) if declared > done + diverged else []
    running = _running(rows, current_time(connection))
    failures = _failures(rows)
    failed = {key: item for key, item in failures.items() if item.final and key not in running}
    return Account(
        declared=declared,
        done=done,
        diverged=diverged,
        running=len(running),
        pending=declared - done - diverged - len(running) - len(failed),
        failed=len(failed),
        hidden=counts.get(True, (0, 0, 0))[0],
        causes=_causes(failed),
    )


def _without_result(key: Any) -> Any:
    return ~exists().where(results.c.trial_key == key)


def _member_counts(connection: Connection, study: str) -> dict[bool, tuple[int, int, int]]:
    """Counts the trials of a study by whether all their places are hidden: all of them, the
    completed and the diverged. The database counts: a study may have 100,000 trials."""
    hidden = func.min(case((study_trials.c.hidden, 1), else_=0)).label("hidden")
    members = (
        select(study_trials.c.trial_key, hidden)
        .where(study_trials.c.study == study)
        .group_by(study_trials.c.trial_key)
        .subquery()
    )
    ended = (func.count().filter(results.c.outcome == kind) for kind in ("completed", "diverged"))
    statement = (
        select(members.c.hidden, func.count(), *ended)
        .join_from(members, results, results.c.trial_key == members.c.trial_key, isouter=True)
        .group_by(members.c.hidden)
    )
    rows = connection.execute(statement)
    return {bool(hidden): (count, done, diverged) for hidden, count, done, diverged in rows}


def _member_attempts(connection: Connection, study: str) -> Sequence[Row[Any]]:
    """The attempts that count at the declared trials of a study without an accepted result."""
    here = select(study_trials.c.trial_key).where(
        study_trials.c.study == study, ~study_trials.c.hidden
    )
    statement = select(attempts).where(
        attempts.c.trial_key.in_(here), _without_result(attempts.c.trial_key), ~attempts.c.excused
    )
    return connection.execute(statement).all()


def _running(rows: Sequence[Row[Any]], now: datetime) -> set[str]:
    is_alive = liveness()
    return {
        row.trial_key
        for row in rows
        if row.state == RUNNING and lost_reason(row, now, is_alive) is None
    }


def _failures(rows: Sequence[Row[Any]]) -> dict[str, Failure]:
    """The failures among the attempts; an attempt that still runs says nothing yet."""
    counts: Counter[str] = Counter()
    last: dict[str, Row[Any]] = {}
    for row in rows:
        counts[row.trial_key] += row.state in FAILED
        if row.state != RUNNING and (
            row.trial_key not in last or last[row.trial_key].number < row.number
        ):
            last[row.trial_key] = row
    return {
        key: Failure(kind=row.state, count=counts[key], error=row.error or "")
        for key, row in last.items()
        if row.state in FAILED
    }


def _causes(failed: dict[str, Failure]) -> list[Cause]:
    groups: dict[str, list[str]] = {}
    for key, failure in failed.items():
        groups.setdefault(cause(failure.kind, failure.error), []).append(key)
    causes = [
        Cause(cause=said, count=len(keys), example=min(keys)) for said, keys in groups.items()
    ]
    return sorted(causes, key=lambda item: (-item.count, item.cause))
