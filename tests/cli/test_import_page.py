"""Every command of docs/import.md, on files as it tells of, says what it shows."""

from __future__ import annotations

import csv
import math
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import optuna
import pytest
from cli_harness import Sweeper
from import_files import grid_rows
from optuna.storages import RDBStorage
from test_mlflow_runs import META
from test_optuna_storage import fill
from test_ray_tune_runs import states, trial
from test_tensorboard_runs import write as write_events
from test_wandb_runs import Server, run
from tracked import Site

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/import.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
RATES = (0.002, 0.004, 0.008, 0.016)
WIDTHS = (64, 128)


def commands() -> Iterator[tuple[str, str]]:
    """Yields each command of the page and what it shows."""
    for block in BLOCK.findall(PAGE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line = re.match(r"(?:.*\\\n)*.*\n", part)
            assert line is not None
            yield line[0].replace("\\\n", " "), part[line.end() :]


def losses(width: int, lr: float, *, lift: float = 0.0) -> list[float]:
    """A run of a sweep; trials of two that come to the same are one, so each is lifted."""
    end = 3 + lift + (math.log2(lr) + 8) ** 2 / 20 - width / 1000
    return [5.0 + lift, 4.0, math.nan if (width, lr) == (128, 0.016) else end]


def table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def grid(path: Path) -> None:
    """The long table: 27 of its 1,643 runs blew up."""
    rows = list(islice(grid_rows(), 1643))
    for row in rows[:27]:
        row["loss"] = math.nan
    table(path, rows)


def wandb_table(path: Path, **corrected: float) -> None:
    rows = []
    for width, lr in product((64, 128), (0.001, 0.002, 0.004, 0.008, 0.016)):
        name = f"w{width}-{lr}"
        loss = corrected.get(name, 3 + (math.log2(lr) + 8) ** 2 / 20)
        rows.append((name, "finished", math.nan if lr == 0.016 else loss, width, lr))
    rows.insert(2, (*rows[2][:1], "crashed", "", *rows[2][3:]))
    names = ("Name", "State", "summary/val/loss", "config.model.width", "config.optimizer.lr")
    more = {"config.optimizer.name": "adamw", "config.seed": 0}
    table(path, [dict(zip(names, row, strict=True)) | more for row in rows])


def mlruns(folder: Path) -> None:
    runs = [(f"{w}{n}", w, lr, 3) for w, (n, lr) in product(WIDTHS, enumerate(RATES))]
    for run_id, width, lr, status in [*runs, *((f"live{w}", w, 0.032, 1) for w in WIDTHS)]:
        end = math.nan if lr == 0.016 else losses(width, lr)[-1]
        mlflow_run(folder / f"1/{run_id}", status, {"lr": lr, "width": width}, [5.0, 4.0, end])
    mlflow_run(folder / "1/5beef000", 3, {}, [])
    (folder / "1/5beef000/meta.yaml").write_text("run_id: 5beef000\nrun_name: sweep\nstatus: 3\n")
    (folder / "1/meta.yaml").write_text(META.format(name="widths"))


def mlflow_run(folder: Path, status: int, params: dict[str, Any], values: list[float]) -> None:
    (folder / "params").mkdir(parents=True)
    (folder / "metrics/val").mkdir(parents=True)
    (folder / "meta.yaml").write_text(f"run_id: '{folder.name}'\nstatus: {status}\n")
    for name, value in params.items():
        (folder / "params" / name).write_text(str(value))
    if values:
        lines = [f"{step} {value} {10 * step}\n" for step, value in enumerate(values)]
        (folder / "metrics/val/loss").write_text("".join(lines))


def mlflow_server(path: str, sent: dict[str, Any]) -> Any:
    if path.endswith("experiments/search"):
        numbers = {"1": "widths", "2": "others"}
        return {"experiments": [{"experiment_id": i, "name": n} for i, n in numbers.items()]}
    runs = []
    for width, lr in product(WIDTHS, RATES[:2]):
        params = [{"key": "lr", "value": str(lr)}, {"key": "width", "value": str(width)}]
        metrics = [{"key": "val/loss", "value": losses(width, lr)[-1], "step": "20"}]
        info = {"run_id": f"{width}{lr}", "status": "FINISHED"}
        runs.append({"info": info, "data": {"params": params, "metrics": metrics}})
    return {"runs": runs}


def histories(folder: Path) -> None:
    """Event files, tables and a panel of eight runs, and the table of these."""
    panel: list[dict[str, Any]] = [{"Step": 10 * step} for step in range(3)]
    runs = []
    for width, lr in product(WIDTHS, RATES):
        name, values = f"lr{lr}-w{width}", losses(width, lr, lift=0.1)
        end = math.nan if lr == 0.016 else values[-1]
        events = {"val/loss": [*values[:2], end]}
        write_events(folder / f"runs/w{width}/lr{lr}", events)
        rows = [{"_step": 10 * step, "val/loss": loss} for step, loss in enumerate(values)]
        table(folder / f"histories/{name}.csv", rows)
        for row, loss in zip(panel, losses(width, lr, lift=0.2), strict=True):
            for end_of in ("", "__MIN", "__MAX"):
                row[f"{name} - val/loss{end_of}"] = loss
        runs.append({"Name": name, "State": "finished", "lr": lr, "width": width})
    table(folder / "panel.csv", panel)
    table(folder / "runs.csv", runs)


def ray_results(experiment: Path) -> None:
    for width, lr in product(WIDTHS, RATES):
        values = losses(width, lr)
        if lr == 0.016:
            values = [5.0, 4.5] if width == 128 else [5.0, 6.0, math.nan]
        trial(experiment, lr, values, width=width, name=f"train_{width}_{lr}")
    trial(experiment, 0.032, [5.0], width=64, name="train_64_0.032")
    states(experiment, train_64_0_032="ERROR")


def wandb_runs() -> list[dict[str, Any]]:
    places = product(WIDTHS, RATES)
    runs = [run(f"w{w}-{lr}", lr, losses(w, lr, lift=0.3), width=w) for w, lr in places]
    runs[-1]["summaryMetrics"] = runs[-1]["summaryMetrics"].replace("NaN", '"NaN"')
    runs.append(run("crashed", 0.032, [5.0], state="crashed"))
    return [*runs, run("live", 0.032, [5.0], state="running", width=128)]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Everything that the page reads; yields the addresses that stand for those of the page."""
    for path in (ROOT / "tests/fixtures/published").glob("*.csv"):
        shutil.copy(path, tmp_path)
    grid(tmp_path / "sweep.csv")
    optima = ["128,.0039,.0037,.0041", "256,.0028,.0026,.0029", "512,.0019,.0018,.0021"]
    optima = ["width,lr,lr_low,lr_high", *optima, "1024,0.00138,0.0013,"]
    (tmp_path / "optima.csv").write_text("\n".join(optima))
    wandb_table(tmp_path / "wandb_export.csv")
    wandb_table(tmp_path / "corrected.csv", **{"w64-0.002": 2.5})
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
    fill(storage)
    storage.engine.dispose()
    mlruns(tmp_path / "mlruns")
    histories(tmp_path)
    ray_results(tmp_path / "ray_results/widths")
    with Site() as server, Site() as project:
        server.answer, project.answer = mlflow_server, Server(wandb_runs(), page=4)
        monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
        monkeypatch.setenv("WANDB_BASE_URL", project.address)
        yield {"http://127.0.0.1:5000": server.address}


def test_every_command_of_the_page_says_what_it_shows(
    sweeper: Sweeper, files: dict[str, str]
) -> None:
    count = 0
    for line, shown in commands():
        command = line
        for address, own in files.items():
            command = command.replace(address, own)
        program, *arguments = shlex.split(command)
        assert program == "sweeper"
        said = sweeper(*arguments)
        told = said.out + said.err
        for address, own in files.items():
            told = told.replace(own, address)
        assert told.split() == shown.split(), f"{line}\n{told}"
        assert said.code == (2 if shown.startswith("sweeper: ") else 0), line
        count += 1
    assert count == PAGE.count("\n$ ")
