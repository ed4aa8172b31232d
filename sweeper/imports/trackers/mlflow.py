"""Runs that MLflow keeps in a folder or in an SQLite file, which are only read.

A run has the columns of ``mlflow.search_runs``, ``experiment``, ``run_id``, ``name``, ``status``,
``params.*``, ``metrics.*`` and ``tags.*``, but for MLflow's own tags.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sweeper.errors import UnknownNameError, shown
from sweeper.imports.bounds import Limits, reading, refusal, require_bounded
from sweeper.imports.json_records import Clash
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.runs import Run, Tracked
from sweeper.imports.trackers.settings import read_yaml
from sweeper.words import plural

TABLES = frozenset({"experiments", "runs", "params", "metrics", "latest_metrics", "tags"})
"""Tables by which a database of MLflow is known."""

STEP, STATE = "step", "status"
"""Columns of every run."""

_STATES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_OWN_TAGS = "mlflow."
_META = "meta.yaml"
_NO_RUNS = frozenset({"tags", "datasets", "traces", "models"})
"""Folders of an experiment that hold no run."""


class Collection:
    """Runs of MLflow as they are found.

    Args:
        wanted: what is asked of them.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._runs: list[Run] = []
        self._experiments: dict[str, None] = {}
        self.deleted = 0

    def takes(self, experiment: str) -> bool:
        """Returns whether the runs of an experiment, by its name, are asked for."""
        self._experiments[experiment] = None
        return not self._wanted.experiments or experiment in self._wanted.experiments

    def add(self, experiment: str, run_id: str, name: str | None, status: Any) -> Run:
        """Takes in a run."""
        said: dict[str, str | Clash] = {
            "experiment": experiment,
            "run_id": run_id,
            "name": name or run_id,
            STATE: _STATES.get(status, str(status)),
        }
        run = Run(name=f"{said['name']} ({run_id[:8]})" if name else run_id, said=said)
        self._runs.append(run)
        return run

    def describe(self, run: Run, kind: str, key: str, value: str) -> None:
        """Takes in a param or tag of a run."""
        if not (kind == "tags" and key.startswith(_OWN_TAGS)):
            run.said[f"{kind}.{key}"] = value

    def log(self, run: Run, key: str, step: int, value: float) -> None:
        """Takes in a value of a metric, in the order of time."""
        column = f"metrics.{key}"
        if abs(value) >= sys.float_info.max:  # how databases of MLflow hold infinities
            value = math.copysign(math.inf, value)
        run.log(column, step, value, follow=self.follows(key))

    def asks(self, key: str) -> bool:
        """Returns whether a metric may be one of those that were asked for."""
        return self._wanted.asks(f"metrics.{key}")

    def follows(self, key: str) -> bool:
        """Returns whether all values of a metric are needed."""
        return self._wanted.follows(f"metrics.{key}")

    def found(self, path: Path | str) -> Tracked:
        """Returns what there is.

        Raises:
            UnknownNameError: there is no experiment of a name that was asked for.
        """
        for name in self._wanted.experiments:
            if name not in self._experiments:
                raise UnknownNameError("experiment", name, list(self._experiments))
        note = f"left out: {plural(self.deleted, 'run')} deleted there"
        notes = (note,) if self.deleted else ()
        return Tracked(path=path, runs=self._runs, step=STEP, state=STATE, notes=notes)


# A folder -------------------------------------------------------------------------------------


def is_folder(folder: Path) -> bool:
    """Returns whether MLflow keeps runs in a folder: one of experiments, or of one of them."""
    return any(_is_experiment(each) for each in (folder, *_folders(folder)))


def read_folder(folder: Path, wanted: Wanted, limits: Limits) -> Tracked:
    """Returns the runs of a folder.

    Raises:
        RequestError: a file of it is not whole; names it and the line.
    """
    collection = Collection(wanted)
    single = _is_experiment(folder)
    for experiment in [folder] if single else filter(_is_experiment, _folders(folder)):
        meta = _described(experiment / _META)
        name = str(meta.get("name", experiment.name))
        if meta.get("lifecycle_stage") == "deleted" or not collection.takes(name):
            continue
        for run in _folders(experiment):
            if run.name not in _NO_RUNS:
                _read_run(collection, name, run, limits)
    return collection.found(folder)


def _is_experiment(folder: Path) -> bool:
    meta = folder / _META
    return meta.is_file() and "experiment_id:" in (text := _start(meta)) and "run_id:" not in text


def _start(path: Path) -> str:
    with path.open("rb") as source:
        return source.read(1 << 14).decode("utf-8", "replace")


def _folders(folder: Path) -> Iterator[Path]:
    with reading(folder):
        yield from sorted(p for p in folder.iterdir() if p.is_dir() and p.name[:1] != ".")


