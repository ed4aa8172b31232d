"""Names of the devices that trials run on."""

from __future__ import annotations

import platform
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
