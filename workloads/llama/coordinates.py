"""The coordinate check: how far activations move in a few steps, over widths or depths.

Under maximal update parametrization the entries of every activation move by an amount that does
not depend on the width (arXiv 2203.03466, appendix D.1; 2512.05620, section 3). A log-log slope
far from zero means a wrong rule or a bug, and shows within seconds, long before a sweep would.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from workloads.llama.card import LLAMA
from workloads.llama.model import Llama, LlamaTrainer
from workloads.llama.stream import TokenStream
from workloads.workload import Config, Member


class Coordinate(NamedTuple):
    """How far one activation moved in models of one size.

    Attributes:
        size: width (or depth) of the models.
        activation: ``embedding``, ``attention 0`` and ``mlp 0`` (what they add), ``block 0`` (the
            residual stream after it)... or ``logits``; over depths only the last block counts,
            under the name ``last``.
        rms: root mean square of the activation before the first step, over all seeds.
        change: root mean square of its change, on the same tokens, after the steps.
    """

    size: int
    activation: str
    rms: float
    change: float


def coordinate_check(
    config: Config,
    sizes: Sequence[int],
    *,
    scale: str = "width",
    steps: int = 10,
    seeds: Sequence[int] = (0,),
    threads: int = 1,
) -> list[Coordinate]:
    """Returns the change of every activation at every size after a few updates.

    The warmup is left out and the schedule held, so that the first steps are at full rate. The
    seeds train side by side, on tokens of their own.

    Args:
        config: settings of ``llama``; its size and horizon are overridden.
        sizes: the widths (or depths) to train, in the order of the result.
        scale: ``width`` or ``depth``.
        steps: updates to make.
        seeds: seeds of initialisation and data.
        threads: processor threads.

    Raises:
        ValueError: a model diverged within the steps.
    """
    horizon = {"tokens": None, "tokens_per_param": None, "steps": steps, "evals": 1}
    flat = {"warmup": 0.0, "final_ratio": 1.0}
    rows: list[Coordinate] = []
    for size in sizes:
        settings = {**config, **horizon, **flat, scale: size}
        moved = _moved(settings, steps=steps, seeds=seeds, threads=threads)
        if scale == "depth":
            moved = _last_block(moved, size)
        rows += [Coordinate(size, name, *rms) for name, rms in moved.items()]
    return rows


def slopes(rows: Sequence[Coordinate]) -> dict[str, float]:
    """Returns, for each activation, the slope of log2 change over log2 size.

    Least squares; 0 where a doubling of the width leaves the change alone, 1 where it doubles it.

    Raises:
        ValueError: there are fewer than two sizes, or an activation did not move.
    """
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if not 0 < row.change < math.inf:
            raise ValueError(
                f"{row.activation} changed by {row.change} at size {row.size}; a slope needs "
                "changes above zero: make more steps or use another learning rate"
            )
        points[row.activation].append((math.log2(row.size), math.log2(row.change)))
    return {activation: _slope(each) for activation, each in points.items()}


def _slope(points: Sequence[tuple[float, float]]) -> float:
    centre = math.fsum(x for x, _ in points) / len(points)
    spread = math.fsum((x - centre) ** 2 for x, _ in points)
    if not spread:
        raise ValueError("a slope needs at least two different sizes")
    return math.fsum((x - centre) * y for x, y in points) / spread


def _moved(
    config: Config, *, steps: int, seeds: Sequence[int], threads: int
) -> dict[str, tuple[float, float]]:
    """Returns (rms, change) of every activation of one size."""
    plan = LLAMA.resolve(config)
    members = [Member(config=plan.config, seed=seed) for seed in seeds]
    trainer = LlamaTrainer(LLAMA, members, threads=threads, device="cpu")
    # The batch after the last one: windows that no step has seen.
    inputs = TokenStream(plan.config, device="cpu").training(seeds, step=steps + 1).inputs
    model = Llama(plan)
    before = [_activations(model, trainer, i, inputs) for i in range(len(seeds))]
    for said in islice(trainer.run(), steps):
        if any(each.status == "diverged" for each in said):
            raise ValueError(
                f"a model of width {plan.config['width']} and depth {plan.config['depth']} "
                "diverged; use a smaller learning rate"
            )
    after = [_activations(model, trainer, i, inputs) for i in range(len(seeds))]
    return {
        name: (
            _rms([each[name] for each in before]),
            _rms([late[name] - early[name] for early, late in zip(before, after, strict=True)]),
        )
        for name in before[0]
    }


def _last_block(
    moved: Mapping[str, tuple[float, float]], depth: int
) -> dict[str, tuple[float, float]]:
    """Returns embedding, logits and the activations of the last block, under the name ``last``."""
    kept = {}
    for name, values in moved.items():
        kind, _, layer = name.partition(" ")
        if not layer:
            kept[kind] = values
        elif int(layer) == depth - 1:
            kept[f"{kind} last"] = values
    return kept


@torch.no_grad()
def _activations(
    model: Llama, trainer: LlamaTrainer, member: int, inputs: Tensor
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    model.logits(
        trainer.parameters(member),
        inputs[member : member + 1],
        observe=lambda name, value: found.update({name: value}),
    )
    return {name: each for name, each in found.items() if not name.startswith("input ")}


def _rms(values: Sequence[Tensor]) -> float:
    return torch.stack(list(values)).double().square().mean().sqrt().item()
