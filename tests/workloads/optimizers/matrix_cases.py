"""Tensors, groups and a plain Newton-Schulz for the tests of optimizers of matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm
from workloads.optimizers.layout import Unit
from workloads.optimizers.muon import Muon
from workloads.optimizers.optimizer import Group, Optimizer

KELLER_JORDAN = [(3.4445, -4.7750, 2.0315)] * 5

SHAPES = {"square": (6, 6), "tall": (12, 6), "wide": (6, 12), "other": (6, 6), "row": (1, 5)}
"""Two of one shape, so that a bucket has two; outputs and inputs."""


def draws(
    seed: int,
    members: int,
    *,
    steps: int,
    dtype: torch.dtype = torch.float64,
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
) -> Iterator[dict[str, Tensor]]:
    """Yields normal tensors [members, ...] by name, a step each."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield {
            name: torch.randn((members, *shape), generator=generator, dtype=torch.float64).to(
                dtype
            )
            for name, shape in shapes.items()
        }


def group(
    names: Sequence[str] = tuple(SHAPES),
    *,
    rates: Sequence[float] = (0.1,),
    decays: Sequence[float] | None = None,
    units: Sequence[Unit] | None = None,
    constant_decay: bool = False,
    **epsilons: Sequence[float],
) -> Group:
    """Returns a group of plain units, unless ``units`` are given; without decay by default."""
    return Group(
        units=tuple(units or (Unit(names=(name,)) for name in names)),
        learning_rates=tuple(rates),
        weight_decays=tuple(decays or [0.0] * len(rates)),
        epsilons={name: tuple(values) for name, values in epsilons.items()},
        constant_decay=constant_decay,
    )


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a copy."""
    return {name: each.clone() for name, each in tensors.items()}


def trained(
    algorithm: Algorithm,
    its_group: Group,
    start: Mapping[str, Tensor],
    gradients: Sequence[Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """Returns the parameters after one step for each of the gradients, at full rate."""
    parameters = copied(start)
    optimizer = Optimizer(parameters, its_group, algorithm)
    for step, each in enumerate(gradients, start=1):
        optimizer.step(copied(each), scale=1.0, step=step)
    return parameters


def muon(**changes: Any) -> Muon:
    """Returns K. Jordan's Muon, with some of its settings changed."""
    settings: dict[str, Any] = {
        "momentum": 0.95,
        "nesterov": True,
        "coefficients": KELLER_JORDAN,
    }
    return Muon(**{**settings, **changes})


def plain_newton_schulz(
    matrix: Tensor, coefficients: Sequence[tuple[float, float, float]], epsilon: float
) -> Tensor:
    """Returns Newton-Schulz of one matrix [m, n], as the equations have it."""
    x = matrix / (matrix.square().sum().sqrt() + epsilon)
    for a, b, c in coefficients:
        cube = x @ x.T @ x
        x = a * x + b * cube + c * (x @ x.T @ cube)
    return x
