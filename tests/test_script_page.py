"""Everything that docs/script.md shows is run, in the order in which it is shown."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.store import Store
from workloads.command.placeholders import RESERVED

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "script.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yields the working folder of a user who has sweeper and whose Python is ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SWEEPER_TRUST", raising=False)
    monkeypatch.delenv("SWEEPER_STORE", raising=False)
    yield tmp_path


def answered(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """Returns what a line of a shell answers; runs are inline."""
    if not line.startswith("sweeper "):
        return subprocess.run(
            line, shell=True, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    words = shlex.split(line)
    words += ["--executor", "inline"] if words[1] == "run" else []
    monkeypatch.setattr(sys, "argv", words)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert not end.value.code, said.err
    return said.out.splitlines()


def require_shown(shown: list[str], said: list[str]) -> None:
    """Asserts that the shown lines come in what was said, in order; ``...`` stands for any."""
    at = 0
    for line in shown:
        pattern = ".*".join(re.escape(part) for part in line.rstrip().split("..."))
        found = [i for i in range(at, len(said)) if re.fullmatch(pattern, said[i].rstrip())]
        assert found, f"{line!r} is not in {said[at:]}"
        at = found[0] + 1 if line.strip() != "..." else at


def test_all_that_the_page_shows_runs_as_it_is_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, block in BLOCKS:
        if kind == "console":
            for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
                require_shown(shown.splitlines(), answered(command, monkeypatch, capsys))
        else:
            name = block.partition("\n")[0].removeprefix("# ")
            assert re.fullmatch(r"[\w.]+", name), f"a block without a name: {block[:60]}"
            Path(name).write_text(block)
    for study in ("declared", "helped"):
        line = f"sweeper run {study}.yaml --trust"
        said = answered(line, monkeypatch, capsys)
        assert any(re.match(r"[46] trials finished and 0 failed", each) for each in said), said
    with Store.open(folder / "sweeper-results", read_only=True) as store:
        assert {each.name for each in store.studies()} == {
            *("train", "short", "declared", "configured", "helped"),
        }


def test_every_placeholder_that_every_trial_has_is_explained() -> None:
    for name in RESERVED:
        assert f"`{{{name}}}`" in PAGE, name


def test_every_key_of_a_study_of_a_command_is_explained() -> None:
    from sweeper.study.program import Measured, ProgramKeys

    for name in (*ProgramKeys.model_fields, *Measured.model_fields):
        assert re.search(rf"`{name}\b|\b{name}:", PAGE), name
