"""Curve files that are of no result in the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from sqlalchemy import Connection, select

from sweeper.outcome import Outcome
from sweeper.store.curves import read_outcome
from sweeper.store.database import Database, present_in, rows_in
from sweeper.store.inventory import CurveFile
from sweeper.store.leases import holders
from sweeper.store.paths import remove_files
from sweeper.store.tables import results, trials
from sweeper.store.verification.finding import Finding
from sweeper.store.verification.rebuilding import rebuild_result
from sweeper.store.verification.results import metrics_of


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
