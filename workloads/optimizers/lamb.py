"""LAMB: Adam's direction at the size of the weights (arXiv 1904.00962, algorithm 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.adamw import Adam
from workloads.optimizers.algorithm import State, StepContext
from workloads.optimizers.linalg import lengths


class Lamb(Adam):
    """U = (||W|| / ||A||) A with A = mhat / (sqrt(vhat) + eps), norms over the whole tensor.

    The ratio is 1 where either norm is 0. Weight decay is no part of A: it is decoupled, as for
    every optimizer here.
    """

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        direction = super().update(gradient, state, now)
        size, length = lengths(now.weights()), lengths(direction)
        ratio = torch.where((size > 0) & (length > 0), size / length, 1.0)
        return direction.mul_(ratio)
