"""Blocks: tiles that are matrices of their own, in their places again afterwards."""

from __future__ import annotations

import pytest
import torch
from matrix_cases import copied, draws, group, trained
from preconditioned_cases import ADAM, shampoo, soap
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, Matrixwise, State, StepContext
from workloads.optimizers.blocked import Blocked
from workloads.optimizers.grafted import Grafted
from workloads.optimizers.optimizer import Optimizer

NAMES = ("epsilon", "graft_epsilon", "adam_epsilon", "basis_epsilon")
EPSILONS = dict.fromkeys(NAMES, (0.001, 0.01))
RATES = (0.1, 0.2)

INNER: dict[str, Algorithm] = {
    "shampoo": shampoo(),
    "soap": soap(),
    "grafted": Grafted(shampoo(), ADAM, start=2),
}


class Mixed(Matrixwise):
    """U = eps G + W + C, each of which has to be that of the tile; wants C at even steps."""

    def wants_curvature(self, step: int) -> bool:
        return step % 2 == 0

    def start(self, like: Tensor) -> State:
        return {}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        update = gradient.mul_(now.epsilon).add_(now.weights())
        return update if now.curvature is None else update + now.curvature


def tiles(stack: Tensor, size: int) -> dict[str, Tensor]:
    """Returns copies of the tiles [E, h, w] of a tensor [E, m, n], ragged at the edges."""
    return {
        f"{i}.{j}": part.clone()
        for i, rows in enumerate(stack.split(size, 1))
        for j, part in enumerate(rows.split(size, 2))
    }


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (3, 8), (1, 10), (4, 4), (9, 2)])
def test_every_tile_moves_as_a_parameter_of_its_own(name: str, shape: tuple[int, int]) -> None:
    size = 4
    start = next(draws(2, 2, steps=1, shapes={"a": shape}))
    gradients = list(draws(1, 2, steps=10, shapes={"a": shape}))
    blocked = Blocked(INNER[name], size=size, max_dim=100)
    whole = trained(blocked, group(["a"], rates=RATES, **EPSILONS), start, gradients)
    parts = tiles(start["a"], size)
    apart = trained(
        INNER[name],
        group(list(parts), rates=RATES, **EPSILONS),
        parts,
        [tiles(each["a"], size) for each in gradients],
    )
    for key, each in tiles(whole["a"], size).items():
        torch.testing.assert_close(each, apart[key], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", INNER)
def test_one_tile_is_the_matrix(name: str) -> None:
    start = next(draws(2, 2, steps=1, shapes={"a": (5, 3)}))
    gradients = list(draws(1, 2, steps=10, shapes={"a": (5, 3)}))
    its_group = group(["a"], rates=RATES, **EPSILONS)
    blocked = trained(Blocked(INNER[name], size=5, max_dim=9), its_group, start, gradients)
    assert torch.equal(blocked["a"], trained(INNER[name], its_group, start, gradients)["a"])


def test_a_side_that_is_too_long_is_not_cut() -> None:
    inner = shampoo(max_dim=8)
    shape = (6, 9)
    start = next(draws(2, 2, steps=1, shapes={"a": shape}))
    gradients = list(draws(1, 2, steps=10, shapes={"a": shape}))
    blocked = Blocked(inner, size=2, max_dim=8)
    whole = trained(blocked, group(["a"], rates=RATES, **EPSILONS), start, gradients)["a"]

    def rows(stack: Tensor) -> dict[str, Tensor]:
        return {str(i): part.clone() for i, part in enumerate(stack.split(2, 1))}

    parts = rows(start["a"])
    its_group = group(list(parts), rates=RATES, **EPSILONS)
    apart = trained(inner, its_group, parts, [rows(each["a"]) for each in gradients])
    for key, each in rows(whole).items():
        torch.testing.assert_close(each, apart[key], rtol=1e-12, atol=1e-12)


def test_weights_curvature_and_epsilons_are_those_of_the_tile() -> None:
    shape = (5, 7)
    epsilons = {"epsilon": (0.5, 3.0)}
    weights, gradients, curvature = draws(1, 2, steps=3, shapes={"a": shape})
    found = copied(weights)
    blocked = Blocked(Mixed(), size=2, max_dim=100)
    optimizer = Optimizer(found, group(["a"], rates=(1.0, 1.0), **epsilons), blocked)
    assert [optimizer.wants_curvature(step) for step in (1, 2)] == [False, True]
    optimizer.step(copied(gradients), scale=1.0, step=2, curvature=curvature)
    scale = torch.tensor([0.5, 3.0], dtype=torch.float64).view(2, 1, 1)
    torch.testing.assert_close(found["a"], -scale * gradients["a"] - curvature["a"])


def test_the_state_of_a_tile_is_its_matrix_s_and_its_member_s() -> None:
    start = next(draws(2, 2, steps=1, shapes={"a": (5, 4), "b": (5, 4)}))
    its_group = group(["a", "b"], rates=RATES, epsilon=(1e-3, 1e-2))
    optimizer = Optimizer(copied(start), its_group, Blocked(shampoo(), size=2, max_dim=9))
    gradient = next(draws(1, 2, steps=1, shapes={"a": (5, 4), "b": (5, 4)}))
    optimizer.step(copied(gradient), scale=1.0, step=1)
    for member in range(2):
        state = optimizer.state(member)
        assert {key.split(":")[1].split(".")[0] for key in state} == {"2x2", "1x2"}
        expected = [part for n in "ab" for part in gradient[n][member][4:].split(2, 1)]
        torch.testing.assert_close(state["a+b:1x2.first"], 0.1 * torch.stack(expected))
