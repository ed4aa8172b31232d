"""A storage of Optuna, an SQLite file: a study for every variant and value of the scale.

The parameters of its trials are the swept settings; key, seed, scale, variant and what a trial
took are user attributes, of the study where all its trials have the same, since Optuna takes
several milliseconds for each; the metric inside the run are intermediate values. A trial that
diverged or was dominated is pruned there, with the attribute ``outcome``, one that failed is
failed, and one without a result is left out.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.exports.base import Source, Written

if TYPE_CHECKING:
    import optuna
    import pandas
    from optuna.distributions import BaseDistribution

SUFFIX = ".optuna.db"

STATES = {
    "completed": "COMPLETE",
    "diverged": "PRUNED",
    "dominated": "PRUNED",
    "failed": "FAIL",
}
"""State of a trial there by how it ended here."""

ATTRIBUTES = ("key", "seed", "variant", "flops", "tokens", "params", "loss_error")
"""Columns of the trials that become attributes, beside the scales."""


def write(source: Source, path: Path) -> Written:
    """Writes a study as a storage of Optuna.

    Raises:
        OSError: the file cannot be written.
    """
    import optuna
    from optuna.exceptions import StorageInternalError

    record = source.record
    space = _space(source)
    ended = source.trials[source.trials["outcome"].isin(list(STATES))]
    marks = source.marks[source.marks["metric"] == record.metric]
    curves = {str(key): _curve(rows) for key, rows in marks.groupby("key")}
    names, verbosity = [], optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options = {"creator": lambda: _connection(path)}
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs=options)
    try:
        places = ["variant", *(Source.column(name) for name in source.scales)]
        parts = ended.groupby(places, sort=False, dropna=False)
        attributes = [name for name in ATTRIBUTES if name in ended.columns]
        attributes += [name for name in places if name not in attributes]
        distinct = parts[attributes].nunique(dropna=False).max()
        own = [name for name in attributes if distinct[name] > 1]
        for (variant, *scales), rows in parts:
            words = [f"{n}={x:.12g}" for n, x in zip(source.scales, scales, strict=True)]
            names.append("/".join([record.name, str(variant), *words]))
            study = optuna.create_study(
                storage=storage,
                study_name=names[-1],
                direction="minimize" if record.goal == "min" else "maximize",
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # names of metrics are experimental
                study.set_metric_names([record.metric])
            (first, *_) = rows[attributes].to_dict("records")
            shared = {str(name): value for name, value in first.items() if name not in own}
            about = {"question": record.question, "workload": record.workload}
            for name, value in _known(shared | about).items():
                study.set_user_attr(name, value)
            study.add_trials(_trials(source, rows, own, space, curves))
    except StorageInternalError as fault:
        raise OSError(str(fault)) from fault
    finally:
        storage.engine.dispose()
        optuna.logging.set_verbosity(verbosity)
    said = f"optuna-dashboard sqlite:///{{file}} shows it, {record.metric} as the objective"
    return Written(parts=tuple(names), trials=len(ended), said=said)


def _connection(path: Path) -> sqlite3.Connection:
    """Returns a connection that does not wait for the disk, as Optuna would after each trial: a
    file that was not finished counts for nothing."""
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA synchronous=OFF")
    return connection


def _curve(rows: pandas.DataFrame) -> dict[int, float]:
    return dict(zip(rows["step"].tolist(), rows["value"].tolist(), strict=True))


def _space(source: Source) -> dict[str, BaseDistribution]:
    """Returns what each parameter may be: numbers within their values, in log if all of them are
    above 0; words among theirs."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from pandas.api.types import is_bool_dtype, is_integer_dtype, is_numeric_dtype

    space: dict[str, BaseDistribution] = {}
    for name in source.settings:
        values = source.trials[Source.column(name)].dropna()
        if is_numeric_dtype(values) and not is_bool_dtype(values) and len(values):
            kind = IntDistribution if is_integer_dtype(values) else FloatDistribution
            low, high = values.min().item(), values.max().item()
            space[name] = kind(low, high, log=low > 0)
        elif len(values):
            space[name] = CategoricalDistribution(values.unique().tolist())
    return space


def _trials(
    source: Source,
    rows: pandas.DataFrame,
    own: Sequence[str],
    space: Mapping[str, BaseDistribution],
    curves: Mapping[str, Mapping[int, float]],
) -> Iterator[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState, create_trial

    for row in rows.to_dict("records"):
        params = _known({name: row[Source.column(name)] for name in space})
        attributes = _known({name: row[name] for name in own})
        if row["outcome"] in ("diverged", "dominated"):
            attributes["outcome"] = row["outcome"]
        yield create_trial(
            state=TrialState[STATES[row["outcome"]]],
            value=row["loss"] if row["outcome"] == "completed" else None,
            params=params,
            distributions={name: space[name] for name in params},
            user_attrs=attributes,
            intermediate_values=dict(curves.get(row["key"], {})),
        )


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is neither None nor NaN."""
    return {name: value for name, value in values.items() if value is not None and value == value}
