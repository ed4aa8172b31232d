"""Dion, against its equations with Gram and Schmidt's orthogonalisation, and its limits."""

from __future__ import annotations

import math

import pytest
import torch
from matrix_cases import draws, group
from plain_runs import EPSILONS, MATRICES, assert_follows, departure, now, ran, stacked
from torch import Tensor

from workloads.optimizers.algorithm import tensor_in
from workloads.optimizers.dion import Dion
from workloads.optimizers.optimizer import Optimizer


def gram_schmidt(matrix: Tensor) -> Tensor:
    """Returns an orthonormal basis of a matrix's columns, each made so twice for precision."""
    basis: list[Tensor] = []
    for column in matrix.T:
        for _ in range(2):
            for other in basis:
                column = column - (other @ column) * other
        basis.append(column / column.square().sum().sqrt())
    return torch.stack(basis, 1)


class PlainDion:
    """Algorithm 1 of the paper for one matrix [m, n], from a right factor [n, r]."""

    def __init__(self, right: Tensor, epsilon: float, *, momentum: float) -> None:
        self._momentum, self._epsilon = momentum, epsilon
        self._right = right.clone()
        self._buffer: Tensor | float = 0.0

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns P Q'."""
        buffer = self._buffer + gradient
        left = gram_schmidt(buffer @ self._right)
        right = buffer.T @ left
        self._buffer = buffer - (1 - self._momentum) * left @ right.T
        columns = [column / (column.norm() + self._epsilon) for column in right.T]
        self._right = torch.stack(columns, 1)
        return left @ self._right.T


KEYS = {
    "a": ("a+twin", 0),
    "twin": ("a+twin", 1),
    "b": ("b", 0),
    "row": ("row", 0),
    "tall": ("tall", 0),
}
"""Bucket of each matrix, and its place in it."""


@pytest.mark.parametrize("rank", [1.0, 0.5])
def test_every_member_follows_the_equations(rank: float) -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainDion:
        bucket, place = KEYS[name]
        right = optimizer.state(member)[f"{bucket}:right"][place]
        return PlainDion(right, EPSILONS[member], momentum=0.9)

    make = stacked(Dion(momentum=0.9, rank=rank))
    assert_follows(make, reference, shapes=MATRICES)


def test_single_precision_stays_near_double() -> None:
    assert departure(stacked(Dion(momentum=0.95, rank=0.5)), shapes=MATRICES) < 1e-6


def test_the_rank_is_a_share_of_the_smaller_side_rounded_up() -> None:
    shares = {0.5: 4, 0.58: 5, 0.07: 1, 1e-9: 1, 1.0: 7}
    for share, expected in shares.items():
        state = Dion(momentum=0.9, rank=share).start(torch.zeros(2, 7, 30))
        assert tensor_in(state, "right").shape == (2, 30, expected)
    assert Dion(momentum=0.9, rank=0.07).rank(100, 300) == 7  # 0.07 * 100 is 7.000000000000001


def test_right_factors_start_orthonormal_of_their_own_and_the_same_for_all_members() -> None:
    start = next(draws(0, 3, steps=1, shapes=MATRICES))
    its_group = group(tuple(MATRICES), rates=(1.0,) * 3, epsilon=(1e-8,) * 3)
    _, optimizer = ran(stacked(Dion(momentum=0.9, rank=0.6)), its_group, start, [])
    rights = [optimizer.state(member)["a+twin:right"] for member in range(3)]
    assert torch.equal(rights[0], rights[2])
    assert not torch.equal(rights[0][0], rights[0][1])
    unit = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    torch.testing.assert_close(rights[0].mT @ rights[0], unit)


def test_on_a_constant_gradient_full_rank_goes_to_the_orthogonal_factor() -> None:
    """Then the momentum is a multiple of the gradient, and M Q, orth, M' P a power iteration of
    all its singular vectors."""
    generator = torch.Generator().manual_seed(2)
    gradient = torch.randn(1, 6, 4, generator=generator, dtype=torch.float64)
    algorithm = Dion(momentum=0.9, rank=1.0, shape_factor="mup")
    state = algorithm.start(gradient)
    for step in range(1, 301):
        update = algorithm.update(gradient.clone(), state, now(step, 1e-12))
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    torch.testing.assert_close(update, math.sqrt(6 / 4) * left @ right, rtol=1e-9, atol=1e-9)


def test_what_the_update_leaves_out_is_fed_back() -> None:
    """At rank one, a constant gradient of rank three has moved along all its directions."""
    generator = torch.Generator().manual_seed(4)
    left = gram_schmidt(torch.randn(8, 3, generator=generator, dtype=torch.float64))
    right = gram_schmidt(torch.randn(9, 3, generator=generator, dtype=torch.float64))
    gradient = (left * torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64) @ right.T)[None]
    algorithm = Dion(momentum=0.9, rank=1 / 8)
    state, total = algorithm.start(gradient), torch.zeros_like(gradient)
    for step in range(1, 101):
        total += algorithm.update(gradient.clone(), state, now(step, 1e-12))
    along = torch.linalg.svdvals(left.T @ total[0] @ right)
    assert float(along.min()) > 5, along
    torch.testing.assert_close(
        left @ (left.T @ total[0] @ right) @ right.T, total[0], atol=0.5, rtol=0
    )


def test_a_zero_gradient_moves_nothing_and_keeps_the_right_factor() -> None:
    algorithm = Dion(momentum=0.9, rank=0.5)
    gradient = torch.zeros(2, 5, 4)
    gradient[1] = torch.ones(5, 4)
    state = algorithm.start(gradient)
    before = tensor_in(state, "right").clone()
    update = algorithm.update(gradient, state, now(1, 1e-8))
    assert update[0].count_nonzero() == 0
    assert torch.equal(tensor_in(state, "right")[0], before[0])
    assert update[1].isfinite().all() and update[1].count_nonzero() == 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gradient_of_rank_one_moves_weights_along_itself_alone(dtype: torch.dtype) -> None:
    """Whatever rounding has left in the other columns."""
    generator = torch.Generator().manual_seed(6)
    left, right = (torch.randn(2, n, 1, generator=generator, dtype=dtype) for n in (64, 48))
    gradient = left @ right.mT
    algorithm = Dion(momentum=0.9, rank=1.0)
    state = algorithm.start(gradient)
    direction = gradient / torch.linalg.matrix_norm(gradient, keepdim=True)
    for step in range(1, 6):
        update = algorithm.update(gradient.clone(), state, now(step, 1e-12))
        torch.testing.assert_close(update, direction, rtol=0, atol=1e-5)
    assert tensor_in(state, "right").norm(dim=1).min() > 0.5
