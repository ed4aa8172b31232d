"""Adam's update as a formula (arXiv 1412.6980, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Elementwise, State, StepContext, moment


class Adam(Elementwise):
    """U = mhat / (sqrt(vhat) + eps).

    m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; mhat = m / (1 - b1^t), vhat = v / (1 - b2^t).
    """

    def __init__(self, *, beta1: float, beta2: float) -> None:
        self._beta1, self._beta2 = beta1, beta2

    def start(self, like: Tensor) -> State:
        """Returns both moments at zero."""
        return {"first": torch.zeros_like(like), "second": torch.zeros_like(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        first, second = moment(state, "first"), moment(state, "second")
        first.lerp_(gradient, 1 - self._beta1)
        second.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
        root = (second / (1 - self._beta2**now.step)).sqrt_().add_(now.epsilon)
        return (first / (1 - self._beta1**now.step)).div_(root)
