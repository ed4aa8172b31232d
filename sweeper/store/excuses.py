"""Failures that no longer count as their trials'."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, update

from sweeper.outcome import FAILED
from sweeper.store.database import CHUNK
from sweeper.store.tables import attempts


def excuse(connection: Connection, keys: Iterable[str]) -> int:
    """Excuses the failed attempts of trials, which are then to be run again; returns how many
    attempts these were."""
    remaining, count = list(keys), 0
    for start in range(0, len(remaining), CHUNK):
        statement = update(attempts).where(
            attempts.c.trial_key.in_(remaining[start : start + CHUNK]),
            attempts.c.state.in_(sorted(FAILED)),
            ~attempts.c.excused,
        )
        count += connection.execute(statement.values(excused=True)).rowcount
    return count
