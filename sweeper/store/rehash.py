"""Trials whose keys an earlier recipe made are given those of today, with all that they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from sweeper import trial
from sweeper.errors import StoreError
from sweeper.store.attempts import last_numbers
from sweeper.store.database import Database, present_in
from sweeper.store.files import Paths, Renaming, seal, temporary, unseal
from sweeper.store.tables import attempts, marks, results, study_trials, trials

GROUP = 1_000
"""Trials that are given their new keys at a time."""

_REFERRING = (study_trials, attempts, results, marks)


def bring_to_hash_version(database: Database) -> None:
    """Gives every trial the key that :func:`trial_key` makes today.

    All of it is one transaction. Curve files keep their names, which ``results.curve`` holds;
    checkpoints go with their trial.

    Raises:
        StoreError: a newer sweeper has made keys, or a folder of checkpoints cannot be renamed.
    """
    oldest, newest = func.min(trials.c.hash_version), func.max(trials.c.hash_version)
    with database.read() as connection:  # one at a time, each is the end of an index
        low = connection.execute(select(oldest)).scalar()
        high = connection.execute(select(newest)).scalar()
    if high is not None and high > trial.HASH_VERSION:
        raise StoreError(
            f"store {database.location.shown}: it has keys of version {high} and this sweeper "
            f"makes version {trial.HASH_VERSION}; a newer sweeper has written it, so upgrade "
            "sweeper here"
        )
    if database.read_only or low is None or low >= trial.HASH_VERSION:
        return
    paths = database.location.paths
    with Renaming() as renaming, database.write() as connection:
        changed = rehash(connection)
        for old, new in changed.items():
            if not paths.checkpoint_folder(new).exists():
                renaming.move(paths.checkpoint_folder(old), paths.checkpoint_folder(new))
    for new in changed.values():
        _rekey_journals(paths, new)


def rehash(connection: Connection) -> dict[str, str]:
    """Gives the trials of earlier hash versions their new keys; returns new keys by old.

    Where a trial of the new key is there already, the two become one: it keeps its result, and
    the attempts of the other are numbered after its own.
    """
    changed: dict[str, str] = {}
    for group in _outdated(connection):
        new = {row.key: key_of(row) for row in group}
        taken = present_in(connection, trials.c.key, new.values())
        fresh: dict[str, Row[Any]] = {}
        double: list[Row[Any]] = []
        for row in group:
            if new[row.key] in taken:
                double.append(row)
            else:
                fresh[row.key] = row
                taken.add(new[row.key])
        _move(connection, fresh, new)
        for row in double:
            _merge(connection, row.key, new[row.key])
        changed |= new
    return changed


def _outdated(connection: Connection) -> Iterator[Sequence[Row[Any]]]:
    """Groups of trials of earlier versions; each must have been dealt with before the next."""
    statement = (
        select(trials)
        .where(trials.c.hash_version < trial.HASH_VERSION)
        .order_by(trials.c.created_at, trials.c.key)
        .limit(GROUP)
    )
    while group := connection.execute(statement).all():
        yield group


def key_of(row: Row[Any]) -> str:
    """Returns the key that the recipe of today makes of a row of ``trials``."""
    return trial.trial_key(
        workload=row.workload,
        version=row.workload_version,
        data=row.data,
        config=row.config,
        seed=row.seed,
    )


def _move(connection: Connection, fresh: Mapping[str, Row[Any]], new: Mapping[str, str]) -> None:
    if not fresh:
        return
    rows = [
        dict(row._mapping) | {"key": new[key], "hash_version": trial.HASH_VERSION}
        for key, row in fresh.items()
    ]
    connection.execute(insert(trials), rows)
    places = [{"old": key, "new": new[key]} for key in fresh]
    for table in _REFERRING:
        here = table.c.trial_key == bindparam("old")
        connection.execute(update(table).where(here).values(trial_key=bindparam("new")), places)
    connection.execute(delete(trials).where(trials.c.key == bindparam("old")), places)


def _merge(connection: Connection, old: str, new: str) -> None:
    _merge_places(connection, old, new)
    done = select(results.c.trial_key).where(results.c.trial_key == new)
    if connection.execute(done).one_or_none() is not None:
        for table in (marks, results):
            connection.execute(delete(table).where(table.c.trial_key == old))
        here = attempts.c.trial_key == old
        connection.execute(update(attempts).where(here).values(accepted=False))
    last = last_numbers(connection, [new]).get(new, 0)
    moved = {"trial_key": new, "number": attempts.c.number + last}
    connection.execute(update(attempts).where(attempts.c.trial_key == old).values(moved))
    for table in (results, marks):
        connection.execute(update(table).where(table.c.trial_key == old).values(trial_key=new))
    connection.execute(delete(trials).where(trials.c.key == old))


def _merge_places(connection: Connection, old: str, new: str) -> None:
    """A place that both have is hidden only if it is for both."""
    here = study_trials.c.trial_key
    rows = connection.execute(select(study_trials).where(here.in_([old, new]))).all()
    kept = {(row.study, row.variant): row for row in rows if row.trial_key == new}
    for row in (row for row in rows if row.trial_key == old):
        place = (study_trials.c.study == row.study) & (study_trials.c.variant == row.variant)
        if (row.study, row.variant) not in kept:
            statement = update(study_trials).where(place, here == old)
            connection.execute(statement.values(trial_key=new))
            continue
        connection.execute(delete(study_trials).where(place, here == old))
        if not row.hidden:
            connection.execute(update(study_trials).where(place, here == new).values(hidden=False))


def _rekey_journals(paths: Paths, key: str) -> None:
    """A journal says whose it is; one that cannot be read is left to be skipped by the worker."""
    for checkpoint in paths.checkpoints_of(key):
        journal = paths.journal(checkpoint)
        try:
            document = unseal(journal.read_bytes())
        except (OSError, ValueError):
            continue
        with temporary(journal) as aside:
            aside.write_text(seal(document | {"key": key}), encoding="utf-8")
