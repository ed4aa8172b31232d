"""What a finding is; whether results, attempts and marks belong together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from sweeper.outcome import ACCEPTED
from sweeper.store.database import Database, rows_in
from sweeper.store.tables import attempts, finite, marks, results, studies, study_trials


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault that was found.

    Attributes:
        kind: what is wrong, in one word that programs may rely on.
        where: the file, or the table and row.
        what: the fault, in a sentence without its end.
        remedy: what mends it: what ``--repair`` does, or else what a person can do.
        key: key of the trial that it is about; None if it is about none.
        repair: mends it; None where nothing here can.
        repaired: whether it was mended.
    """

    kind: str
    where: str
    what: str
    remedy: str
    key: str | None = None
    repair: Callable[[], object] | None = field(default=None, repr=False, compare=False)
    repaired: bool = False


def dangling_rows(connection: Connection, database: Database) -> Iterator[Finding]:
    """Yields rows that refer to rows that are not there; on a server there cannot be any."""
    if not database.is_sqlite:
        return
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    places = sorted((str(row[0]), str(row[2])) for row in rows)
    for (table, parent), group in groupby(places):
        yield Finding(
            kind="dangling",
            where=f"table {table}",
            what=f"{len(list(group))} rows refer to rows of {parent} that are not there",
            remedy="something else than sweeper has deleted them; restore the database from a "
            "backup, or move it away and run the studies again: results are taken over from "
            "their curve files",
        )


def wrong_attempts(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields results whose attempt is not the accepted one, and accepted attempts without."""
    same = (attempts.c.id == results.c.attempt_id) & (attempts.c.trial_key == results.c.trial_key)
    of_results = (
        select(results, attempts.c.id.label("attempt"), attempts.c.state, attempts.c.accepted)
        .select_from(results)
        .outerjoin(attempts, same)
    )
    for row in rows_in(connection, of_results, results.c.trial_key, keys):
        yield from _of_result(database, row)
    alone = (
        select(attempts.c.id, attempts.c.trial_key, attempts.c.number)
        .outerjoin(results, same)
        .where(attempts.c.accepted, results.c.trial_key.is_(None))
    )
    for row in rows_in(connection, alone, attempts.c.trial_key, keys):
        yield Finding(
            kind="attempt",
            where=f"table attempts, attempt {row.number} of {row.trial_key[:12]}",
            what="it is marked as accepted and is not that of a result",
            remedy="the mark is taken away",
            key=row.trial_key,
            repair=partial(_set_attempt, database, row.id, accepted=False),
        )


def wrong_objectives(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields results whose objective is not the metric of a study that the trial is in."""
    metrics = metrics_of(connection, keys)
    ended = select(results).where(results.c.outcome != "dominated")  # has no metric of its end
    for row in rows_in(connection, ended, results.c.trial_key, keys):
        found = [finite(row.metrics.get(name)) for name in metrics.get(row.trial_key, ())]
        if found and row.objective not in found:
            yield Finding(
                kind="objective",
                where=f"table results, key {row.trial_key[:12]}",
                what=f"the objective {row.objective} is not the metric of its study, {found[0]}",
                remedy="the objective is copied from the metrics again",
                key=row.trial_key,
                repair=partial(_set_objective, database, row.trial_key, found[0]),
            )


def numberless_results(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields completed results without a finite value of the metric of any study of theirs, which
    older versions accepted."""
    metrics = metrics_of(connection, keys)
    completed = select(results).where(results.c.outcome == "completed")
    for row in rows_in(connection, completed, results.c.trial_key, keys):
        names = list(dict.fromkeys(metrics.get(row.trial_key, ())))
        if names and all(finite(row.metrics.get(name)) is None for name in names):
            yield Finding(
                kind="objective",
                where=f"table results, key {row.trial_key[:12]}",
                what=f"it is completed and has no finite {' or '.join(names)}",
                remedy="withdraw it with `sweeper retry STUDY --failed`, and run the study again",
                key=row.trial_key,
            )


def stray_marks(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields trials without a result that have marks all the same."""
    statement = (
        select(marks.c.trial_key)
        .outerjoin(results, results.c.trial_key == marks.c.trial_key)
        .where(results.c.trial_key.is_(None))
        .distinct()
    )
    for (key,) in rows_in(connection, statement, marks.c.trial_key, keys):
        yield Finding(
            kind="marks",
            where=f"table marks, key {key[:12]}",
            what="they belong to no result",
            remedy="they are removed",
            key=key,
            repair=partial(_remove_marks, database, key),
        )


def metrics_of(connection: Connection, keys: Collection[str]) -> dict[str, list[str]]:
    """Returns the metrics of the studies that each trial is in, those of the oldest first."""
    statement = (
        select(study_trials.c.trial_key, studies.c.metric)
        .join(studies, studies.c.name == study_trials.c.study)
        .order_by(studies.c.created_at, studies.c.name)
        .distinct()
        .add_columns(studies.c.created_at, studies.c.name)
    )
    found: dict[str, list[str]] = {}
    for row in rows_in(connection, statement, study_trials.c.trial_key, keys):
        found.setdefault(row.trial_key, []).append(row.metric)
    return found


def _of_result(database: Database, row: Row[Any]) -> Iterator[Finding]:
    finding = partial(Finding, where=f"table results, key {row.trial_key[:12]}", key=row.trial_key)
    withdraw = f"withdraw it with `sweeper retry STUDY --key {row.trial_key[:12]}`"
    if row.outcome not in ACCEPTED:
        what = f"its outcome is {row.outcome!r}, which is none of a result"
        yield finding(kind="outcome", what=what, remedy=withdraw)
    elif row.attempt is None:
        what = f"its attempt, id {row.attempt_id}, is not there or is another trial's"
        yield finding(kind="attempt", what=what, remedy=withdraw)
    elif not row.accepted or row.state != row.outcome:
        mark = "accepted" if row.accepted else "not accepted"
        yield finding(
            kind="attempt",
            what=f"its attempt is {row.state}, {mark}, and the result is {row.outcome}",
            remedy="the attempt is made the accepted one",
            repair=partial(_set_attempt, database, row.attempt, accepted=True, state=row.outcome),
        )


def _set_attempt(database: Database, number: int, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(update(attempts).where(attempts.c.id == number).values(**values))


def _set_objective(database: Database, key: str, value: float | None) -> None:
    with database.write() as connection:
        connection.execute(
            update(results).where(results.c.trial_key == key).values(objective=value)
        )


def _remove_marks(database: Database, key: str) -> None:
    with database.write() as connection:
        connection.execute(delete(marks).where(marks.c.trial_key == key))
