"""What Shampoo, SOAP, their grafts and blocks all have to hold out, and that bits stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from matrix_cases import copied, draws, group
from plain_runs import departure, ran
from preconditioned_cases import ALGORITHMS, Preconditioned
from torch import Tensor

from workloads.optimizers.layout import Parameters
from workloads.optimizers.optimizer import Group, Optimizer

SHAPES = {"a": (16, 16), "twin": (16, 16), "odd": (7, 13), "long": (3, 140), "row": (1, 9)}
"""Among them a stack of two, sides of more than two panels, and matrices that lie unaligned."""

EXTREME = {"square": (6, 6), "row": (1, 12), "column": (12, 1), "tall": (100, 3), "one": (1, 1)}
EPSILONS = (1e-8, 1e-5, 1e-6)

each_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def members(names: Sequence[str], number: int = 1) -> Group:
    return group(list(names), rates=(0.1, 0.02, 0.05)[:number], epsilon=EPSILONS[:number])


def streams() -> dict[str, list[dict[str, Tensor]]]:
    """Returns streams of eight gradients that are hard to precondition, in single precision."""
    drawn = list(draws(1, 1, steps=8, dtype=torch.float32, shapes=EXTREME))
    nothing = [{n: torch.zeros_like(g) for n, g in each.items()} for each in drawn]
    rank_one = [{n: g[:, :, :1] @ drawn[0][n][:, :1] for n, g in each.items()} for each in drawn]
    return {
        "normal": drawn,
        "zero": nothing,
        "zero at first": nothing[:2] + drawn[2:],
        "zero at last": drawn[:2] + nothing[2:],
        "rank one": rank_one,
        "always the same": [drawn[0]] * 8,
        "tiny": [{n: g * 1e-22 for n, g in each.items()} for each in drawn],
        "denormal": [{n: g * 1e-40 for n, g in each.items()} for each in drawn],
        "large": [{n: g * 1e8 for n, g in each.items()} for each in drawn],
    }


@each_algorithm
@pytest.mark.parametrize("stream", streams())
def test_weights_stay_finite(name: str, stream: str) -> None:
    start = {n: torch.zeros((1, *shape)) for n, shape in EXTREME.items()}
    gradients = streams()[stream]
    ends, _ = ran(Preconditioned(ALGORITHMS[name]), members(list(EXTREME)), start, gradients)
    for key, each in ends.items():
        assert bool(each.isfinite().all()), key
        if stream == "zero":
            assert not each.any(), key


@each_algorithm
def test_members_have_the_bits_that_they_have_alone(name: str) -> None:
    make = Preconditioned(ALGORITHMS[name])
    start = next(draws(2, 3, steps=1, dtype=torch.float32, shapes=SHAPES))
    gradients = list(draws(1, 3, steps=12, dtype=torch.float32, shapes=SHAPES))
    together, _ = ran(make, members(list(SHAPES), 3), start, gradients)
    for member in range(3):
        own = slice(member, member + 1)
        alone, _ = ran(
            make,
            members(list(SHAPES), 3).keep([member]),
            {n: each[own] for n, each in start.items()},
            [{n: g[own] for n, g in each.items()} for each in gradients],
        )
        for key, each in alone.items():
            assert torch.equal(together[key][own], each), key


@pytest.mark.parametrize(
    ("name", "bad"),
    [*((name, float("nan")) for name in ALGORITHMS), ("grafted", float("inf"))],
)
def test_a_member_that_diverges_leaves_the_others_their_bits(name: str, bad: float) -> None:
    make, names = Preconditioned(ALGORITHMS[name]), list(SHAPES)
    start = next(draws(2, 3, steps=1, dtype=torch.float32, shapes=SHAPES))
    gradients = list(draws(1, 3, steps=12, dtype=torch.float32, shapes=SHAPES))
    expected, _ = ran(make, members(names, 3), start, gradients)
    for key in names:
        gradients[5][key][1, 0, 0] = bad
    found, _ = ran(make, members(names, 3), start, gradients)
    for key in names:
        assert not found[key][1].isfinite().all()
        assert torch.equal(found[key][[0, 2]], expected[key][[0, 2]]), key


@each_algorithm
@pytest.mark.parametrize("stop", [3, 4, 6])
def test_a_run_goes_on_from_its_state_as_if_it_had_not_stopped(name: str, stop: int) -> None:
    """Roots and bases are computed at steps 1, 4, 7, 10; the exact bases end with step 5."""
    make, names = Preconditioned(ALGORITHMS[name]), list(SHAPES)
    start = next(draws(2, 2, steps=1, dtype=torch.float32, shapes=SHAPES))
    gradients = list(draws(1, 2, steps=9, dtype=torch.float32, shapes=SHAPES))
    expected, _ = ran(make, members(names, 2), start, gradients)
    middle, first = ran(make, members(names, 2), start, gradients[:stop])
    second = make(middle, members(names, 2))
    for member in range(2):
        saved = {key: each.clone() for key, each in first.state(member).items()}
        into = second.state(member)
        assert into.keys() == saved.keys()
        for key, each in into.items():
            each.copy_(saved[key])
    for step, each in enumerate(gradients[stop:], start=stop + 1):
        second.step(copied(each), scale=1.0, step=step)
    for key, weights in middle.items():
        assert torch.equal(weights, expected[key]), key


@each_algorithm
def test_members_that_are_kept_go_on_as_if_nothing_had_been_dropped(name: str) -> None:
    make, names = Preconditioned(ALGORITHMS[name]), list(SHAPES)
    start = next(draws(2, 3, steps=1, dtype=torch.float32, shapes=SHAPES))
    gradients = list(draws(1, 3, steps=8, dtype=torch.float32, shapes=SHAPES))
    expected, undisturbed = ran(make, members(names, 3), start, gradients)
    cut, optimizer = ran(make, members(names, 3), start, gradients[:4])
    optimizer.keep([2, 0])
    cut.update({key: each[[2, 0]] for key, each in cut.items()})
    for step, each in enumerate(gradients[4:], start=5):
        chosen = {key: gradient[[2, 0]] for key, gradient in each.items()}
        optimizer.step(chosen, scale=1.0, step=step)
    for key, weights in cut.items():
        assert torch.equal(weights, expected[key][[2, 0]]), key
    for key, value in optimizer.state(0).items():
        assert torch.equal(value, undisturbed.state(2)[key]), key


@each_algorithm
def test_a_stack_of_tensors_moves_as_each_alone(name: str) -> None:
    make = Preconditioned(ALGORITHMS[name])
    start = next(draws(2, 2, steps=1, dtype=torch.float32, shapes=SHAPES))
    gradients = list(draws(1, 2, steps=8, dtype=torch.float32, shapes=SHAPES))
    together, _ = ran(make, members(list(SHAPES), 2), start, gradients)

    def only(tensors: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
        return {key: tensors[key]}

    for key in SHAPES:
        own = [only(each, key) for each in gradients]
        alone, _ = ran(make, members([key], 2), only(start, key), own)
        assert torch.equal(alone[key], together[key]), key


@each_algorithm
def test_half_precision_weights_have_single_precision_states(name: str) -> None:
    make = Preconditioned(ALGORITHMS[name])
    start = next(draws(2, 1, steps=1, dtype=torch.bfloat16, shapes=SHAPES))
    gradients = list(draws(1, 1, steps=5, dtype=torch.bfloat16, shapes=SHAPES))
    ends, optimizer = ran(make, members(list(SHAPES)), start, gradients)
    assert {each.dtype for each in optimizer.state(0).values()} == {torch.float32}
    for key, each in ends.items():
        assert each.dtype == torch.bfloat16
        assert not torch.equal(each, start[key])
        assert bool(each.isfinite().all())


@each_algorithm
def test_single_precision_stays_near_double(name: str) -> None:
    """With ridges that bound the condition of the statistics. Without one, single precision knows
    their small eigenvalues, which negative powers make large, and the bases between near ones,
    to fewer digits: with 1e-8 the ways part by up to a tenth."""
    make = Preconditioned(ALGORITHMS[name])

    def with_ridge(parameters: Parameters, its_group: Group) -> Optimizer:
        return make(parameters, replace(its_group, epsilons={"epsilon": (0.3,)}))

    assert departure(with_ridge, shapes={"a": (8, 8), "b": (5, 5)}) < 1e-6
