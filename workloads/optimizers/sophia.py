"""Sophia-G: momentum over a clipped Gauss-Newton diagonal (arXiv 2305.14342, algorithm 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, State, StepContext, tensor_in


class Sophia(Algorithm):
    """U = clip(m / (rho B h + eps), -1, 1) with m <- b1 m + (1 - b1) g.

    Every ``frequency`` steps, from the first on, h <- b2 h + (1 - b2) c^2, where c is the gradient
    of the mean loss on labels sampled from the model; B c^2 is an unbiased estimate of the
    diagonal of the Gauss-Newton matrix, B the tokens of the batch.
    """

    def __init__(
        self, *, beta1: float, beta2: float, rho: float, frequency: int, batch_tokens: int
    ) -> None:
        self._beta1, self._beta2 = beta1, beta2
        self._scale = rho * batch_tokens
        self._frequency = frequency

    def start(self, like: Tensor) -> State:
        """Returns momentum and diagonal at zero."""
        return {"first": torch.zeros_like(like), "diagonal": torch.zeros_like(like)}

    def wants_curvature(self, step: int) -> bool:
        """Returns whether the diagonal is estimated anew at a step."""
        return (step - 1) % self._frequency == 0

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        first, diagonal = tensor_in(state, "first"), tensor_in(state, "diagonal")
        first.lerp_(gradient, 1 - self._beta1)
        if self.wants_curvature(now.step):
            assert now.curvature is not None
            diagonal.lerp_(now.curvature.square(), 1 - self._beta2)
        return (first / (self._scale * diagonal + now.epsilon)).clamp_(-1, 1)
