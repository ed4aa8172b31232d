"""Losses of short runs, frozen: three on real text, and a pack of every optimizer.

``python tests/workloads/frozen_runs.py`` writes them anew, with ``tests/workloads`` and the root
in PYTHONPATH. They change only where the version of a workload is raised.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlp_runs
import numpy as np
import pack_runs
import torch

from workloads.llama.card import LLAMA
from workloads.mlp.card import MLP
from workloads.workload import Card, Member

HERE = Path(__file__).parent
FILE = HERE / "frozen_losses.json"

TEXT: dict[str, Any] = {
    "depth": 2,
    "head_dim": 16,
    "context": 64,
    "batch_size": 32,
    "steps": 12,
    "mlp": "gelu",
    "data": "sotu",
    "base_width": 32,
    "optimizer": "adamw",
    "learning_rate": 2.0**-4,
    "beta1": 0.9,
    "beta2": 0.99,
    "clip": 1.0,
    "warmup": 0.2,
    "schedule": "linear",
    "evals": 1,
    "eval_tokens": 4096,
}
"""A byte-level model on real text."""

RULES = (("sp", 16), ("mup", 32), ("mup", 64))
"""Parametrizations and widths at which it is run."""

Losses = dict[str, str]
"""By run, training losses and those on held-out data as they came: hex floats and spaces."""


def machine() -> dict[str, str]:
    """Returns what the last bits of a run on a CPU depend on."""
    told = ("cpu family", "model", "stepping")
    path = Path("/proc/cpuinfo")  # of Linux
    lines = path.read_text().splitlines() if path.exists() else [platform.processor()]
    return {
        "processor": ", ".join(
            dict.fromkeys(x.replace("\t", "") for x in lines if x.startswith(told))
        ),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def losses() -> Losses:
    """Returns the losses of every run, on one thread of the CPU."""
    found = {
        f"text {rule} {width}": _trained(LLAMA, {**TEXT, "parametrization": rule, "width": width})
        for rule, width in RULES
    }
    short = {**pack_runs.TINY, **pack_runs.SMALL}
    for name, changes in pack_runs.OPTIMIZER_RUNS.items():
        found[f"llama {name}"] = _trained(LLAMA, {**short, **changes})
    for name, changes in mlp_runs.RUNS.items():
        found[f"mlp {name}"] = _trained(MLP, {**mlp_runs.TINY, **changes})
    return found


def _trained(card: Card, config: Mapping[str, Any]) -> str:
    member = Member(config=card.resolve(config).config, seed=0)
    trainer = card.trainer()([member], threads=1, device="cpu")
    said = [each.metrics for some in trainer.run() for each in some]
    named = ("train_loss", "val_loss")
    return " ".join(float(each[name]).hex() for each in said for name in named if name in each)


if __name__ == "__main__":
    document = {"machine": machine(), "losses": losses()}
    FILE.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
