"""Trials of a study as data frames, for the analysis; derived quantities only when asked for."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    case,
    cast,
    func,
    literal,
    select,
)

from sweeper.outcome import FAILED
from sweeper.store.attempts import RUNNING
from sweeper.store.records import (
    DERIVED_COLUMNS,
    FIRST_COLUMNS,
    IMPORTED,
    KNOWN_METRICS,
    LAST_COLUMNS,
    PROGRAM_FILES,
    RESERVED_COLUMNS,
    RUN_LENGTH,
    Ended,
    StudyRecord,
)
from sweeper.store.studies import find_study
from sweeper.store.tables import Number, attempts, marks, results, study_trials, trials

if TYPE_CHECKING:
    import pandas


LISTED_FILES = 3
"""Files of a command that are named one by one."""

Place = tuple[str, ...]
"""Keys from the outside in, for example ``("groups", "hidden", "learning_rate")``."""


def derived_places(connection: Connection, study: str) -> list[Place]:
    """Returns where numbers stand in the derived quantities of the first trial of each variant
    of a study, sorted.

    Raises:
        UnknownNameError: there is no such study.
    """
    find_study(connection, study)
    first = (
        select(study_trials.c.variant, func.min(study_trials.c.position).label("position"))
        .where(study_trials.c.study == study, ~study_trials.c.hidden)
        .group_by(study_trials.c.variant)
        .subquery()
    )
    statement = (
        select(trials.c.derived)
        .join(study_trials, study_trials.c.trial_key == trials.c.key)
        .join(
            first,
            (first.c.variant == study_trials.c.variant)
            & (first.c.position == study_trials.c.position),
        )
        .where(study_trials.c.study == study)
    )
    found = {
        place for (document,) in connection.execute(statement) for place in _numbers(document)
    }
    return sorted(found)


def derived_frame(
    connection: Connection, study: str, wanted: Mapping[str, Sequence[Place]]
) -> pandas.DataFrame:
    """Returns derived quantities, one row a trial of a study, indexed by its key.

    Args:
        connection: an open transaction.
        study: name of the study.
        wanted: column to the places where its number stands, the first that has one counts;
            NaN where none has.

    Raises:
        UnknownNameError: there is no such study.
    """
    import pandas  # imported here: everything but analysis does without it

    find_study(connection, study)
    columns = [
        (
            func.coalesce(*(_number_at(place) for place in places))
            if len(places) > 1
            else _number_at(places[0])
        )
        for places in wanted.values()
    ]
    statement = (
        select(trials.c.key, *columns)
        .join(study_trials, study_trials.c.trial_key == trials.c.key)
        .where(study_trials.c.study == study)
        .distinct()
    )
    rows = [tuple(row) for row in connection.execute(statement)]
    frame = pandas.DataFrame.from_records(rows, columns=["key", *wanted])
    return frame.set_index("key").astype(dict.fromkeys(wanted, "float64"))


def _number_at(place: Place) -> Any:
    return trials.c.derived[place].as_float()


def _numbers(document: Any, above: Place = ()) -> Iterator[Place]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _numbers(value, (*above, key))
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield above


_VERSIONS = ("commit", "torch", "sweeper")
_OF_RESULT = [name for name in LAST_COLUMNS if name in results.c and name not in DERIVED_COLUMNS]
_AMOUNTS = [name for name in _OF_RESULT if isinstance(results.c[name].type, Number)]
_SHARED = ("variant", "workload_version", "outcome", "device")
_DOCUMENTS = ("config", "derived", "environment")
_SAID = (*_SHARED, *_VERSIONS, *DERIVED_COLUMNS, PROGRAM_FILES, "hidden")


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keeps the garbage collector away while rows are read: it would go through them again and
    again, a quarter of the time of 100,000 trials, and none of them is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """The trials of a study as the database tells them.

    Attributes:
        study: the study.
        names: what each trial has of its own.
        rows: one a point, see :func:`_points`.
    """

    study: StudyRecord
    names: tuple[str, ...]
    rows: Sequence[Row[Any]]


def read_points(
    connection: Connection, name: str, *, hidden: bool = False, counted: bool = True
) -> Points:
    """Returns what :func:`trial_frame` needs of the database.

    Raises:
        UnknownNameError: there is no such study.
    """
    study = find_study(connection, name)
    names = ("position", "key", "seed", RUN_LENGTH, "metrics", *(["attempts"] if counted else []))
    rows = connection.execute(_points(study, names, hidden=hidden)).all()
    return Points(study=study, names=names, rows=rows)


@_without_collection()
def trial_frame(
    connection: Connection,
    name: str,
    *,
    hidden: bool = False,
    counted: bool = True,
    points: Points | None = None,
) -> pandas.DataFrame:
    """Returns one row a member of a study, those without a result too, in declared order; with
    ``hidden`` those, too, that the study no longer declares.

    Columns: study, variant, key, seed; outcome (completed, diverged, dominated, failed or
    missing); loss (the study's metric in its unit; the worst infinity for a diverged trial, NaN
    without a result and for a dominated one); every setting of the config; params, tokens and
    flops as planned; device, commit, torch and sweeper (versions) of the result;
    workload_version; device_seconds, wall_seconds; attempts (their number, if they are to be
    ``counted``, which takes a look-up a row); hidden;
    loss_error (standard error of the loss), optimum_low and optimum_high (interval of an imported
    optimum), run_length (of an imported run, in tokens or else in steps), where any result came
    with one; program_files (names and some digits of their content) of a command's trials. A
    setting whose name is one of these others is found as ``setting_<name>``.

    Args:
        connection: an open transaction.
        name: name of the study.
        hidden, counted: see above.
        points: what :func:`read_points` has read of it before; None reads it now.

    Raises:
        UnknownNameError: there is no such study.
    """
    import pandas  # imported here: everything but analysis does without it

    if points is None:
        points = read_points(connection, name, hidden=hidden, counted=counted)
    study = points.study
    rows, own = _in_order(points)
    metrics = own.pop("metrics")
    reported = {study.metric, *(name for each in metrics for name in each)}
    measured = {
        name: pandas.Series([each.get(name) for each in metrics], dtype="float64")
        for name in (study.metric, *KNOWN_METRICS)
        if name in reported
    }
    whole = _shared(rows).take(own.pop("point")).reset_index(drop=True)
    settings = [name for name in whole.columns if name not in _SAID]
    whole = whole.assign(study=study.name, **own)
    if whole["outcome"].isna().any():
        whole["outcome"] = _outcomes(connection, name, whole["key"], whole["outcome"])
    worst = float("inf") if study.goal == "min" else float("-inf")
    ends = measured.pop(study.metric).mask(whole["outcome"] == "dominated")
    whole["loss"] = ends.mask(whole["outcome"] == "diverged", worst)
    found = _amounts(connection, name) if any(row.timed for row in rows) else {}
    unknown = [None] * len(_AMOUNTS)
    whole[_AMOUNTS] = [found.get(key, unknown) for key in whole["key"]] if found else None
    kinds = dict.fromkeys((*DERIVED_COLUMNS, *_AMOUNTS), "float64")
    kinds |= {"hidden": "bool"} | ({"attempts": "int64"} if counted else {})
    last = [name for name in LAST_COLUMNS if counted or name != "attempts"]
    length, files = whole[RUN_LENGTH], whole[PROGRAM_FILES]
    whole = whole[[*FIRST_COLUMNS, *settings, *last]].astype(kinds)
    if study.workload == IMPORTED:
        measured[RUN_LENGTH] = length.where(length > 0).astype("float64")
    measured[PROGRAM_FILES] = files
    return whole.assign(**{name: each for name, each in measured.items() if each.notna().any()})


def _in_order(points: Points) -> tuple[list[Row[Any]], dict[str, Any]]:
    """Returns the points in the order of their first trials, and of the trials, in the order of
    their positions, what each has of its own and the index of its point."""
    import pandas

    # One text of all is read several times faster than each by itself.
    told = json.loads(f"[{','.join(row.trials for row in points.rows)}]")
    count = len(points.names)
    own = pandas.DataFrame({name: told[at::count] for at, name in enumerate(points.names)})
    own["point"] = [index for index, row in enumerate(points.rows) for _ in range(row.number)]
    own = own.sort_values("position", kind="stable", ignore_index=True)
    own["point"], first = own["point"].factorize()
    return [points.rows[index] for index in first], dict(own.drop(columns="position"))


def _shared(rows: Iterable[Row[Any]]) -> pandas.DataFrame:
    """Returns what the trials of each point say of it and of the code behind them."""
    import pandas

    said = [_said(row._asdict()) for row in rows]
    found = dict.fromkeys((*_SAID, *(name for each in said for name in each)))
    return pandas.DataFrame.from_records(said, columns=[*found])


def _said(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns columns of the trials that have these texts."""
    config, derived, environment = (json.loads(texts.get(name) or "{}") for name in _DOCUMENTS)
    return {
        **{name: texts[name] for name in (*_SHARED, "hidden")},
        "device": texts["device"] or None,  # an imported result may not say where it was got
        **{name: environment.get(name) for name in _VERSIONS},
        **{name: derived.get(name, config.get(name)) for name in DERIVED_COLUMNS},
        PROGRAM_FILES: _files_of(derived),
        **{
            f"setting_{name}" if name in RESERVED_COLUMNS else name: value
            for name, value in config.items()
            if name not in DERIVED_COLUMNS
        },
    }


