"""Small packs of perceptrons for the tests of the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workloads.mlp.card import MLP
from workloads.mlp.model import MlpTrainer
from workloads.workload import Measurement, Member

TINY: dict[str, Any] = {
    "width": 16,
    "depth": 2,
    "batch_size": 16,
    "steps": 6,
    "evals": 2,
    "learning_rate": 2.0**-6,
}

_PRECONDITIONED: dict[str, Any] = {"preconditioner_frequency": 2, "block_size": 8}

RUNS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "parametrization": "mup", "base_width": 8},
    "adamw": {"optimizer": "adamw", "activation": "tanh"},
    "adamw without biases": {"optimizer": "adamw", "biases": False, "activation": "gelu"},
    "adamw, residual": {
        "parametrization": "completep",
        "residual": True,
        "base_width": 8,
        "base_depth": 1,
        "depth_alpha": 0.5,
    },
    "adopt": {"optimizer": "adopt"},
    "lamb": {"optimizer": "lamb"},
    "sophia": {"optimizer": "sophia", "sophia_frequency": 2, "accumulation": 2},
    "muon": {"optimizer": "muon"},
    "muon alone": {"optimizer": "muon", "others": "muon", "newton_schulz": "quintic"},
    "adamuon": {"optimizer": "adamuon", "adamuon_sign": True},
    "shampoo": {"optimizer": "shampoo", "others": "shampoo", "preconditioner_frequency": 2},
    "grafted shampoo": {"optimizer": "shampoo", "graft": "adam", **_PRECONDITIONED},
    "soap": {"optimizer": "soap", "others": "soap", "soap_eigh_steps": 2, **_PRECONDITIONED},
    "dion": {"optimizer": "dion", "dion_rank": 0.5},
    "normalized adamw": {"parametrization": "normalized", "base_width": 8},
    "zero readout": {"optimizer": "sgd", "zero_init": True},
}
"""Every optimizer that a perceptron can have, and every form of the model."""

MIXED: list[dict[str, Any]] = [
    {"seed": 0, "learning_rate": 2.0**-6},
    {"seed": 1, "learning_rate": 2.0**-8, "weight_decay": 0.01},
    {"seed": 0, "learning_rate": 2.0**60},  # diverges
    {"seed": 7, "learning_rate": 2.0**-7, "weight_decay": 0.001},
]


def member(seed: int = 0, checkpoint: Path | None = None, **changes: Any) -> Member:
    config = MLP.resolve({**TINY, **changes}).config
    return Member(config=config, seed=seed, checkpoint=checkpoint)


def trainer(*members: Member) -> MlpTrainer:
    return MLP.trainer()(members, threads=1, device="cpu")


def measured(running: MlpTrainer) -> list[Measurement]:
    return [each for said in running.run() for each in said]


def history(said: Sequence[Measurement], of: int = 0) -> list[tuple[Any, ...]]:
    """Returns all that was said about one member, without its place in the pack."""
    return [
        (each.step, each.tokens, dict(each.metrics), each.mark, each.status)
        for each in said
        if each.member == of
    ]
