"""The end of a trial's processes, also of those that have left its process group.

Run as a program this is the guard of a worker: it is told of every trial that begins and ends, and
once its standard input is closed, however the worker ended, it kills what is left of them.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

MARKER = "SWEEPER_TRIAL"
"""Variable whose value is a trial's alone: whatever a trial starts inherits it."""

LINGER_SECONDS = 60.0
"""How long processes are killed again and again that do not end, as while a disk hangs."""


def processes_of(trials: Mapping[str, int]) -> list[int]:
    """Returns the living processes of trials, on a system that has ``/proc``: those of their
    sessions, and those whose environment has their marker.

    Args:
        trials: session of each trial, by the value of its marker.
    """
    sessions = {*trials.values()}
    marks = [f"{MARKER}={mark}".encode() for mark in trials]
    return [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit() and _is_of(int(name), sessions, marks) and _lives(name)
    ]


def _is_of(pid: int, sessions: set[int], marks: list[bytes]) -> bool:
    try:
        if os.getsid(pid) in sessions:
            return True
        with open(f"/proc/{pid}/environ", "rb") as source:
            found = source.read()
    except OSError:
        return False  # it has ended, or is another user's
    return any(mark in found for mark in marks)


def _lives(name: str) -> bool:
    try:
        with open(f"/proc/{name}/stat", "rb") as source:
            return source.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def kill_all(trials: Mapping[str, int], seconds: float = LINGER_SECONDS) -> bool:
    """Kills the processes of trials, until none is left; returns whether none is.

    Args:
        trials: session of each trial, by the value of its marker.
        seconds: how long it is tried.
    """
    wait, until = 0.001, time.monotonic() + seconds
    while trials:
        if not os.path.isdir("/proc/self"):  # other systems tell of a process group alone
            for session in trials.values():
                with suppress(OSError):
                    os.killpg(session, signal.SIGKILL)
            return True
        found = processes_of(trials)
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(wait)
        wait = min(2 * wait, 0.2)
    return True


class Guard:
    """The guard of this process, which starts it at the first trial and once more if it dies."""

    def __init__(self) -> None:
        self._pipe: IO[bytes] | None = None
        self._trials: dict[str, tuple[int, str]] = {}
        self._held: set[str] = set()

    def hold(self, folder: Path) -> None:
        """Has a folder be removed if this process ends before it is released."""
        self._held.add(str(folder))
        self._tell(["hold", str(folder)])

    def release(self, folder: Path) -> None:
        """Says that a folder is not there any more."""
        self._held.discard(str(folder))
        self._tell(["release", str(folder)])

    def begin(self, mark: str, session: int, folder: Path) -> None:
        """Has the processes of a trial be killed, and its folder removed, if this process ends."""
        self._trials[mark] = session, str(folder)
        self._tell(["begin", mark, session, str(folder)])

    def end(self, mark: str) -> None:
        """Says that nothing is left of a trial."""
        if self._trials.pop(mark, None) is not None:
            self._tell(["end", mark])

    def close(self) -> None:
        """Lets the guard end, and with it what is left of trials."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _tell(self, said: list[object]) -> None:
        if self._pipe is not None:
            with suppress(OSError):
                self._write(said)
                return
            self.close()  # it was killed
        self._pipe = _started()
        for mark, (session, folder) in self._trials.items():
            self._write(["begin", mark, session, folder])
        for folder in self._held:
            self._write(["hold", folder])

    def _write(self, said: list[object]) -> None:
        assert self._pipe is not None
        self._pipe.write(json.dumps(said).encode() + b"\n")


def _started() -> IO[bytes]:
    """Starts a guard; it is no child of this process, whose children Ray kills with it."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        bufsize=0,
    )
    process.wait()
    assert process.stdin is not None
    return process.stdin


_guards: dict[int, Guard] = {}


def guard() -> Guard:
    """Returns the guard of this process: a fork of it has another one."""
    if os.getpid() not in _guards:
        _guards[os.getpid()] = here = Guard()
        atexit.register(here.close)
    return _guards[os.getpid()]


def _watch() -> None:
    trials: dict[str, int] = {}
    folders: dict[str, str] = {}
    held: set[str] = set()
    for line in sys.stdin.buffer:
        what, mark, *rest = json.loads(line)
        if what == "hold":
            held.add(mark)
        elif what == "release":
            held.discard(mark)
        elif what == "begin":
            trials[mark], folders[mark] = rest
        else:
            trials.pop(mark, None)
            folders.pop(mark, None)
    if trials:
        kill_all(trials)
    if left := held.union(folders.values()):
        import shutil

        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(_number, signal.SIG_IGN)
    if os.fork() == 0:
        _watch()
