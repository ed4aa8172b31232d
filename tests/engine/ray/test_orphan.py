"""Workers that lose the process which started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

CHILD = """
import os, time
from sweeper.engine.ray.slot import end_with_parent
end_with_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""

PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_ends_within_a_second_of_the_process_that_started_it() -> None:
    command = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(1.0)
        assert lives(pid), "it lives as long as its parent does"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        until = time.monotonic() + 10
        while lives(pid):
            assert time.monotonic() < until
            time.sleep(0.05)
