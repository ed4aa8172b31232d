"""Adam's update as a formula, and AdamW over a pack by torch's fused kernel."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, State, StepContext, tensor_in
from workloads.optimizers.layout import Parameters
from workloads.optimizers.optimizer import Group, Optimizer

_HALVES = (torch.bfloat16, torch.float16)


class Adam(Algorithm):
    """U = mhat / (sqrt(vhat) + eps) (arXiv 1412.6980, algorithm 1).

    m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; mhat = m / (1 - b1^t), vhat = v / (1 - b2^t).
    """

    def __init__(self, *, beta1: float, beta2: float) -> None:
        self._beta1, self._beta2 = beta1, beta2

    def start(self, like: Tensor) -> State:
        """Returns both moments at zero."""
        return {"first": torch.zeros_like(like), "second": torch.zeros_like(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        first, second = tensor_in(state, "first"), tensor_in(state, "second")
        first.lerp_(gradient, 1 - self._beta1)
        second.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
        root = self._unbiased(second, now.step).sqrt_().add_(now.epsilon)
        return (first / (1 - self._beta1**now.step)).div_(root)

    def _unbiased(self, second: Tensor, step: int) -> Tensor:
        """Returns vhat, a tensor of its own."""
        return second / (1 - self._beta2**step)


class _Views(NamedTuple):
    """One member's parts of the group's tensors."""

    weights: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]


class FusedAdamW(Optimizer):
    """W <- W - s(t) * (lr * mhat / (sqrt(vhat) + eps) + weight_decay * W) (arXiv 1711.05101).

    The same as :class:`Optimizer` with :class:`Adam`, up to rounding, and three to five times as
    fast on a CPU. torch's fused kernel updates one member after the other over views of the
    stacked tensors: a scalar learning rate a call, the same call whether a member trains alone or
    in a pack. Independent decay is handed to it as decay over rate, since it multiplies the two.

    The kernel has one number format for weights and moments, so half precision takes the way of
    :class:`Optimizer`.
    """

    def __init__(
        self, parameters: Parameters, group: Group, *, beta1: float, beta2: float
    ) -> None:
        super().__init__(parameters, group, Adam(beta1=beta1, beta2=beta2))
        self._betas = (beta1, beta2)
        self._half = any(parameters[name].dtype in _HALVES for name in group.names)
        self._views: list[_Views] = []

    @torch.no_grad()
    def step(
        self,
        gradients: Mapping[str, Tensor],
        *,
        scale: float,
        step: int,
        curvature: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Updates the group's tensors in place."""
        if self._half:
            return super().step(gradients, scale=scale, step=step, curvature=curvature)
        self._views = self._views or self._own_views()
        members = self._members_of(gradients)
        for member, (views, grads) in enumerate(zip(self._views, members, strict=True)):
            self._step_member(member, views, grads, scale=scale, step=step)
        return None

    def _step_member(
        self, member: int, views: _Views, grads: list[Tensor], *, scale: float, step: int
    ) -> None:
        rate = scale * self._group.learning_rates[member]
        share = 1.0 if self._group.constant_decay else scale
        decay = share * self._group.weight_decays[member]
        if decay and not rate:  # the schedule has come to zero, and decay does not follow it
            torch._foreach_mul_(views.weights, 1 - decay)
        done = torch.tensor(float(step), device=grads[0].device)  # the kernel reads it only
        torch._fused_adamw_(
            views.weights,
            grads,
            views.first,
            views.second,
            [],
            [done] * len(grads),
            lr=rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=decay / rate if rate else 0.0,
            eps=self._group.epsilons["epsilon"][member],
            amsgrad=False,
            maximize=False,
        )

    def _own_views(self) -> list[_Views]:
        """Returns views of weights and moments; they hold until members are dropped."""
        names = self._group.names
        first, second = (
            {name: tensor_in(state, key) for name, state in zip(names, self._states, strict=True)}
            for key in ("first", "second")
        )
        columns = (self._members_of(each) for each in (self._parameters, first, second))
        return [_Views(*member) for member in zip(*columns, strict=True)]

    def _members_of(self, tensors: Mapping[str, Tensor]) -> list[list[Tensor]]:
        """Returns, for each member, its parts of the group's tensors."""
        views = (tensors[name].unbind(0) for name in self._group.names)
        return [list(member) for member in zip(*views, strict=True)]

    def __deepcopy__(self, memo: dict[int, object]) -> FusedAdamW:
        """Returns a copy whose views are of its own tensors."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        twin.__dict__ = {
            name: [] if name == "_views" else copy.deepcopy(each, memo)
            for name, each in vars(self).items()
        }
        return twin

    def keep(self, index: Sequence[int]) -> None:
        """Drops all members but those at ``index``."""
        super().keep(index)
        self._views = []
