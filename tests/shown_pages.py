"""What the tests of pages that show commands share: each block is written or run as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.cli import main

ROOT = Path(__file__).resolve().parents[1]


class Page:
    """A page of the documentation, run by a user who has sweeper and whose Python is ours.

    Args:
        name: its file in docs/.
        folder: the user's working folder.
        monkeypatch, capsys: of pytest.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        for name in [*os.environ]:
            if name.startswith(("RAY_", "TUNE_")):  # what sweeper sets for Ray in this process
                monkeypatch.delenv(name)
        monkeypatch.setenv("RAY_ADDRESS", "local")  # no cluster of other tests
        monkeypatch.delenv("SWEEPER_TRUST", raising=False)
        monkeypatch.delenv("SWEEPER_STORE", raising=False)

    def run(self) -> None:
        """Writes the files that the page shows, and calls its commands, in their order; asserts
        that they answer as it says."""
        for kind, block in re.findall(r"```(\w+)\n(.*?)```", self.text, re.DOTALL):
            if kind == "console":
                for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
                    require_shown(shown.splitlines(), self.answered(command))
            else:
                name = block.partition("\n")[0].removeprefix("# ")
                assert re.fullmatch(r"[\w.]+", name), f"a block without a name: {block[:60]}"
                Path(name).write_text(block)

    def answered(self, line: str) -> list[str]:
        """Returns what a line of a shell answers; runs are inline."""
        if not line.startswith("sweeper "):
            done = subprocess.run(line, shell=True, capture_output=True, text=True)
            assert not done.returncode, done.stderr
            return done.stdout.splitlines()
        words = shlex.split(line)
        words += ["--executor", "inline"] if words[1] == "run" else []
        self._monkeypatch.setattr(sys, "argv", words)
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = self._capsys.readouterr()
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
