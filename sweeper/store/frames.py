"""Trials of a study as data frames, for the analysis; derived quantities only when asked for."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, Text, case, cast, func, literal, select

from sweeper.outcome import FAILED
from sweeper.store.attempts import RUNNING
from sweeper.store.records import (
    DERIVED_COLUMNS,
    FIRST_COLUMNS,
    IMPORTED,
    KNOWN_METRICS,
    LAST_COLUMNS,
    RESERVED_COLUMNS,
    RUN_LENGTH,
    StudyRecord,
)
from sweeper.store.studies import find_study
from sweeper.store.tables import Number, attempts, marks, results, study_trials, trials

if TYPE_CHECKING:
    import pandas


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
_OWN = ("key", "seed", *_AMOUNTS, "hidden")
_SHARED = ("variant", "workload_version", "outcome", "device")
_DOCUMENTS = ("config", "derived", "environment")
_SAID = (*_SHARED, *_VERSIONS, *DERIVED_COLUMNS)


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


@_without_collection()
def trial_frame(
    connection: Connection, name: str, *, hidden: bool = False, counted: bool = True
) -> pandas.DataFrame:
    """Returns one row a member of a study, those without a result too, in declared order; with
    ``hidden`` those, too, that the study no longer declares.

    Columns: study, variant, key, seed; outcome (completed, diverged, failed or missing); loss
    (the study's metric in its unit; the worst infinity for a diverged trial, NaN without a
    result); every setting of the config; params, tokens and flops as planned; device, commit,
    torch and sweeper (versions) of the result; workload_version; device_seconds, wall_seconds;
    attempts (their number, if they are to be ``counted``, which takes a look-up a row); hidden;
    loss_error (standard error of the loss), optimum_low and optimum_high (interval of an imported
    optimum), run_length (of an imported run, in tokens or else in steps), where any result came
    with one. A setting whose name is one of these others is found as ``setting_<name>``.

    Raises:
        UnknownNameError: there is no such study.
    """
    import pandas  # imported here: everything but analysis does without it

    study = find_study(connection, name)
    columns = _columns(connection, _members(study, hidden=hidden, counted=counted))
    # One text of all is read several times faster than each by itself.
    metrics = json.loads(f"[{','.join(text or '{}' for text in columns['metrics'])}]")
    measured = {
        name: pandas.Series([each.get(name) for each in metrics], dtype="float64")
        for name in (study.metric, *KNOWN_METRICS)
    }
    whole = _shared(columns)
    settings = [name for name in whole.columns if name not in _SAID]
    own = [*_OWN, "attempts"] if counted else _OWN
    whole = whole.assign(study=study.name, **{name: columns[name] for name in own})
    if None in columns["outcome"]:
        whole["outcome"] = _outcomes(connection, name, columns["key"], columns["outcome"])
    worst = float("inf") if study.goal == "min" else float("-inf")
    whole["loss"] = measured.pop(study.metric).mask(whole["outcome"] == "diverged", worst)
    kinds = dict.fromkeys((*DERIVED_COLUMNS, *_AMOUNTS), "float64")
    kinds |= {"hidden": "bool"} | ({"attempts": "int64"} if counted else {})
    last = [name for name in LAST_COLUMNS if counted or name != "attempts"]
    whole = whole[[*FIRST_COLUMNS, *settings, *last]].astype(kinds)
    if study.workload == IMPORTED:
        length = pandas.Series(columns[RUN_LENGTH], dtype="float64")
        measured[RUN_LENGTH] = length.mask(length == 0)
    return whole.assign(**{name: each for name, each in measured.items() if each.notna().any()})


def _columns(connection: Connection, statement: Select[Any]) -> dict[str, Sequence[Any]]:
    """Returns the columns of the members, in the order of their positions."""
    names = [column.name for column in statement.selected_columns]
    rows = sorted(connection.execute(statement).all(), key=itemgetter(0))
    return dict(zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True))


def _shared(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """Returns what the trials say of their points and of the code behind them, in their order.

    The seeds of a point say the same, so each combination of texts is read once.
    """
    import pandas

    number: dict[tuple[Any, ...], int] = {}
    names = (*_SHARED, *_DOCUMENTS)
    texts = zip(*(columns[name] for name in names), strict=True)
    codes = [number.setdefault(each, len(number)) for each in texts]
    said = [_said(dict(zip(names, each, strict=True))) for each in number]
    found = dict.fromkeys((*_SAID, *(name for each in said for name in each)))
    frame = pandas.DataFrame.from_records(said, columns=[*found])
    return frame.take(codes).reset_index(drop=True)


def _said(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns columns of the trials that have these texts."""
    config, derived, environment = (json.loads(texts[name] or "{}") for name in _DOCUMENTS)
    return {
        **{name: texts[name] for name in _SHARED},
        "device": texts["device"] or None,  # an imported result may not say where it was got
        **{name: environment.get(name) for name in _VERSIONS},
        **{name: derived.get(name, config.get(name)) for name in DERIVED_COLUMNS},
        **{
            f"setting_{name}" if name in RESERVED_COLUMNS else name: value
            for name, value in config.items()
            if name not in DERIVED_COLUMNS
        },
    }


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


def _members(study: StudyRecord, *, hidden: bool, counted: bool) -> Select[Any]:
    """Returns what selects the members of a study, those of one position by variant."""
    here = attempts.c.trial_key == study_trials.c.trial_key
    tried = select(func.count()).where(here).scalar_subquery()
    # Each imported result names the row that it stood in, and no version of any code.
    environment = literal("{}") if study.workload == IMPORTED else results.c.environment
    statement = (
        select(
            study_trials.c.position,
            study_trials.c.variant,
            study_trials.c.hidden,
            trials.c.key,
            trials.c.seed,
            trials.c.workload_version,
            # As text: parsing the documents of 100,000 trials one by one takes seconds.
            cast(trials.c.config, Text).label("config"),
            cast(trials.c.derived, Text).label("derived"),
            cast(results.c.metrics, Text).label("metrics"),
            cast(environment, Text).label("environment"),
            results.c.outcome,
            *(results.c[name] for name in _OF_RESULT),
            case((results.c.tokens > 0, results.c.tokens), else_=results.c.step).label(RUN_LENGTH),
            *([tried.label("attempts")] if counted else []),
        )
        .join(trials, trials.c.key == study_trials.c.trial_key)
        .outerjoin(results, results.c.trial_key == trials.c.key)
        .where(study_trials.c.study == study.name)
        .order_by(study_trials.c.variant)
    )
    return statement if hidden else statement.where(~study_trials.c.hidden)


def _outcomes(
    connection: Connection, study: str, keys: Sequence[str], known: Sequence[str | None]
) -> list[str]:
    """Returns ``failed`` or ``missing`` for every trial without a result, by its last attempt
    that ended and was not excused."""
    last: dict[str, str] = {}
    if None in known:
        here = select(study_trials.c.trial_key).where(study_trials.c.study == study)
        ended = (
            select(attempts.c.trial_key, attempts.c.state)
            .where(attempts.c.trial_key.in_(here), attempts.c.state != RUNNING)
            .where(~attempts.c.excused)
            .order_by(attempts.c.trial_key, attempts.c.number)
        )
        last = {row.trial_key: row.state for row in connection.execute(ended)}
    return [
        outcome or ("failed" if last.get(key) in FAILED else "missing")
        for key, outcome in zip(keys, known, strict=True)
    ]
