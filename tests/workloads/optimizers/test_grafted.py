"""Grafting: the size of one update on the direction of another, and RMSprop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from matrix_cases import draws, group, trained
from plain_runs import TENSORS, assert_follows, stacked
from preconditioned_cases import ADAM, EPSILONS, Preconditioned, shampoo, soap
from torch import Tensor

from workloads.optimizers.adamw import Adam
from workloads.optimizers.algorithm import Algorithm, StepContext
from workloads.optimizers.blocked import Blocked
from workloads.optimizers.grafted import Grafted, RMSprop
from workloads.optimizers.optimizer import Optimizer
from workloads.optimizers.sgd import SGD

SHAPES = {"a": (6, 6), "b": (6, 6), "tall": (9, 4), "row": (1, 5)}
NAMES = ("epsilon", "graft_epsilon", "adam_epsilon", "basis_epsilon")


class PlainRMSprop:
    """The equations for one tensor."""

    def __init__(self, epsilon: float) -> None:
        self._epsilon = epsilon
        self._first: Tensor | float = 0.0
        self._second: Tensor | float = 0.0

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns U."""
        self._first = 0.8 * self._first + 0.2 * gradient
        self._second = 0.9 * self._second + 0.1 * gradient**2
        return self._first / (1 - 0.8**step) / (self._second**0.5 + self._epsilon)


def test_rmsprop_follows_the_equations() -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainRMSprop:
        return PlainRMSprop((1e-8, 1e-3, 1e-12)[member])

    assert_follows(stacked(RMSprop(beta1=0.8, beta2=0.9)), reference, shapes=TENSORS)


class PlainGraft:
    """||A|| S / (||S|| + eps), of updates that are computed apart."""

    def __init__(self, direction: Algorithm, graft: Algorithm, epsilon: float, start: int) -> None:
        self._parts, self._epsilon, self._start = (direction, graft), epsilon, start
        self._states: list[Any] = []

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns U."""
        stack = gradient[None]
        self._states = self._states or [part.start(stack) for part in self._parts]
        epsilons = {n: torch.full((1, 1, 1), self._epsilon, dtype=torch.float64) for n in NAMES}
        now = StepContext(step=step, epsilons=epsilons, weights=lambda: weight)
        direction, lent = (
            part.update(stack.clone(), state, now)[0]
            for part, state in zip(self._parts, self._states, strict=True)
        )
        if step < self._start:
            return lent
        return (
            lent.square().sum().sqrt()
            / (direction.square().sum().sqrt() + self._epsilon)
            * direction
        )


@pytest.mark.parametrize(
    "graft", [ADAM, RMSprop(beta1=0.9, beta2=0.95), SGD(momentum=0.9), SGD(momentum=0.0)]
)
@pytest.mark.parametrize("start", [1, 6])
def test_every_member_follows_the_equation(graft: Algorithm, start: int) -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainGraft:
        return PlainGraft(shampoo(), graft, EPSILONS[member], start)

    make = Preconditioned(Grafted(shampoo(), graft, start=start))
    assert_follows(make, reference, shapes=SHAPES, epsilons=EPSILONS)


@pytest.mark.parametrize("direction", [shampoo(), soap()])
@pytest.mark.parametrize("graft", [ADAM, SGD(momentum=0.9)])
def test_before_its_start_it_is_its_graft(direction: Algorithm, graft: Algorithm) -> None:
    start = next(draws(2, 1, steps=1, shapes=SHAPES))
    gradients = list(draws(1, 1, steps=25, shapes=SHAPES))
    epsilons = dict.fromkeys(NAMES, (1e-06,))
    its_group = group(list(SHAPES), decays=(0.01,), **epsilons)
    grafted = trained(Grafted(direction, graft, start=1000), its_group, start, gradients)
    alone = trained(graft, its_group, start, gradients)
    for name, each in alone.items():
        assert torch.equal(grafted[name], each)


def test_each_epsilon_is_the_one_of_its_name() -> None:
    gradient = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]], dtype=torch.float64)
    epsilons = {
        name: torch.full((1, 1, 1), value, dtype=torch.float64)
        for name, value in {"epsilon": 1e-12, "graft_epsilon": 2.0, "adam_epsilon": 1.0}.items()
    }
    algorithm = Grafted(shampoo(relative=False), ADAM, start=1)
    now = StepContext(step=1, epsilons=epsilons, weights=lambda: torch.zeros(0))
    update = algorithm.update(gradient.clone(), algorithm.start(gradient), now)
    adam = torch.tensor([3 / 4, 4 / 5], dtype=torch.float64)  # g / (|g| + 1)
    size = adam.norm() / (2**0.5 + 2.0)  # the identity is Shampoo's direction
    torch.testing.assert_close(update[0], size * torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("per_block", [True, False])
def test_sizes_are_adam_s_of_whole_matrices_outside_blocks_and_of_blocks_inside(
    per_block: bool,
) -> None:
    """Whole matrices have Adam's size either way; of a block only where sizes are lent to it."""
    algorithm = (
        Blocked(Grafted(shampoo(), ADAM, start=1), size=2, max_dim=10)
        if per_block
        else Grafted(Blocked(shampoo(), size=2, max_dim=10), ADAM, start=1)
    )
    epsilons = {n: torch.full((1, 1, 1), 1e-16, dtype=torch.float64) for n in NAMES}
    states = [part.start(torch.zeros(1, 4, 4).double()) for part in (algorithm, ADAM)]
    for step, each in enumerate(draws(1, 1, steps=5, shapes={"a": (4, 4)}), start=1):
        now = StepContext(step=step, epsilons=epsilons, weights=lambda: torch.zeros(0))
        ours, adam = (
            part.update(each["a"].clone(), state, now)[0]
            for part, state in zip((algorithm, ADAM), states, strict=True)
        )
        assert ours.norm().item() == pytest.approx(adam.norm().item(), rel=1e-10)
        if step > 1:  # after one gradient all blocks of both have the same size
            corners = [each[:2, :2].norm().item() for each in (ours, adam)]
            assert (abs(corners[0] / corners[1] - 1) < 1e-10) is per_block