def _files_of(derived: Mapping[str, Any]) -> str | None:
    """Returns which files a trial of a command is of; None of any other."""
    if not isinstance(files := derived.get("files"), dict) or not files:
        return None
    if len(files) > LISTED_FILES:
        text = json.dumps(files, sort_keys=True)
        return f"{len(files)} of {hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return " ".join(f"{name} {str(digits)[:8]}" for name, digits in files.items())


def _amounts(connection: Connection, study: str) -> dict[str, Sequence[float | None]]:
    """Returns what each result took, by its trial's key: read as numbers, which a database
    would write out with too few digits."""
    statement = (
        select(results.c.trial_key, *(results.c[name] for name in _AMOUNTS))
        .join(study_trials, study_trials.c.trial_key == results.c.trial_key)
        .where(study_trials.c.study == study)
    )
    return {key: amounts for key, *amounts in connection.execute(statement)}


@_without_collection()
def mark_frame(connection: Connection, study: str) -> pandas.DataFrame:
    """Returns the metrics at token marks of a study's results, one row a measurement.

    Columns: variant, key, step (optimizer steps), tokens, metric, value (the metric's unit; NaN
    where it was not finite).

    Raises:
        UnknownNameError: there is no such study.
    """
    import pandas  # imported here: everything but analysis does without it

    find_study(connection, study)
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
        .where(study_trials.c.study == study, ~study_trials.c.hidden)
        .order_by(study_trials.c.position, marks.c.step, marks.c.metric)
    )
    rows = [tuple(row) for row in connection.execute(statement)]
    frame = pandas.DataFrame.from_records(rows, columns=columns)
    return frame.astype({"step": "int64", "tokens": "int64", "value": "float64"})


