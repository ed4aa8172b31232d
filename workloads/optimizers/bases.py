"""Orthonormal eigenbases of stacks of symmetric matrices, exact and refined."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.eigen import eigh
from workloads.optimizers.matrices import one_by_one, product


def exact_basis(matrices: Tensor, epsilon: Tensor) -> Tensor:
    """Returns eigenvectors [N, k, k] of A + epsilon I in columns, largest eigenvalue first.

    Args:
        matrices: A, [N, k, k].
        epsilon: [N, 1, 1].
    """
    with_ridge = matrices.clone()
    with_ridge.diagonal(dim1=-2, dim2=-1).add_(epsilon[..., 0])
    _, vectors = eigh(with_ridge)
    return vectors.flip(-1)


def refined_basis(matrices: Tensor, basis: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a basis after one power iteration and QR, and the order of its columns [N, k].

    The columns of the basis Q are first sorted by diag(Q' A Q), largest first; column j of the
    result comes from column order[j] of Q.

    Args:
        matrices: A, [N, k, k].
        basis: Q, [N, k, k].
        epsilon: [N, 1, 1], added to the diagonal of A.
    """
    image = product(matrices, basis)
    order = (basis * image).sum(-2).argsort(stable=True, descending=True)
    image.addcmul_(basis, epsilon)
    sorted_image = image.gather(-1, order[:, None, :].expand_as(image))
    return one_by_one(_orthogonal_factor, sorted_image), order


def _orthogonal_factor(matrix: Tensor) -> Tensor:
    """Returns Q of a QR decomposition, without the copies of R that torch's own makes."""
    reflectors, scales = torch.geqrf(matrix)
    factor: Tensor = torch.linalg.householder_product(reflectors, scales)
    return factor
