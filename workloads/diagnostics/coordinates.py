"""The coordinate check: how far activations move in a few steps, over widths.

Under maximal update parametrization the entries of every activation move by an amount that does
not depend on the width (arXiv 2203.03466, appendix D.1; 2512.05620, section 3). A log-log slope
far from zero means a wrong rule or a bug, and shows within seconds, long before a sweep would.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from workloads.cards import LLAMA
from workloads.llama import Llama, LlamaTrainer
from workloads.streams import TokenStream
from workloads.workload import Config, Member


class Coordinate(NamedTuple):
    """How far one activation moved at one width.

    Attributes:
        width: width of the model.
        activation: ``embedding``, ``block 0``... (the residual stream after it) or ``logits``.
        rms: root mean square of the activation before the first step.
        change: root mean square of its change, on the same tokens, after the steps.
    """

    width: int
    activation: str
    rms: float
    change: float


def coordinate_check(
    config: Config, widths: Sequence[int], *, steps: int = 10, seed: int = 0, threads: int = 1
) -> list[Coordinate]:
    """Returns the change of every activation at every width after a few updates.

    The warmup is left out and the schedule held, so that the first steps are at full rate.

    Args:
        config: settings of ``llama``; its width and horizon are overridden.
        widths: the widths to train, in the order of the result.
        steps: updates to make.
        seed: seed of initialisation and data.
        threads: processor threads.
    """
    horizon = {"tokens": None, "tokens_per_param": None, "steps": steps, "evals": 1}
    flat = {"warmup": 0.0, "final_ratio": 1.0}
    rows: list[Coordinate] = []
    for width in widths:
        settings = {**config, **horizon, **flat, "width": width}
        rows += _check(settings, steps=steps, seed=seed, threads=threads)
    return rows


def slopes(rows: Sequence[Coordinate]) -> dict[str, float]:
    """Returns, for each activation, the slope of log2 change over log2 width.

    Least squares; 0 where a doubling of the width leaves the change alone, 1 where it doubles it.

    Raises:
        ValueError: there are fewer than two widths, or an activation did not move.
    """
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if not 0 < row.change < math.inf:
            raise ValueError(
                f"{row.activation} changed by {row.change} at width {row.width}; a slope needs "
                "changes above zero: make more steps or use another learning rate"
            )
        points[row.activation].append((math.log2(row.width), math.log2(row.change)))
    return {activation: _slope(each) for activation, each in points.items()}


def _slope(points: Sequence[tuple[float, float]]) -> float:
    centre = math.fsum(x for x, _ in points) / len(points)
    spread = math.fsum((x - centre) ** 2 for x, _ in points)
    if not spread:
        raise ValueError("a slope over widths needs at least two different widths")
    return math.fsum((x - centre) * y for x, y in points) / spread


def _check(config: Config, *, steps: int, seed: int, threads: int) -> list[Coordinate]:
    """Returns the rows of one width."""
    plan = LLAMA.resolve(config)
    member = Member(config=plan.config, seed=seed)
    trainer = LlamaTrainer([member], threads=threads, device="cpu")
    # The batch after the last one: a window that no step has seen.
    inputs = TokenStream(plan.config, device="cpu").training([seed], step=steps + 1).inputs
    model = Llama(plan)
    before = _activations(model, trainer.parameters(0), inputs)
    for _ in islice(trainer.run(), steps):
        pass
    after = _activations(model, trainer.parameters(0), inputs)
    width = plan.config["width"]
    return [
        Coordinate(width, name, _rms(value), _rms(after[name] - value))
        for name, value in before.items()
    ]


@torch.no_grad()
def _activations(model: Llama, parameters: dict[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    model.logits(parameters, inputs, observe=lambda name, value: found.update({name: value}))
    return found


def _rms(values: Tensor) -> float:
    return values.double().square().mean().sqrt().item()
