"""Result folders of Ray Tune 2.60, as its loggers write them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from tracked import Take

from sweeper.errors import RequestError
from sweeper.store.store import Store


def result(lr: float, iteration: int, loss: float, width: int = 64) -> dict[str, Any]:
    return {
        "loss": loss,
        "nested": {"acc": 0.5},
        "text": "x",
        "checkpoint_dir_name": None,
        "done": False,
        "training_iteration": iteration,
        "trial_id": f"05c86_{lr}",
        "date": "2026-11-30_11-34-45",
        "time_total_s": 0.25 * iteration,
        "pid": 8086,
        "config": {"lr": lr, "model": {"width": width}, "seed": 0},
    }


def trial(
    experiment: Path,
    lr: float,
    losses: list[float],
    *,
    table: bool = False,
    width: int = 64,
    name: str | None = None,
) -> Path:
    """Writes the folder of a trial, its results as lines of JSON or as a table."""
    folder = experiment / (name or f"train_05c86_lr={lr}_2026-11-30_11-34-39")
    folder.mkdir(parents=True)
    rows = [result(lr, number, loss, width) for number, loss in enumerate(losses, start=1)]
    config = {"lr": lr, "model": {"width": width}, "seed": 0}
    (folder / "params.json").write_text(json.dumps(config, indent=2))
    if table:
        (folder / "result.json").touch()
        names = ["loss", "training_iteration", "nested/acc", "text"]
        lines = [f"{row['loss']},{row['training_iteration']},0.5,x" for row in rows]
        (folder / "progress.csv").write_text("\n".join([",".join(names), *lines, ""]))
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "result.json").write_text(text)
    (folder / "params.pkl").write_bytes(b"not read")
    (folder / "events.out.tfevents.1.vm").write_bytes(b"not read")
    return folder


def states(experiment: Path, **of: str) -> Path:
    """Writes the state of an experiment, as Ray nests it: JSON in JSON.

    Args:
        experiment: its folder.
        of: states by parts of the trials' names, their dots written as ``_``; of the others
            ``TERMINATED``.
    """
    data = []
    for folder in sorted(p for p in experiment.iterdir() if p.is_dir()):
        plain = re.sub(r"[.=]", "_", folder.name)
        status = next((state for part, state in of.items() if part in plain), "TERMINATED")
        told = {"trial_id": "x", "status": status, "relative_logdir": folder.name}
        data.append([json.dumps(told), json.dumps({"num_failures": 0})])
    path = experiment / "experiment_state-2026-11-30_11-34-39.json"
    path.write_text(json.dumps({"trial_data": data, "runner_data": {}, "stats": {}}))
    return path


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "results/exp"
    trial(folder, 0.05, [3.0, 2.0, 1.5])
    trial(folder, 0.1, [3.0, 2.0, 1.0], table=True)
    trial(folder, 0.2, [3.0, 2.5])  # stopped early by a scheduler
    trial(folder, 0.4, [3.0, 9.0, math.nan])
    trial(folder, 0.8, [3.0])
    trial(folder, 1.6, [])
    states(folder, lr_0_4="ERROR", lr_0_8="ERROR", lr_1_6="RUNNING")
    return folder


@pytest.mark.parametrize("above", [False, True])
def test_trials_are_runs_with_their_states_and_curves(
    store: Store, take: Take, experiment: Path, above: bool
) -> None:
    place = experiment.parent if above else experiment
    done = take(place, "loss", step="training_iteration", seed="seed", fixed=("experiment",))

    assert done.trials == {"completed": 2, "diverged": 1, "failed": 1, "missing": 2}
    assert done.columns == {
        "width": "config.model.width",
        "lr": "config.lr",
        "seed": "config.seed",
    }
    said = " ".join(done.notes)
    assert "rows without a result by the column status: 1 error, 1 running" in said
    assert "1 run stopped early and not counted as finished: run " in said
    frame = store.frame("theirs").set_index("lr")
    assert frame["loss"][[0.05, 0.1]].tolist() == [1.5, 1.0]
    assert frame["outcome"][0.4] == "diverged"
    assert done.curves == 3


def test_without_the_state_of_the_experiment_errors_are_told_by_their_files(
    take: Take, experiment: Path
) -> None:
    next(experiment.glob("experiment_state*")).unlink()
    for folder in experiment.glob("*lr=0.[48]*"):
        (folder / "error.txt").write_text("Traceback")
    done = take(experiment, "loss")
    assert done.trials == {"completed": 3, "diverged": 1, "failed": 1, "missing": 1}
    assert "exp has no experiment_state-*.json: its trials without an error ended" in done.notes


def test_iterations_that_were_run_again_after_a_failure_count_once(
    store: Store, take: Take, tmp_path: Path
) -> None:
    folder = trial(tmp_path / "exp", 0.1, [3.0, 2.0, 1.9])
    again = [result(0.1, number, loss) for number, loss in ((2, 1.8), (3, 1.7), (4, 1.6))]
    with (folder / "result.json").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in again)
    take(tmp_path / "exp", "loss", step="training_iteration")
    marks = store.marks("theirs").sort_values("step")
    assert marks["value"].tolist() == [3.0, 1.8, 1.7, 1.6]


def test_files_that_are_not_whole_are_named_with_their_line(take: Take, experiment: Path) -> None:
    file = next(experiment.glob("*lr=0.2_*")) / "result.json"
    whole = file.read_text()
    file.write_text(whole[:-30])
    with pytest.raises(RequestError, match=r"result\.json: line 2 is not JSON: .* cut off"):
        take(experiment, "loss")
    file.write_text(whole + "[]\n")
    with pytest.raises(RequestError, match=r"result\.json: line 3 is no result of Ray"):
        take(experiment, "loss")
    file.write_text(whole)
    table = next(experiment.glob("*lr=0.1_*")) / "progress.csv"
    with table.open("a") as source:
        source.write("1.0,4\n")
    with pytest.raises(RequestError, match=r"progress\.csv: line 5: 2 cells where"):
        take(experiment, "loss")
    state = next(experiment.glob("experiment_state*"))
    state.write_text('{"trial_data": [')
    with pytest.raises(RequestError, match=r"experiment_state.*is not the state"):
        take(experiment, "loss")


def test_an_experiment_whose_trials_left_nothing_is_told(take: Take, tmp_path: Path) -> None:
    states(tmp_path)
    (tmp_path / "basic-variant-state-2026-11-30_11-34-39.json").write_bytes(b"\x80pickled")
    with pytest.raises(RequestError, match=r"trials left no result\.json .*TUNE_DISABLE_AUTO"):
        take(tmp_path, hyperparameters=("lr",), objective="loss")
