"""Programs of a cluster, as a person starts them, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "0123456789abcdef0123456789abcdef"
BIN = Path(sys.executable).parent


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
def started(command: Sequence[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a program; ends it, and all that it started, at the end."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        family = (
            psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        )
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
