"""A result written again from the outcome in its curve file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from sweeper.outcome import Outcome
from sweeper.store.attempts import last_numbers, next_fence
from sweeper.store.database import Database
from sweeper.store.outcomes import OPEN, insert_late, kept_metrics, mark_rows, result_row
from sweeper.store.records import Claim
from sweeper.store.tables import attempts, finite, json_text, marks, plain_text, results

_TEXTS = ("device", "host")
_NUMBERS = ("flops", "device_seconds", "wall_seconds")
_DOCUMENTS = ("metrics", "environment")


def differences(row: Row[Any], measured: Sequence[Row[Any]], outcome: Outcome) -> list[str]:
    """Returns the columns in which a result is not, bit for bit, what its outcome says.

    Args:
        row: the row of ``results``.
        measured: its rows of ``marks``.
        outcome: what its curve file says.
    """
    right = result_row(row.attempt_id, outcome, row.objective, row.accepted_at)
    right |= {name: plain_text(right[name]) for name in _TEXTS}
    right |= {name: finite(right[name]) for name in _NUMBERS}
    right |= {name: json.loads(json_text(right[name])) for name in _DOCUMENTS}
    names = ("outcome", "step", "tokens", *_TEXTS, *_NUMBERS, *_DOCUMENTS)
    wrong = [name for name in names if getattr(row, name) != right[name]]
    wanted = {
        (mark["step"], plain_text(mark["metric"]), mark["tokens"], finite(mark["value"]))
        for mark in mark_rows(row.attempt_id, outcome)
    }
    found = {(mark.step, mark.metric, mark.tokens, mark.value) for mark in measured}
    belong = all(mark.attempt_id == row.attempt_id for mark in measured)
    return wrong if found == wanted and belong else [*wrong, "marks"]


def rebuild_result(
    database: Database, outcome: Outcome, *, key: str, curve: str, metrics: Sequence[str]
) -> None:
    """Writes the result of a trial, and its marks, as the outcome in its curve file says.

    A result that the trial has keeps its attempt. Without one the outcome's attempt is taken
    if it is there and ended like that, or was thought lost; else a new one is made.

    Args:
        database: where to.
        outcome: what the curve file says.
        key: key of the trial.
        curve: the curve file relative to the root.
        metrics: metrics of the studies that the trial is in; the first that was measured is the
            objective.
    """
    with database.write() as connection:
        now = database.now(connection)
        attempt = _attempt_of_result(connection, key) or _attempt_of(connection, key, outcome)
        attempt = attempt or _new_attempt(connection, now, key, outcome)
        values = [outcome.metrics[name] for name in metrics if name in outcome.metrics]
        row = result_row(attempt, outcome, finite(values[0]) if values else None, now)
        for table in (marks, results):
            connection.execute(delete(table).where(table.c.trial_key == key))
        connection.execute(insert(results).values(row | {"trial_key": key, "curve": curve}))
        measured = [mark | {"trial_key": key} for mark in mark_rows(attempt, outcome)]
        if measured:
            connection.execute(insert(marks), measured)
        ended = update(attempts).where(attempts.c.id == attempt)
        connection.execute(ended.values(_ending(outcome, now)))


def _attempt_of_result(connection: Connection, key: str) -> int | None:
    """The attempt of the trial's result, if it is one of the trial."""
    statement = (
        select(attempts.c.id)
        .join(results, results.c.attempt_id == attempts.c.id)
        .where(results.c.trial_key == key, attempts.c.trial_key == key)
    )
    return connection.execute(statement).scalar_one_or_none()


def _attempt_of(connection: Connection, key: str, outcome: Outcome) -> int | None:
    statement = select(attempts.c.id).where(
        attempts.c.trial_key == key,
        attempts.c.number == outcome.attempt,
        attempts.c.state.in_({*OPEN, outcome.kind}),
    )
    return connection.execute(statement).scalar_one_or_none()


def _new_attempt(connection: Connection, now: datetime, key: str, outcome: Outcome) -> int:
    number = last_numbers(connection, [key]).get(key, 0) + 1
    item = Claim(key=key, attempt=number, fence=next_fence(connection))
    return insert_late(connection, now, item, outcome, who=f"curve-file-{outcome.attempt}")


def _ending(outcome: Outcome, now: datetime) -> dict[str, Any]:
    return {
        "state": outcome.kind,
        "ended_at": now,
        "expires_at": None,
        "step": outcome.step,
        "device_seconds": outcome.device_seconds,
        "metrics": kept_metrics(outcome),
        "accepted": True,
        "excused": False,
    }
