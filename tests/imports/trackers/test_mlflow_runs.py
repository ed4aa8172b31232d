"""Runs that MLflow keeps, as MLflow itself writes and serves them, and what is broken of them."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tracked import Site, Take

from sweeper.errors import EnvironmentFault, RequestError
from sweeper.imports.bounds import Limits
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.mlflow import is_database, read_database, read_folder
from sweeper.imports.trackers.mlflow_server import read_server
from sweeper.imports.trackers.runs import Tracked
from sweeper.store.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::Warning")
ASKED = ("lr", "width", "val/loss")

DATABASE = Path(__file__).resolve().parents[2] / "fixtures/mlflow/mlflow.sql"
"""Tables of a database that MLflow 3.17 wrote; its migrations take ten seconds."""


def fill(client: Any) -> None:
    """Two experiments: results, a run that blew up, a live one, a deleted one, a parent."""
    for experiment, width in (("narrow", 64), ("wide", 128)):
        number = client.create_experiment(experiment)
        parent = client.create_run(number, run_name="sweep").info.run_id
        for lr, ending in ((0.1, "FINISHED"), (0.2, "FINISHED"), (0.4, "FAILED"), (0.8, "live")):
            tags = {"mlflow.parentRunId": parent, "team": "a"}
            run = client.create_run(number, run_name=f"lr{lr}", tags=tags).info.run_id
            client.log_param(run, "optim/lr", lr)
            client.log_param(run, "width", width)
            for step, value in enumerate([4.0, 3.0, math.nan if lr == 0.4 else 2.0 + lr]):
                client.log_metric(run, "val/loss", value, timestamp=step, step=10 * step)
            client.log_metric(run, "grad", math.inf, timestamp=9, step=10)
            if ending != "live":
                client.set_terminated(run, ending)
        client.set_terminated(parent)
        gone = client.create_run(number, run_name="gone").info.run_id
        client.delete_run(gone)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A folder that MLflow writes, its server on that, and a database that it wrote."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", f"file://{folder}/mlruns")
        from mlflow import MlflowClient
        from mlflow.server import app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *args: Any) -> None:
                pass

        fill(MlflowClient(f"file://{folder}/mlruns"))
        with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
            connection.executescript(DATABASE.read_text())
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {
            "folder": folder / "mlruns",
            "database": folder / "mlflow.db",
            "server": f"http://127.0.0.1:{server.server_port}",
        }
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "database", "server"])
def test_runs_are_read_alike_from_a_folder_a_database_and_a_server(
    store: Store, take: Take, places: dict[str, Any], kind: str
) -> None:
    done = take(places[kind], "val/loss", step="step")

    assert done.trials == {"completed": 4, "diverged": 2, "failed": 0, "missing": 2}
    assert done.columns == {
        "width": "params.width",
        "lr": "params.optim/lr",
        "val/loss": "metrics.val/loss",
    }
    said = " ".join(done.notes)
    assert "left out: 2 runs without a result and without all settings: sweep (" in said
    assert "rows without a result by the column status: 2 running" in said
    assert ("left out: 2 runs deleted there" in said) == (kind != "server")
    frame = store.frame("theirs")
    found = frame[frame["outcome"] == "completed"].set_index(["width", "lr"])["loss"]
    assert found.to_dict() == {(w, lr): 2.0 + lr for w in (64, 128) for lr in (0.1, 0.2)}
    assert set(store.marks("theirs")["step"]) == {0, 10, 20}
    outcome = frame.set_index(["width", "lr"])["outcome"]
    assert outcome[64, 0.4] == "diverged"


@pytest.mark.slow
def test_one_experiment_is_chosen_by_its_name_or_its_page(
    take: Take, places: dict[str, Any]
) -> None:
    for kind in places:
        done = take(places[kind], "val/loss", where=(("experiment", "wide"),), replace=True)
        assert done.used == 4, kind
        with pytest.raises(RequestError, match="no experiment named 'wid'; did you mean 'wide'"):
            take(places[kind], "val/loss", where=(("experiment", "wid"),))
    (number,) = {
        folder.name
        for folder in places["folder"].iterdir()
        if (folder / "meta.yaml").is_file() and "name: wide" in (folder / "meta.yaml").read_text()
    }
    address = f"{places['server']}/#/experiments/{number}/runs?order=1"
    assert take(address, "val/loss", replace=True).used == 4
    with pytest.raises(RequestError, match="has no experiment 7"):
        take(f"{places['server']}/#/experiments/7", "val/loss")


@pytest.mark.slow
def test_infinities_are_what_was_logged(places: dict[str, Any]) -> None:
    asked = Wanted(names=ASKED, objective="val/loss")
    found = [
        read_folder(places["folder"], asked, Limits()),
        read_database(places["database"], asked),
        read_server(places["server"], asked, {}),
    ]
    for each in found:
        (run,) = (
            r for r in each.runs if r.said["name"] == "lr0.1" and "narrow" in r.said.values()
        )
        assert float(run.last["metrics.grad"]) == math.inf
        assert run.said["tags.team"] == "a" and "tags.mlflow.runName" not in run.said


# Without MLflow -------------------------------------------------------------------------------

META = "name: {name}\nexperiment_id: '1'\nlifecycle_stage: active\n"
RUN = "run_id: {run}\nrun_name: {run}\nstatus: 3\nlifecycle_stage: active\nexperiment_id: '1'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    experiment = tmp_path / "mlruns/1"
    for run, lr in (("a", "0.1"), ("b", "0.2")):
        for kind in ("params", "metrics/val"):
            (experiment / run / kind).mkdir(parents=True)
        (experiment / run / "meta.yaml").write_text(RUN.format(run=run))
        (experiment / run / "params/lr").write_text(lr)
        (experiment / run / "params/width").write_text("64")
        (experiment / run / "metrics/val/loss").write_text("1 3.0 0\n2 2.0 5 data 1a2b\n3 1.5 9\n")
    (experiment / "meta.yaml").write_text(META.format(name="e"))
    (experiment / "tags").mkdir()
    return tmp_path / "mlruns"


def read(folder: Path, step: str | None = None) -> Tracked:
    return read_folder(folder, Wanted(names=ASKED, objective="val/loss", step=step), Limits())


def test_a_folder_of_one_experiment_is_read_too(folder: Path) -> None:
    assert [run.name for run in read(folder / "1").runs] == ["a (a)", "b (b)"]
    (run, _) = read(folder, step="step").runs
    assert run.series["metrics.val/loss"].curve()[0].tolist() == [0, 5, 9]


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        (
            "metrics/val/loss",
            "1 3.0 0\n2 2.0",
            "line 2, '2 2.0', is not TIME VALUE STEP as MLflow "
            "writes a metric, and is cut off before its end; remove the line",
        ),
        ("metrics/val/loss", "1 3.0 0\n2 x 1\n", "line 2, '2 x 1', is not TIME VALUE STEP"),
        ("meta.yaml", "run_id: a\nstatus: [\n", r"meta\.yaml: line 3: is not YAML"),
        ("meta.yaml", "run_id: a\n", "has no status of the run, so it is not whole"),
        ("meta.yaml", "", "is not the description of a run or experiment"),
        ("params/lr", b"\xff", "params/lr: is not UTF-8"),
    ],
)
def test_a_file_that_is_not_whole_is_named_with_its_line(
    folder: Path, file: str, text: str | bytes, says: str
) -> None:
    path = folder / "1/b" / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RequestError, match=says) as told:
        read(folder, step="step")
    assert str(path) in str(told.value)


def test_a_run_without_its_description_is_named(folder: Path) -> None:
    (folder / "1/b/meta.yaml").unlink()
    with pytest.raises(RequestError, match=r"1/b/meta\.yaml: no such file"):
        read(folder)


def test_of_a_long_metric_that_is_not_asked_for_only_the_end_is_read(folder: Path) -> None:
    path = folder / "1/a/metrics/other"
    path.write_text("broken\n" + "".join(f"{n} {n}.5 {n}\n" for n in range(20_000)))
    run, _ = read(folder).runs
    assert run.last["metrics.other"] == 19999.5
    with path.open("a") as file:
        file.write("x\n")
    with pytest.raises(RequestError, match=r"other: a line near its end, 'x', is not TIME"):
        read(folder)


def test_a_broken_database_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        for table in ("runs", "params", "metrics", "latest_metrics", "tags"):
            connection.execute(f"CREATE TABLE {table} (run_uuid TEXT)")
        connection.execute("CREATE TABLE experiments (x)")
    connection.close()
    assert is_database(path)
    with pytest.raises(RequestError, match="cannot be read as a database of MLflow: no such col"):
        read_database(path, Wanted())
    assert not is_database(tmp_path)


# The server -----------------------------------------------------------------------------------


def paged(path: str, sent: dict[str, Any]) -> Any:
    """A server whose answers have a page for each thing."""
    token = int(sent.get("page_token", 0))
    pages: dict[str, tuple[str, list[Any]]] = {
        "experiments/search": (
            "experiments",
            [{"experiment_id": str(i), "name": f"e{i}"} for i in range(3)],
        ),
        "runs/search": ("runs", [run_of(sent, lr) for lr in ("0.1", "0.2")]),
        "metrics/get-history": (
            "metrics",
            [
                {"value": v, "step": str(i), "timestamp": i}
                for i, v in enumerate([3.0, 2.0, "NaN"])
            ],
        ),
    }
    part, items = pages[path.removeprefix("/api/2.0/mlflow/")]
    more = {"next_page_token": str(token + 1)} if token + 1 < len(items) else {}
    return {part: [items[token]], **more}


def run_of(sent: dict[str, Any], lr: str) -> dict[str, Any]:
    (number,) = sent.get("experiment_ids", ["0"])
    data = {
        "params": [
            {"key": "lr", "value": lr},
            {"key": "width", "value": str(64 * 2 ** int(number))},
        ],
        "metrics": [{"key": "val/loss", "value": 2.0, "step": "2"}, {"key": "b", "step": "1"}],
    }
    info = {"run_id": f"r{number}{lr}", "run_name": "n", "status": "FINISHED"}
    return {"info": info, "data": data}


def test_all_pages_of_a_server_are_read(site: Site) -> None:
    site.answer = paged
    found = read_server(site.address, Wanted(names=ASKED, objective="val/loss", step="step"), {})
    assert [run.said["params.lr"] for run in found.runs] == ["0.1", "0.2"] * 3
    steps, values = found.runs[0].series["metrics.val/loss"].curve()
    assert steps.tolist() == [0, 1, 2] and math.isnan(values[2])
    assert found.runs[0].last["metrics.b"] == 0.0
    assert not any("Authorization" in headers for headers in site.headers)


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "abcdefgh"}, "Bearer abcdefgh"),
        (
            {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "secret"},
            "Basic bWU6c2VjcmV0",
        ),
    ],
)
def test_logins_come_from_the_environment(
    site: Site, environ: dict[str, str], header: str
) -> None:
    site.answer = paged
    read_server(site.address, Wanted(names=ASKED), environ)
    assert {headers["Authorization"] for headers in site.headers} == {header}


def test_a_password_in_the_address_is_used_and_not_said(site: Site) -> None:
    site.answer = lambda path, sent: (401, b"no", {})
    address = site.address.replace("://", "://me:secret@")
    with pytest.raises(RequestError, match=r"refuses \(HTTP 401\): set MLFLOW_TRACKING") as told:
        read_server(address, Wanted(), {})
    assert "secret" not in str(told.value) and site.headers[0]["Authorization"].startswith("Basic")


@pytest.mark.parametrize(
    "answer",
    [
        {"experiments": [{"x": 1}]},
        {"experiments": "x"},
        [],
        {"experiments": [], "next_page_token": "same"},
    ],
)
def test_what_is_no_server_of_mlflow_is_said(site: Site, answer: Any) -> None:
    site.answer = lambda path, sent: answer
    with pytest.raises(RequestError, match=r"does not answer as a tracking server|same page"):
        read_server(site.address, Wanted(), {})


def test_a_server_that_is_away_is_the_world_in_the_way(site: Site) -> None:
    with pytest.raises(EnvironmentFault, match=r"is out of reach: .*refused"):
        read_server("http://127.0.0.1:1", Wanted(), {})
