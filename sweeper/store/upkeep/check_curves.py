"""Whether the curve files of results are whole and say what the database says, and which are of no
result."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select, update

from sweeper.outcome import Outcome
from sweeper.store.attempts import holders
from sweeper.store.database import Database, present_in, rows_in
from sweeper.store.files import CurveFile, disk_fault, read_outcome, remove_files
from sweeper.store.tables import marks, results, trials
from sweeper.store.upkeep.check_results import metrics_of
from sweeper.store.upkeep.finding import Finding
from sweeper.store.upkeep.rebuilding import differences, rebuild_result


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


def unreferred(
    connection: Connection, database: Database, files: Sequence[CurveFile]
) -> list[CurveFile]:
    """Returns the files that are the curve of no result."""
    paths = database.location.paths
    names = {paths.relative(file.path): file for file in files}
    # By the key, since curves have no index; a result may point at a file of another name.
    here = rows_in(connection, select(results.c.curve), results.c.trial_key, _keys(files))
    referred = {row.curve for row in here}
    strange = [name for name in names if name not in referred]
    referred |= present_in(connection, results.c.curve, strange)
    return [file for name, file in names.items() if name not in referred]


def orphans(connection: Connection, files: Sequence[CurveFile]) -> int:
    """Returns how many trials have a curve file and no result; nothing is opened."""
    keys = _keys(files)
    return len(keys - present_in(connection, results.c.trial_key, keys))


def stray_curves(
    connection: Connection, database: Database, files: Sequence[CurveFile]
) -> Iterator[Finding]:
    """Yields files that hold a result which the database lacks, and damaged ones.

    Args:
        connection: an open transaction, begun after the files were listed, so that whoever has
            written one since then is seen to be running.
        database: which one.
        files: the files to look at.
    """
    strays = unreferred(connection, database, files)
    keys = sorted({file.key for file in strays})
    known = present_in(connection, trials.c.key, keys)
    done = present_in(connection, results.c.trial_key, keys)
    running = holders(connection, database.now(connection), keys)
    metrics = metrics_of(connection, keys)
    for file in strays:
        if file.key in running:
            continue
        try:
            outcome = read_outcome(file.path)
        except ValueError as fault:
            if file.path.exists():
                yield _damaged(file, str(fault))
            continue
        if file.key in done or outcome is None or not outcome.accepted:
            continue  # a late attempt's
        if file.key not in known:
            yield _unknown(file)
            continue
        done.add(file.key)
        yield _unrecorded(database, file, outcome, metrics.get(file.key, ()))


def _keys(files: Sequence[CurveFile]) -> set[str]:
    return {file.key for file in files}


def _damaged(file: CurveFile, fault: str) -> Finding:
    return Finding(
        kind="curve",
        where=str(file.path),
        what=f"{fault}, and no result refers to it",
        remedy="it is removed",
        key=file.key,
        repair=partial(remove_files, [file.path]),
    )


def _unknown(file: CurveFile) -> Finding:
    return Finding(
        kind="unknown",
        where=str(file.path),
        what="it holds a result of a trial that the database does not know",
        remedy="run the study that the trial belongs to: the result is taken over; if the "
        "folder is shared with another database, the trial may be that one's",
        key=file.key,
    )


def _unrecorded(
    database: Database, file: CurveFile, outcome: Outcome, metrics: Sequence[str]
) -> Finding:
    if outcome.key != file.key:
        return Finding(
            kind="curve",
            where=str(file.path),
            what=f"it is of another trial, {outcome.key[:12]}",
            remedy="somebody has renamed it; give it back its name, or move it away",
            key=file.key,
        )
    return Finding(
        kind="unrecorded",
        where=str(file.path),
        what=f"it holds a result ({outcome.kind}) that the database lacks",
        remedy="the result is recorded",
        key=file.key,
        repair=partial(
            rebuild_result,
            database,
            outcome,
            key=file.key,
            curve=database.location.paths.relative(file.path),
            metrics=metrics,
        ),
    )
