"""Eigenvalues of stacks of symmetric matrices, of which some may not be finite."""

from __future__ import annotations

import torch
from torch import Tensor


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
