"""ADOPT, against its equations and pytorch-optimizer's."""

from __future__ import annotations

import torch
from plain_runs import EPSILONS, PeerUpdates, assert_follows, departure, now, stacked
from pytorch_optimizer import ADOPT as PeerAdopt
from torch import Tensor

from workloads.optimizers.adopt import Adopt
from workloads.optimizers.optimizer import Optimizer

BETAS = (0.9, 0.98)


class PlainAdopt:
    """Algorithm 2 of the paper, number by number; its v_0 is the square of the first gradient."""

    def __init__(self, epsilon: float) -> None:
        self._epsilon = epsilon

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns m_t."""
        if step == 1:
            self._second, self._first = gradient**2, torch.zeros_like(gradient)
            return torch.zeros_like(gradient)
        bound = float(step - 1) ** 0.25
        normal = gradient / self._second.sqrt().clamp(min=self._epsilon)
        clipped = torch.minimum(
            torch.maximum(normal, -torch.full_like(normal, bound)), torch.full_like(normal, bound)
        )
        self._first = BETAS[0] * self._first + (1 - BETAS[0]) * clipped
        self._second = BETAS[1] * self._second + (1 - BETAS[1]) * gradient**2
        return self._first


def adopt() -> Adopt:
    return Adopt(beta1=BETAS[0], beta2=BETAS[1])


def test_every_member_follows_the_equations() -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainAdopt:
        return PlainAdopt(EPSILONS[member])

    assert_follows(stacked(adopt()), reference)


def test_every_member_follows_pytorch_optimizer_with_the_bound_of_the_authors() -> None:
    """The peer counts from one where the authors count from zero, so it is given their bound."""

    def reference(name: str, member: int, optimizer: Optimizer) -> PeerUpdates:
        return PeerUpdates(
            lambda weight: PeerAdopt(
                [weight],
                lr=1.0,
                betas=BETAS,
                eps=EPSILONS[member],
                clip_lambda=lambda step: (step - 1) ** 0.25,
            )
        )

    assert_follows(stacked(adopt()), reference)


def test_the_first_update_is_none_and_no_later_one_exceeds_the_bound() -> None:
    algorithm, gradient = adopt(), torch.tensor([[1e-3, 1.0, -1.0, 0.0]])
    state = algorithm.start(gradient)
    assert algorithm.update(gradient.clone(), state, now(1, 1e-6)).count_nonzero() == 0
    update = algorithm.update(gradient * 1e6, state, now(2, 1e-6))
    torch.testing.assert_close(update, 0.1 * gradient.sign())


def test_single_precision_stays_near_double() -> None:
    assert departure(stacked(adopt())) < 1e-6