def curve_files(connection: Connection, study: str) -> dict[str, str]:
    """Returns the curve file of each result of a study that has one, by key.

    Raises:
        UnknownNameError: there is no such study.
    """
    find_study(connection, study)
    statement = (
        select(results.c.trial_key, results.c.curve)
        .join(study_trials, study_trials.c.trial_key == results.c.trial_key)
        .where(study_trials.c.study == study, ~study_trials.c.hidden)
        .where(results.c.curve.is_not(None))
        .order_by(study_trials.c.position)
    )
    return {row.trial_key: row.curve for row in connection.execute(statement)}


def ended_attempts(connection: Connection, study: str) -> dict[str, Ended]:
    """Returns the attempt of the result of each trial of a study, or else its last one that ended
    and was not excused, by key.

    Raises:
        UnknownNameError: there is no such study.
    """
    find_study(connection, study)
    here = select(study_trials.c.trial_key).where(study_trials.c.study == study)
    names = ("number", "state", "host", "started_at", "ended_at", "step", "error")
    statement = (
        select(attempts.c.trial_key, results.c.metrics, *(attempts.c[name] for name in names))
        .outerjoin(results, results.c.attempt_id == attempts.c.id)
        .where(attempts.c.trial_key.in_(here), attempts.c.state != RUNNING)
        .where(~attempts.c.excused)
        .order_by(attempts.c.accepted, attempts.c.number)
    )
    found = {}
    for key, metrics, *values in connection.execute(statement):
        found[key] = Ended(metrics=metrics or {}, **dict(zip(names, values, strict=True)))
    return found


