"""Muon over a pack, against its equations and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from workloads.optimizers.muon import Muon
from workloads.optimizers.optimizer import Group

KELLER_JORDAN = [(3.4445, -4.7750, 2.0315)] * 5
SHAPES = {"square": (6, 6), "tall": (12, 6), "wide": (6, 12), "other": (6, 6)}
RATES, DECAYS, EPSILONS = (0.1, 0.02), (0.0, 0.03), (1e-7, 0.5)


def draw(generator: torch.Generator, members: int, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: torch.randn((members, *shape), generator=generator, dtype=dtype)
        for name, shape in SHAPES.items()
    }


def muon(parameters: dict[str, Tensor], members: int = 2, *, nesterov: bool = True) -> Muon:
    group = Group(
        names=tuple(SHAPES),
        learning_rates=RATES[:members],
        weight_decays=DECAYS[:members],
        epsilons=EPSILONS[:members],
    )
    return Muon(parameters, group, momentum=0.95, nesterov=nesterov, coefficients=KELLER_JORDAN)


def orthogonal(matrix: Tensor, epsilon: float) -> Tensor:
    """Newton-Schulz of one matrix, as the equations have it."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.square().sum().sqrt() + epsilon)
    for a, b, c in KELLER_JORDAN:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


@pytest.mark.parametrize("nesterov", [True, False])
def test_every_member_follows_the_equations_in_double_precision(nesterov: bool) -> None:
    generator = torch.Generator().manual_seed(7)
    start = draw(generator, 2, torch.float64)
    parameters = {name: value.clone() for name, value in start.items()}
    ours = muon(parameters, nesterov=nesterov)
    momenta = {name: torch.zeros_like(value) for name, value in start.items()}
    for step in range(1, 26):
        scale = step / 30
        gradients = draw(generator, 2, torch.float64)
        for name, weight in start.items():
            for i in range(2):
                gradient, momentum = gradients[name][i], momenta[name][i]
                momentum.copy_(0.95 * momentum + 0.05 * gradient)
                ahead = 0.95 * momentum + 0.05 * gradient if nesterov else momentum
                update = orthogonal(ahead, EPSILONS[i])
                weight[i] -= scale * (RATES[i] * update + DECAYS[i] * weight[i])
        ours.step(gradients, scale=scale, step=step)
        for name, weight in start.items():
            torch.testing.assert_close(parameters[name], weight, rtol=1e-10, atol=1e-10)


def test_it_agrees_with_torch_muon_within_the_rounding_of_bfloat16() -> None:
    generator = torch.Generator().manual_seed(11)
    start = {name: value[0] for name, value in draw(generator, 1, torch.float32).items()}
    mine = {name: value[None].clone() for name, value in start.items()}
    theirs = {name: value.clone() for name, value in start.items()}
    factors = {name: math.sqrt(max(1, rows / cols)) for name, (rows, cols) in SHAPES.items()}
    peer = torch.optim.Muon(
        [{"params": [w], "lr": RATES[0] / factors[name]} for name, w in theirs.items()],
        weight_decay=0.0,
        momentum=0.95,
        nesterov=True,
        adjust_lr_fn="original",
    )
    ours = muon(mine, 1)
    for step in range(1, 26):
        gradients = draw(generator, 1, torch.float32)
        for name, weight in theirs.items():
            weight.grad = gradients[name][0].clone()
        peer.step()
        ours.step(gradients, scale=1.0, step=step)
    for name, weight in theirs.items():
        apart = (mine[name][0] - weight).norm() / (weight - start[name]).norm()
        assert apart < 2e-2, f"{name}: {apart}"


def test_members_that_are_kept_go_on_as_if_nothing_had_been_dropped() -> None:
    generator = torch.Generator().manual_seed(5)
    start = draw(generator, 2, torch.float32)
    whole = {name: value.clone() for name, value in start.items()}
    cut = {name: value.clone() for name, value in start.items()}
    undisturbed, compacted = muon(whole), muon(cut)
    for step in range(1, 6):
        gradients = draw(generator, 2, torch.float32)
        if step == 3:
            compacted.keep([1])
            cut.update({name: value[1:].clone() for name, value in cut.items()})
        chosen = gradients if step < 3 else {name: g[1:] for name, g in gradients.items()}
        compacted.step({n: g.clone() for n, g in chosen.items()}, scale=1.0, step=step)
        undisturbed.step(gradients, scale=1.0, step=step)
    for name, value in whole.items():
        assert torch.equal(cut[name][0], value[1])
        key = f"{name}:momentum"
        assert torch.equal(compacted.state(0)[key], undisturbed.state(1)[key])


def test_a_vector_is_refused() -> None:
    group = Group(names=("g",), learning_rates=(1,), weight_decays=(0,), epsilons=(1e-7,))
    with pytest.raises(ValueError, match=r"g has shape \[1, 4\]; Muon takes matrices"):
        Muon(
            {"g": torch.ones(1, 4)},
            group,
            momentum=0.9,
            nesterov=True,
            coefficients=KELLER_JORDAN,
        )
