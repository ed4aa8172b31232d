"""The perceptron over widths: under mup every activation moves as far, under sp it does not."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import pytest
import torch
from mlp_runs import trainer

from workloads.mlp.card import MLP
from workloads.mlp.model import Mlp
from workloads.mlp.stream import ImageStream
from workloads.workload import Member

WIDTHS = (64, 512)
RATES = {"sgd": 2.0**-6, "adamw": 2.0**-10, "sophia": 2.0**-10, "muon": 2.0**-8, "dion": 2.0**-8}


def changes(width: int, settings: dict[str, Any]) -> dict[str, float]:
    """Returns how far each activation moves in five steps at full rate, root mean square, on a
    batch that no step has seen."""
    run = {"width": width, "steps": 10, "warmup": 0.0, "final_ratio": 1.0, "clip": 0.0}
    plan = MLP.resolve(
        {**run, "base_width": 64, "zero_init": True, "activation": "tanh", **settings}
    )
    seeds = tuple(range(4))
    running = trainer(*(Member(config=plan.config, seed=seed) for seed in seeds))
    inputs = ImageStream(plan.config, device="cpu").training(seeds, step=11).inputs

    @torch.no_grad()
    def activations() -> dict[str, torch.Tensor]:
        found: dict[str, list[torch.Tensor]] = {}
        for place in range(len(seeds)):
            Mlp(plan).logits(
                running.parameters(place),
                inputs[place : place + 1],
                lambda name, value: found.setdefault(name, []).append(value.clone()),
            )
        told = {name: parts for name, parts in found.items() if not name.startswith("input ")}
        return {name: torch.cat(parts).double() for name, parts in told.items()}

    before = activations()
    for _ in islice(running.run(), 5):
        pass
    return {
        name: (value - before[name]).square().mean().sqrt().item()
        for name, value in activations().items()
    }


def slopes(**settings: Any) -> dict[str, float]:
    """Returns log2 of the change at the widest over that at the narrowest model, a doubling."""
    found = [changes(width, settings) for width in WIDTHS]
    doublings = math.log2(WIDTHS[-1] / WIDTHS[0])
    return {name: math.log2(found[-1][name] / found[0][name]) / doublings for name in found[0]}


@pytest.mark.parametrize("optimizer", RATES)
def test_under_mup_every_activation_moves_as_far_at_every_width(optimizer: str) -> None:
    found = slopes(optimizer=optimizer, learning_rate=RATES[optimizer], parametrization="mup")
    assert {name: slope for name, slope in found.items() if abs(slope) > 0.1} == {}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_under_sp_activations_move_farther_in_wider_models(optimizer: str) -> None:
    found = slopes(optimizer=optimizer, learning_rate=RATES[optimizer], parametrization="sp")
    assert found["logits"] > 0.5
    assert found["layer 1"] > 0.4