@pytest.mark.parametrize(
    ("kind", "mine"), [(1, SGD(momentum=0.0)), (3, RMSprop(beta1=0.0, beta2=0.95))]
)
def test_it_agrees_with_grafted_scalable_shampoo(kind: int, mine: Algorithm) -> None:
    """A graft takes out the size of the direction, and with it the peer's missing correction of
    bias; its momentum comes after the roots: none here."""
    peers = pytest.importorskip("pytorch_optimizer")
    shapes = {"a": (5, 5), "b": (4, 4)}
    start = next(draws(2, 1, steps=1, shapes=shapes))
    theirs = {name: torch.nn.Parameter(each[0].clone()) for name, each in start.items()}
    peer = peers.ScalableShampoo(
        theirs.values(),
        lr=0.1,
        betas=(0.0, 0.95),
        nesterov=False,
        shape_interpretation=False,
        start_preconditioning_step=1,
        preconditioning_compute_steps=1,
        graft_type=kind,
        diagonal_eps=1e-10,
        matrix_eps=1e-30,
        use_svd=True,
    )
    gradients = list(draws(1, 1, steps=25, shapes=shapes))
    for each in gradients:
        for name, weight in theirs.items():
            weight.grad = each[name][0].clone()
        peer.step()
    algorithm = Grafted(shampoo(beta1=0.0, frequency=1, relative=False), mine, start=1)
    epsilons = {"epsilon": (1e-30,), "graft_epsilon": (1e-16,), "adam_epsilon": (1e-10,)}
    ours = trained(algorithm, group(list(shapes), **epsilons), start, gradients)
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name][0], weight.detach(), rtol=1e-9, atol=1e-9)


def test_it_gives_nothing_for_nothing() -> None:
    algorithm = Grafted(shampoo(), Adam(beta1=0.9, beta2=0.95), start=1)
    state = algorithm.start(torch.zeros(1, 3, 4))
    epsilons = {name: torch.full((1, 1, 1), 1e-8) for name in NAMES}
    for step in range(1, 6):
        now = StepContext(step=step, epsilons=epsilons, weights=lambda: torch.zeros(0))
        assert not algorithm.update(torch.zeros(1, 3, 4), state, now).any()
