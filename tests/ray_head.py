"""A head of Ray as a person starts it, with `ray start` and a dashboard, for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "0123456789abcdef0123456789abcdef"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A head that runs.

    Attributes:
        port: of the head (GCS).
        url: of its dashboard.
        environ: environment that it was started in.
    """

    port: int
    url: str
    environ: dict[str, str]


def cluster_environ(**more: str) -> dict[str, str]:
    """Returns the environment of processes that are a cluster: this checkout's, with a token."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": paths,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        **more,
    }


def free_port() -> int:
    """Returns a port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def ray_head(*options: str, cpus: int = 2, **environ: str) -> Iterator[Head]:
    """Starts a head with a dashboard on the loopback, and ends it, and all that it started."""
    port, dashboard = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="rh-", dir="/tmp")  # names of sockets have to be short
    command = [
        *(str(BIN / "ray"), "start", "--head", "--block", f"--num-cpus={cpus}"),
        *(f"--port={port}", f"--temp-dir={folder}", "--node-ip-address=127.0.0.1"),
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", *options),
        *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}"),
    ]
    environment = cluster_environ(**environ)
    with started(command, environment):
        await_answer(f"http://127.0.0.1:{dashboard}/api/version")
        yield Head(port, f"http://127.0.0.1:{dashboard}", environment)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started(command: Sequence[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a program; asks it to end at the end, and sees to it that it does."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_answer(url: str, seconds: float = 60.0) -> None:
    """Returns once a server answers, if only that it wants a token."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
