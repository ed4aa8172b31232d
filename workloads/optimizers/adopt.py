"""ADOPT with its clipped gradient (arXiv 2411.02853, algorithm 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, State, StepContext, tensor_in


class Adopt(Algorithm):
    """U = m, m <- b1 m + (1 - b1) n, n = clip(g / max(sqrt(v), eps), -c, c), c = (t - 1)^(1/4).

    The second moment v <- b2 v + (1 - b2) g^2 takes the gradient in after it has been divided by
    the root of the earlier ones; the first step only sets v = g^2 and makes no update (weights
    decay all the same). It is step 0 of the paper, and step 1 here.
    """

    def __init__(self, *, beta1: float, beta2: float) -> None:
        self._beta1, self._beta2 = beta1, beta2

    def start(self, like: Tensor) -> State:
        """Returns both moments at zero."""
        return {"first": torch.zeros_like(like), "second": torch.zeros_like(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U, zero at the first step."""
        first, second = tensor_in(state, "first"), tensor_in(state, "second")
        if now.step == 1:
            second.copy_(gradient.square())
            return torch.zeros_like(gradient)
        bound = (now.step - 1) ** 0.25
        normal = gradient / torch.maximum(second.sqrt(), now.epsilon)
        first.lerp_(normal.clamp_(-bound, bound), 1 - self._beta1)
        second.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
        return first
