"""Whether the curve files of results are whole and say what the database says, and which are of no
result; a result written again from the outcome in its curve file."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import JSON, Connection, Row, delete, insert, select, update

from sweeper.outcome import Outcome
from sweeper.store.attempts import holders, last_numbers, next_fence
from sweeper.store.database import Database, current_time, present_in, rows_in
from sweeper.store.files import CurveFile, FileStore, read_outcome
from sweeper.store.outcomes import (
    OPEN,
    OUTCOME_COLUMNS,
    first_end,
    insert_late,
    kept_metrics,
    mark_rows,
    result_row,
)
from sweeper.store.records import Claim
from sweeper.store.tables import (
    Number,
    PlainText,
    attempts,
    finite,
    json_text,
    marks,
    plain_text,
    results,
    trials,
)
from sweeper.store.upkeep.check_results import Finding, metrics_of


def wrong_curves(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields results whose curve file is missing, damaged, or says something else."""
    files = database.location.paths.files
    metrics = metrics_of(connection, keys)
    with_curve = select(results).where(results.c.curve.is_not(None))
    for row in rows_in(connection, with_curve, results.c.trial_key, keys):
        try:
            outcome = read_outcome(files, row.curve)
        except ValueError as fault:
            yield _unreadable(connection, database, row, str(fault))
            continue
        if outcome is None:
            continue  # imported, or from before curves held outcomes
        measured = connection.execute(select(marks).where(marks.c.trial_key == row.trial_key))
        wrong = differences(row, measured.all(), outcome)
        finding = partial(Finding, where=files.shown(row.curve), key=row.trial_key)
        if outcome.key != row.trial_key:
            yield finding(
                kind="curve",
                what=f"it is of another trial, {outcome.key[:12]}",
                remedy=f"train again with `sweeper retry STUDY --key {row.trial_key[:12]}`",
            )
        elif wrong:
            yield finding(
                kind="disagreement",
                what=f"the database says something else about {', '.join(wrong)}",
                remedy="the result is written again as its curve file says, whose digest is right",
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
    files = paths.files
    aside = paths.withdrawn(row.curve)
    repair: Callable[[], object] | None = None
    measured = connection.execute(select(marks).where(marks.c.trial_key == row.trial_key)).all()
    if files.info(row.curve) is None and _fits(row, measured, files, aside):
        remedy = f"its name is given back to {_last(aside)}: a withdrawal was not finished"
        repair = partial(files.rename, aside, row.curve)
    else:
        others = [each for each in paths.curves_of(row.trial_key) if each != row.curve]
        other = next((each for each in others if _fits(row, measured, files, each)), None)
        remedy = (
            "the result's numbers stand; to have the curve, too, train again with "
            f"`sweeper retry STUDY --key {row.trial_key[:12]}`"
        )
        if other is not None:
            remedy = f"the result is given the curve of another attempt, {_last(other)}"
            repair = partial(_point_to, database, row.trial_key, row.curve, other)
    return Finding(
        kind="curve",
        where=files.shown(row.curve),
        what=fault,
        remedy=remedy,
        key=row.trial_key,
        repair=repair,
    )


def _fits(row: Row[Any], measured: Any, files: FileStore, name: str) -> bool:
    """Whether a file holds a curve that led to the same result."""
    try:
        outcome = read_outcome(files, name)
    except ValueError:
        return False
    return outcome is not None and not set(differences(row, measured, outcome)) & _SAME


_SAME = {"outcome", "metrics", "step", "tokens", "marks"}
"""What attempts at one trial have in common; times and machines differ."""


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _point_to(database: Database, key: str, wrong: str, right: str) -> None:
    here = (results.c.trial_key == key) & (results.c.curve == wrong)
    with database.write() as connection:
        connection.execute(update(results).where(here).values(curve=right))


def unreferred(connection: Connection, files: Sequence[CurveFile]) -> list[CurveFile]:
    """Returns the files that are the curve of no result."""
    names = {file.name: file for file in files}
    # By the key, since curves have no index; a result may point at a file of another name.
    here = rows_in(connection, select(results.c.curve), results.c.trial_key, _keys(files))
    referred = {row.curve for row in here}
    strange = [name for name in names if name not in referred]
    referred |= present_in(connection, results.c.curve, strange)
    return [file for name, file in names.items() if name not in referred]


def orphans(database: Database) -> int:
    """Returns how many trials have a curve file and no result in the database, be it that the
    database was lost. Running them takes those results over."""
    keys = _keys(database.location.paths.curve_files())
    with database.read() as connection:
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
    strays = unreferred(connection, files)
    keys = sorted({file.key for file in strays})
    known = present_in(connection, trials.c.key, keys)
    done = present_in(connection, results.c.trial_key, keys)
    running = holders(connection, keys)
    metrics = metrics_of(connection, keys)
    store = database.location.paths.files
    for file in strays:
        if file.key in running:
            continue
        try:
            outcome = read_outcome(store, file.name)
        except ValueError as fault:
            if store.info(file.name) is not None:
                yield _damaged(store, file, str(fault))
            continue
        if file.key in done or outcome is None or not outcome.accepted:
            continue  # a late attempt's
        if file.key not in known:
            yield _unknown(store, file)
            continue
        done.add(file.key)
        yield _unrecorded(database, file, outcome, metrics.get(file.key, ()))


def _keys(files: Iterable[CurveFile]) -> set[str]:
    return {file.key for file in files}


def _damaged(store: FileStore, file: CurveFile, fault: str) -> Finding:
    return Finding(
        kind="curve",
        where=store.shown(file.name),
        what=f"{fault}, and no result refers to it",
        remedy="it is removed",
        key=file.key,
        repair=partial(store.remove, file.name),
    )


def _unknown(store: FileStore, file: CurveFile) -> Finding:
    return Finding(
        kind="unknown",
        where=store.shown(file.name),
        what="it holds a result of a trial that the database does not know",
        remedy="run the study that the trial belongs to: the result is taken over; if the "
        "folder is shared with another database, the trial may be that one's",
        key=file.key,
    )


def _unrecorded(
    database: Database, file: CurveFile, outcome: Outcome, metrics: Sequence[str]
) -> Finding:
    store = database.location.paths.files
    if outcome.key != file.key:
        return Finding(
            kind="curve",
            where=store.shown(file.name),
            what=f"it is of another trial, {outcome.key[:12]}",
            remedy="somebody has renamed it; give it back its name, or move it away",
            key=file.key,
        )
    return Finding(
        kind="unrecorded",
        where=store.shown(file.name),
        what=f"it holds a result ({outcome.kind}) that the database lacks",
        remedy="the result is recorded",
        key=file.key,
        repair=partial(
            rebuild_result,
            database,
            outcome,
            key=file.key,
            curve=file.name,
            metrics=metrics,
        ),
    )


def differences(row: Row[Any], measured: Sequence[Row[Any]], outcome: Outcome) -> list[str]:
    """Returns the columns in which a result is not, bit for bit, what its outcome says.

    Args:
        row: the row of ``results``.
        measured: its rows of ``marks``.
        outcome: what its curve file says.
    """
    right = result_row(row.attempt_id, outcome, row.objective, row.accepted_at)
    names = ["outcome", *(name for name in OUTCOME_COLUMNS if name != "curve")]
    wrong = [name for name in names if getattr(row, name) != _as_stored(name, right[name])]
    wanted = {
        (mark["step"], plain_text(mark["metric"]), mark["tokens"], finite(mark["value"]))
        for mark in mark_rows(row.attempt_id, outcome)
    }
    found = {(mark.step, mark.metric, mark.tokens, mark.value) for mark in measured}
    belong = all(mark.attempt_id == row.attempt_id for mark in measured)
    return wrong if found == wanted and belong else [*wrong, "marks"]


def _as_stored(name: str, value: Any) -> Any:
    """A value as it comes back from a column of results."""
    kind = results.c[name].type
    if isinstance(kind, PlainText):
        return plain_text(value)
    if isinstance(kind, JSON):
        return json.loads(json_text(value))
    return finite(value) if isinstance(kind, Number) else value


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
        now = current_time(connection)
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
        "ended_at": first_end(now),
        "expires_at": None,
        "step": outcome.step,
        "device_seconds": outcome.device_seconds,
        "metrics": kept_metrics(outcome),
        "accepted": True,
        "excused": False,
    }
