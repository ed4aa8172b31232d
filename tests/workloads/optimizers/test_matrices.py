"""Functions of a stack that treat each matrix by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from workloads.optimizers.linalg import lengths, orthonormal, product

SIZES = [(1, 400), (10, 5), (10, 64), (33, 31), (40, 3), (64, 64), (100, 1), (300, 130)]


def draw(members: int, rows: int, columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * rows + columns)
    return torch.randn(members, rows, columns, generator=generator)


def gram_of_few(matrices: Tensor) -> Tensor:
    """Products with the first third of the columns, and back."""
    few = matrices[:, :, : max(1, matrices.shape[2] // 3)]
    return product(matrices.mT, few)


def applied(matrices: Tensor) -> Tensor:
    """Products with a vector."""
    return product(matrices, matrices[:, :1].mT)


def basis(matrices: Tensor) -> Tensor:
    tall = matrices if matrices.shape[1] >= matrices.shape[2] else matrices.mT
    return orthonormal(tall)


@pytest.mark.parametrize("function", [gram_of_few, applied, basis, lengths])
@pytest.mark.parametrize("size", SIZES)
def test_the_bits_of_one_matrix_do_not_depend_on_the_stack(
    function: Callable[[Tensor], Tensor], size: tuple[int, int]
) -> None:
    matrices = draw(5, *size)
    whole = function(matrices)
    for i in range(5):
        assert torch.equal(function(matrices[i : i + 1].clone())[0], whole[i])


def test_a_product_is_that_of_the_matrices() -> None:
    left, right = draw(3, 4, 5).double(), draw(3, 6, 5).double().mT
    expected = torch.einsum("nik,nkj->nij", left, right)
    torch.testing.assert_close(product(left, right), expected, rtol=1e-12, atol=1e-12)


def test_the_columns_are_orthonormal_and_span_those_of_the_matrix() -> None:
    matrices = draw(3, 9, 4).double()
    found = orthonormal(matrices)
    eye = torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    torch.testing.assert_close(found.mT @ found, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(found @ (found.mT @ matrices), matrices, rtol=1e-12, atol=1e-12)


def test_nan_in_one_matrix_leaves_the_bases_of_the_others() -> None:
    matrices = draw(3, 9, 4)
    clean = orthonormal(matrices)
    matrices[1, 3, 2] = torch.nan
    found = orthonormal(matrices)
    assert torch.equal(found[[0, 2]], clean[[0, 2]])
    assert found[1].isnan().any()


def test_lengths_are_norms_over_all_axes_but_the_first() -> None:
    stack = draw(2, 3, 4).double().view(2, 3, 2, 2)
    expected = stack.square().sum((1, 2, 3)).sqrt().view(2, 1, 1, 1)
    torch.testing.assert_close(lengths(stack), expected, rtol=1e-12, atol=0)
