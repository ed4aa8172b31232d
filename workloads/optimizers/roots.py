"""Inverse roots of stacks of symmetric positive semi-definite matrices, with a ridge."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.eigen import eigh
from workloads.optimizers.matrices import product
from workloads.optimizers.newton_root import inverse_root, largest_eigenvalue
from workloads.optimizers.powers import raised


def root_by_eigenvalues(
    matrices: Tensor, *, exponent: float, epsilon: Tensor, relative: bool
) -> Tensor:
    """Returns (A + ridge I)^(-exponent) of each A, by its eigenvalues.

    Eigenvalues below zero, which are rounding, count as zero: none falls below the ridge.

    Args:
        matrices: A, [N, k, k]; the lower triangle is read.
        exponent: above 0.
        epsilon: [N, 1, 1]; the ridge, or with ``relative`` the ridge over the largest eigenvalue.
        relative: see ``epsilon``.
    """
    values, vectors = eigh(matrices)
    values = values[:, None, :].clamp(min=0)  # [N, 1, k], beside the columns of the vectors
    ridge = epsilon * values[..., -1:] if relative else epsilon
    above = values + ridge.clamp(min=torch.finfo(values.dtype).tiny)
    half = vectors * raised(above, -exponent / 2)
    root = product(half, half.mT)
    return _identity_where(root, values[..., -1:] == 0) if relative else root


def _identity_where(matrices: Tensor, where: Tensor) -> Tensor:
    """Returns the matrices, and the identity where they are no use.

    Where there has been no gradient so far, a relative ridge knows no scale, and zero to a
    negative power would throw the weights far off at the first gradient, which a matrix under a
    zero-initialised readout has one step later, with the root still in use.
    """
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    return torch.where(where, identity, matrices)


def root_by_newton(
    matrices: Tensor, *, exponent: float, epsilon: Tensor, relative: bool
) -> Tensor:
    """Returns the same as :func:`root_by_eigenvalues`, by coupled Newton iterations.

    Each matrix is first divided by its largest entry (or the ridge, if that is larger), so that no
    stop rule sees its scale. A matrix that is not finite has the identity for a root.

    Args:
        matrices, epsilon, relative: see there; both triangles are read.
        exponent: one over a whole number.
    """
    largest = matrices.abs().amax((-2, -1), keepdim=True)
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    finite = largest.isfinite()
    scale = torch.where(finite, largest, 1.0).clamp(min=torch.finfo(matrices.dtype).tiny)
    if not relative:
        scale = scale.maximum(epsilon)
    unit = torch.where(finite, matrices / scale, identity)
    ridge = epsilon * largest_eigenvalue(unit) if relative else epsilon / scale
    root = inverse_root(unit + ridge * identity, round(1 / exponent)) * raised(scale, -exponent)
    return _identity_where(root, ~finite | (largest == 0) if relative else ~finite)
