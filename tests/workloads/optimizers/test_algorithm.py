"""What every algorithm promises the core: members apart, plain state, any gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from matrix_cases import copied, draws, group
from plain_runs import DECAYS, EPSILONS, RATES, Make, ran, stacked
from torch import Tensor

from workloads.optimizers.adamw import Adam, FusedAdamW
from workloads.optimizers.adopt import Adopt
from workloads.optimizers.dion import Dion
from workloads.optimizers.lamb import Lamb
from workloads.optimizers.optimizer import Group
from workloads.optimizers.sgd import SGD
from workloads.optimizers.sophia import Sophia
from workloads.optimizers.spectral import RootMeanSquare, Spectral

Shapes = Mapping[str, tuple[int, ...]]

MATRICES: Shapes = {
    "a": (5, 3),
    "twin": (5, 3),
    "row": (1, 7),
    "column": (9, 1),
    "tall": (400, 3),
    "wide": (3, 400),
    "odd": (33, 31),
    "readout": (10, 64),
}
"""Two of one shape; some alone in their bucket; odd and very long ones."""

TENSORS: Shapes = {**MATRICES, "gain": (7,)}

SOPHIA = Sophia(beta1=0.9, beta2=0.8, rho=0.04, frequency=3, batch_tokens=50)
ADAM = Adam(beta1=0.9, beta2=0.95)

ELEMENTWISE: Mapping[str, Make] = {
    "sgd": stacked(SGD(momentum=0.9)),
    "plain sgd": stacked(SGD(momentum=0.0)),
    "adam": stacked(ADAM),
    "adamw": lambda parameters, its: FusedAdamW(parameters, its, beta1=0.9, beta2=0.95),
    "adopt": stacked(Adopt(beta1=0.9, beta2=0.98)),
    "lamb": stacked(Lamb(beta1=0.9, beta2=0.98)),
    "sophia": stacked(SOPHIA),
    "root mean square": stacked(RootMeanSquare(ADAM)),
    "root mean square of sophia": stacked(RootMeanSquare(SOPHIA)),
}

MATRIXWISE: Mapping[str, Make] = {
    "dion": stacked(Dion(momentum=0.9, rank=1.0)),
    "low-rank dion": stacked(Dion(momentum=0.9, rank=0.3, shape_factor="mup")),
    "spectral adam": stacked(Spectral(ADAM, iterations=1, warmup_steps=2)),
    "spectral adopt": stacked(
        Spectral(Adopt(beta1=0.9, beta2=0.98), iterations=2, warmup_steps=2)
    ),
    "spectral sophia": stacked(Spectral(SOPHIA, iterations=1, warmup_steps=2)),
    "spectral dion": stacked(Spectral(Dion(momentum=0.9, rank=0.5), iterations=1, warmup_steps=2)),
}

MAKES = {**ELEMENTWISE, **MATRIXWISE}
EVERY = pytest.mark.parametrize("name", MAKES)


def shapes_of(name: str) -> Shapes:
    return TENSORS if name in ELEMENTWISE else MATRICES


def gradients_of(
    name: str, seed: int, *, steps: int = 6, members: int = 3, dtype: torch.dtype = torch.float32
) -> list[dict[str, Tensor]]:
    return list(draws(seed, members, steps=steps, dtype=dtype, shapes=shapes_of(name)))


def settings_of(name: str, members: tuple[int, ...] = (0, 1, 2)) -> Group:
    """Members that differ in every setting."""
    mixed = group(tuple(shapes_of(name)), rates=RATES, decays=DECAYS, epsilon=EPSILONS)
    return mixed.keep(members)


def members_of(tensors: Mapping[str, Tensor], *members: int) -> dict[str, Tensor]:
    return {name: each[list(members)].clone() for name, each in tensors.items()}


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@EVERY
def test_a_member_of_a_pack_has_the_bits_of_that_member_alone(name: str, threads: int) -> None:
    start, gradients, curved = (
        gradients_of(name, 1, steps=1)[0],
        gradients_of(name, 2),
        gradients_of(name, 3),
    )
    whole, optimizer = ran(MAKES[name], settings_of(name), start, gradients, curved)
    for i in range(3):
        alone, solo = ran(
            MAKES[name],
            settings_of(name, (i,)),
            members_of(start, i),
            [members_of(each, i) for each in gradients],
            [members_of(each, i) for each in curved],
        )
        for tensor, value in whole.items():
            assert torch.equal(alone[tensor][0], value[i]), tensor
        for key, view in optimizer.state(i).items():
            assert torch.equal(solo.state(0)[key], view), key


@EVERY
def test_nan_in_one_matrix_of_one_member_leaves_the_bits_of_all_else(name: str) -> None:
    start, gradients, curved = (
        gradients_of(name, 1, steps=1)[0],
        gradients_of(name, 2),
        gradients_of(name, 3),
    )
    clean, _ = ran(MAKES[name], settings_of(name), start, gradients, curved)
    gradients[2]["twin"][1, 0, 0] = torch.nan
    gradients[3]["odd"][1] = torch.inf
    gradients[4]["row"][1] = -torch.inf
    dirty, _ = ran(MAKES[name], settings_of(name), start, gradients, curved)
    for tensor, value in dirty.items():
        assert torch.equal(value[[0, 2]], clean[tensor][[0, 2]]), tensor
        if tensor not in ("twin", "odd", "row"):
            assert torch.equal(value[1], clean[tensor][1]), tensor
    assert dirty["twin"][1].isnan().any()


@EVERY
def test_members_that_are_kept_go_on_as_if_nothing_had_been_dropped(name: str) -> None:
    start, gradients, curved = (
        gradients_of(name, 1, steps=1)[0],
        gradients_of(name, 2),
        gradients_of(name, 3),
    )
    whole, undisturbed = ran(MAKES[name], settings_of(name), start, gradients, curved)
    parameters = copied(start)
    optimizer = MAKES[name](parameters, settings_of(name))
    for step, (each, curvature) in enumerate(zip(gradients, curved, strict=True), start=1):
        if step == 4:
            parameters.update(members_of(parameters, 2, 0))
            optimizer.keep([2, 0])
        if step >= 4:
            each, curvature = members_of(each, 2, 0), members_of(curvature, 2, 0)
        optimizer.step(copied(each), scale=1.0, step=step, curvature=curvature)
    for tensor, value in whole.items():
        assert torch.equal(parameters[tensor], value[[2, 0]]), tensor
    for key, view in optimizer.state(0).items():
        assert torch.equal(undisturbed.state(2)[key], view), key


@EVERY
@pytest.mark.parametrize("after", [1, 2, 3])
def test_the_state_is_all_that_the_next_steps_need(name: str, after: int) -> None:
    start, gradients, curved = (
        gradients_of(name, 1, steps=1)[0],
        gradients_of(name, 2),
        gradients_of(name, 3),
    )
    whole, _ = ran(MAKES[name], settings_of(name), start, gradients, curved)
    cut, first = ran(MAKES[name], settings_of(name), start, gradients[:after], curved)
    second = MAKES[name](cut, settings_of(name))
    for i in range(3):
        for key, view in second.state(i).items():
            view.copy_(first.state(i)[key])
    for step in range(after + 1, len(gradients) + 1):
        second.step(copied(gradients[step - 1]), scale=1.0, step=step, curvature=curved[step - 1])
    for tensor, value in whole.items():
        assert torch.equal(cut[tensor], value), tensor


def zero(gradient: Tensor) -> Tensor:
    return torch.zeros_like(gradient)


def denormal(gradient: Tensor) -> Tensor:
    return gradient * 1e-42


def rank_one(gradient: Tensor) -> Tensor:
    return gradient[..., :1] * gradient[..., :1, :] if gradient.ndim == 3 else gradient


def one_entry(gradient: Tensor) -> Tensor:
    return gradient * (gradient == gradient.amax(-1, keepdim=True))


@EVERY
@pytest.mark.parametrize("change", [zero, denormal, rank_one, one_entry])
def test_any_gradient_gives_a_finite_update(name: str, change: Callable[[Tensor], Tensor]) -> None:
    """From the first step on, and again after usual ones."""
    start = gradients_of(name, 1, steps=1)[0]
    gradients = gradients_of(name, 2)
    curved = gradients_of(name, 3)
    for place in (0, 1, 4, 5):
        gradients[place] = {n: change(each) for n, each in gradients[place].items()}
        curved[place] = {n: change(each) for n, each in curved[place].items()}
    ends, optimizer = ran(MAKES[name], settings_of(name), start, gradients, curved)
    assert all(each.isfinite().all() for each in ends.values())
    assert all(v.isfinite().all() for i in range(3) for v in optimizer.state(i).values())


@EVERY
def test_gradients_of_zero_move_nothing(name: str) -> None:
    start = gradients_of(name, 1, steps=1)[0]
    gradients = [{n: zero(g) for n, g in each.items()} for each in gradients_of(name, 2)]
    its_group = group(tuple(shapes_of(name)), rates=RATES, epsilon=EPSILONS)
    ends, _ = ran(MAKES[name], its_group, start, gradients, gradients)
    assert all(torch.equal(each, start[tensor]) for tensor, each in ends.items())


@EVERY
def test_half_precision_parameters_have_their_state_in_single_and_are_rounded_once(
    name: str,
) -> None:
    start = gradients_of(name, 1, steps=1, dtype=torch.bfloat16)[0]
    gradients = gradients_of(name, 2, dtype=torch.bfloat16)
    curved = gradients_of(name, 3, dtype=torch.bfloat16)
    parameters, its_group = copied(start), settings_of(name)
    optimizer = MAKES[name](parameters, its_group)
    exact = {tensor: each.float() for tensor, each in start.items()}
    peer = MAKES[name] if name != "adamw" else MAKES["adam"]  # bfloat16 has no fused kernel
    reference = peer(exact, its_group)
    for step, (each, curvature) in enumerate(zip(gradients, curved, strict=True), start=1):
        optimizer.step(copied(each), scale=0.5, step=step, curvature=curvature)
        single, curvature = ({n: t.float() for n, t in d.items()} for d in (each, curvature))
        reference.step(single, scale=0.5, step=step, curvature=curvature)
        for tensor, value in exact.items():
            assert parameters[tensor].dtype == torch.bfloat16
            assert torch.equal(parameters[tensor], value.bfloat16()), f"{tensor}, step {step}"
            value.copy_(parameters[tensor])
    assert all(view.dtype == torch.float32 for view in optimizer.state(1).values())


@pytest.mark.parametrize("name", [each for each in MAKES if "sgd" not in each])
@pytest.mark.parametrize("factor", [1e-3, 1e4])
def test_without_epsilon_the_size_of_the_gradients_does_not_matter(
    name: str, factor: float
) -> None:
    """Sophia's curvature, the square of a gradient, is to grow as the gradient does."""
    start, gradients, curved = (
        gradients_of(name, seed, steps=steps, dtype=torch.float64)
        for seed, steps in ((1, 1), (2, 6), (3, 6))
    )
    its_group = group(tuple(shapes_of(name)), rates=RATES, epsilon=(1e-100,) * 3)
    plain, _ = ran(MAKES[name], its_group, start[0], gradients, curved)
    larger = [{n: factor * g for n, g in each.items()} for each in gradients]
    steeper = [{n: factor**0.5 * g for n, g in each.items()} for each in curved]
    scaled, _ = ran(MAKES[name], its_group, start[0], larger, steeper)
    torch.testing.assert_close(scaled, plain, rtol=1e-9, atol=1e-9)
