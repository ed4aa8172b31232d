"""Runs commands in this process, as a user would type them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_harness import Answer, Once, Sweeper

from sweeper.cli import main

PLANTED = """\
name: planted
question: Where is the planted optimum?
workload: planted
scale: width
fixed: {steps: 3, noise: 0.003, drift: -0.5, cliff: 3}
sweep:
  width: [32, 64, 128]
  learning_rate: {log2: [-9, -2]}
  seed: [0, 1, 2]
claims:
  - {hyperparameter: learning_rate, exponent: -0.5, tolerance: 0.25}
"""


@pytest.fixture
def sweeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Sweeper:
    """Returns a function that runs a command with a store of this test's own."""
    monkeypatch.setenv("SWEEPER_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["sweeper", *(str(item) for item in arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        code = end.value.code
        assert code is None or isinstance(code, int)
        return Answer(code or 0, said.out, said.err)

    return call


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Returns the file of a small planted study."""
    path = tmp_path / "planted.yaml"
    path.write_text(PLANTED, encoding="utf-8")
    return path


@pytest.fixture
def once(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Returns what fills this test's folder: the first time in a session by calling a function,
    after that with a copy of what that left behind."""

    def fill(name: str, make: Callable[[], object]) -> None:
        kept = tmp_path_factory.getbasetemp() / f"kept-{name}"
        if kept.exists():
            shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
        else:
            make()
            shutil.copytree(tmp_path, kept)

    return fill


@pytest.fixture
def finished(sweeper: Sweeper, study: Path, once: Once) -> Path:
    """Returns the file of a planted study that has been run."""

    def make() -> None:
        assert sweeper("run", study, "--executor", "inline").code == 0

    once("finished", make)
    return study
