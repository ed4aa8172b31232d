"""A study as three tables: its trials, the metrics at the marks inside its runs, its curves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sweeper.exports.base import Source, Written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas


def write_tables(
    source: Source,
    folder: Path,
    *,
    ending: str,
    save: Callable[[pandas.DataFrame, Path], object],
) -> Written:
    """Writes the tables of a study into a folder, and its document as ``study.json``.

    Args:
        source: the study.
        folder: where to.
        ending: end of the files' names.
        save: writes one table to a file.

    Raises:
        OSError: a file cannot be written.
    """
    curves, warnings = source.read(source.curve_names)
    source.warnings.extend(warnings)
    marks = source.marks.drop(columns="variant").drop_duplicates(["key", "step", "metric"])
    tables = {"trials": _trials(source), "marks": marks, "curves": curves}
    for name, table in tables.items():
        save(table, folder / f"{name}.{ending}")
    record = source.record
    about = {
        **{name: getattr(record, name) for name in ("name", "question", "workload", "scale")},
        "metric": record.metric,
        "goal": record.goal,
        "document": record.document,
    }
    text = json.dumps(about, indent=2, ensure_ascii=False, default=str)
    (folder / "study.json").write_text(text + "\n", encoding="utf-8")
    said = f"{{file}}/trials.{ending} has a row a trial; marks and curves go with it by key"
    return Written(parts=tuple(tables), trials=len(source.trials), said=said)


def _trials(source: Source) -> pandas.DataFrame:
    """The trials, with all that was measured at their end and what their last attempt says."""
    import pandas

    trials = source.trials.copy()
    ended = [source.ended.get(key) for key in trials["key"]]
    measured = dict.fromkeys(name for each in ended if each for name in each.metrics)
    more: dict[str, Any] = {
        f"metrics.{name}": pandas.Series(
            [each.metrics.get(name) if each else None for each in ended], dtype="float64"
        )
        for name in measured
    }
    for name in ("number", "step"):
        values = [getattr(each, name) if each else None for each in ended]
        more["attempt" if name == "number" else name] = pandas.Series(values, dtype="Int64")
    for name in ("host", "error"):
        more[name] = pandas.Series([getattr(each, name) if each else None for each in ended])
    for name in ("started_at", "ended_at"):
        times = [getattr(each, name) if each else None for each in ended]
        more[name] = pandas.to_datetime(pandas.Series(times), utc=True)
    taken = {name: column for name, column in more.items() if name not in trials.columns}
    return _one_kind_each(trials.reset_index(drop=True).assign(**taken))


def _one_kind_each(frame: pandas.DataFrame) -> pandas.DataFrame:
    """A table whose columns hold one kind of value each: lists and mappings, and words beside
    numbers, are JSON."""
    import pandas

    mixed = frame.copy()
    for name in frame.columns:
        if not pandas.api.types.is_object_dtype(frame[name]):
            continue
        values = [None if value != value else value for value in frame[name].tolist()]
        kinds = {type(value) for value in values if value is not None}
        if kinds - {str} and (len(kinds) > 1 or kinds & {dict, list, tuple}):
            texts = [None if value is None else json.dumps(value) for value in values]
            mixed[name] = pandas.Series(texts, index=frame.index, dtype="str")
    return mixed
