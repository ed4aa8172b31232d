"""Dion: a low-rank orthonormal update with error feedback (arXiv 2504.05295, algorithm 1)."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Matrixwise, State, StepContext, tensor_in
from workloads.optimizers.linalg import orthonormal, product
from workloads.optimizers.muon import shape_factor

_SEED = 0
"""Of the generator that draws the first right factors."""


class Dion(Matrixwise):
    """U = f P Q', one power step of the momentum M from the right factor Q of the last update.

    M <- M + G; P = orth(M Q); R = M' P; M <- M - (1 - mu) P R'; Q <- R / (lengths of R's columns
    + eps). The momentum loses only what the update has taken out of it, the rest is fed back. Q is
    [n, r] with r = ceil(rank min(m, n)), orthonormal at the start, drawn for each matrix of a
    member and the same for all members; f is :func:`shape_factor`.

    A column of R that is zero moves nothing, and leaves its column of Q for the next update. Zero
    is what is left of rounding where the rank of M is below r: brought to length one, it would
    move weights at random, several times as far as the rest.
    """

    def __init__(self, *, momentum: float, rank: float, shape_factor: str = "none") -> None:
        self._momentum = momentum
        self._rank = rank
        self._factor = shape_factor

    def start(self, like: Tensor) -> State:
        """Returns the momentum at zero and random orthonormal right factors."""
        matrices, outputs, inputs = like.shape
        shape = (matrices, inputs, self.rank(outputs, inputs))
        generator = torch.Generator().manual_seed(_SEED)
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        return {"momentum": torch.zeros_like(like), "right": orthonormal(drawn).to(like)}

    def rank(self, outputs: int, inputs: int) -> int:
        """Returns r; a product that is whole but for rounding is taken as whole."""
        return max(1, ceil(round(self._rank * min(outputs, inputs), 6)))

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        momentum, basis = tensor_in(state, "momentum"), tensor_in(state, "right")
        momentum.add_(gradient)
        left = orthonormal(product(momentum, basis))
        right = product(momentum.mT, left)
        momentum.sub_(product(left, right.mT), alpha=1 - self._momentum)
        right, empty = _normalised(right, now.epsilon, larger_side=max(gradient.shape[1:]))
        state["right"] = torch.where(empty, basis, right)
        return product(left, right.mT) * shape_factor(self._factor, *gradient.shape[1:])


def _normalised(columns: Tensor, epsilon: Tensor, *, larger_side: int) -> tuple[Tensor, Tensor]:
    """Returns columns [N, n, r] over their lengths, and which of them are zero, [N, 1, r]: up to
    the rounding of the longest, as for numerical ranks machine epsilon times the larger side."""
    sizes = torch.linalg.vector_norm(columns, dim=1, keepdim=True)
    rounding = torch.finfo(columns.dtype).eps * larger_side * sizes.amax(-1, keepdim=True)
    empty = sizes <= rounding
    return torch.where(empty, 0.0, columns / (sizes + epsilon)), empty
