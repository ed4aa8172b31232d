"""Whether every trial is what its key says, and its columns what its config says."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, update

from sweeper.store.database import Database, rows_in
from sweeper.store.members import scale_values
from sweeper.store.rehash import key_of
from sweeper.store.tables import trials
from sweeper.store.verification.finding import Finding
from sweeper.trial import HASH_VERSION


def altered_trials(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields trials whose key or whose copied columns are not those of their content."""
    current = select(trials).where(trials.c.hash_version == HASH_VERSION)
    for row in rows_in(connection, current, trials.c.key, keys):
        if key_of(row) != row.key:
            yield Finding(
                kind="key",
                where=f"table trials, key {row.key[:12]}",
                what="the key is not the hash of workload, version, data, config and seed",
                remedy="something else than sweeper has altered the row, so its result cannot be "
                "trusted; restore the database from a backup",
                key=row.key,
            )
            continue
        right = scale_values(row.config, row.derived)
        wrong = sorted(name for name, value in right.items() if getattr(row, name) != value)
        if wrong:
            yield Finding(
                kind="columns",
                where=f"table trials, key {row.key[:12]}",
                what=f"not as the config says: {', '.join(wrong)}",
                remedy="the columns are copied from the config again",
                key=row.key,
                repair=partial(_copy, database, row.key, right),
            )


def _copy(database: Database, key: str, values: dict[str, Any]) -> None:
    with database.write() as connection:
        connection.execute(update(trials).where(trials.c.key == key).values(values))
