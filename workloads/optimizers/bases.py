"""Orthonormal eigenbases of stacks of symmetric matrices, exact and refined.

Eigenvectors are rows here: a decomposition wants its columns one after the other in memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.eigen import eigh
from workloads.optimizers.matrices import one_by_one, product


def exact_basis(matrices: Tensor, epsilon: Tensor) -> Tensor:
    """Returns eigenvectors of A + epsilon I as rows [N, k, k], largest eigenvalue first.

    Args:
        matrices: A, [N, k, k].
        epsilon: [N, 1, 1].
    """
    with_ridge = matrices.clone()
    with_ridge.diagonal(dim1=-2, dim2=-1).add_(epsilon[..., 0])
    _, vectors = eigh(with_ridge)
    return vectors.mT.flip(-2).contiguous()


def refined_basis(matrices: Tensor, basis: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a basis after one power iteration and QR, and the order of its vectors [N, k].

    The vectors q of the basis are first sorted by q' A q, largest first; vector j of the result
    comes from vector order[j] of the basis.

    Args:
        matrices: A, [N, k, k].
        basis: orthonormal rows, [N, k, k].
        epsilon: [N, 1, 1], added to the diagonal of A.
    """
    image = product(basis, matrices)
    order = (basis * image).sum(-1).argsort(stable=True, descending=True)
    image.addcmul_(basis, epsilon)
    sorted_image = image.gather(-2, order[:, :, None].expand_as(image))
    return one_by_one(_orthonormal_rows, sorted_image), order


def _orthonormal_rows(matrix: Tensor) -> Tensor:
    """Returns Q' of the QR decomposition of a matrix's transpose.

    Without the copies of R that torch's own makes, a fifth of its time.
    """
    reflectors, scales = torch.geqrf(matrix.mT)
    factor: Tensor = torch.linalg.householder_product(reflectors, scales)
    return factor.mT.contiguous()
