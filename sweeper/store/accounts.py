"""Where the trials of a study stand; the parts always add up to what is declared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, exists, func, select

from sweeper.outcome import FAILED, Mark, Outcome, cause
from sweeper.store.attempts import RUNNING, liveness, lost_reason
from sweeper.store.database import current_time, rows_in
from sweeper.store.records import Account, AttemptRecord, Cause, Failure, StudyRecord
from sweeper.store.studies import find_study, key_named, member_keys
from sweeper.store.tables import attempts, marks, results, study_trials, trials


def results_of(connection: Connection, keys: Iterable[str]) -> dict[str, str]:
    """Returns ``completed``, ``diverged`` or ``dominated`` by key, for the trials with an
    accepted result."""
    statement = select(results.c.trial_key, results.c.outcome)
    rows = rows_in(connection, statement, results.c.trial_key, keys)
    return {row.trial_key: row.outcome for row in rows}


def outcomes_of(
    connection: Connection, keys: Iterable[str], *, environment: bool = False
) -> dict[str, Outcome]:
    """Returns the accepted outcomes by key, with their final metrics and device seconds; without
    marks, curve and, unless asked for, what is known of the machine."""
    names = (
        "metrics",
        "step",
        "tokens",
        "device_seconds",
        *(("environment",) if environment else ()),
    )
    statement = select(
        results.c.trial_key.label("key"),
        attempts.c.number.label("attempt"),
        results.c.outcome.label("kind"),
        *(results.c[name] for name in names),
    ).join(attempts, attempts.c.id == results.c.attempt_id)
    rows = rows_in(connection, statement, results.c.trial_key, keys)
    return {row.key: Outcome(**row._mapping) for row in rows}


def with_marks(connection: Connection, outcomes: Mapping[str, Outcome]) -> list[Outcome]:
    """Returns accepted outcomes, given by key, with their marks."""
    found: dict[str, list[Mark]] = {}
    columns = [marks.c[name] for name in ("trial_key", "step", "tokens", "metric", "value")]
    for row in rows_in(connection, select(*columns), marks.c.trial_key, outcomes):
        if row.value is not None:
            mark = Mark(step=row.step, tokens=row.tokens, metric=row.metric, value=row.value)
            found.setdefault(row.trial_key, []).append(mark)
    return [replace(o, marks=tuple(found.get(key, ()))) for key, o in outcomes.items()]


def device_seconds(connection: Connection, keys: Sequence[str]) -> dict[str, float]:
    """Returns the device seconds of whole trials by key, for the completed ones."""
    statement = select(results.c.trial_key, results.c.device_seconds).where(
        results.c.outcome == "completed", results.c.step > 0
    )
    rows = rows_in(connection, statement, results.c.trial_key, keys)
    return {row.trial_key: row.device_seconds for row in rows}


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


def attempts_of(connection: Connection, study: str, key: str | None = None) -> list[AttemptRecord]:
    """Returns the attempts at the trials of a study, the newest first; those that look as if they
    were running and that nobody alive runs are ``lost_worker``.

    Args:
        connection: an open transaction.
        study: name of the study.
        key: six or more digits of the key of one trial; None is all of them.

    Raises:
        RequestError: the key names no trial, or several.
        UnknownNameError: there is no such study.
    """
    keys = member_keys(connection, study)
    if key is not None:
        keys = {key_named(key, study, dict.fromkeys(keys, False))}
    now, is_alive = current_time(connection), liveness()
    rows = list(rows_in(connection, select(attempts), attempts.c.trial_key, keys))
    return [
        AttemptRecord(
            key=row.trial_key,
            number=row.number,
            state="lost_worker" if lost else row.state,
            host=row.host,
            step=row.step,
            error=lost or row.error,
        )
        for row in sorted(rows, key=lambda row: row.id, reverse=True)
        for lost in [lost_reason(row, now, is_alive) if row.state == RUNNING else None]
    ]


def account(connection: Connection, study: str) -> Account:
    """Returns where the trials of a study stand; the parts add up. A trial of several variants
    counts once.

    Raises:
        UnknownNameError: there is no such study.
    """
    record = find_study(connection, study)
    counts = _member_counts(connection, study)
    declared, *ended = counts.get(False, (0, 0, 0, 0))
    done, diverged, dominated = ended
    # Whoever asks about a finished study need not wait for its attempts.
    rows = _member_attempts(connection, study) if declared > sum(ended) else []
    running = _running(rows, current_time(connection))
    failures = _failures(rows)
    failed = {key: item for key, item in failures.items() if item.final and key not in running}
    pending = declared - sum(ended) - len(running) - len(failed)
    return Account(
        declared=declared,
        done=done,
        diverged=diverged,
        dominated=dominated,
        running=len(running),
        pending=pending,
        failed=len(failed),
        hidden=counts.get(True, (0,))[0],
        causes=_causes(failed),
        ceiling=_ceiling(connection, record, running | failed.keys()) if pending else None,
    )


def spent_budget(budget: Mapping[str, Any], started: int, flops: float, more: float) -> str | None:
    """Returns the limit of a budget that leaves no room for one more trial, in words; None if
    none does. Hours are not looked at.

    Args:
        budget: ``trials`` and ``flops``, each None without a limit.
        started: trials that were started.
        flops: their training FLOPs.
        more: those of the next one.
    """
    most, ceiling = budget.get("trials"), budget.get("flops")
    if most is not None and started + 1 > most:
        return f"{most} trials"
    if ceiling is not None and flops + more > ceiling:
        return f"{ceiling:.3g} FLOPs"
    return None


def _ceiling(connection: Connection, study: StudyRecord, begun: Collection[str]) -> str | None:
    """Returns which limit of a study's budget is reached, given the trials without a result that
    were begun."""
    budget = study.document.get("budget") or {}
    if budget.get("trials") is None and budget.get("flops") is None:
        return None
    statement = (
        select(trials.c.key, trials.c.flops, results.c.outcome)
        .join(study_trials, study_trials.c.trial_key == trials.c.key)
        .outerjoin(results, results.c.trial_key == trials.c.key)
        .where(study_trials.c.study == study.name, ~study_trials.c.hidden)
        .distinct()
    )
    costs: dict[bool, list[float]] = {True: [], False: []}
    for key, flops, outcome in connection.execute(statement):
        costs[outcome is not None or key in begun].append(flops or 0.0)
    return spent_budget(budget, len(costs[True]), math.fsum(costs[True]), min(costs[False]))


def _without_result(key: Any) -> Any:
    return ~exists().where(results.c.trial_key == key)


def _member_counts(connection: Connection, study: str) -> dict[bool, tuple[int, ...]]:
    """Counts the trials of a study by whether all their places are hidden: all of them, and those
    of each kind of result. The database counts: a study may have 100,000 trials."""
    hidden = func.min(case((study_trials.c.hidden, 1), else_=0)).label("hidden")
    members = (
        select(study_trials.c.trial_key, hidden)
        .where(study_trials.c.study == study)
        .group_by(study_trials.c.trial_key)
        .subquery()
    )
    kinds = ("completed", "diverged", "dominated")
    ended = (func.count().filter(results.c.outcome == kind) for kind in kinds)
    statement = (
        select(members.c.hidden, func.count(), *ended)
        .join_from(members, results, results.c.trial_key == members.c.trial_key, isouter=True)
        .group_by(members.c.hidden)
    )
    rows = connection.execute(statement)
    return {bool(hidden): tuple(numbers) for hidden, *numbers in rows}


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
