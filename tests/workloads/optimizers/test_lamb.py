"""LAMB, against its equations and pytorch-optimizer's."""

from __future__ import annotations

import pytest
import torch
from plain_runs import EPSILONS, PeerUpdates, assert_follows, departure, now, stacked
from pytorch_optimizer import Lamb as PeerLamb
from torch import Tensor

from workloads.optimizers.lamb import Lamb
from workloads.optimizers.optimizer import Optimizer

BETAS = (0.9, 0.98)


class PlainLamb:
    """Algorithm 2 of the paper for one tensor, with phi the identity and decay apart."""

    def __init__(self, epsilon: float) -> None:
        self._epsilon = epsilon
        self._gradients: list[Tensor] = []

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns U, with both means as sums over all gradients so far."""
        self._gradients.append(gradient)
        ages = [step - 1 - i for i in range(step)]
        first = sum(
            (1 - BETAS[0]) * BETAS[0] ** a * g for a, g in zip(ages, self._gradients, strict=True)
        )
        second = sum(
            (1 - BETAS[1]) * BETAS[1] ** a * g**2
            for a, g in zip(ages, self._gradients, strict=True)
        )
        root = (torch.as_tensor(second) / (1 - BETAS[1] ** step)).sqrt()
        ratio = torch.as_tensor(first) / (1 - BETAS[0] ** step) / (root + self._epsilon)
        return ratio * (weight**2).sum().sqrt() / (ratio**2).sum().sqrt()


def lamb() -> Lamb:
    return Lamb(beta1=BETAS[0], beta2=BETAS[1])


def test_every_member_follows_the_equations() -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainLamb:
        return PlainLamb(EPSILONS[member])

    assert_follows(stacked(lamb()), reference)


def test_every_member_follows_pytorch_optimizer_where_its_form_is_the_same() -> None:
    """The peer's means are biased, which the ratio undoes where there is no epsilon; it undoes
    the bias of the first once more unless told not to (``adam_debias``), and takes weights as of
    norm ten at most, so that this bound is lifted."""

    def peer(weight: Tensor) -> torch.optim.Optimizer:
        optimizer = PeerLamb([weight], lr=1.0, betas=BETAS, eps=0.0, adam_debias=True)
        optimizer.clamp = float("inf")
        return optimizer

    def reference(name: str, member: int, optimizer: Optimizer) -> PeerUpdates:
        return PeerUpdates(peer)

    assert_follows(stacked(lamb()), reference, epsilons=(1e-300,) * 3)


@pytest.mark.parametrize("nothing", ["weight", "gradient"])
def test_the_ratio_is_one_where_weight_or_direction_is_zero(nothing: str) -> None:
    one = torch.ones(1, 2, 3, dtype=torch.float64)
    weight, gradient = (one * 0, one) if nothing == "weight" else (one, one * 0)
    algorithm = lamb()
    update = algorithm.update(gradient.clone(), algorithm.start(one), now(1, 1e-8, weight=weight))
    torch.testing.assert_close(update, gradient, rtol=1e-7, atol=0)


def test_an_update_has_the_norm_of_its_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, gradient = (torch.randn(3, 4, 5, generator=generator) for _ in range(2))
    algorithm = lamb()
    update = algorithm.update(gradient, algorithm.start(weight), now(1, 1e-8, weight=weight))
    torch.testing.assert_close(update.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))


def test_single_precision_stays_near_double() -> None:
    assert departure(stacked(lamb())) < 1e-6
