"""Linear algebra of stacks of matrices; the bits of one do not depend on the rest of the stack."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def raised(values: Tensor, exponent: float) -> Tensor:
    """Returns values ** exponent, in the number format of the values.

    A vectorised power rounds in another way than a scalar one, and which of a tensor's numbers
    get which depends on how many there are: on the pack, for one number a matrix. Both are right
    to within a few units of the last place of double precision, so they agree once rounded to
    float32; in float64 they do not.
    """
    return (values.double() ** exponent).to(values.dtype)


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Returns eigenvalues [N, k], ascending, and eigenvectors [N, k, k] in columns.

    A matrix that is not finite (its member has diverged) is taken for the identity: it must not
    keep the others from theirs. One on which the solver fails is tried in double precision.

    Raises:
        torch.linalg.LinAlgError: the solver fails on finite matrices in double precision too.
    """
    finite = matrices.isfinite().all(-1).all(-1)[:, None, None]
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    usable = torch.where(finite, matrices, identity)
    if usable.is_cuda:
        return _retried(usable)
    pairs = [_retried(each) for each in usable]  # a batched solver gains nothing on a CPU
    return torch.stack([values for values, _ in pairs]), torch.stack([each for _, each in pairs])


def _retried(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the same of a matrix, or of a stack of which none is to be spared."""
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        values, vectors = torch.linalg.eigh(matrix.double())
    return values.to(matrix.dtype), vectors.to(matrix.dtype)


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
