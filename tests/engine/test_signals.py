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
    preempted = None
    def stop(self):
        self.stopping = True
        print("asked", flush=True)

run = Slow()
{first}
with graceful(run, seconds={grace}):
    print("ready", flush=True)
{then}
    until = time.monotonic() + 60
    while time.monotonic() < until and not ({heeds} and run.stopping):
        time.sleep(0.01)
"""


def started(
    *, grace: float, heeds: bool, first: str = "", then: str = ""
) -> subprocess.Popen[str]:
    code = PROGRAM.format(grace=grace, heeds=heeds, first=first, then=then)
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU],
)
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


def test_a_signal_that_follows_on_a_notice_is_a_first_one() -> None:
    # A cloud says that it takes a machine away, and its shutdown then sends SIGTERM.
    noticed = 'run.preempted = "a file has appeared"; run.stop()'
    program = started(grace=30, heeds=False, then=f"    {noticed}")
    assert program.stdout is not None
    assert program.stdout.readline() == "asked\n"
    program.send_signal(signal.SIGTERM)
    assert program.stdout.readline() == "asked\n"
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=20)
    assert program.returncode == 3


def test_the_end_of_the_grace_ends_the_process_and_says_so() -> None:
    program = started(grace=0.3, heeds=False)
    program.send_signal(signal.SIGTERM)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 3
    assert "wrote no checkpoint within 0.3 s" in err
    assert "Traceback" not in err


def test_a_warning_that_comes_twice_leaves_the_run_its_grace() -> None:
    """A shell and the system both tell of a terminal that was closed."""
    program = started(grace=30, heeds=True)
    program.send_signal(signal.SIGHUP)
    program.send_signal(signal.SIGHUP)
    program.send_signal(signal.SIGUSR1)
    out, err = program.communicate(timeout=20)
    assert (program.returncode, out, err) == (0, "asked\n", "")


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As nohup has it."""
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    program = started(grace=30, heeds=True, first=ignoring)
    program.send_signal(signal.SIGHUP)
    program.send_signal(signal.SIGTERM)
    out, _ = program.communicate(timeout=20)
    assert (program.returncode, out) == (0, "asked\n")


def test_the_grace_ends_also_while_the_main_thread_hangs_in_a_call() -> None:
    """As in a call of Ray that never returns: no handler of Python's runs meanwhile."""
    hang = "    ctypes.CDLL(None).pthread_join(ctypes.c_ulong(other.ident), None)\n"
    thread = "import ctypes, threading\nother = threading.Thread(target=time.sleep, args=(60,))\n"
    thread += "other.daemon = True\nother.start()\n"
    program = started(grace=0.3, heeds=False, first=thread, then=hang)
    program.send_signal(signal.SIGTERM)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 3
    assert "wrote no checkpoint within 0.3 s" in err
