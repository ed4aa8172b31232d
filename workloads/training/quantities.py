"""What is measured of weights, updates and activations of a pack: one number for each member.

Legend: E members of the pack, N tokens or examples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ITERATIONS = 12
"""Steps of the power iteration; of a step of training the norm comes out 1% low, or less."""


def rms(value: Tensor) -> Tensor:
    """Returns the root mean square of each member's entries, [E], of a tensor [E, ...]."""
    mean: Tensor = value.flatten(1).square().mean(1, dtype=torch.float32)
    return mean.sqrt()


def spectral_norm(matrix: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Returns the largest singular value of each matrix, [E], of [E, out, in], by power iteration
    from a fixed start; it is never above the exact one, up to rounding. A vector [E, n] has its
    length."""
    if matrix.ndim == 2:
        return _length(matrix, 1)
    matrix = matrix.float()
    matrix = matrix if matrix.shape[1] <= matrix.shape[2] else matrix.mT
    peak = matrix.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    scaled = matrix / peak  # squares of tiny updates would be zero
    gram = scaled @ scaled.mT
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(gram.shape[1], 1, generator=generator).to(gram)
    vector = vector.expand(len(gram), -1, -1)
    for _ in range(iterations):
        vector = F.normalize(gram @ vector, dim=1, eps=torch.finfo(torch.float32).tiny)
    return _length(gram @ vector, (1, 2)).sqrt() * peak.flatten()


def stable_rank(matrix: Tensor, norm: Tensor) -> Tensor:
    """Returns squared Frobenius norm over squared spectral norm of each matrix, [E]: 1 of a
    rank-one matrix, the rank of one whose singular values are equal; NaN of zero."""
    return (_length(matrix.flatten(1), 1) / norm).square()


def effect(matrix: Tensor, inputs: Tensor) -> Tensor:
    """Returns what a layer with these weights puts out, [E, N, out].

    Args:
        matrix: [E, out, in]; for tokens a table [E, tokens, out], for no inputs a vector [E, out].
        inputs: [E, N, in], or tokens [E, N].
    """
    if inputs.dtype.is_floating_point:
        return inputs.to(matrix.dtype) @ matrix.mT
    index = inputs.flatten(1)[..., None].expand(-1, -1, matrix.shape[-1])
    return matrix.gather(1, index)


def alignment(matrix: Tensor, inputs: Tensor, norm: Tensor) -> Tensor:
    """Returns how far a matrix acts on inputs as on its first singular vector, [E], from 0 to 1:
    the root mean square of |W x| over that of |x|, over the spectral norm.

    A token is a vector with a single one, of length 1.
    """
    moved = _length(effect(matrix, inputs), (1, 2))
    if inputs.dtype.is_floating_point:
        length = _length(inputs, (1, 2))
    else:
        length = torch.full_like(moved, inputs.flatten(1).shape[1] ** 0.5)
    return moved / (length * norm)


def _length(value: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(value.float(), dim=axes)
    return found
