"""The devices that trials run on: their names, and how a processor treats tiny numbers."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def device_name(device: str) -> str:
    """Returns the name of the accelerator (``cuda``) or of the processor (``cpu``)."""
    return torch.cuda.get_device_name() if device == "cuda" else _processor()


def _processor() -> str:
    """Returns the processor's name, from Linux where platform does not know it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not a Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Takes numbers too small for full precision for zero meanwhile.

    They slow a processor's products down by up to 100 times. The switch is one of the thread,
    so it is set back for whatever else the thread does.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
