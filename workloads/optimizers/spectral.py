"""Updates of any algorithm brought to a size that suits every width, by their norm.

For matrices the spectral norm, by power iteration (arXiv 2512.05620, appendix F; the condition is
that of arXiv 2310.17813), for embeddings and vectors the root mean square.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from workloads.optimizers.algorithm import (
    Algorithm,
    Matrixwise,
    State,
    StepContext,
    state_in,
    tensor_in,
)
from workloads.optimizers.linalg import lengths, product

_FLOOR = 1e-10
"""Added to norms that are divided by."""

_WARMUP_ITERATIONS = 5

_SEED = 0
"""Of the generator that draws the first vectors."""


class Spectral(Matrixwise):
    """U = sqrt(m/n) A / sigma, where A is the update of another algorithm.

    sigma = ||A' v|| is the largest singular value of A, from below, and v, a unit vector along the
    outputs, its left singular vector, kept from update to update: v <- A A' v / ||A A' v||, a few
    times in each of the first updates and ``iterations`` times later. So the spectral norm of U is
    sqrt(m/n), or somewhat more while v lags behind. v stays where A A' v vanishes.
    """

    def __init__(self, inner: Algorithm, *, iterations: int, warmup_steps: int) -> None:
        """Takes the algorithm, and the power iterations after ``warmup_steps`` updates, which
        have five each."""
        self._inner = inner
        self._iterations = iterations
        self._warmup_steps = warmup_steps

    def wants_curvature(self, step: int) -> bool:
        """Returns whether the inner algorithm reads ``now.curvature``."""
        return self._inner.wants_curvature(step)

    def start(self, like: Tensor) -> State:
        """Returns the inner state and a random unit vector along the outputs, [K, m, 1]."""
        generator = torch.Generator().manual_seed(_SEED)
        drawn = torch.randn((*like.shape[:2], 1), generator=generator, dtype=torch.float64)
        return {"inner": self._inner.start(like), "vector": (drawn / lengths(drawn)).to(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        update = self._inner.update(gradient, state_in(state, "inner"), now)
        vector = tensor_in(state, "vector")
        warming = now.step <= self._warmup_steps
        for _ in range(_WARMUP_ITERATIONS if warming else self._iterations):
            image = product(update.mT, vector)  # A' v, [N, n, 1]
            vector = _turned(vector, product(update, image))
        state["vector"] = vector
        outputs, inputs = gradient.shape[1:]
        return update * (sqrt(outputs / inputs) / (lengths(image) + _FLOOR))


def _turned(vector: Tensor, towards: Tensor) -> Tensor:
    """Returns unit vectors towards others, [N, m, 1]; the old ones where those vanish."""
    unit = towards / (lengths(towards) + _FLOOR)
    return torch.where(lengths(unit) > 0.5, unit, vector)


class RootMeanSquare(Algorithm):
    """U = A / RMS(A), where A is the update of another algorithm; zero where A is zero.

    It may be given tensors of any shape if the other may.
    """

    def __init__(self, inner: Algorithm) -> None:
        self._inner = inner
        self.elementwise = inner.elementwise

    def wants_curvature(self, step: int) -> bool:
        """Returns whether the inner algorithm reads ``now.curvature``."""
        return self._inner.wants_curvature(step)

    def start(self, like: Tensor) -> State:
        """Returns the inner state."""
        return {"inner": self._inner.start(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        update = self._inner.update(gradient, state_in(state, "inner"), now)
        size = lengths(update) / sqrt(update[0].numel())
        return update / torch.where(size == 0, 1.0, size)
