"""SOAP, against its equations by numpy, its limits and its peer."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from matrix_cases import draws, group, trained
from plain_runs import assert_follows
from preconditioned_cases import (
    EPSILONS,
    FULL,
    Matrix,
    Preconditioned,
    array,
    shampoo,
    soap,
    tensor,
)
from torch import Tensor

from workloads.optimizers.adamw import Adam
from workloads.optimizers.algorithm import StepContext, tensor_in
from workloads.optimizers.optimizer import Optimizer


class PlainSoap:
    """The equations for one matrix, mean gradient unrotated, with numpy's eigenvectors and QR."""

    def __init__(
        self,
        epsilon: float,
        shape: tuple[int, int],
        *,
        sides: str = "both",
        max_dim: int = 1000,
        frequency: int = 3,
        eigh_steps: int = 5,
    ) -> None:
        self._epsilon, self._frequency, self._eigh_steps = epsilon, frequency, eigh_steps
        self._has = [
            sides in ("both", side) and size <= max_dim
            for side, size in zip(("output", "input"), shape, strict=True)
        ]
        self._bases = [np.eye(size) for size in shape]
        self._statistics = [np.zeros((size, size)) for size in shape]
        self._mean, self._second = np.zeros(shape), np.zeros(shape)

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns U."""
        g = array(gradient)
        self._mean = 0.9 * self._mean + 0.1 * g
        for axis, square in enumerate((g @ g.T, g.T @ g)):
            self._statistics[axis] = 0.95 * self._statistics[axis] + 0.05 * square
            if self._has[axis] and (step <= self._eigh_steps or step % self._frequency == 1):
                self._renew(axis, step)
        left, right = self._bases
        self._second = 0.95 * self._second + 0.05 * (left.T @ g @ right) ** 2
        update = (left.T @ self._mean @ right) / (np.sqrt(self._second) + self._epsilon)
        corrected = update * sqrt(1 - 0.95**step) / (1 - 0.9**step)
        return tensor(left @ corrected @ right.T)

    def _renew(self, axis: int, step: int) -> None:
        basis, statistic = self._bases[axis], self._statistics[axis]
        ridged: Matrix = statistic + self._epsilon * np.eye(len(statistic))
        if step <= self._eigh_steps:
            self._bases[axis] = np.linalg.eigh(ridged)[1][:, ::-1]
            return
        order = np.argsort(-np.diag(basis.T @ statistic @ basis))
        self._bases[axis] = np.linalg.qr(ridged @ basis[:, order])[0]
        self._second = np.take(self._second, order, axis)


@pytest.mark.parametrize(
    ("settings", "shapes"),
    [
        ({}, FULL),
        ({"eigh_steps": 2, "frequency": 4}, FULL),
        ({"eigh_steps": 100}, FULL),
        ({"max_dim": 4}, FULL),
        ({"sides": "output"}, {"b": (4, 4), "wide": (3, 5), "row": (1, 7), "long": (2, 40)}),
        ({"sides": "input"}, {"a": (5, 3), "twin": (5, 3), "tall": (40, 3), "column": (7, 1)}),
    ],
    ids=lambda each: str(each) if "a" not in each else "",
)
def test_every_member_follows_the_equations(
    settings: dict[str, Any], shapes: dict[str, tuple[int, int]]
) -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainSoap:
        return PlainSoap(EPSILONS[member], shapes[name], **settings)

    assert_follows(Preconditioned(soap(**settings)), reference, shapes=shapes, epsilons=EPSILONS)


def test_without_bases_it_is_adam() -> None:
    """The epsilon is added before the correction of the second moment's bias, Adam's after it."""
    start = next(draws(2, 1, steps=1, shapes=FULL))
    gradients = list(draws(1, 1, steps=25, shapes=FULL))
    its_group = group(list(FULL), decays=(0.01,), epsilon=(1e-16,), basis_epsilon=(1e-16,))
    ours = trained(soap(max_dim=1), its_group, start, gradients)
    adam = trained(Adam(beta1=0.9, beta2=0.95), its_group, start, gradients)
    for name, each in adam.items():
        torch.testing.assert_close(ours[name], each, rtol=1e-12, atol=1e-12)


def test_it_agrees_with_the_peer_where_both_know_the_same_gradients() -> None:
    """The peer takes a gradient into its statistics after the update, and its first for them
    alone. A zero gradient wherever bases are renewed leaves them the same in both (a statistic
    that only decays keeps its eigenvectors), and the peer's first one is given to ours as state.
    Its QR is in single precision."""
    peers = pytest.importorskip("pytorch_optimizer")
    weights = next(draws(2, 1, steps=1, shapes={"a": (6, 6)}))["a"]
    theirs = torch.nn.Parameter(weights[0].clone())
    peer = peers.SOAP([theirs], lr=0.1, weight_decay=0.0, precondition_frequency=4, eps=1e-8)
    ours = soap(beta1=0.95, frequency=4, eigh_steps=0)
    state = ours.start(torch.zeros(1, 6, 6, dtype=torch.float64))
    epsilons = {"epsilon": torch.tensor(1e-8), "basis_epsilon": torch.full((1, 1, 1), 1e-30)}
    for call, each in enumerate(draws(1, 1, steps=26, shapes={"a": (6, 6)})):
        gradient = torch.zeros_like(each["a"]) if call % 4 == 1 else each["a"]
        theirs.grad = gradient[0].clone()
        peer.step()
        if call == 0:
            left, right = peer.state[theirs]["GG"]
            tensor_in(state, "left")[0], tensor_in(state, "right")[0] = left, right
            left, right = peer.state[theirs]["Q"]
            tensor_in(state, "left_basis")[0], tensor_in(state, "right_basis")[0] = left.T, right.T
            continue
        now = StepContext(step=call, epsilons=epsilons, weights=lambda: torch.zeros(0))
        weights -= 0.1 * ours.update(gradient, state, now)
        torch.testing.assert_close(weights[0], theirs.detach(), rtol=1e-5, atol=1e-5)


def test_a_step_without_gradients_moves_nothing() -> None:
    state = soap().start(torch.zeros(1, 4, 3))
    epsilons = {n: torch.full((1, 1, 1), 1e-8) for n in ("epsilon", "basis_epsilon")}
    for step in range(1, 12):
        now = StepContext(step=step, epsilons=epsilons, weights=lambda: torch.zeros(0))
        update = soap().update(torch.zeros(1, 4, 3), state, now)
        assert torch.equal(update, torch.zeros(1, 4, 3))


def test_a_second_moment_follows_the_order_of_its_columns() -> None:
    """Columns of a basis that swap places in size take their second moments along."""
    algorithm = soap(sides="output", eigh_steps=1, frequency=2, beta1=0.0, beta2=0.5)
    state = algorithm.start(torch.zeros(1, 2, 1, dtype=torch.float64))
    epsilons = {n: torch.full((1, 1, 1), 1e-12) for n in ("epsilon", "basis_epsilon")}
    seconds = []
    for step, gradient in enumerate([[2.0, 0.0], [0.0, 30.0], [0.0, 0.0]], start=1):
        now = StepContext(step=step, epsilons=epsilons, weights=lambda: torch.zeros(0))
        algorithm.update(torch.tensor(gradient).double().view(1, 2, 1), state, now)
        seconds.append(tensor_in(state, "second").flatten().tolist())
    assert seconds[1] == pytest.approx([1.0, 450.0])
    assert seconds[2] == pytest.approx([225.0, 0.5])


def test_shampoo_is_soap_while_one_gradient_is_known() -> None:
    """After one square gradient G = P S Q', both have the orthogonal P Q' for an update."""
    gradient = next(draws(1, 1, steps=1, shapes={"a": (4, 4)}))["a"]
    left, _, right = torch.linalg.svd(gradient)
    for algorithm in (shampoo(exponent=0.25), soap()):
        epsilons = {n: torch.full((1, 1, 1), 1e-9) for n in ("epsilon", "basis_epsilon")}
        now = StepContext(step=1, epsilons=epsilons, weights=lambda: torch.zeros(0))
        state = algorithm.start(torch.zeros_like(gradient))
        update = algorithm.update(gradient.clone(), state, now)
        torch.testing.assert_close(update, left @ right, rtol=1e-5, atol=1e-5)
