"""A study as runs of MLflow, read back by its client; in a file, and in a store of others."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from ended_trials import finish

from sweeper import Store
from sweeper.errors import EnvironmentFault, RequestError
from sweeper.exports import export_study

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of SQLAlchemy


@pytest.fixture(scope="module")
def exported(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the file that the study was written to."""
    out = tmp_path_factory.mktemp("mlflow") / "small.db"
    with Store.open(ran, read_only=True) as store, warnings.catch_warnings():
        done = export_study(store, "small", "mlflow", out)
    assert done.trials == {"completed": 2, "diverged": 1, "dominated": 1, "failed": 1}
    return out


def client(file: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{file}")


def runs_in(file: Path, experiment: str = "small") -> dict[str, Any]:
    """Returns the runs of an experiment by the keys of their trials; each has one of its own."""
    own = client(file)
    found = own.search_runs([own.get_experiment_by_name(experiment).experiment_id])
    runs = {run.data.tags["key"]: run for run in found}
    assert len(runs) == len(found)
    return runs


def test_the_client_finds_parameters_tags_states_and_metrics_by_step(
    exported: Path, rows: Any, losses: Any
) -> None:
    runs, own = runs_in(exported), client(exported)
    assert set(runs) == set(rows)
    states = {"completed": "FINISHED", "dominated": "KILLED"}
    for key, run in runs.items():
        row, tags = rows[key], run.data.tags
        assert float(run.data.params["learning_rate"]) == row["learning_rate"]
        assert (tags["variant"], tags["seed"]) == (row["variant"], str(row["seed"]))
        assert tags["outcome"] == row["outcome"]
        assert run.info.status == states.get(row["outcome"], "FAILED")
        assert run.info.end_time >= run.info.start_time > 1.7e12
        history = own.get_metric_history(run.info.run_id, "train_loss")
        told = {metric.step: metric.value for metric in history}
        assert told == {s: v for s, v in losses.get(key, {}).items() if abs(v) < float("inf")}
        if row["outcome"] == "completed":
            assert run.data.metrics["val_loss"] == row["objective"]
        if row["outcome"] == "failed":
            assert "planted bug" in tags["error"]


def test_a_second_export_to_the_same_store_doubles_nothing(
    exported: Path, ran: Path, store: Store, tmp_path: Path
) -> None:
    import shutil

    url = f"sqlite:///{exported}"
    with pytest.raises(RequestError, match="exists; --force"):
        export_study(store, "small", "mlflow", exported)
    before = {key: run.info.run_id for key, run in runs_in(exported).items()}
    done = export_study(store, "small", "mlflow", url)
    assert done.known == 5
    assert {key: run.info.run_id for key, run in runs_in(exported).items()} == before

    shutil.copytree(ran, tmp_path / "store")
    own = client(exported)
    cut_short = own.create_run(
        own.get_experiment_by_name("small").experiment_id, tags={"sweeper.id": "half", "key": "x"}
    )
    with Store.open(tmp_path / "store") as changed:
        trials = changed.frame("small")
        key = trials.loc[trials["outcome"] == "completed", "key"].iloc[0]
        changed.retry("small", keys=[key])
        better = finish(changed, key, "completed", 2, metrics={"val_loss": 0.25})
        changed.record(better, objective=0.25)
        with pytest.raises(RequestError, match="1 run is there with another result"):
            export_study(changed, "small", "mlflow", url)
        assert runs_in(exported)[key].info.run_id == before[key]
        done = export_study(changed, "small", "mlflow", url, force=True)
    runs = runs_in(exported)
    assert (done.known, len(runs)) == (4, 5)
    assert runs[key].data.metrics["val_loss"] == 0.25
    assert cut_short.info.run_id not in {run.info.run_id for run in runs.values()}


def test_a_server_that_does_not_answer_and_a_format_without_urls_are_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = r"http://127\.0\.0\.1:9: the server is out of reach: .*Connection refused; check that"
    with pytest.raises(EnvironmentFault, match=said):
        export_study(store, "small", "mlflow", "http://127.0.0.1:9")
    with pytest.raises(RequestError, match="--to csv writes no URL"):
        export_study(store, "small", "csv", "http://127.0.0.1:9")


def test_a_server_is_asked_again_as_often_as_the_environment_says_and_else_three_times(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.tracking
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES as RETRIES

    real, seen = mlflow.tracking.MlflowClient, []

    def client(url: str) -> Any:
        seen.append(RETRIES.get())
        return real(url)

    monkeypatch.setattr(mlflow.tracking, "MlflowClient", client)
    for given in ("5", None):
        if given is None:
            monkeypatch.delenv(RETRIES.name, raising=False)
        else:
            monkeypatch.setenv(RETRIES.name, given)
        before = dict(os.environ)
        export_study(store, "small", "mlflow", tmp_path / f"{given}.db")
        assert dict(os.environ) == before
    assert seen == [5, 3]


def test_a_package_that_is_missing_is_named_with_what_installs_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeper.exports import base

    monkeypatch.setattr(base, "find_spec", lambda name: None)
    for to in ("mlflow", "tensorboard", "wandb"):
        with pytest.raises(EnvironmentFault, match=rf"pip install 'sweeper\[{to}\]'"):
            export_study(store, "small", to)
