"""Matrix functions of a stack whose bits, for one matrix, do not depend on the rest of it.

On a CPU ``torch.bmm`` picks another kernel for a stack of one than for one of several, and
products and decompositions depend, in the last bits, on how a matrix lies in memory (of 180 shapes
tried, 43 products with a vector, 17 with a few columns, 13 decompositions). A stack of one is what
a member is that trains alone, so here every matrix goes through by itself, and aligned. That costs
nothing from about 128 rows on, and products with a vector are several times as fast so: 0.5 ms for
four of 1024 rows and columns, where ``torch.bmm`` takes 3 to 15. On CUDA all of them go at once.

Legend: N matrices in a stack, [N, m, n].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_ALIGNMENT = 64
"""Bytes at multiples of which torch allocates on a CPU."""


def product(left: Tensor, right: Tensor) -> Tensor:
    """Returns the matrix products [N, m, n] of [N, m, k] and [N, k, n]."""
    return one_by_one(torch.matmul, left, right)


def orthonormal(matrices: Tensor) -> Tensor:
    """Returns, for each matrix [N, m, n] with m >= n, columns of length one at right angles that
    span its columns: Q of its QR decomposition, with NaN for a matrix that holds NaN."""
    return one_by_one(lambda each: torch.linalg.qr(each).Q, matrices)


def lengths(matrices: Tensor) -> Tensor:
    """Returns the Frobenius norm of each entry of a stack [N, ...], as [N, 1, ...]."""
    norms: Tensor = torch.linalg.vector_norm(matrices.flatten(1), dim=1)
    return norms.view(-1, *[1] * (matrices.ndim - 1))


def one_by_one(function: Callable[..., Tensor], *stacks: Tensor) -> Tensor:
    """Returns a function of matrices, for each place in some stacks [N, ...]; on CUDA, where it
    is given the whole stacks, it has to take those too."""
    if stacks[0].is_cuda:
        return function(*stacks)
    places = zip(*(stack.unbind(0) for stack in stacks), strict=True)
    return torch.stack([function(*map(aligned, place)) for place in places])


def aligned(matrix: Tensor) -> Tensor:
    """Returns a matrix, or a copy of it if torch would not have put it where it is."""
    return matrix if matrix.data_ptr() % _ALIGNMENT == 0 else matrix.clone()
