"""Grafting: the direction of one algorithm with the size of another's update."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from workloads.optimizers.adamw import Adam
from workloads.optimizers.algorithm import Algorithm, Matrixwise, State, StepContext, state_in
from workloads.optimizers.linalg import lengths


class Grafted(Matrixwise):
    """U = ||A||_F / (||S||_F + eps) S with the direction's S and the graft's A.

    Norms are those of each matrix that it is given (arXiv 2512.05620, appendix A): whole matrices
    around :class:`~workloads.optimizers.blocked.Blocked`, tiles inside it. Before step ``start``
    U = A, while the direction gathers its statistics.

    ``eps`` is the epsilon ``graft_epsilon``; the graft's own epsilon is ``adam_epsilon``.
    """

    def __init__(self, direction: Algorithm, graft: Algorithm, *, start: int) -> None:
        self._direction = direction
        self._graft = graft
        self._start = start

    def start(self, like: Tensor) -> State:
        """Returns the states of both."""
        return {"direction": self._direction.start(like), "graft": self._graft.start(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        lent = self._graft.update(gradient.clone(), state_in(state, "graft"), _of_graft(now))
        direction = self._direction.update(gradient, state_in(state, "direction"), now)
        if now.step < self._start:
            return lent
        return direction * (lengths(lent) / (lengths(direction) + now.epsilons["graft_epsilon"]))


def _of_graft(now: StepContext) -> StepContext:
    own = now.epsilons.get("adam_epsilon")
    return now if own is None else replace(now, epsilons={"epsilon": own})


class RMSprop(Adam):
    """U = mhat / (sqrt(v) + eps): Adam without correction of the second moment's bias.

    The RMSprop graft of arXiv 2309.06497, which takes the filtered gradient.
    """

    def _unbiased(self, second: Tensor, step: int) -> Tensor:
        return second.clone()
