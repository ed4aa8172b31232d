"""Small packs for the tests of the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workloads.llama.card import LLAMA
from workloads.llama.model import LlamaTrainer
from workloads.workload import Measurement, Member

TINY: dict[str, Any] = {
    "width": 32,
    "depth": 2,
    "context": 16,
    "batch_size": 4,
    "steps": 12,
    "learning_rate": 2.0**-5,
    "evals": 2,
    "eval_tokens": 512,
}

SMALL: dict[str, Any] = {
    "width": 16,
    "depth": 1,
    "steps": 6,
    "evals": 2,
    "eval_tokens": 64,
    "zero_init": False,
}

_PRECONDITIONED: dict[str, Any] = {"preconditioner_frequency": 2, "block_size": 8}

OPTIMIZER_RUNS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "norm_gain": True},
    "adamw": {"optimizer": "adamw", "weight_decay_convention": "constant"},
    "adopt": {"optimizer": "adopt"},
    "lamb": {"optimizer": "lamb", "norm_gain": True},
    "sophia": {"optimizer": "sophia", "sophia_frequency": 2, "accumulation": 2},
    "muon": {"optimizer": "muon"},
    "muon alone": {"optimizer": "muon", "others": "muon", "norm_gain": True},
    "muon fused": {"optimizer": "muon", "qkv": "fused", "newton_schulz": "quintic"},
    "muon per head": {"optimizer": "muon", "qkv": "per_head", "head_dim": 8},
    "muonclip": {
        "optimizer": "muonclip",
        "qk_norm": False,
        "qk_clip_threshold": 0.5,
        "qk_clip_frequency": 2,
        "accumulation": 2,
    },
    "adamuon": {"optimizer": "adamuon", "adamuon_sign": True, "adamuon_rms_align": True},
    "shampoo": {"optimizer": "shampoo", "preconditioner_frequency": 2, "others": "shampoo"},
    "shampoo newton": {"optimizer": "shampoo", "shampoo_root": "newton", **_PRECONDITIONED},
    "grafted shampoo": {
        "optimizer": "shampoo",
        "graft": "adam",
        "graft_start": 3,
        **_PRECONDITIONED,
    },
    "shampoo grafted by block": {
        "optimizer": "shampoo",
        "graft": "rmsprop",
        "graft_per": "block",
        "preconditioner_sides": "output",
        **_PRECONDITIONED,
    },
    "soap": {"optimizer": "soap", "soap_eigh_steps": 2, "others": "soap", **_PRECONDITIONED},
    "soap per head": {
        "optimizer": "soap",
        "soap_eigh_steps": 2,
        "qkv": "per_head",
        "head_dim": 8,
        "preconditioner_frequency": 2,
    },
    "dion": {"optimizer": "dion", "dion_rank": 0.5, "others": "sophia", "sophia_frequency": 3},
    "normalized soap": {
        "optimizer": "soap",
        "soap_eigh_steps": 2,
        "parametrization": "normalized",
        "base_width": 8,
        "power_warmup_steps": 2,
        **_PRECONDITIONED,
    },
    "normalized adamw": {"parametrization": "normalized", "base_width": 8, "norm_gain": True},
    "gpt2": {
        "mlp": "gelu",
        "positions": "learned",
        "tied_embeddings": True,
        "attention_scale": "linear",
        "base_head_dim": 8,
        "norm_gain": True,
    },
}
"""Every optimizer and every way in which tensors become matrices, with refresh steps within six
steps."""


def member(seed: int = 0, checkpoint: Path | None = None, **changes: Any) -> Member:
    config = LLAMA.resolve({**TINY, **changes}).config
    return Member(config=config, seed=seed, checkpoint=checkpoint)


def trainer(*members: Member, **changes: int) -> LlamaTrainer:
    return LlamaTrainer(LLAMA, members, threads=1, device="cpu", **changes)


def measured(running: LlamaTrainer) -> list[Measurement]:
    return [each for said in running.run() for each in said]


def history(said: Sequence[Measurement], of: int = 0) -> list[tuple[Any, ...]]:
    """Returns all that was said about one member, without its place in the pack."""
    return [
        (each.step, each.tokens, dict(each.metrics), each.mark, each.status)
        for each in said
        if each.member == of
    ]
