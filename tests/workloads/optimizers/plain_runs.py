"""Runs of an optimizer beside plain references: one matrix, one member, one equation at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from matrix_cases import copied, draws, group
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, StepContext
from workloads.optimizers.layout import Parameters
from workloads.optimizers.optimizer import Group, Optimizer

MATRICES = {"a": (5, 3), "b": (4, 4), "twin": (5, 3), "row": (1, 7), "tall": (40, 3)}
TENSORS = {**MATRICES, "gain": (7,)}
RATES, DECAYS, EPSILONS = (1e-2, 3e-3, 0.1), (0.0, 0.02, 0.001), (1e-8, 1e-3, 1e-12)
STEPS = 25
_CURVATURE_SEED = 17
SCALES = [min(1.0, (t + 1) / 5) * (1 - t / STEPS) for t in range(STEPS)]

Make = Callable[[Parameters, Group], Optimizer]
"""Makes the optimizer of a group."""


class Reference(Protocol):
    """The update of one tensor of one member, written from the equations."""

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns U; the arguments are not changed."""
        ...


def stacked(algorithm: Algorithm) -> Make:
    """Returns what makes the core drive a group by an algorithm."""
    return lambda parameters, its_group: Optimizer(parameters, its_group, algorithm)


def mixed_group(
    shapes: Mapping[str, tuple[int, ...]], epsilons: Sequence[float] = EPSILONS
) -> Group:
    """Returns a group of three members that differ in every setting."""
    return group(tuple(shapes), rates=RATES, decays=DECAYS, epsilon=epsilons)


def curvatures(name: str, member: int) -> list[Tensor]:
    """Returns the gradients on sampled labels that :func:`assert_follows` gives, a step each."""
    return [each[name][member] for each in draws(_CURVATURE_SEED, 3, steps=STEPS, shapes=TENSORS)]


def now(
    step: int,
    epsilon: float | None = None,
    *,
    weight: Tensor | None = None,
    curvature: Tensor | None = None,
) -> StepContext:
    """Returns what an update is told, of one epsilon for all."""
    epsilons = {} if epsilon is None else {"epsilon": torch.tensor(epsilon, dtype=torch.float64)}
    weights = torch.zeros(0) if weight is None else weight
    return StepContext(step=step, epsilons=epsilons, weights=lambda: weights, curvature=curvature)


class PeerUpdates:
    """The update of one tensor that a torch optimizer makes at a learning rate of one."""

    def __init__(self, make: Callable[[Tensor], torch.optim.Optimizer]) -> None:
        self._make = make
        self._weight: Tensor | None = None

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns the step from a weight, the other way round."""
        if self._weight is None:
            self._weight = weight.clone()
            self._optimizer = self._make(self._weight)
        self._weight.copy_(weight).grad = gradient
        self._optimizer.step()
        return weight - self._weight


def assert_follows(
    make: Make,
    reference: Callable[[str, int, Optimizer], Reference],
    *,
    shapes: Mapping[str, tuple[int, ...]] = TENSORS,
    epsilons: Sequence[float] = EPSILONS,
    tolerance: float = 1e-10,
) -> None:
    """Holds three members to references of their own, in double precision, after every step.

    Args:
        make: makes the optimizer.
        reference: makes the reference of a tensor of a member, by name and place; it may look at
            the optimizer's state before the first step.
        shapes: of the tensors, by name.
        epsilons: of the members.
        tolerance: relative and absolute.
    """
    start = next(draws(3, 3, steps=1, shapes=shapes))
    parameters, plain = copied(start), copied(start)
    optimizer = make(parameters, mixed_group(shapes, epsilons))
    references = {(n, i): reference(n, i, optimizer) for n in shapes for i in range(3)}
    gradients = draws(4, 3, steps=STEPS, shapes=shapes)
    curved = draws(_CURVATURE_SEED, 3, steps=STEPS, shapes=TENSORS)
    for step, (each, curvature) in enumerate(zip(gradients, curved, strict=True), start=1):
        scale = SCALES[step - 1]
        for (name, i), one in references.items():
            weight = plain[name][i]
            update = one.update(each[name][i].clone(), weight.clone(), step)
            weight -= scale * (RATES[i] * update + DECAYS[i] * weight)
        optimizer.step(copied(each), scale=scale, step=step, curvature=curvature)
        for name, value in plain.items():
            torch.testing.assert_close(
                parameters[name], value, rtol=tolerance, atol=tolerance, msg=f"{name}, step {step}"
            )


def ran(
    make: Make,
    its_group: Group,
    start: Mapping[str, Tensor],
    gradients: Sequence[Mapping[str, Tensor]],
    curved: Sequence[Mapping[str, Tensor]] | None = None,
) -> tuple[dict[str, Tensor], Optimizer]:
    """Returns parameters and optimizer after a step for each of the gradients, at full rate."""
    parameters = copied(start)
    optimizer = make(parameters, its_group)
    for step, each in enumerate(gradients, start=1):
        curvature = None if curved is None else curved[step - 1]
        optimizer.step(copied(each), scale=1.0, step=step, curvature=curvature)
    return parameters, optimizer


def departure(make: Make, *, shapes: Mapping[str, tuple[int, ...]] = TENSORS) -> float:
    """Returns how far single precision ends from double, over the way gone, the worst tensor's.

    25 steps from zero, so that the way and not the rounding of large weights is measured.
    """
    ends = []
    for dtype in (torch.float32, torch.float64):
        start = {n: torch.zeros((1, *shape), dtype=dtype) for n, shape in shapes.items()}
        drawn, curved = (
            [
                {n: g.float().to(dtype) for n, g in each.items()}
                for each in draws(s, 1, steps=STEPS, shapes=shapes)
            ]
            for s in (8, 9)
        )
        its_group = group(tuple(shapes), rates=(0.1,), epsilon=(1e-8,))
        ends.append(ran(make, its_group, start, drawn, curved)[0])
    single, double = ends
    return max(float((single[n] - each).norm() / each.norm()) for n, each in double.items())