def _points(study: StudyRecord, names: Sequence[str], *, hidden: bool) -> Select[Any]:
    """Returns what selects the points of a study, by variant: what their trials have in common,
    and in one JSON text, without brackets, what each has of its own under these names.

    The database puts the trials of a point together, so that a few thousand rows come back
    rather than one a trial, and their documents, a text each, are parsed once a point: those of
    100,000 trials one by one take seconds.
    """
    here = attempts.c.trial_key == study_trials.c.trial_key
    own: dict[str, ColumnElement[str]] = {
        "position": cast(study_trials.c.position, Text),
        "key": literal('"') + trials.c.key + '"',
        "seed": cast(trials.c.seed, Text),
        RUN_LENGTH: cast(
            func.coalesce(case((results.c.tokens > 0, results.c.tokens), else_=results.c.step), 0),
            Text,
        ),
        "metrics": func.coalesce(cast(results.c.metrics, Text), "{}"),
        "attempts": cast(select(func.count()).where(here).scalar_subquery(), Text),
    }
    # The documents differ most, and first they are sorted fastest.
    shared = [
        cast(trials.c.config, Text).label("config"),
        cast(trials.c.derived, Text).label("derived"),
        results.c.outcome,
        study_trials.c.variant,
        study_trials.c.hidden,
        trials.c.workload_version,
        results.c.device,
    ]
    # Each imported result names the row that it stood in, and no version of any code.
    if study.workload != IMPORTED:
        shared.append(cast(results.c.environment, Text).label("environment"))
    text = own[names[0]]
    for name in names[1:]:
        text = text + "," + own[name]
    statement = (
        select(
            *shared,
            func.count().label("number"),
            func.count(func.coalesce(*(results.c[name] for name in _AMOUNTS))).label("timed"),
            func.aggregate_strings(text, ",").label("trials"),
        )
        .join(trials, trials.c.key == study_trials.c.trial_key)
        .outerjoin(results, results.c.trial_key == trials.c.key)
        .where(study_trials.c.study == study.name)
        .group_by(*shared)
        .order_by(study_trials.c.variant)
    )
    return statement if hidden else statement.where(~study_trials.c.hidden)


def _outcomes(
    connection: Connection, study: str, keys: Iterable[str], known: Iterable[object]
) -> list[str]:
    """Returns ``failed`` or ``missing`` for every trial without a result, by its last attempt
    that ended and was not excused."""
    here = select(study_trials.c.trial_key).where(study_trials.c.study == study)
    ended = (
        select(attempts.c.trial_key, attempts.c.state)
        .where(attempts.c.trial_key.in_(here), attempts.c.state != RUNNING)
        .where(~attempts.c.excused)
        .order_by(attempts.c.trial_key, attempts.c.number)
    )
    last = {row.trial_key: row.state for row in connection.execute(ended)}
    return [
        outcome if isinstance(outcome, str) else "failed" if last.get(key) in FAILED else "missing"
        for key, outcome in zip(keys, known, strict=True)
    ]
