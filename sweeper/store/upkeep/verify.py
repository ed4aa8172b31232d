"""The whole of the check: everything that is looked at, in the order in which it is mended."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, select, update

from sweeper import trial
from sweeper.store.database import Database, rows_in
from sweeper.store.files import CurveFile, Paths
from sweeper.store.studies import member_keys, scale_values
from sweeper.store.tables import results, trials
from sweeper.store.upkeep.check_curves import stray_curves, wrong_curves
from sweeper.store.upkeep.check_leftovers import bad_checkpoints, needless_files, stale_attempts
from sweeper.store.upkeep.check_results import (
    Finding,
    dangling_rows,
    numberless_results,
    stray_marks,
    wrong_attempts,
    wrong_objectives,
)
from sweeper.store.upkeep.prune import as_listed


def altered_trials(
    connection: Connection, database: Database, keys: Collection[str]
) -> Iterator[Finding]:
    """Yields trials whose key or whose copied columns are not those of their content."""
    current = select(trials).where(trials.c.hash_version == trial.HASH_VERSION)
    for row in rows_in(connection, current, trials.c.key, keys):
        if _key_of(row) != row.key:
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


def _key_of(row: Row[Any]) -> str:
    return trial.trial_key(
        workload=row.workload,
        version=row.workload_version,
        data=row.data,
        config=row.config,
        seed=row.seed,
    )


def _copy(database: Database, key: str, values: dict[str, Any]) -> None:
    with database.write() as connection:
        connection.execute(update(trials).where(trials.c.key == key).values(values))


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


def verify_store(
    database: Database, study: str | None = None, *, repair: bool = False
) -> Verification:
    """Checks database, curves and checkpoints against each other.

    Args:
        database: whose store.
        study: only this study's trials and their files; None checks everything.
        repair: mend what can be rebuilt: columns that are copies, marks of acceptance, results
            from their curve files, attempts that nobody runs; and remove damaged checkpoints and
            unfinished files.

    Raises:
        StoreError: the database is damaged or cannot be read, or a fault that can be mended
            was not, since the disk is full or may not be written.
        UnknownNameError: there is no such study.
    """
    database.require_whole(thorough=True)
    # Listed first: what is written from here on is of trials that are seen to be running.
    paths = as_listed(database.location.paths)
    files = list(paths.curve_files())
    folders = list(paths.checkpoint_folders())
    with database.read() as connection:
        scope = None if study is None else member_keys(connection, study)
        keys = sorted(scope if scope is not None else _all_keys(connection))
        files = [file for file in files if scope is None or file.key in scope]
        folders = [item for item in folders if scope is None or item[0] in scope]
        done = _count_results(connection, keys)
        found = tuple(_findings(connection, database, keys, scope, files, folders, paths))
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
    folders: list[tuple[str, str]],
    paths: Paths,
) -> Iterator[Finding]:
    yield from dangling_rows(connection, database)
    for check in (altered_trials, stale_attempts, wrong_attempts, stray_marks, wrong_objectives):
        yield from check(connection, database, keys)
    of_curves = list(wrong_curves(connection, database, keys))
    yield from of_curves
    mended = {finding.key for finding in of_curves if finding.repair is not None}
    left = [key for key in keys if key not in mended]
    yield from numberless_results(connection, database, left)
    yield from stray_curves(connection, database, files)
    yield from bad_checkpoints(connection, database, folders)
    yield from needless_files(connection, database, paths, scope)


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
