"""Runs of MLflow: one a trial, in an experiment that is called like the study; in an SQLite file,
or at any tracking URI.

Settings are its parameters; study, variant, key, seed, outcome and the rest are its tags; curves
and marks are its metrics by step. A trial that diverged or failed has the status FAILED there,
one that was stopped as dominated KILLED. A run that is there already is known by its tag
``sweeper.id``.
"""

from __future__ import annotations

import logging
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeper.errors import EnvironmentFault, RequestError
from sweeper.exports.base import Source, Written, variables
from sweeper.exports.runs import Run, runs_of
from sweeper.words import plural

SUFFIX = ".mlflow.db"
NEEDS = ("mlflow", "mlflow")

STATES = {"completed": "FINISHED", "dominated": "KILLED"}
"""Status of a run there; of all others FAILED."""

AT_ONCE, PARAMS_AT_ONCE = 1000, 100
"""Metrics and parameters that MLflow takes in one call."""

LONGEST = 5000
"""Characters of a tag or parameter."""

RETRIES = "3"
"""How often a server that does not answer is asked again, unless the environment says otherwise:
MLflow's own seven take four minutes in silence."""


def write(source: Source, path: Path) -> Written:
    """Writes a study as an SQLite file of MLflow.

    Raises:
        OSError: the file cannot be written.
    """
    path.unlink()  # or MLflow takes it for a database of another version
    with _client(f"sqlite:///{path}") as client:
        written = _add(client, source, force=False)
    said = "mlflow ui --backend-store-uri sqlite:///{file} shows it"
    return Written(parts=written.parts, trials=written.trials, said=said)


def add(source: Source, url: str, *, force: bool) -> Written:
    """Writes a study to a server, or into a database of MLflow that may hold other things.

    Args:
        source: the study.
        url: a tracking URI, such as ``http://HOST:5000``.
        force: replace runs of the study that are not as they are here.

    Raises:
        RequestError: a run that is there is not as it is here.
        EnvironmentFault: the server does not answer, or does not take it.
    """
    try:
        with _client(url) as client:
            return _add(client, source, force=force)
    except OSError as fault:
        raise EnvironmentFault(
            f"--out {url}: {_cause(fault)}; check that the server runs, that this machine reaches "
            "it and that it may be written; the same command goes on with what is there by then"
        ) from fault


def _cause(fault: OSError) -> str:
    """Returns what is at the bottom of a fault, past what MLflow's client wraps it in."""
    found = re.search(r"""Caused by \w+\(["'](?:\w+\(.*?\): )?(.*?)["']\)""", str(fault))
    return f"the server is out of reach: {found[1]}" if found else str(fault)


@contextmanager
def _client(url: str) -> Iterator[Any]:
    """Yields a client; its faults are OSErrors. It tells nobody of its use."""
    own = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    own |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": RETRIES}
    log = logging.getLogger("mlflow")
    level = log.level
    unset = {name: value for name, value in own.items() if name not in os.environ}
    with variables(unset), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of the libraries that it uses
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        log.setLevel(logging.ERROR)
        try:
            yield MlflowClient(url)
        except MlflowException as fault:
            raise OSError(str(fault.message).splitlines()[0]) from fault
        finally:
            log.setLevel(level)


def _add(client: Any, source: Source, *, force: bool) -> Written:
    name = source.record.name
    found = client.get_experiment_by_name(name)
    about = {"sweeper.question": source.record.question, "sweeper.metric": source.record.metric}
    if found is None:
        experiment, there = client.create_experiment(name, tags=about), {}
    else:
        experiment = found.experiment_id
        there = _there(client, experiment)
    runs = list(runs_of(source)) if there else runs_of(source)
    if there and not force:
        _require_same([run for run in runs if run.id in there and not _same(there[run.id], run)])
    count = known = 0
    for run in runs:
        count += 1
        if run.id in there and _same(there[run.id], run):
            known += 1
            continue
        if run.id in there:
            client.delete_run(there[run.id].info.run_id)
        _log(client, experiment, run)
    said = f"experiment {name} at {{file}} has it"
    return Written(parts=(name,), trials=count, said=said, known=known)


def _there(client: Any, experiment: str) -> dict[str, Any]:
    """The runs of an experiment that an export wrote whole, by their ids; others are removed."""
    found: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment], filter_string="tags.`sweeper.id` != ''", page_token=token
        )
        for run in page:
            if run.info.status == "RUNNING":  # an export that was cut short
                client.delete_run(run.info.run_id)
            else:
                found[run.data.tags["sweeper.id"]] = run
        token = page.token
        if not token:
            return found


def _same(there: Any, run: Run) -> bool:
    return bool(there.data.tags.get("sweeper.result") == _result_of(run))


def _result_of(run: Run) -> str:
    """What tells whether a run there is still what it is here."""
    return repr((run.outcome, run.about.get("attempt"), sorted(run.metrics.items())))[:LONGEST]


def _require_same(unlike: Sequence[Run]) -> None:
    if unlike:
        raise RequestError(
            f"{plural(len(unlike), 'run is', 'runs are')} there with another result by now, such "
            f"as {unlike[0].name} ({unlike[0].key[:12]}); nothing was written: --force replaces "
            "them"
        )


def _log(client: Any, experiment: str, run: Run) -> None:
    from mlflow.entities import Metric, Param

    own = {**run.about, "variant": run.variant, "seed": str(run.seed), "key": run.key}
    own |= {"outcome": run.outcome, "sweeper.id": run.id, "sweeper.result": _result_of(run)}
    begun = client.create_run(
        experiment,
        start_time=round(1000 * run.started),
        run_name=run.name,
        tags={name: value[:LONGEST] for name, value in own.items()},
    )
    at = begun.info.run_id
    params = [Param(_key(name), str(value)[:LONGEST]) for name, value in run.params.items()]
    measured = [
        Metric(_key(name), value, round(1000 * run.time_at(step)), step)
        for step, values in run.history.items()
        for name, value in values.items()
        if math.isfinite(value)
    ]
    room = AT_ONCE - PARAMS_AT_ONCE  # MLflow counts both together
    for start in range(0, max(len(params), 1), PARAMS_AT_ONCE):
        some = measured[:room] if start == 0 else []
        client.log_batch(at, params=params[start : start + PARAMS_AT_ONCE], metrics=some)
    for start in range(room, len(measured), AT_ONCE):
        client.log_batch(at, metrics=measured[start : start + AT_ONCE])
    ended = round(1000 * run.ended)
    client.set_terminated(at, STATES.get(run.outcome, "FAILED"), end_time=ended)


def _key(name: str) -> str:
    """The name as MLflow takes it."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]
