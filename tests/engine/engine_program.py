"""The whole program as a process of its own, to be killed, stopped and looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from on_disk import OnDisk, on_disk

from sweeper.errors import StoreError
from sweeper.store.location import locate
from sweeper.store.store import Store
from sweeper.study.study import Study

SLOTS = ("ray::Slot", "ray::sweeper ")
"""How the process of a slot is called, before its first order and from then on."""

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Ray's own, which idle for about a minute after their node was killed, and then end."""

MARK = "SWEEPER_TEST_MARK"
"""Variable of the environment by which the descendants of a program are told."""


class Program:
    """A ``sweeper run`` in a process group of its own, whose descendants can be told.

    Args:
        folder: for the study file and what is printed.
        study: what to run.
        executor: ``ray`` or ``inline``.
        store: a folder or the URL of a database; None takes a folder in ``folder``.
        options: further ones of the command line.
        environ: further variables of the environment.
        prefix: a command that starts the program, such as one that makes namespaces.
        module: what is run in place of the program itself, with the same arguments.
    """

    def __init__(
        self,
        folder: Path,
        study: Study,
        executor: str,
        *,
        store: Path | str | None = None,
        options: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        module: str = "sweeper",
    ) -> None:
        self.store = str(store or folder / "store")
        self._folder = folder
        self._file = folder / "study.yaml"
        self._file.write_text(json.dumps(study.document), encoding="utf-8")
        self._command = [*prefix, sys.executable, "-m", module, "run", str(self._file)]
        self._options = ["--store", self.store, "--executor", executor, *options, "--json"]
        self._mark = uuid.uuid4().hex
        self._environ = {**os.environ, **(environ or {}), MARK: self._mark}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts the program, anew if it has ended."""
        with (self._folder / "out").open("w") as out, (self._folder / "err").open("w") as err:
            self._process = subprocess.Popen(
                [*self._command, "--checkpoint-seconds", "0.1", *self._options],
                env=self._environ,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )

    @property
    def files(self) -> OnDisk:
        """The files of its store, where they are in a folder."""
        return on_disk(locate(self.store).paths)

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float = 120) -> int:
        """Returns the exit code, once there is one."""
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        """Ends the process as the system would, and waits for that."""
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """What was printed for a person."""
        return (self._folder / "err").read_text(encoding="utf-8")

    @property
    def answer(self) -> dict[str, Any]:
        """What was printed for a program."""
        found: dict[str, Any] = json.loads((self._folder / "out").read_text(encoding="utf-8"))
        return found

    def descendants(self) -> list[str]:
        """Command lines of what still runs of it, the process itself included."""
        return list(marked_processes(self._mark).values())

    def pids(self, name: str) -> list[int]:
        """Process numbers of what lives of it and has a name in its command line."""
        return [pid for pid, line in marked_processes(self._mark).items() if name in line]

    def workers(self) -> list[int]:
        """Process numbers of the slots that live."""
        found = marked_processes(self._mark)
        return [pid for pid, line in found.items() if line.startswith(SLOTS)]

    def results(self) -> list[str]:
        """Keys that have a result, as another process sees the store."""
        try:
            with Store.open(self.store, create=False, read_only=True) as store:
                return [row[0] for row in store.query("select trial_key from results").rows]
        except StoreError:
            return []  # not made yet

    def await_results(self, count: int) -> None:
        """Returns once so many trials have a result."""
        until = time.monotonic() + 90
        while len(self.results()) < count:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.02)

    def await_silence(self) -> None:
        """Returns once nothing is left of it that trains or could train."""
        until = time.monotonic() + 30
        while left := [line for line in self.descendants() if line not in AGENTS]:
            assert time.monotonic() < until, f"still running: {left}"
            time.sleep(0.1)


def marked_processes(mark: str) -> dict[int, str]:
    """Returns the command line of each process whose environment holds a mark, by number."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.encode() in (folder / "environ").read_bytes():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = line.decode(errors="replace").strip()[:120]
            except OSError:
                continue  # it has just ended
    return found
