"""Adam's formula on the common core, against torch's."""

from __future__ import annotations

import torch
from plain_runs import EPSILONS, PeerUpdates, assert_follows, departure, now, stacked

from workloads.optimizers.adamw import Adam
from workloads.optimizers.optimizer import Optimizer

BETAS = (0.9, 0.98)


def adam() -> Adam:
    return Adam(beta1=BETAS[0], beta2=BETAS[1])


def test_every_member_follows_torch_adam() -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PeerUpdates:
        return PeerUpdates(
            lambda weight: torch.optim.Adam([weight], lr=1.0, betas=BETAS, eps=EPSILONS[member])
        )

    assert_follows(stacked(adam()), reference)


def test_the_first_update_is_the_sign_of_the_gradient() -> None:
    gradient = torch.tensor([[3.0, -1e-4, 0.0, 1e4]], dtype=torch.float64)
    update = adam().update(gradient.clone(), adam().start(gradient), now(1, 1e-30))
    torch.testing.assert_close(update, gradient.sign(), rtol=1e-14, atol=0)


def test_single_precision_stays_near_double() -> None:
    assert departure(stacked(adam())) < 1e-6
