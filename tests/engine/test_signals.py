"""Signals: the first one asks, the second one ends, and so does the end of the grace."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import time
from sweeper.engine.signals import graceful

class Slow:
    stopping = False
    def stop(self):
        self.stopping = True
        print("asked", flush=True)

run = Slow()
with graceful(run, seconds={grace}):
    print("ready", flush=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and not ({heeds} and run.stopping):
        time.sleep(0.01)
"""


def started(*, grace: float, heeds: bool) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(grace=grace, heeds=heeds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_heeds_the_first_signal_ends_by_itself(number: signal.Signals) -> None:
    program = started(grace=30, heeds=True)
    program.send_signal(number)
    out, err = program.communicate(timeout=20)
    assert (program.returncode, out, err) == (0, "asked\n", "")


def test_a_second_signal_ends_the_process_at_once() -> None:
    program = started(grace=30, heeds=False)
    program.send_signal(signal.SIGTERM)
    assert program.stdout is not None
    assert program.stdout.readline() == "asked\n"
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=20)
    assert program.returncode == 3


def test_the_end_of_the_grace_ends_the_process_and_says_so() -> None:
    program = started(grace=0.3, heeds=False)
    program.send_signal(signal.SIGTERM)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 3
    assert "wrote no checkpoint within 0.3 s" in err
    assert "Traceback" not in err
