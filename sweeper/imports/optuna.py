"""Storages of Optuna as records: one a trial, with what its study says of it."""

from __future__ import annotations

import math
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sweeper.errors import RequestError
from sweeper.imports.json_records import Record, record_of

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial

SQLITE = b"SQLite format 3\0"
JOURNAL = b'{"op_code":'
"""How the files begin in which Optuna keeps studies."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What a storage holds.

    Attributes:
        shown: its place, without a password.
        records: one a trial: ``study``, ``number``, ``state``, ``value`` (``values.NAME``, too,
            where the objectives are named, and ``values.0`` and so on of several), ``params.*``,
            ``user_attrs.*``, and ``study_attrs.*`` of its study.
        goals: which ends of their values the studies of one objective are after: min, max.
    """

    shown: str
    records: list[Record]
    goals: frozenset[str]


def read_storage(place: Path | str) -> Storage:
    """Returns what a storage of Optuna holds; nothing is written to it.

    Args:
        place: an SQLite file, a journal file, or the URL of a database.

    Raises:
        RequestError: it cannot be read, is none of Optuna's, or of another version of it.
    """
    shown = str(place) if isinstance(place, Path) else re.sub("://[^@/]*@", "://", place)
    try:
        storage = _open(place)
        studies = storage.get_all_studies()
        records = [
            record_of(_trial(study, trial))
            for study in studies
            for trial in storage.get_all_trials(study._study_id, deepcopy=False)
        ]
    except RequestError:
        raise
    except Exception as fault:  # every driver of a database has its own
        why = next(iter(str(fault).splitlines()), type(fault).__name__)
        raise RequestError(
            f"{shown}: cannot be read as a storage of Optuna or MLflow: {why}"
        ) from fault
    single = [study.directions[0].name for study in studies if len(study.directions) == 1]
    goals = {"MINIMIZE": "min", "MAXIMIZE": "max"}
    return Storage(
        shown=shown,
        records=records,
        goals=frozenset(goals[name] for name in single if name in goals),
    )


def _open(place: Path | str) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if isinstance(place, str):
        return RDBStorage(place, skip_table_creation=True)
    with place.open("rb") as source:
        if source.read(len(SQLITE)) != SQLITE:
            return JournalStorage(JournalFileBackend(str(place)))
    file = f"file:{quote(str(place.resolve()))}?mode=ro&uri=true"
    with closing(sqlite3.connect(file, uri=True)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not {"studies", "trial_params", "version_info"} <= {name for (name,) in found}:
            raise RequestError(
                f"{place}: is an SQLite database, and no storage of Optuna or MLflow"
            )
    return RDBStorage(f"sqlite:///{file}", skip_table_creation=True)


def _trial(study: FrozenStudy, trial: FrozenTrial) -> dict[str, Any]:
    values = trial.values or []
    names = study.system_attrs.get("study:metric_names") or []
    if len(study.directions) > 1:
        names = names or range(len(values))
    return {
        "study": study.study_name,
        "number": trial.number,
        "state": _state(trial),
        **({"value": values[0] if values else None} if len(study.directions) == 1 else {}),
        "values": {str(name): value for name, value in zip(names, values, strict=False)},
        "params": trial.params,
        "user_attrs": trial.user_attrs,
        "study_attrs": study.user_attrs,
    }


def _state(trial: FrozenTrial) -> str:
    """Returns the state of a trial, and ``DIVERGED`` for one that ended without a value where its
    attribute ``outcome`` says so, or the last value that it reported is not finite."""
    if trial.state.name in ("FAIL", "PRUNED"):
        reported = trial.intermediate_values
        last = reported[max(reported)] if reported else 0.0
        if trial.user_attrs.get("outcome") == "diverged" or not math.isfinite(last):
            return "DIVERGED"
    return trial.state.name
