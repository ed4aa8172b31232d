"""What produced a result: versions, threads, host and commit, found once per process."""

from __future__ import annotations

import functools
import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sweeper

PACKAGES = ("torch", "numpy", "ray")


@functools.cache
def hostname() -> str:
    """Returns the name of this machine."""
    return socket.gethostname()


@functools.cache
def environment(threads: int, processes: int = 1) -> dict[str, Any]:
    """Returns what else decides the bits of a result than its config and seed.

    Args:
        threads: processor threads that each process of the trainer uses.
        processes: how many train a trial together.
    """
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "sweeper": sweeper.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": threads,
        "processes": processes,
        **{name: found for name, found in versions.items() if found is not None},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that this code runs from; None for an installed package."""
    root = Path(sweeper.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


@functools.cache
def processor() -> str:
    """Returns the model name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
