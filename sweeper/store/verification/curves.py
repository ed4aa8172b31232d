"""Whether the curve files of results are whole, and say what the database says."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select, update

from sweeper.store.curves import read_outcome
from sweeper.store.database import Database, rows_in
from sweeper.store.paths import disk_fault
from sweeper.store.tables import marks, results
from sweeper.store.verification.finding import Finding
from sweeper.store.verification.rebuilding import differences, rebuild_result
from sweeper.store.verification.results import metrics_of


def wrong_curves(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields results whose curve file is missing, damaged, or says something else."""
    metrics = metrics_of(connection, keys)
    with_curve = select(results).where(results.c.curve.is_not(None))
    for row in rows_in(connection, with_curve, results.c.trial_key, keys):
        path = database.location.paths.absolute(row.curve)
        try:
            outcome = read_outcome(path)
        except ValueError as fault:
            yield _unreadable(connection, database, row, str(fault))
            continue
        if outcome is None:
            continue  # imported, or from before curves held outcomes
        measured = connection.execute(select(marks).where(marks.c.trial_key == row.trial_key))
        wrong = differences(row, measured.all(), outcome)
        if wrong and not path.name.startswith(outcome.key):
            yield Finding(
                kind="curve",
                where=str(path),
                what=f"it is of another trial, {outcome.key[:12]}",
                remedy=f"train again with `sweeper retry STUDY --key {row.trial_key[:12]}`",
                key=row.trial_key,
            )
        elif wrong:
            yield Finding(
                kind="disagreement",
                where=str(path),
                what=f"the database says something else about {', '.join(wrong)}",
                remedy="the result is written again as its curve file says, whose digest is right",
                key=row.trial_key,
                repair=partial(
                    rebuild_result,
                    database,
                    outcome,
                    key=row.trial_key,
                    curve=row.curve,
                    metrics=metrics.get(row.trial_key, ()),
                ),
            )


def _unreadable(connection: Connection, database: Database, row: Row[Any], fault: str) -> Finding:
    """A result whose curve cannot be read; another file of the trial may take its place."""
    paths = database.location.paths
    path = paths.absolute(row.curve)
    aside = paths.withdrawn(path)
    repair = None
    measured = connection.execute(select(marks).where(marks.c.trial_key == row.trial_key)).all()
    if not path.exists() and _fits(row, measured, aside):
        remedy = f"its name is given back to {aside.name}: a withdrawal was not finished"
        repair = partial(_rename, aside, path)
    else:
        others = [each for each in paths.curves_of(row.trial_key) if each != path]
        other = next((each for each in others if _fits(row, measured, each)), None)
        remedy = (
            "the result's numbers stand; to have the curve, too, train again with "
            f"`sweeper retry STUDY --key {row.trial_key[:12]}`"
        )
        if other is not None:
            remedy = f"the result is given the curve of another attempt, {other.name}"
            repair = partial(_point_to, database, row.trial_key, row.curve, paths.relative(other))
    return Finding(
        kind="curve",
        where=str(path),
        what=str(fault),
        remedy=remedy,
        key=row.trial_key,
        repair=repair,
    )


def _fits(row: Row[Any], measured: Any, path: Path) -> bool:
    """Whether a file holds a curve that led to the same result."""
    try:
        outcome = read_outcome(path)
    except ValueError:
        return False
    return outcome is not None and not set(differences(row, measured, outcome)) & _SAME


_SAME = {"outcome", "metrics", "step", "tokens", "marks"}
"""What attempts at one trial have in common; times and machines differ."""


def _rename(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        raise disk_fault("rename", source, error) from error


def _point_to(database: Database, key: str, wrong: str, right: str) -> None:
    here = (results.c.trial_key == key) & (results.c.curve == wrong)
    with database.write() as connection:
        connection.execute(update(results).where(here).values(curve=right))
