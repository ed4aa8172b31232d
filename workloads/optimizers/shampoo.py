"""Shampoo: mean gradients between inverse roots of their second moments (arXiv 1802.09568)."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Matrixwise, State, StepContext, moment
from workloads.optimizers.roots import root_by_eigenvalues, root_by_newton
from workloads.optimizers.sides import AXES, Side, accumulate, active_sides, applied, completed


class Shampoo(Matrixwise):
    """U = (Lhat + ridge I)^-e mhat (Rhat + ridge I)^-e (arXiv 2512.05620, appendix A).

    m <- b1 m + (1 - b1) G; L <- b2 L + (1 - b2) G G'; R <- b2 R + (1 - b2) G' G; mhat = m /
    (1 - b1^t), and Lhat, Rhat likewise. L and R start from zero, which is what the correction of
    their bias is for; the source starts them from epsilon I, whose share would depend on the scale
    of the gradients. Roots are computed anew every ``frequency`` steps from step 1 on and know the
    gradient of their step. A side that is not among ``sides`` or longer than ``max_dim`` has no
    preconditioner.
    """

    def __init__(
        self,
        *,
        beta1: float,
        beta2: float,
        exponent: float,
        sides: str,
        max_dim: int,
        frequency: int,
        relative: bool,
        root: str,
    ) -> None:
        self._beta1, self._beta2 = beta1, beta2
        self._exponent = exponent
        self._sides = sides
        self._max_dim = max_dim
        self._frequency = frequency
        self._relative = relative
        self._root = {"eigh": root_by_eigenvalues, "newton": root_by_newton}[root]

    def start(self, like: Tensor) -> State:
        """Returns momentum and statistics at zero, and roots that change nothing."""
        state: State = {"first": torch.zeros_like(like)}
        for side in self._active(like):
            state |= _side_state(like, side)
        return state

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        sides = self._active(gradient)
        first = moment(state, "first").lerp_(gradient, 1 - self._beta1)
        for side in sides:
            accumulate(moment(state, side), gradient, side, self._beta2)
            if (now.step - 1) % self._frequency == 0:
                state[f"{side}_root"] = self._inverse_root(moment(state, side), now)
        update = torch.div(first, 1 - self._beta1**now.step, out=gradient)
        spare = torch.empty_like(update)
        for side in sides:
            root = moment(state, f"{side}_root")
            update, spare = applied(root, update, side, out=spare), update
        return update

    def _active(self, stack: Tensor) -> tuple[Side, ...]:
        return active_sides(stack.shape, sides=self._sides, max_dim=self._max_dim)

    def _inverse_root(self, statistic: Tensor, now: StepContext) -> Tensor:
        return self._root(
            completed(statistic) / (1 - self._beta2**now.step),
            exponent=self._exponent,
            epsilon=now.epsilon,
            relative=self._relative,
        )


def _side_state(like: Tensor, side: Side) -> State:
    """Returns a side's statistic at zero and its root, [K, k, k] each."""
    size = like.shape[AXES[side]]
    statistic = like.new_zeros(like.shape[0], size, size)
    identity = torch.eye(size, dtype=like.dtype, device=like.device)
    return {side: statistic, f"{side}_root": identity.expand_as(statistic).clone()}
