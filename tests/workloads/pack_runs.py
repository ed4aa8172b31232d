"""Small packs for the tests of the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workloads.cards import LLAMA
from workloads.llama import LlamaTrainer
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


def member(seed: int = 0, checkpoint: Path | None = None, **changes: Any) -> Member:
    config = LLAMA.resolve({**TINY, **changes}).config
    return Member(config=config, seed=seed, checkpoint=checkpoint)


def trainer(*members: Member) -> LlamaTrainer:
    return LlamaTrainer(members, threads=1, device="cpu")


def measured(running: LlamaTrainer) -> list[Measurement]:
    return [each for said in running.run() for each in said]


def history(said: Sequence[Measurement], of: int = 0) -> list[tuple[Any, ...]]:
    """Returns all that was said about one member, without its place in the pack."""
    return [
        (each.step, each.tokens, dict(each.metrics), each.mark, each.status)
        for each in said
        if each.member == of
    ]
