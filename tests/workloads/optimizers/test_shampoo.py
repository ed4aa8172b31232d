"""Shampoo, against its equations by numpy, its limits and its peer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matrix_cases import draws, group, trained
from plain_runs import MATRICES, assert_follows
from preconditioned_cases import (
    EPSILONS,
    Matrix,
    Preconditioned,
    array,
    orthogonal,
    shampoo,
    soap,
    tensor,
)
from torch import Tensor

from workloads.optimizers.adamw import Adam
from workloads.optimizers.algorithm import Algorithm, StepContext
from workloads.optimizers.blocked import Blocked
from workloads.optimizers.optimizer import Optimizer


class PlainShampoo:
    """The equations for one matrix, with numpy's eigenvalues."""

    def __init__(
        self,
        epsilon: float,
        *,
        exponent: float = 0.25,
        sides: str = "both",
        max_dim: int = 1000,
        frequency: int = 3,
        relative: bool = True,
        start: int = 1,
    ) -> None:
        self._epsilon, self._exponent, self._relative = epsilon, exponent, relative
        self._sides, self._max_dim, self._frequency = sides, max_dim, frequency
        self._start = start
        self._mean: Matrix | float = 0.0
        self._left: Matrix | float = 0.0
        self._right: Matrix | float = 0.0

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns U."""
        g = array(gradient)
        self._mean = 0.9 * self._mean + 0.1 * g
        self._left = 0.95 * self._left + 0.05 * g @ g.T
        self._right = 0.95 * self._right + 0.05 * g.T @ g
        if (step - 1) % self._frequency == 0 or step == self._start:
            unbiased = 1 - 0.95**step
            self._left_root = self._root(self._left / unbiased, "output")
            self._right_root = self._root(self._right / unbiased, "input")
        mean = self._mean / (1 - 0.9**step)
        return tensor(self._left_root @ mean @ self._right_root)

    def _root(self, statistic: Matrix, side: str) -> Matrix:
        if self._sides not in ("both", side) or len(statistic) > self._max_dim:
            return np.eye(len(statistic))
        values, vectors = np.linalg.eigh(statistic)
        ridge = self._epsilon * (values.max() if self._relative else 1.0)
        found: Matrix = vectors @ np.diag((values + ridge) ** -self._exponent) @ vectors.T
        return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"exponent": 0.5},
        {"exponent": 0.3, "frequency": 1},
        {"relative": False},
        {"sides": "output"},
        {"sides": "input", "exponent": 0.5},
        {"max_dim": 5},
        {"frequency": 4, "start": 3},
    ],
    ids=str,
)
def test_every_member_follows_the_equations(settings: dict[str, Any]) -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainShampoo:
        return PlainShampoo(EPSILONS[member], **settings)

    make = Preconditioned(shampoo(**settings))
    assert_follows(make, reference, shapes=MATRICES, epsilons=EPSILONS)


@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.25])
def test_newton_iterations_follow_the_equations_to_within_their_tolerance(exponent: float) -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainShampoo:
        return PlainShampoo(EPSILONS[member], exponent=exponent)

    make = Preconditioned(shampoo(exponent=exponent, root="newton"))
    assert_follows(make, reference, shapes=MATRICES, epsilons=EPSILONS, tolerance=1e-6)


def test_blocks_of_single_entries_with_quarter_roots_are_adam() -> None:
    shapes = {"a": (3, 4)}
    gradients = list(draws(1, 1, steps=25, shapes=shapes))
    start = next(draws(2, 1, steps=1, shapes=shapes))
    ends = [
        trained(algorithm, group(["a"], epsilon=(1e-16,)), start, gradients)["a"]
        for algorithm in (
            Blocked(shampoo(frequency=1, relative=False), size=1, max_dim=10),
            Adam(beta1=0.9, beta2=0.95),
        )
    ]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("algorithm", [shampoo(), soap()], ids=["shampoo", "soap"])
def test_rotated_gradients_have_rotated_updates(algorithm: Algorithm) -> None:
    generator = torch.Generator().manual_seed(4)
    left, right = orthogonal(generator, 5), orthogonal(generator, 5)
    epsilons = {
        n: torch.full((1, 1, 1), 1e-3, dtype=torch.float64) for n in ("epsilon", "basis_epsilon")
    }
    plain = algorithm.start(torch.zeros(1, 5, 5, dtype=torch.float64))
    turned = algorithm.start(torch.zeros(1, 5, 5, dtype=torch.float64))
    for step in range(1, 26):
        gradient = torch.randn((1, 5, 5), generator=generator, dtype=torch.float64)
        now = StepContext(step=step, epsilons=epsilons, weights=lambda: torch.zeros(0))
        update = algorithm.update(left @ gradient @ right.T, turned, now)
        expected = left @ algorithm.update(gradient, plain, now) @ right.T
        torch.testing.assert_close(update, expected, rtol=1e-10, atol=1e-10)


def test_a_gradient_after_none_moves_as_in_gradient_descent_until_the_next_roots() -> None:
    epsilons = {"epsilon": torch.full((1, 1, 1), 1e-5)}
    for root in ("eigh", "newton"):
        algorithm = shampoo(root=root, frequency=10)
        state = algorithm.start(torch.zeros(1, 3, 4))
        for step in range(1, 5):
            gradient = torch.full((1, 3, 4), 0.0 if step == 1 else 1e-4)
            now = StepContext(step=step, epsilons=epsilons, weights=lambda: torch.zeros(0))
            update = algorithm.update(gradient, state, now)
            assert update.abs().max() <= 1e-4
        assert update.min() > 5e-5


def test_it_agrees_with_scalable_shampoo_without_its_missing_bias_correction() -> None:
    """The peer has the same statistics without correction of their bias: (1 - b2^t)^(2/4) more in
    a step, which goes into its learning rate. Its momentum comes after the roots: none here."""
    peers = pytest.importorskip("pytorch_optimizer")
    shapes = {"a": (5, 5), "b": (4, 4)}
    start = next(draws(2, 1, steps=1, shapes=shapes))
    theirs = {name: torch.nn.Parameter(each[0].clone()) for name, each in start.items()}
    peer = peers.ScalableShampoo(
        theirs.values(),
        betas=(0.0, 0.95),
        nesterov=False,
        shape_interpretation=False,
        start_preconditioning_step=1,
        preconditioning_compute_steps=1,
        graft_type=0,
        matrix_eps=1e-30,
        use_svd=True,
    )
    gradients = list(draws(1, 1, steps=25, shapes=shapes))
    for step, each in enumerate(gradients, start=1):
        peer.param_groups[0]["lr"] = 0.1 * (1 - 0.95**step) ** 0.5
        for name, weight in theirs.items():
            weight.grad = each[name][0].clone()
        peer.step()
    mine = shampoo(beta1=0.0, frequency=1, relative=False)
    ours = trained(mine, group(list(shapes), epsilon=(1e-30,)), start, gradients)
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name][0], weight.detach(), rtol=1e-9, atol=1e-9)
