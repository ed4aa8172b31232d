"""Processes of trials: what is read of them, what is kept, and that nothing outlives them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workloads.command.guard import guard, processes_of
from workloads.command.process import Output, Process, _Lines, words_of

ESCAPED = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
away = subprocess.Popen(sleep, start_new_session=True)
beside = subprocess.Popen(sleep)
print(away.pid, beside.pid, flush=True)
"""
"""Starts a process in a session of its own, as torchrun does, and one in its own group."""


def start(code: str, folder: Path) -> Process:
    return Process([sys.executable, "-c", code], environment=dict(os.environ), folder=folder)


def await_that(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return b"Z" not in Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False


def pids_of(process: Process) -> list[int]:
    lines: list[str] = []
    while not lines:
        lines = process.read(0.1)
    return [process.pid, *map(int, lines[0].split())]


def test_both_streams_are_read_as_they_come_and_the_error_stream_is_kept_apart(
    tmp_path: Path,
) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    process = start(code, tmp_path)
    lines: list[str] = []
    while process.code is None:
        lines += process.read(0.1)
    assert sorted(lines) == ["err", "out"]
    assert list(process.stderr) == ["err"]
    assert sorted(process.output.text().split()) == ["err", "out"]
    assert process.code == 7


def test_what_is_printed_shows_before_the_end(tmp_path: Path) -> None:
    code = "import time; print('soon', flush=True); time.sleep(600)"
    process = start(code, tmp_path)
    lines: list[str] = []
    while not lines:
        lines = process.read(0.1)
    assert lines == ["soon"]
    assert process.end(0.0) == []
    assert process.code == -signal.SIGKILL


def test_a_process_that_ends_takes_with_it_what_it_started_in_other_sessions(
    tmp_path: Path,
) -> None:
    process = start(ESCAPED, tmp_path)
    lines: list[str] = []
    while process.code is None:
        lines += process.read(1.0)
    assert process.code == 0
    assert not any(map(lives, map(int, lines[0].split())))


@pytest.mark.parametrize("grace", [0.0, 5.0])
def test_a_process_that_is_ended_takes_with_it_what_it_started(
    grace: float, tmp_path: Path
) -> None:
    process = start(ESCAPED + "time.sleep(600)", tmp_path)
    pids = pids_of(process)
    process.end(grace)
    assert process.code == (-signal.SIGTERM if grace else -signal.SIGKILL)
    assert not any(map(lives, pids))


def test_a_process_that_does_not_heed_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, lambda *_: print('asked', flush=True))\n"
    process = start(code + "print(1, flush=True)\nwhile True: signal.pause()", tmp_path)
    pids_of(process)
    assert process.end(0.3) == ["asked"]
    assert process.code == -signal.SIGKILL


OWNER = """
import os, sys, time
from pathlib import Path
from workloads.command.process import Process
folder = Path(sys.argv[1])
process = Process([sys.executable, "-c", sys.argv[2]], environment=dict(os.environ), folder=folder)
lines = []
while not lines:
    lines = process.read(0.1)
print(process.pid, *lines, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("whom", ["owner", "group"])
def test_nothing_is_left_of_a_trial_whose_owner_is_killed(whom: str, tmp_path: Path) -> None:
    folder = tmp_path / "of the trial"
    folder.mkdir()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), ESCAPED + "time.sleep(600)"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == 3 and all(map(lives, pids))
    if whom == "group":
        os.killpg(owner.pid, signal.SIGKILL)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    await_that(lambda: not any(map(lives, pids)))
    await_that(lambda: not folder.exists())


HOLDER = """
import os, sys
from pathlib import Path
from workloads.command.guard import guard
for name in sys.argv[1:]:
    guard().hold(Path(name))
guard().release(Path(sys.argv[1]))
os.kill(os.getpid(), 9)
"""


def test_a_folder_goes_though_its_owner_is_killed_before_the_trial_begins(tmp_path: Path) -> None:
    released, held = tmp_path / "released", tmp_path / "held"
    released.mkdir()
    held.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", HOLDER, str(released), str(held)], env=environment)
    await_that(lambda: not held.exists())
    assert released.exists()


def test_a_guard_that_was_killed_is_started_again_for_the_next_trial(tmp_path: Path) -> None:
    here = guard()
    first = start("pass", tmp_path)
    before = _guards()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await_that(lambda: not any(map(lives, before)))
    second = start("print(1)", tmp_path)
    after = _guards()
    assert after and not set(after) & set(before)
    for process in (first, second):
        while process.code is None:
            process.read(0.1)
    assert guard() is here


def _guards() -> list[int]:
    """The guards of this process, by the end of the pipe that it writes to."""
    pipe = guard()._pipe
    assert pipe is not None
    ours = os.readlink(f"/proc/self/fd/{pipe.fileno()}")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.name != str(os.getpid()) and os.readlink(folder / "fd" / "0") == ours:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_only_the_processes_of_a_trial_are_told_as_its() -> None:
    environment = {**os.environ, "SWEEPER_TRIAL": "0" * 32}
    other = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    try:
        assert processes_of({"1" * 32: 2**22 + 5}) == []
        await_that(lambda: processes_of({"0" * 32: 2**22 + 5}) == [other.pid])
    finally:
        other.kill()
        other.wait()


def test_much_output_is_kept_at_its_beginning_and_its_end() -> None:
    output = Output(kept=20)
    for number in range(100):
        output.add(b"line %02d\n" % number)
    assert output.text() == (
        "line 00\nline 01\n... 768 bytes are left out ...\nline 98\nline 99\n"
    )


def test_lines_that_are_written_over_are_read_and_the_last_state_is_kept() -> None:
    lines = _Lines()
    found = [
        each for chunk in (b"1%\r50", b"%\r100%\r", b"\nnext", b"") for each in lines.cut(chunk)
    ]
    assert [line for line, _ in found] == [b"1%", b"50%", b"100%", b"next"]
    assert [line for line, kept in found if kept] == [b"100%", b"next"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "exit code 3"),
        (-11, "killed by SIGSEGV (Segmentation fault)"),
        (-9, "killed by SIGKILL (Killed)"),
    ],
)
def test_the_end_of_a_process_is_said_in_words(code: int, words: str) -> None:
    assert words_of(code) == words
