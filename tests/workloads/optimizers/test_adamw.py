"""AdamW by the fused kernel, against torch's own and against the common core."""

from __future__ import annotations

import pytest
import torch
from matrix_cases import copied, draws, group
from plain_runs import (
    DECAYS,
    EPSILONS,
    RATES,
    SCALES,
    STEPS,
    TENSORS,
    PeerUpdates,
    assert_follows,
    departure,
    mixed_group,
)

from workloads.optimizers.adamw import Adam, FusedAdamW
from workloads.optimizers.layout import Parameters
from workloads.optimizers.optimizer import Group, Optimizer

BETAS = (0.9, 0.98)


def fused(parameters: Parameters, its_group: Group) -> FusedAdamW:
    return FusedAdamW(parameters, its_group, beta1=BETAS[0], beta2=BETAS[1])


def core(parameters: Parameters, its_group: Group) -> Optimizer:
    return Optimizer(parameters, its_group, Adam(beta1=BETAS[0], beta2=BETAS[1]))


def test_every_member_follows_torch_adamw_with_independent_decay() -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PeerUpdates:
        return PeerUpdates(
            lambda weight: torch.optim.AdamW(
                [weight], lr=1.0, betas=BETAS, eps=EPSILONS[member], weight_decay=0.0
            )
        )

    assert_follows(fused, reference)


def test_coupled_decay_is_that_of_torch_adamw_decay_and_all() -> None:
    """What torch calls weight decay is, times the learning rate, what a group has."""
    start = next(draws(5, 1, steps=1, shapes=TENSORS))
    parameters, weights = copied(start), copied(start)
    its_group = group(tuple(TENSORS), rates=(0.01,), decays=(0.01 * 0.1,), epsilon=(1e-8,))
    ours = fused(parameters, its_group)
    theirs = torch.optim.AdamW(weights.values(), lr=0.01, betas=BETAS, weight_decay=0.1)
    for step, gradients in enumerate(draws(6, 1, steps=STEPS, shapes=TENSORS), start=1):
        theirs.param_groups[0]["lr"] = 0.01 * SCALES[step - 1]
        for name, weight in weights.items():
            weight.grad = gradients[name].clone()
        theirs.step()
        ours.step(gradients, scale=SCALES[step - 1], step=step)
        for name, weight in weights.items():
            torch.testing.assert_close(parameters[name], weight, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("constant_decay", [False, True])
def test_it_is_the_core_with_adam_up_to_rounding(constant_decay: bool) -> None:
    """The schedule ends at zero, where constant decay goes on."""
    start = next(draws(7, 3, steps=1, shapes=TENSORS))
    its_group = group(
        tuple(TENSORS), rates=RATES, decays=DECAYS, constant_decay=constant_decay, epsilon=EPSILONS
    )
    runs = []
    for make in (fused, core):
        parameters = copied(start)
        optimizer = make(parameters, its_group)
        for step, gradients in enumerate(draws(8, 3, steps=STEPS, shapes=TENSORS), start=1):
            scale = 0.0 if step == STEPS else SCALES[step - 1]
            optimizer.step(gradients, scale=scale, step=step)
        states = [optimizer.state(member) for member in range(3)]
        runs.append([parameters, *states])
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-10, atol=1e-10)


def test_constant_decay_goes_on_when_the_schedule_has_come_to_zero() -> None:
    parameters = {"w": torch.ones(2, 2, 2, dtype=torch.float64)}
    its_group = group(
        ("w",), rates=(1.0, 1.0), decays=(0.1, 0.0), constant_decay=True, epsilon=(1.0, 1.0)
    )
    fused(parameters, its_group).step(copied(parameters), scale=0.0, step=1)
    torch.testing.assert_close(parameters["w"][0], torch.full((2, 2), 0.9, dtype=torch.float64))
    assert torch.equal(parameters["w"][1], torch.ones(2, 2, dtype=torch.float64))


def test_weight_decay_does_not_depend_on_the_learning_rate() -> None:
    parameters = {"w": torch.ones(2, 2, 2, dtype=torch.float64)}
    its_group = group(("w",), rates=(1e-9, 1e-3), decays=(0.1, 0.1), epsilon=(1.0, 1.0))
    zero = {"w": torch.zeros(2, 2, 2, dtype=torch.float64)}
    fused(parameters, its_group).step(zero, scale=0.5, step=1)
    torch.testing.assert_close(parameters["w"], torch.full_like(zero["w"], 0.95))


def test_the_state_names_both_moments_of_every_tensor() -> None:
    optimizer = fused(next(draws(0, 3, steps=1, shapes=TENSORS)), mixed_group(TENSORS))
    state = optimizer.state(1)
    assert set(state) == {f"{name}:{key}" for name in TENSORS for key in ("first", "second")}
    assert all(each.shape[1:] == TENSORS[key.split(":")[0]] for key, each in state.items())


def test_single_precision_stays_near_double() -> None:
    assert departure(fused) < 1e-6
