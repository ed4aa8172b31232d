"""Trials of a study as data frames, for the analysis."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, select

from sweeper.outcome import FAILED
from sweeper.store.leases import RUNNING
from sweeper.store.records import StudyRecord
from sweeper.store.tables import attempts, marks, results, study_trials, trials

if TYPE_CHECKING:
    import pandas

_HEAD = ("study", "variant", "key", "seed", "outcome", "loss")
_TAIL = (
    "params",
    "tokens",
    "flops",
    "device",
    "commit",
    "torch",
    "sweeper",
    "workload_version",
    "device_seconds",
    "wall_seconds",
    "attempts",
    "hidden",
)
_DERIVED = ("params", "tokens", "flops")
_NUMBERS = ("loss", *_DERIVED, "device_seconds", "wall_seconds")


def trial_frame(connection: Connection, study: StudyRecord, *, hidden: bool) -> pandas.DataFrame:
    """Returns one row a member of a study, those without a result too, in declared order.

    Columns: study, variant, key, seed; outcome (completed, diverged, failed or missing); loss
    (the study's metric in its unit; the worst infinity for a diverged trial, NaN without a
    result); every setting of the config; params, tokens and flops as planned; device, commit,
    torch and sweeper (versions) of the result; workload_version; device_seconds, wall_seconds;
    attempts (their number); hidden. A setting whose name is one of these others is found as
    ``setting_<name>``.
    """
    import pandas  # imported here: everything but analysis does without it

    counts, failed = _attempts(connection, study.name)
    rows = [
        _trial_row(row, study, counts[row.key], row.key in failed)
        for row in connection.execute(_members(study.name, hidden=hidden))
    ]
    settings = dict.fromkeys(
        name for row in rows for name in row if name not in _HEAD and name not in _TAIL
    )
    frame = pandas.DataFrame.from_records(rows, columns=[*_HEAD, *settings, *_TAIL])
    kinds = dict.fromkeys(_NUMBERS, "float64") | {"attempts": "int64", "hidden": "bool"}
    return frame.astype(kinds)


def mark_frame(connection: Connection, study: StudyRecord) -> pandas.DataFrame:
    """Returns the metrics at token marks of a study's results, one row a measurement.

    Columns: variant, key, step (optimizer steps), tokens, metric, value (the metric's unit; NaN
    where it was not finite).
    """
    import pandas  # imported here: everything but analysis does without it

    columns = ["variant", "key", "step", "tokens", "metric", "value"]
    statement = (
        select(
            study_trials.c.variant,
            marks.c.trial_key,
            marks.c.step,
            marks.c.tokens,
            marks.c.metric,
            marks.c.value,
        )
        .join(study_trials, study_trials.c.trial_key == marks.c.trial_key)
        .where(study_trials.c.study == study.name, ~study_trials.c.hidden)
        .order_by(study_trials.c.position, marks.c.step, marks.c.metric)
    )
    rows = [tuple(row) for row in connection.execute(statement)]
    frame = pandas.DataFrame.from_records(rows, columns=columns)
    return frame.astype({"step": "int64", "tokens": "int64", "value": "float64"})


def curve_files(connection: Connection, study: StudyRecord) -> dict[str, str]:
    """Returns the curve of each result of a study that has one, relative to the root."""
    statement = (
        select(results.c.trial_key, results.c.curve)
        .join(study_trials, study_trials.c.trial_key == results.c.trial_key)
        .where(study_trials.c.study == study.name, ~study_trials.c.hidden)
        .where(results.c.curve.is_not(None))
        .order_by(study_trials.c.position)
    )
    return {row.trial_key: row.curve for row in connection.execute(statement)}


def _members(study: str, *, hidden: bool) -> Select[Any]:
    statement = (
        select(
            study_trials.c.variant,
            study_trials.c.hidden,
            trials.c.key,
            trials.c.seed,
            trials.c.config,
            trials.c.derived,
            trials.c.workload_version,
            results.c.outcome,
            results.c.metrics,
            results.c.environment,
            results.c.device,
            results.c.device_seconds,
            results.c.wall_seconds,
        )
        .join(trials, trials.c.key == study_trials.c.trial_key)
        .outerjoin(results, results.c.trial_key == trials.c.key)
        .where(study_trials.c.study == study)
        .order_by(study_trials.c.position, study_trials.c.variant)
    )
    return statement if hidden else statement.where(~study_trials.c.hidden)


def _attempts(connection: Connection, study: str) -> tuple[Counter[str], set[str]]:
    """How many attempts each trial had, and the trials whose last one that ended failed."""
    here = select(study_trials.c.trial_key).where(study_trials.c.study == study)
    statement = (
        select(attempts.c.trial_key, attempts.c.state)
        .where(attempts.c.trial_key.in_(here))
        .order_by(attempts.c.trial_key, attempts.c.number)
    )
    counts: Counter[str] = Counter()
    last: dict[str, str] = {}
    for key, state in connection.execute(statement):
        counts[key] += 1
        if state != RUNNING:
            last[key] = state
    return counts, {key for key, state in last.items() if state in FAILED}


def _trial_row(row: Row[Any], study: StudyRecord, tried: int, failed: bool) -> dict[str, Any]:
    environment = row.environment or {}
    fixed = {
        "study": study.name,
        "variant": row.variant,
        "key": row.key,
        "seed": row.seed,
        "outcome": row.outcome or ("failed" if failed else "missing"),
        "loss": _loss(row, study),
        **{name: row.derived.get(name, row.config.get(name)) for name in _DERIVED},
        "device": row.device or None,  # an imported result may not say
        "commit": environment.get("commit"),
        "torch": environment.get("torch"),
        "sweeper": environment.get("sweeper"),
        "workload_version": row.workload_version,
        "device_seconds": row.device_seconds,
        "wall_seconds": row.wall_seconds,
        "attempts": tried,
        "hidden": row.hidden,
    }
    settings = {
        f"setting_{name}" if name in fixed else name: value
        for name, value in row.config.items()
        if name not in _DERIVED
    }
    return fixed | settings


def _loss(row: Row[Any], study: StudyRecord) -> float:
    if row.outcome == "diverged":
        return float("inf") if study.goal == "min" else float("-inf")
    value = (row.metrics or {}).get(study.metric)
    return float("nan") if value is None else float(value)
