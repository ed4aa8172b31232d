"""AdamW over a pack, against torch's own."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.adamw import AdamW
from workloads.optimizers.optimizer import Group

SHAPES = {"a": (5, 3), "b": (4, 4), "gain": (7,)}
RATES, DECAYS, EPSILONS = (1e-2, 3e-3, 0.1), (0.0, 0.02, 0.001), (1e-8, 1e-3, 1e-12)
SCALES = [min(1.0, (t + 1) / 5) * (1 - t / 25) for t in range(25)]


def draw(generator: torch.Generator, members: int) -> dict[str, Tensor]:
    return {
        name: torch.randn((members, *shape), generator=generator, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def packed(start: dict[str, Tensor]) -> tuple[dict[str, Tensor], AdamW]:
    parameters = {name: value.clone() for name, value in start.items()}
    group = Group(
        names=tuple(SHAPES), learning_rates=RATES, weight_decays=DECAYS, epsilons=EPSILONS
    )
    return parameters, AdamW(parameters, group, beta1=0.9, beta2=0.98)


def test_every_member_follows_torch_adamw_step_by_step_with_independent_decay() -> None:
    generator = torch.Generator().manual_seed(3)
    start = draw(generator, 3)
    parameters, ours = packed(start)
    peers = [{name: value[i].clone() for name, value in start.items()} for i in range(3)]
    theirs = [
        torch.optim.AdamW(
            peer.values(), lr=1.0, betas=(0.9, 0.98), eps=eps, weight_decay=0.0, foreach=False
        )
        for peer, eps in zip(peers, EPSILONS, strict=True)
    ]
    for step, scale in enumerate(SCALES, start=1):
        gradients = draw(generator, 3)
        for i, (peer, optimizer) in enumerate(zip(peers, theirs, strict=True)):
            optimizer.param_groups[0]["lr"] = scale * RATES[i]
            for name, weight in peer.items():
                weight.grad = gradients[name][i].clone()
                weight.sub_(scale * DECAYS[i] * weight)
            optimizer.step()
        ours.step(gradients, scale=scale, step=step)
        for i, peer in enumerate(peers):
            for name, weight in peer.items():
                torch.testing.assert_close(parameters[name][i], weight, rtol=1e-10, atol=1e-10)


def test_weight_decay_does_not_depend_on_the_learning_rate() -> None:
    parameters = {"w": torch.ones(2, 2, 2, dtype=torch.float64)}
    group = Group(
        names=("w",), learning_rates=(1e-9, 1e-3), weight_decays=(0.1, 0.1), epsilons=(1.0, 1.0)
    )
    zero = {"w": torch.zeros(2, 2, 2, dtype=torch.float64)}
    AdamW(parameters, group, beta1=0.9, beta2=0.9).step(zero, scale=0.5, step=1)
    torch.testing.assert_close(parameters["w"], torch.full_like(zero["w"], 0.95))


def test_members_that_are_kept_go_on_as_if_nothing_had_been_dropped() -> None:
    generator = torch.Generator().manual_seed(5)
    start = draw(generator, 3)
    (whole, undisturbed), (cut, compacted) = packed(start), packed(start)
    for step in range(1, 7):
        gradients = draw(generator, 3)
        undisturbed.step(gradients, scale=1.0, step=step)
        if step == 4:
            compacted.keep([2, 0])
            cut.update({name: value[[2, 0]] for name, value in cut.items()})
        chosen = gradients if step < 4 else {n: g[[2, 0]] for n, g in gradients.items()}
        compacted.step(chosen, scale=1.0, step=step)
    for name, value in whole.items():
        assert torch.equal(cut[name], value[[2, 0]])
        key = f"{name}:second_moment"
        assert torch.equal(compacted.state(0)[key], undisturbed.state(2)[key])


def test_the_state_names_both_moments_of_every_tensor() -> None:
    _, optimizer = packed(draw(torch.Generator().manual_seed(0), 3))
    state = optimizer.state(1)
    moments = ("first_moment", "second_moment")
    assert set(state) == {f"{name}:{moment}" for name in SHAPES for moment in moments}
    assert all(value.shape == SHAPES[key.split(":")[0]] for key, value in state.items())