def _read_run(collection: Collection, experiment: str, folder: Path, limits: Limits) -> None:
    meta = _described(folder / _META)
    run_id = str(meta.get("run_id") or meta.get("run_uuid") or folder.name)
    if meta.get("lifecycle_stage") == "deleted":
        collection.deleted += 1
        return
    if "status" not in meta:
        raise refusal(
            folder / _META, "has no status of the run, so it is not whole; copy the folder again"
        )
    named = meta.get("run_name")
    run = collection.add(experiment, run_id, None if named is None else str(named), meta["status"])
    for kind in ("params", "tags"):
        for key, path in _files(folder / kind):
            with reading(path):
                collection.describe(run, kind, key, path.read_text("utf-8").strip("\r\n"))
    for key, path in _files(folder / "metrics"):
        require_bounded(path, limits)
        for step, value in _metric_lines(path, whole=collection.asks(key)):
            collection.log(run, key, step, value)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder by their names there, which may hold slashes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix(), path


def _metric_lines(path: Path, *, whole: bool) -> Iterator[tuple[int, float]]:
    """Yields step and value of each line of a metric, or where the whole is not needed of lines
    near the end of a long one."""
    with reading(path), path.open("rb") as source:
        number, size = 0, path.stat().st_size
        if not whole and size > 2 * TAIL_BYTES:
            source.seek(size - TAIL_BYTES)
            source.readline()
            number = -1  # of a line that nobody counted
        for raw in source:
            number += number >= 0
            yield _metric(path, raw, number)


TAIL_BYTES = 1 << 13
"""How much of a metric is read from its end where only its last value is needed."""


def _metric(path: Path, raw: bytes, number: int) -> tuple[int, float]:
    """A line of a metric: time, value and step, which old ones lack, and maybe two words on its
    data."""
    parts = raw.split()
    try:
        if raw[-1:] != b"\n" or len(parts) not in (2, 3, 5) or not parts[0].isdigit():
            raise ValueError
        return int(parts[2]) if len(parts) > 2 else 0, float(parts[1])
    except ValueError:
        where = f"line {number}" if number > 0 else "a line near its end"
        cut = "" if raw.endswith(b"\n") else ", and is cut off before its end"
        raise refusal(
            path,
            f"{where}, {shown(raw.decode('utf-8', 'replace').strip())}, is not TIME VALUE STEP as "
            f"MLflow writes a metric{cut}; remove the line",
        ) from None


def _described(path: Path) -> Mapping[str, Any]:
    meta = read_yaml(path)
    if not isinstance(meta, dict):
        raise refusal(path, "is not the description of a run or experiment; copy the folder again")
    return meta


# A database -----------------------------------------------------------------------------------


def is_database(path: Path) -> bool:
    """Returns whether a file is a database of MLflow; False for one that is broken."""
    if not path.is_file():
        return False
    try:
        with _connected(path) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in found} >= TABLES
    except sqlite3.Error:
        return False


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write."""
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        yield connection


def read_database(path: Path, wanted: Wanted) -> Tracked:
    """Returns the runs of a database of MLflow; nothing is written to it.

    Raises:
        RequestError: it cannot be read, or there is no experiment of a name that was asked for.
    """
    try:
        with _connected(path) as connection:
            return _of_database(connection, path, wanted)
    except sqlite3.Error as fault:
        raise refusal(path, f"cannot be read as a database of MLflow: {fault}") from fault


def _of_database(connection: sqlite3.Connection, path: Path, wanted: Wanted) -> Tracked:
    collection = Collection(wanted)
    query = "SELECT experiment_id, name FROM experiments WHERE lifecycle_stage IS NOT 'deleted'"
    experiments = {number: str(name) for number, name in connection.execute(query)}
    taken = {number: name for number, name in experiments.items() if collection.takes(name)}
    runs: dict[str, Run] = {}
    query = (
        "SELECT run_uuid, name, status, lifecycle_stage, experiment_id FROM runs "
        "ORDER BY start_time, run_uuid"
    )
    for run_id, name, status, stage, experiment in connection.execute(query):
        if experiment in taken and stage == "deleted":
            collection.deleted += 1
        elif experiment in taken:
            runs[run_id] = collection.add(taken[experiment], run_id, name, status)
    for kind in ("params", "tags"):
        for run_id, key, value in connection.execute(f"SELECT run_uuid, key, value FROM {kind}"):
            if run_id in runs:
                collection.describe(runs[run_id], kind, str(key), str(value or ""))
    keys = [str(key) for (key,) in connection.execute("SELECT DISTINCT key FROM latest_metrics")]
    for key in keys:
        table = "metrics" if collection.follows(key) else "latest_metrics"
        query = (
            f"SELECT run_uuid, value, is_nan, step FROM {table} WHERE key = ? "
            "ORDER BY timestamp, step"
        )
        for run_id, value, is_nan, step in connection.execute(query, [key]):
            if run_id in runs:
                value = math.nan if is_nan else float(value)
                collection.log(runs[run_id], key, int(step), value)
    return collection.found(path)
