"""What diagnostics cost: processor seconds of a training that records them over those of one that
records nothing, in turns in one process on one thread.

    python benchmarks/diagnostics.py                    # a table
    python benchmarks/diagnostics.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

from workloads.llama import LLAMA
from workloads.mlp.card import MLP
from workloads.workload import Card, Member, Record

LLAMA_RUN: dict[str, Any] = {
    "depth": 2,
    "head_dim": 16,
    "context": 64,
    "batch_size": 16,
    "mlp": "gelu",
    "base_width": 32,
    "parametrization": "mup",
    "learning_rate": 2.0**-6,
    "evals": 1,
    "eval_tokens": 8192,
}
MLP_RUN: dict[str, Any] = {"batch_size": 64, "learning_rate": 2.0**-6, "evals": 1}

TOPK: tuple[tuple[str, Record], ...] = (
    ("topk", Record(quantities=("topk",))),
    ("topk, every 2nd step", Record(quantities=("topk",), every=2)),
    ("topk, every 10th step", Record(quantities=("topk",), every=10)),
    ("examples, every 10th step", Record(quantities=("examples",), every=10)),
)
"""What the top-k decomposition is recorded as."""


def seconds(card: Card, settings: dict[str, Any], record: Record | None) -> float:
    """Returns the processor seconds of a training from its first step to its end."""
    extra: dict[str, Any] = {} if record is None else {"record": record}
    member = Member(config=card.resolve(settings).config, seed=0)
    trainer = card.trainer()([member], threads=1, device="cpu", **extra)
    start = time.process_time()
    for _ in trainer.run():
        pass
    return time.process_time() - start


def topk_rows(*, steps: int, turns: int, widths: Sequence[int]) -> list[dict[str, Any]]:
    """Returns the cost of the top-k decomposition, a row for each workload, width and record.

    Args:
        steps: of each training.
        turns: of plain and recorded trainings; the median ratio counts.
        widths: of the models.
    """
    runs = (("llama", LLAMA, LLAMA_RUN), ("mlp", MLP, MLP_RUN))
    rows = []
    for name, card, settings in runs:
        for width in widths:
            config = {**settings, "width": width, "steps": steps}
            for what, record in TOPK:
                ratios = []
                for _ in range(turns):
                    plain = seconds(card, config, None)
                    ratios.append(seconds(card, config, record) / plain)
                ratio = statistics.median(ratios)
                rows.append({"workload": name, "width": width, "record": what, "ratio": ratio})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128, 256])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    rows = topk_rows(steps=given.steps, turns=given.turns, widths=given.widths)
    if given.json:
        print(json.dumps(rows))
        return
    print("workload  width  recorded                    times plain training")
    for row in rows:
        print(f"{row['workload']:8}  {row['width']:5}  {row['record']:26}  {row['ratio']:.2f}")


if __name__ == "__main__":
    main()
