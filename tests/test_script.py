"""The helper for training scripts: three functions that do nothing outside a sweep."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

from sweeper import script


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder in which a trial's files are, as its environment says."""
    (tmp_path / "config.json").write_text(json.dumps({"width": 64, "learning_rate": 2**-7}))
    monkeypatch.setenv("SWEEPER_REPORT", str(tmp_path / "report.jsonl"))
    monkeypatch.setenv("SWEEPER_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("SWEEPER_CHECKPOINT", str(tmp_path / "saved" / "here"))
    return tmp_path


def reported(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]


def test_outside_a_sweep_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SWEEPER_REPORT", "SWEEPER_CONFIG", "SWEEPER_CHECKPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    script.report(step=1, val_loss=2.0)
    assert script.config() == {} and script.checkpoint_dir() is None
    assert not list(tmp_path.iterdir())


def test_every_report_is_a_line_of_numbers(sweep: Path) -> None:
    script.report(step=1, val_loss=0.1)
    script.report(step=2, val_loss=torch.tensor(0.5), accuracy=numpy.float64(0.25))
    assert reported(sweep) == [
        {"step": 1, "val_loss": 0.1},
        {"step": 2, "val_loss": 0.5, "accuracy": 0.25},
    ]


def test_a_loss_that_is_not_finite_is_told_as_it_is(sweep: Path) -> None:
    script.report(val_loss=math.nan)
    script.report(val_loss=math.inf)
    assert math.isnan(reported(sweep)[0]["val_loss"]) and reported(sweep)[1]["val_loss"] > 1e308


@pytest.mark.parametrize("value", ["much", [1.0, 2.0], torch.zeros(2), None])
def test_what_is_no_number_is_refused_in_a_sweep_and_outside(value: object) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        script.report(val_loss=value)


def test_of_several_processes_the_first_one_is_heard(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        script.report(rank=int(rank))
    assert reported(sweep) == [{"rank": 0}]


def test_the_settings_and_the_folder_are_those_of_the_trial(sweep: Path) -> None:
    assert script.config() == {"width": 64, "learning_rate": 2**-7}
    folder = script.checkpoint_dir()
    assert folder == sweep / "saved" / "here" and folder.is_dir()


def test_the_file_alone_is_enough(sweep: Path) -> None:
    assert script.__file__ is not None
    shutil.copy(script.__file__, sweep / "sweeper_script.py")
    code = "import sweeper_script as s; s.report(step=3, val_loss=s.config()['width'])"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=sweep, check=True)
    assert reported(sweep) == [{"step": 3, "val_loss": 64}]


def test_importing_it_loads_nothing_of_sweeper_but_itself() -> None:
    code = "import sys, sweeper.script; print(*(m for m in sys.modules if 'sweeper' in m))"
    told = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert set(told.stdout.split()) == {"sweeper", "sweeper.script"}
