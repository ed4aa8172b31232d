"""What each diagnostic costs: training with it over training without, side by side.

Two models are trained step by step in turn, one plain and one with a recording, so that whatever
else the machine does meets both; the ratio of their times is that of whole runs at the default
interval.

    python benchmarks/diagnostics.py                 # some minutes
    python benchmarks/diagnostics.py --widths 64,256 --steps 200 --workloads llama
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeper.study import find_card
from workloads.workload import Member, Record, Records

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "llama": {"base_width": 64, "depth": 2, "batch_size": 32, "optimizer": "adamw"},
    "mlp": {"base_width": 64, "depth": 2, "batch_size": 256},
}


def cost(workload: str, width: int, quantity: str, steps: int, every: int | None = None) -> float:
    """Returns time with a recording over time without."""
    card = find_card(workload)
    given = {**CONFIGS[workload], "width": width, "steps": steps, "learning_rate": 0.001}
    members = [Member(config=card.resolve({**given, "evals": 1}).config, seed=0)]
    factory: Any = card.trainer()
    plain = factory(members, threads=1, device="cpu").run()
    record = Record(quantities=(quantity,), every=every)
    recorded = factory(members, threads=1, device="cpu", record=record).run()
    spent = [0.0, 0.0]
    for step in range(1, steps):
        # Who goes first changes from step to step: the second finds the caches of the first.
        order = (plain, recorded) if step % 2 else (recorded, plain)
        for running in order:
            spent[running is recorded] += _seconds(running)
    return spent[1] / spent[0]


def _seconds(running: Iterator[object]) -> float:
    began = time.process_time()
    next(running)
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measures, prints and returns one row a workload, width and quantity."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=list(CONFIGS))
    parser.add_argument(
        "--widths", type=lambda text: [*map(int, text.split(","))], default=[64, 256]
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, help="steps between recordings")
    asked = parser.parse_args(arguments)
    rows = []
    for workload in asked.workloads:
        card = find_card(workload)
        assert isinstance(card, Records)
        for width in asked.widths:
            for quantity in card.recordings:
                ratio = cost(workload, width, quantity, asked.steps, asked.every)
                row = {"workload": workload, "width": width, "quantity": quantity}
                rows.append({**row, "ratio": round(ratio, 3)})
                print(json.dumps(rows[-1]), flush=True)
    return rows


if __name__ == "__main__":
    main()
