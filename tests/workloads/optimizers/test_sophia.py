"""Sophia-G, against its equations and SophiaH of pytorch-optimizer."""

from __future__ import annotations

import pytest
import torch
from plain_runs import EPSILONS, STEPS, assert_follows, curvatures, departure, now, stacked
from pytorch_optimizer import SophiaH as PeerSophia
from torch import Tensor

from workloads.optimizers.optimizer import Optimizer
from workloads.optimizers.sophia import Sophia

BETAS, RHO, TOKENS, EVERY = (0.9, 0.8), 0.04, 50, 4


def sophia() -> Sophia:
    return Sophia(beta1=BETAS[0], beta2=BETAS[1], rho=RHO, frequency=EVERY, batch_tokens=TOKENS)


class PlainSophia:
    """Algorithm 3 of the paper in the form of the authors' code, number by number."""

    def __init__(self, curvature: list[Tensor], epsilon: float) -> None:
        self._curvature, self._epsilon = curvature, epsilon
        self._first: Tensor | float = 0.0
        self._diagonal: Tensor | float = 0.0

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns sign(m) min(|m| / (rho B h + eps), 1)."""
        self._first = BETAS[0] * self._first + (1 - BETAS[0]) * gradient
        if step % EVERY == 1:
            square = self._curvature[step - 1] ** 2
            self._diagonal = BETAS[1] * self._diagonal + (1 - BETAS[1]) * square
        sizes = self._first.abs() / (RHO * TOKENS * self._diagonal + self._epsilon)
        return self._first.sign() * torch.minimum(sizes, torch.ones_like(sizes))


def test_every_member_follows_the_equations() -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainSophia:
        return PlainSophia(curvatures(name, member), EPSILONS[member])

    assert_follows(stacked(sophia()), reference)


class PeerSophiaG:
    """SophiaH's update, given rho B c^2 as the diagonal of the Hessian, and one as its bound;
    it is never due to estimate one by itself."""

    def __init__(self, curvature: list[Tensor]) -> None:
        self._curvature = curvature

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns the step that the peer takes at a learning rate of one, the other way round."""
        if step == 1:
            self._weight = weight.clone()
            self._peer = PeerSophia(
                [self._weight], lr=1.0, betas=BETAS, p=1.0, eps=0.0, update_period=2 * STEPS
            )
        self._weight.copy_(weight).grad = gradient
        square = RHO * TOKENS * self._curvature[step - 1] ** 2
        self._peer.step(hessian=[square] if step % EVERY == 1 else None)
        return weight - self._weight


def test_every_member_follows_pytorch_optimizer_given_the_diagonal() -> None:
    """The peer has epsilon as the least divisor, not added to it, so there is none here."""

    def reference(name: str, member: int, optimizer: Optimizer) -> PeerSophiaG:
        return PeerSophiaG(curvatures(name, member))

    assert_follows(stacked(sophia()), reference, epsilons=(1e-300,) * 3)


def test_curvature_is_wanted_at_the_first_step_and_every_so_many_later() -> None:
    algorithm = sophia()
    assert [step for step in range(1, 14) if algorithm.wants_curvature(step)] == [1, 5, 9, 13]


def test_without_the_curvature_that_it_wants_it_fails() -> None:
    algorithm, gradient = sophia(), torch.ones(1, 2, 3)
    with pytest.raises(AssertionError):
        algorithm.update(gradient, algorithm.start(gradient), now(1, 1e-15))


def test_flat_directions_move_by_the_sign_of_the_momentum_and_steep_ones_by_newton_steps() -> None:
    algorithm = sophia()
    gradient = torch.tensor([[0.5, -0.5, 1e-3, 0.0]], dtype=torch.float64)
    steep = torch.tensor([[0.0, 1e-9, 1.0, 0.0]], dtype=torch.float64)
    first, diagonal = 0.1 * gradient, 0.2 * RHO * TOKENS * steep**2
    update = algorithm.update(
        gradient.clone(), algorithm.start(gradient), now(1, 1e-15, curvature=steep)
    )
    expected = torch.tensor([[1.0, -1.0, float(first[0, 2] / diagonal[0, 2]), 0.0]])
    torch.testing.assert_close(update, expected.double())


def test_single_precision_stays_near_double() -> None:
    assert departure(stacked(sophia())) < 1e-6
