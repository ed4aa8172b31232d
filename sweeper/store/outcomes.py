"""Recording how attempts ended: one accepted result a trial, and everything else kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, select, update

from sweeper.errors import RequestError
from sweeper.outcome import Outcome
from sweeper.store.attempts import (
    RUNNING,
    attempt_row,
    last_numbers,
    next_fence,
    require_trials,
)
from sweeper.store.database import current_time, present_in, rows_in
from sweeper.store.owner import Owner
from sweeper.store.records import Changes, Claim, Membership, StudyRecord
from sweeper.store.studies import save_study, take_up_costs
from sweeper.store.tables import attempts, finite, marks, results

GROUP = 5_000
"""Outcomes that are taken in at a time."""

ELSEWHERE = Owner(id="import", host="")
"""Who ran what was run elsewhere."""

LATE = "late"
"""Stands for the owner of an attempt that was made for a report without one."""

OUTCOME_COLUMNS = tuple(each.name for each in fields(Outcome) if each.name in results.c)
"""Columns of results that are called like the field of the outcome that they hold."""

COSTS = ("params", "flops")
"""Metrics by which a program says what it costs."""

OPEN = frozenset({RUNNING, "stopped", "lost_worker", "lost_node"})
"""States in which an attempt may still report: it runs, or was only thought to have ended."""


def record_many(
    connection: Connection, entries: Sequence[tuple[Outcome, float | None]]
) -> list[bool]:
    """Keeps how attempts ended; returns for each whether it is the accepted result of its trial.

    When the transaction has ended, they are on the disk. The first result of a trial is accepted;
    a later one is kept as an attempt beside it. The same report twice counts once.

    Args:
        connection: inside a writing transaction.
        entries: how each ended, and the value of the study's metric at the end of a completed
            trial for the results table.
    """
    recording = _Recording(connection, [outcome.key for outcome, _ in entries])
    verdicts = [recording.add(outcome, objective) for outcome, objective in entries]
    recording.write()
    return verdicts


def save_imported(
    connection: Connection,
    record: StudyRecord,
    declared: Sequence[Membership],
    outcomes: Iterable[tuple[Outcome, float | None]],
    *,
    replace: bool,
) -> Changes:
    """Writes a study with outcomes that were made elsewhere.

    Args:
        connection: inside a writing transaction.
        record: the study.
        declared: its trials; others that it had are hidden.
        outcomes: outcomes and objectives of declared trials, each trial once. A trial that has
            been attempted already is left as it is, so that the same outcomes again change
            nothing. They are taken in group by group, however many they are.
        replace: allow that trials are hidden.

    Raises:
        RequestError: trials would be hidden and ``replace`` is not asked for, or the study
            of this name is no imported one.
    """
    changes = save_study(connection, record, declared)
    if changes.hidden and not replace:
        raise RequestError(
            f"study {record.name}: {changes.hidden} of the trials that it has are not in "
            f"this import ({changes.added} of this import are new); --replace hides "
            "them, another --study keeps both"
        )
    remaining = iter(outcomes)
    while group := list(islice(remaining, GROUP)):
        tried = last_numbers(connection, [outcome.key for outcome, _ in group])
        if new := [entry for entry in group if entry[0].key not in tried]:
            _insert_ended(connection, new)
    return changes


@dataclass
class _Attempt:
    """An attempt as this transaction sees it."""

    id: int
    state: str
    step: int | None
    device_seconds: float | None
    accepted: bool
    late: bool = False


class _Recording:
    """Writes a group of outcomes inside one transaction.

    Args:
        connection: inside a writing transaction.
        keys: keys of the trials of the group.
    """

    def __init__(self, connection: Connection, keys: Iterable[str]) -> None:
        wanted = list(dict.fromkeys(keys))
        require_trials(connection, wanted)
        self._connection = connection
        self._now = current_time(connection)
        self._attempts = {
            (row.trial_key, row.number): _seen(row)
            for row in rows_in(connection, select(attempts), attempts.c.trial_key, wanted)
        }
        self._done = present_in(connection, results.c.trial_key, wanted)
        self._last = last_numbers(connection, wanted)
        self._updates: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] = []
        self._marks: list[dict[str, Any]] = []
        self._costs: dict[str, dict[str, float]] = {}

    def add(self, outcome: Outcome, objective: float | None) -> bool:
        """Takes in one outcome; returns True if it is the accepted result of its trial.

        A report that was already taken in (a writer that tries again because it did not hear of
        its commit) changes nothing. A result of a trial that has one, and a second, different
        report of an attempt, are kept as attempts that were not accepted.
        """
        attempt = self._attempts.get((outcome.key, outcome.attempt))
        if attempt is not None and _same(attempt, outcome):
            return attempt.accepted
        if attempt is not None and attempt.state not in OPEN:
            for (key, _), each in self._attempts.items():
                if key == outcome.key and each.late and _same(each, outcome):
                    return each.accepted
        if attempt is None or attempt.state not in OPEN:
            attempt = self._extra(outcome)
        accepted = outcome.accepted and outcome.key not in self._done
        attempt.state, attempt.accepted = outcome.kind, accepted
        attempt.step = outcome.step
        attempt.device_seconds = finite(outcome.device_seconds)
        self._updates.append(_ending(attempt, outcome, self._now))
        if accepted:
            self._done.add(outcome.key)
            self._results.append(result_row(attempt.id, outcome, objective, self._now))
            self._marks.extend(mark_rows(attempt.id, outcome))
            told = {name: outcome.metrics[name] for name in COSTS if name in outcome.metrics}
            if told:
                counts = {"steps": outcome.step, "tokens": outcome.tokens}
                self._costs[outcome.key] = counts | told
        return accepted

    def write(self) -> None:
        """Writes what was taken in."""
        if self._updates:
            self._connection.execute(_CLOSE, self._updates)
        if self._results:
            self._connection.execute(insert(results), self._results)
        if self._marks:
            self._connection.execute(insert(marks), self._marks)
        if self._costs:
            take_up_costs(self._connection, self._costs)

    def _extra(self, outcome: Outcome) -> _Attempt:
        """Makes an attempt for a report that has none of its own."""
        number = outcome.attempt
        if number < 1 or (outcome.key, number) in self._attempts:
            number = self._last.get(outcome.key, 0) + 1
        self._last[outcome.key] = max(number, self._last.get(outcome.key, 0))
        item = Claim(key=outcome.key, attempt=number, fence=next_fence(self._connection))
        made = _Attempt(
            insert_late(self._connection, self._now, item, outcome, who=LATE),
            RUNNING,
            None,
            None,
            False,
            late=True,
        )
        self._attempts[outcome.key, number] = made
        return made


def insert_late(
    connection: Connection, now: datetime, item: Claim, outcome: Outcome, *, who: str
) -> int:
    """Makes the attempt of an outcome that has none of its own; returns its id.

    Args:
        connection: inside a writing transaction.
        now: time by the database's clock.
        item: key, number and fence of the attempt.
        outcome: how it ended; its wall seconds say when it began.
        who: stands for the owner, with the host.
    """
    owner = Owner(id=f"{who}-{outcome.host}", host=outcome.host)
    started = now - timedelta(seconds=finite(outcome.wall_seconds) or 0.0)
    row = attempt_row(item, owner, started, lease_s=None)
    made: int = connection.execute(
        insert(attempts).values(row).returning(attempts.c.id)
    ).scalar_one()
    return made


def _insert_ended(connection: Connection, entries: Sequence[tuple[Outcome, float | None]]) -> None:
    """Inserts attempts that ended before we heard of them, with their results and marks."""
    now, fence = current_time(connection), next_fence(connection)
    rows = []
    for place, (outcome, _) in enumerate(entries):
        item = Claim(key=outcome.key, attempt=outcome.attempt, fence=fence + place)
        ended = {
            "state": outcome.kind,
            "ended_at": now,
            "step": outcome.step,
            "device_seconds": outcome.device_seconds,
            "error": outcome.error,
            "accepted": outcome.accepted,
            "metrics": kept_metrics(outcome),
        }
        rows.append(attempt_row(item, ELSEWHERE, now, lease_s=None) | ended)
    connection.execute(insert(attempts), rows)
    made = select(attempts.c.trial_key, attempts.c.id)
    keys = [outcome.key for outcome, _ in entries]
    ids = {row.trial_key: row.id for row in rows_in(connection, made, attempts.c.trial_key, keys)}
    accepted = [(outcome, value) for outcome, value in entries if outcome.accepted]
    if accepted:
        connection.execute(
            insert(results), [result_row(ids[o.key], o, value, now) for o, value in accepted]
        )
    measured = [mark for o, _ in accepted for mark in mark_rows(ids[o.key], o)]
    if measured:
        connection.execute(insert(marks), measured)


def first_end(now: Any) -> ColumnElement[datetime]:
    """Returns when an attempt ended that is closed now: where it was given up before, and reports
    all the same, then, since other attempts may have begun in between."""
    return func.coalesce(attempts.c.ended_at, now)


_CLOSE = (
    update(attempts)
    .where(attempts.c.id == bindparam("at_id"))
    .values(
        state=bindparam("to_state"),
        ended_at=first_end(bindparam("to_ended", type_=attempts.c.ended_at.type)),
        expires_at=None,
        step=bindparam("to_step"),
        device_seconds=bindparam("to_seconds"),
        error=bindparam("to_error"),
        accepted=bindparam("to_accepted"),
        metrics=bindparam("to_metrics", type_=attempts.c.metrics.type),
    )
)


def _seen(row: Row[Any]) -> _Attempt:
    late = row.owner.startswith(f"{LATE}-") and row.pid is None
    return _Attempt(row.id, row.state, row.step, row.device_seconds, row.accepted, late)


def _same(attempt: _Attempt, outcome: Outcome) -> bool:
    return (attempt.state, attempt.step, attempt.device_seconds) == (
        outcome.kind,
        outcome.step,
        finite(outcome.device_seconds),
    )


def _ending(attempt: _Attempt, outcome: Outcome, now: datetime) -> dict[str, Any]:
    return {
        "at_id": attempt.id,
        "to_state": outcome.kind,
        "to_ended": now,
        "to_step": outcome.step,
        "to_seconds": attempt.device_seconds,
        "to_error": outcome.error,
        "to_accepted": attempt.accepted,
        "to_metrics": kept_metrics(outcome),
    }


def kept_metrics(outcome: Outcome) -> dict[str, float] | None:
    """Returns what an attempt that ended with a result measured, accepted or not."""
    return dict(outcome.metrics) if outcome.accepted else None


def result_row(
    attempt_id: int, outcome: Outcome, objective: float | None, now: datetime
) -> dict[str, Any]:
    """Returns the row of an accepted result. A column that is called like a field of the outcome
    holds that field."""
    row = {name: getattr(outcome, name) for name in OUTCOME_COLUMNS}
    return row | {
        "trial_key": outcome.key,
        "attempt_id": attempt_id,
        "outcome": outcome.kind,
        "objective": objective,
        "metrics": dict(outcome.metrics),
        "environment": dict(outcome.environment),
        "accepted_at": now,
    }


def mark_rows(attempt_id: int, outcome: Outcome) -> list[dict[str, Any]]:
    """Returns one row a step and metric; of two measurements of one step the later one counts."""
    latest = {(mark.step, mark.metric): mark for mark in outcome.marks}
    return [
        {
            "trial_key": outcome.key,
            "attempt_id": attempt_id,
            "step": mark.step,
            "tokens": mark.tokens,
            "metric": mark.metric,
            "value": mark.value,
        }
        for mark in latest.values()
    ]
