"""What a shell offers for a command that is half typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = "import sys; sys.argv = ['sweeper']; from sweeper.cli import main; main()"


def offered(words: str, *program: str) -> list[str]:
    """Returns what bash is told for a line of which the last word is half typed."""
    done = subprocess.run(
        [sys.executable, *(program or ("-c", SCRIPT))],
        env={
            **os.environ,
            "_SWEEPER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_commands_and_options_are_offered() -> None:
    assert offered("sweeper de")[:1] == ["decompose"]
    assert "--allow-holes" in offered("sweeper drift --a")


def test_what_is_installed_by_the_module_completes_the_program() -> None:
    assert offered("sweeper de", "-m", "sweeper")[:1] == ["decompose"]


def test_studies_of_the_store_are_offered_by_name(finished: Path) -> None:
    assert offered("sweeper drift ") == ["planted"]
    assert offered("sweeper report planted pl") == ["planted"]
    assert offered("sweeper drift x") == []


def test_without_a_store_nothing_is_offered_and_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPER_STORE", str(tmp_path / "none"))
    assert offered("sweeper drift ") == []
    assert not (tmp_path / "none").exists()
