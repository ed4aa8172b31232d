"""What an algorithm is: the formula of an update, on a stack of matrices of one shape.

Whatever else an optimizer needs (which tensors, learning rates, decay, members, checkpoints) is
written once, in :mod:`optimizer`.

Legend: N matrices of one shape [m, n], m outputs and n inputs; an elementwise algorithm may be
given tensors of any shape [N, ...].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

State = dict[str, "Tensor | State"]
"""Tensors [N, ...] by name; a nested dict is the state of an inner algorithm."""


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What an update may ask for besides gradient and state.

    Attributes:
        step: number of this update, t, from 1.
        epsilons: by name, [N, 1, ...], with as many axes as the gradient.
        weights: returns the weights before the update, shaped like the gradient.
        curvature: gradient of the mean loss on labels sampled from the model, shaped like the
            gradient, at the steps at which the algorithm wants it.
    """

    step: int
    epsilons: Mapping[str, Tensor]
    weights: Callable[[], Tensor]
    curvature: Tensor | None = None

    @property
    def epsilon(self) -> Tensor:
        """The first epsilon of the algorithm, [N, 1, ...]."""
        return self.epsilons["epsilon"]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> StepContext:
        """Returns the same for parts of the matrices, where ``change`` makes one stack of
        matrices into the stack of their parts."""
        curvature, weights = self.curvature, self.weights
        return replace(
            self,
            weights=lambda: change(weights()),
            curvature=None if curvature is None else change(curvature),
        )


class Algorithm(ABC):
    """The formula of an update: W <- W - s(t) * learning rate * U.

    Attributes:
        elementwise: True if it may be given tensors of any shape, False if it needs matrices.
    """

    elementwise = True

    @abstractmethod
    def start(self, like: Tensor) -> State:
        """Returns the state before the first update.

        Args:
            like: a tensor of the shape, number format and device of the gradients of one member,
                [K, m, n] (or [K, ...]); its values mean nothing. What is drawn is drawn from a
                generator of its own, so that every member starts the same.
        """

    @abstractmethod
    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U, shaped like the gradient [N, m, n], and takes the gradient into the state.

        The gradient may be overwritten; entries of the state may be written in place or replaced
        by others of the same shape. What one matrix holds, NaN included, leaves the others alone.
        """

    def wants_curvature(self, step: int) -> bool:
        """Returns whether the update of a step reads ``now.curvature``."""
        return False


class Matrixwise(Algorithm):
    """Base of algorithms that need matrices."""

    elementwise = False


def tensor_in(state: State, name: str) -> Tensor:
    """Returns a tensor of a state."""
    found = state[name]
    assert isinstance(found, Tensor)
    return found


def state_in(state: State, name: str) -> State:
    """Returns the state of an inner algorithm in a state."""
    found = state[name]
    assert isinstance(found, dict)
    return found
