"""SGD with a mean gradient (optimizers of arXiv 2512.05620, appendix A)."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, State, StepContext, tensor_in


class SGD(Algorithm):
    """U = m / (1 - b^t) with m <- b m + (1 - b) g: the mean of the gradients so far.

    The usual sum of gradients is m / (1 - b), so a learning rate here is one there over 1 - b.
    """

    def __init__(self, *, momentum: float) -> None:
        self._momentum = momentum

    def start(self, like: Tensor) -> State:
        """Returns the momentum at zero; nothing without momentum."""
        return {"first": torch.zeros_like(like)} if self._momentum else {}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        if not self._momentum:
            return gradient
        first = tensor_in(state, "first").lerp_(gradient, 1 - self._momentum)
        return first / (1 - self._momentum**now.step)
