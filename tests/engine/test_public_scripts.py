"""Training scripts as people publish them, swept without a changed line: what the store has is
what they print when they are run by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas
import pytest

from sweeper.engine.run import Run, RunSummary
from sweeper.store import Store
from sweeper.study.study import load_study

SCRIPTS = Path(__file__).parents[1] / "fixtures" / "scripts"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Yields an empty store; its folder is the working one."""
    monkeypatch.chdir(tmp_path)
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def swept(store: Store, script: str, study: str) -> tuple[RunSummary, pandas.DataFrame]:
    """Returns what a run of a study of a script did, and its results."""
    shutil.copy(SCRIPTS / script, script)
    Path("study.yaml").write_text(f"name: swept\nworkload: command\n{study}")
    done = Run(load_study("study.yaml"), store, executor="inline").execute()
    assert Path(script).read_bytes() == (SCRIPTS / script).read_bytes()
    failures = store.query("select error from attempts where error <> ''").rows
    assert not failures, "\n".join(error for (error,) in failures)
    return done, store.frame("swept").sort_values(["width", "learning_rate"])


def by_hand(*arguments: str) -> list[str]:
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, env=environ
    )
    return done.stdout.splitlines()


def curve_of(store: Store, key: str) -> pandas.DataFrame:
    file = store.paths.files.local(store.curve_files("swept")[key])
    return pandas.read_parquet(file)


JSON_LINES = """\
command: ["{python}", json_lines.py, --width, "{width}", --lr, "{learning_rate}",
          --schedule, "{schedule}", --seed, "{seed}"]
settings: {width: int, learning_rate: {type: float, low: 0}, schedule: [constant, linear]}
cost: {params: 9 * width, tokens: 30 * 256, steps: 30}
scale: width
fixed: {schedule: linear}
sweep: {width: [16, 32], learning_rate: {log2: [-5, -3]}}
"""


def test_a_script_with_argparse_and_lines_of_json(store: Store) -> None:
    done, frame = swept(store, "json_lines.py", JSON_LINES)
    assert (done.finished, done.failed, len(frame)) == (6, 0, 6)
    row = frame.iloc[1]
    lines = by_hand("json_lines.py", "--width=16", "--lr=0.0625")
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert row["learning_rate"] == 0.0625 and row["loss"] == told[-1]["val_loss"]
    assert row["params"] == 9 * 16 and row["flops"] == 6 * 9 * 16 * 30 * 256
    curve = curve_of(store, row["key"])
    assert curve["step"].tolist() == list(range(1, 31))
    assert curve["train_loss"].tolist() == [each["train_loss"] for each in told]
    assert curve["tokens"].tolist() == [256 * step for step in range(1, 31)]


SPEEDRUN = r"""
command: ["{python}", speedrun.py, "{config}"]
config: {template: settings.py.j2}
results: {lines: 'step:(?P<step>\d+)/\d+ val_loss:(?P<val_loss>[\d.]+)', diverged: ^loss spike}
scale: width
sweep: {width: [32, 64], learning_rate: [0.05, 0.1, 6.4], seed: [1]}
"""

SETTINGS = """\
model_dim = {{ width }}
matrix_lr = {{ learning_rate }}
seed = {{ seed }}
"""


def test_a_speedrun_whose_settings_are_python_and_whose_log_is_lines(store: Store) -> None:
    Path("settings.py.j2").write_text(SETTINGS)
    done, frame = swept(store, "speedrun.py", SPEEDRUN)
    assert (done.finished, done.failed) == (6, 0)
    assert frame["outcome"].tolist() == ["completed", "completed", "diverged"] * 2
    Path("settings.py").write_text("model_dim = 32\nmatrix_lr = 0.05\nseed = 1\n")
    said = [line.split() for line in by_hand("speedrun.py", "settings.py") if " val_loss:" in line]
    logged = [words[1].removeprefix("val_loss:") for words in said if words[0].startswith("step:")]
    first = frame.iloc[0]
    assert first["loss"] == float(logged[-1])
    assert curve_of(store, first["key"])["val_loss"].tolist() == [float(each) for each in logged]


HELPED = """\
import sys
from sweeper.script import checkpoint_dir, config, report

settings = config()
saved = checkpoint_dir() / "step"
first = int(saved.read_text()) if saved.exists() else 1
report(step=first, params=7 * settings["width"], flops=1e6 * settings["width"])
for step in range(first, 5):
    report(step=step, tokens=8 * step, val_loss=settings["learning_rate"] / step)
    saved.write_text(str(step))
print("nothing that anybody reads")
"""


def test_a_script_with_three_lines_of_ours_says_what_it_costs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS.parents[2]))
    study = """\
command: ["{python}", helped.py]
checkpoint: true
scale: width
sweep: {width: [16, 32], learning_rate: [0.5]}
"""
    Path("helped.py").write_text(HELPED)
    Path("study.yaml").write_text(f"name: swept\nworkload: command\n{study}")
    done = Run(load_study("study.yaml"), store, executor="inline").execute()
    assert (done.finished, done.failed) == (2, 0)
    frame = store.frame("swept").sort_values("width")
    assert frame["loss"].tolist() == [0.125, 0.125]
    assert frame["params"].tolist() == [112, 224] and frame["flops"].tolist() == [16e6, 32e6]
    assert frame["tokens"].tolist() == [32, 32]
    assert not store.verify().findings


DDP = """\
command: ["{python}", -m, torch.distributed.run, --standalone, --nproc-per-node, "{processes}",
          ddp.py, --hidden, "{width}", --learning-rate, "{learning_rate}", --out-dir, "{folder}"]
results: {file: "{folder}/metrics.csv", names: {step: iteration, train_loss: loss/train}}
objective: {metric: train_loss}
files: [ddp.py]
resources: {cpus: 2, processes: 2}
scale: width
sweep: {width: [8], learning_rate: [0.1]}
"""


def test_two_processes_under_torchrun(store: Store) -> None:
    done, frame = swept(store, "ddp.py", DDP)
    assert (done.finished, done.failed) == (1, 0)
    curve = curve_of(store, frame.iloc[0]["key"])
    assert curve["step"].tolist() == [1, 2, 3, 4]
    assert curve["ranks"].tolist() == [2.0] * 4
    assert frame.iloc[0]["loss"] == curve["train_loss"].iloc[-1]
    assert curve["train_loss"].is_monotonic_decreasing
