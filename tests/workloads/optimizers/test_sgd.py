"""SGD with a mean gradient, against torch's with a sum."""

from __future__ import annotations

import pytest
import torch
from plain_runs import PeerUpdates, assert_follows, departure, now, stacked
from torch import Tensor

from workloads.optimizers.optimizer import Optimizer
from workloads.optimizers.sgd import SGD


class TorchSGD:
    """torch's update of one tensor: the sum of gradients b, at a rate that makes it a mean.

    With b = g_t + mu g_(t-1) + ..., the mean so far is (1 - mu) / (1 - mu^t) b.
    """

    def __init__(self, momentum: float) -> None:
        self._sums = PeerUpdates(lambda w: torch.optim.SGD([w], lr=1.0, momentum=momentum))
        self._momentum = momentum

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns the mean."""
        rate = (1 - self._momentum) / (1 - self._momentum**step)
        return rate * self._sums.update(gradient, weight, step)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_member_follows_torch_at_the_rate_of_a_mean(momentum: float) -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> TorchSGD:
        return TorchSGD(momentum)

    assert_follows(stacked(SGD(momentum=momentum)), reference)


def test_on_a_constant_gradient_the_update_is_that_gradient_from_the_first_step_on() -> None:
    algorithm = SGD(momentum=0.9)
    gradient = torch.arange(1.0, 7.0, dtype=torch.float64).view(1, 2, 3)
    state = algorithm.start(gradient)
    for step in range(1, 6):
        update = algorithm.update(gradient.clone(), state, now(step))
        torch.testing.assert_close(update, gradient, rtol=1e-14, atol=0)


def test_without_momentum_there_is_no_state() -> None:
    assert SGD(momentum=0.0).start(torch.zeros(1, 2, 3)) == {}


def test_single_precision_stays_near_double() -> None:
    assert departure(stacked(SGD(momentum=0.9))) < 1e-6
