"""What a machine tells of itself before trials run there: versions, devices, clock, and whether it
sees the files that other machines write."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.engine.worker.environment import environment, hostname
from sweeper.errors import SweeperError
from sweeper.store import FileStore, read_token, token_file, write_token

VERSIONS = ("sweeper", "commit", "python", "ray", "torch", "numpy")
"""What has to be the same on every machine: a result depends on it, or Ray refuses it."""

TORCH_SECONDS = 120
"""How long torch may take to tell its devices; the first import from a network disk is slow."""

_DEVICES = (
    "import torch\n"
    "for number in range(torch.cuda.device_count()): print(torch.cuda.get_device_name(number))\n"
)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """One machine.

    Attributes:
        host: its name.
        clock: its time when it was asked, in seconds since 1970.
        versions: of :data:`VERSIONS`, those that are there.
        devices: names of the GPUs that torch sees; None where it was not asked.
        device_fault: why torch could not tell them; None where it could.
        files_fault: why it cannot write to the place of the files; None where it can.
    """

    host: str
    clock: float
    versions: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] | None = None
    device_fault: str | None = None
    files_fault: str | None = None


@dataclass(frozen=True)
class Reading:
    """What a machine found of the tokens of all.

    Attributes:
        clock: its time when it was asked, in seconds since 1970.
        missing: names of the tokens that it does not see.
        fault: why it cannot read at all; None where it can.
    """

    clock: float
    missing: tuple[str, ...]
    fault: str | None = None


def inspect(files: FileStore, token: str, ask_devices: bool) -> Inspection:
    """Writes a token, and returns what this machine tells of itself.

    Args:
        files: the place of the store's files.
        token: the token's name.
        ask_devices: ask torch for its GPUs, which takes seconds.
    """
    clock = time.time()
    fault = None
    try:
        write_token(files, token)
    except (SweeperError, OSError) as error:
        fault = str(error).replace(files.shown(token_file(token)), files.shown(""))
    found = environment(1)
    devices, device_fault = _devices() if ask_devices else (None, None)
    return Inspection(
        host=hostname(),
        clock=clock,
        versions={name: str(found[name]) for name in VERSIONS if found.get(name)},
        devices=devices,
        device_fault=device_fault,
        files_fault=fault,
    )


def read_all(files: FileStore, tokens: Sequence[str]) -> Reading:
    """Returns which of the tokens this machine does not see."""
    clock = time.time()
    try:
        missing = tuple(name for name in tokens if not read_token(files, name))
    except (SweeperError, OSError) as error:
        return Reading(clock, tuple(tokens), str(error))
    return Reading(clock, missing)


def _devices() -> tuple[tuple[str, ...] | None, str | None]:
    """Returns the names of the GPUs that torch sees, or why it does not tell. Asked in a process
    of its own: it holds their memory, and Ray hides them from one that asked for none."""
    environ = {name: text for name, text in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        told = subprocess.run(
            [sys.executable, "-c", _DEVICES],
            capture_output=True,
            text=True,
            timeout=TORCH_SECONDS,
            env=environ,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if told.returncode:
        lines = told.stderr.strip().splitlines()
        return None, lines[-1] if lines else f"python ended with {told.returncode}"
    return tuple(told.stdout.splitlines()), None
