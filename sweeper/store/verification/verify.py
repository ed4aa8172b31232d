"""The whole of the check: everything that is looked at, in the order in which it is mended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, select

from sweeper.store.database import Database, rows_in
from sweeper.store.inventory import CurveFile, checkpoint_folders, curve_files
from sweeper.store.members import member_keys
from sweeper.store.tables import results, trials
from sweeper.store.verification.curves import wrong_curves
from sweeper.store.verification.finding import Finding
from sweeper.store.verification.integrity import dangling_rows, require_whole
from sweeper.store.verification.leftovers import bad_checkpoints, needless_files, stale_attempts
from sweeper.store.verification.results import stray_marks, wrong_attempts, wrong_objectives
from sweeper.store.verification.strays import stray_curves
from sweeper.store.verification.trials import altered_trials


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at and what was found.

    Attributes:
        trials, results, curves, checkpoints: how many were looked at; checkpoints by trial.
        findings: the faults.
    """

    trials: int
    results: int
    curves: int
    checkpoints: int
    findings: tuple[Finding, ...]

    @property
    def left(self) -> int:
        """Number of faults that were not mended."""
        return sum(not finding.repaired for finding in self.findings)


def verify(database: Database, study: str | None, *, repair: bool) -> Verification:
    """Checks a store, and mends what can be mended if asked to (see :meth:`Upkeep.verify`).

    Raises:
        StoreError: the database cannot be read, or a fault that can be mended was not, since
            the disk is full or may not be written.
        UnknownNameError: there is no such study.
    """
    require_whole(database, thorough=True)
    # Listed first: what is written from here on is of trials that are seen to be running.
    files = list(curve_files(database.location.paths))
    folders = list(checkpoint_folders(database.location.paths))
    with database.read() as connection:
        scope = None if study is None else member_keys(connection, study)
        keys = sorted(scope if scope is not None else _all_keys(connection))
        files = [file for file in files if scope is None or file.key in scope]
        folders = [item for item in folders if scope is None or item[0] in scope]
        done = _count_results(connection, keys)
        found = tuple(_findings(connection, database, keys, scope, files, folders))
    return Verification(
        trials=len(keys),
        results=done,
        curves=len(files),
        checkpoints=len(folders),
        findings=tuple(_mended(finding) for finding in found) if repair else found,
    )


def _findings(
    connection: Connection,
    database: Database,
    keys: list[str],
    scope: set[str] | None,
    files: list[CurveFile],
    folders: list[tuple[str, Path]],
) -> Iterator[Finding]:
    yield from dangling_rows(connection, database)
    for check in (altered_trials, stale_attempts, wrong_attempts, stray_marks, wrong_objectives):
        yield from check(connection, database, keys)
    yield from wrong_curves(connection, database, keys)
    yield from stray_curves(connection, database, files)
    yield from bad_checkpoints(connection, database, folders)
    yield from needless_files(connection, database, scope)


def _mended(finding: Finding) -> Finding:
    if finding.repair is None:
        return finding
    finding.repair()
    return replace(finding, repaired=True)


def _all_keys(connection: Connection) -> list[str]:
    return list(connection.execute(select(trials.c.key)).scalars())


def _count_results(connection: Connection, keys: list[str]) -> int:
    return sum(
        1 for _ in rows_in(connection, select(results.c.trial_key), results.c.trial_key, keys)
    )
