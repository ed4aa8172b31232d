"""Inverse p-th roots of stacks of matrices by a coupled Newton iteration: products alone.

The iteration of Guo and Higham (SIAM J. Matrix Anal. Appl. 28, 2006, section 4), with the stop
rules of arXiv 2002.09018. Each matrix stops by itself, so that none depends on the others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.matrices import lengths, one_by_one, product
from workloads.optimizers.powers import raised

ITERATIONS = 100
TOLERANCE = 1e-6
GROWTH = 1.2
"""An error that grows by this factor is rounding: the iterate before it is kept."""


def inverse_root(matrices: Tensor, power: int) -> Tensor:
    """Returns A^(-1/p) of each A.

    M <- M1^p M, H <- H M1 with M1 = ((p + 1) I - M) / p, from M = z A and H = z^(1/p) I, where
    z = (1 + p) / (2 ||A||_F); M goes to I and H to A^(-1/p). A matrix is done when max |M - I| is
    at most the tolerance, or has grown.

    Args:
        matrices: A, [N, k, k], symmetric positive definite with entries of order one.
        power: p, at least 1.
    """
    scale = (1 + power) / (2 * lengths(matrices))  # [N, 1, 1]
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    roots: Tensor = identity * raised(scale, 1 / power)
    todo = torch.arange(matrices.shape[0], device=matrices.device)
    coupled, error = matrices * scale, _error(matrices * scale, identity)
    going = error > TOLERANCE  # false for NaN
    for _ in range(ITERATIONS):
        todo, coupled, error = todo[going], coupled[going], error[going]
        if not len(todo):
            break
        factor = ((power + 1) * identity - coupled) / power
        coupled = product(powers(factor, power), coupled)
        before, error = error, _error(coupled, identity)
        better = error < GROWTH * before
        if better.any():
            roots[todo[better]] = product(roots[todo[better]], factor[better])
        going = better & (error > TOLERANCE)
    return roots


def largest_eigenvalue(matrices: Tensor) -> Tensor:
    """Returns the largest eigenvalue [N, 1, 1] of positive semi-definite matrices [N, k, k].

    By power iteration from one fixed vector, until a matrix's estimate x'Ax moves by no more than
    the tolerance, relative to itself.
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(matrices.shape[-1], 1, generator=generator, dtype=torch.float64)
    vector = (start / start.norm()).to(matrices).expand(matrices.shape[0], -1, -1)
    found = matrices.new_zeros(matrices.shape[0])
    todo = torch.arange(matrices.shape[0], device=matrices.device)
    for _ in range(ITERATIONS):
        image = product(matrices[todo], vector)
        estimate = product(vector.mT, image).flatten()
        going = (estimate - found[todo]).abs() > TOLERANCE * estimate
        found[todo] = estimate
        if not going.any():
            break
        todo, image = todo[going], image[going]
        vector = image / lengths(image)
    return found.view(-1, 1, 1)


def powers(matrices: Tensor, power: int) -> Tensor:
    """Returns A^p of each."""
    return one_by_one(lambda each: torch.linalg.matrix_power(each, power), matrices)


def _error(matrices: Tensor, identity: Tensor) -> Tensor:
    """Returns max |M - I| of each, [N]."""
    error: Tensor = (matrices - identity).abs().amax((-2, -1))
    return error
