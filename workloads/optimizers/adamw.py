"""AdamW with independent weight decay over a pack (arXiv 1711.05101, algorithm 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from workloads.optimizers.optimizer import Group, Parameters, select


class AdamW:
    """W <- W - s(t) * (lr * mhat / (sqrt(vhat) + eps) + weight_decay * W).

    torch's fused kernel updates one member after the other over views of the stacked tensors:
    a scalar learning rate a call, the same call whether a member trains alone or in a pack, and
    the fastest form there is on a CPU. The decay is a product of its own before the
    update, which is the same as taking it from the old weights, since U does not depend on W.
    """

    def __init__(
        self, parameters: Parameters, group: Group, *, beta1: float, beta2: float
    ) -> None:
        self._parameters = parameters
        self._group = group
        self._betas = (beta1, beta2)
        self._first = {name: torch.zeros_like(parameters[name]) for name in group.names}
        self._second = {name: torch.zeros_like(parameters[name]) for name in group.names}

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], *, scale: float, step: int) -> None:
        """Updates the group's tensors in place."""
        columns = (self._parameters, gradients, self._first, self._second)
        by_member = [self._members(column) for column in columns]
        for member, (weights, grads, first, second) in enumerate(zip(*by_member, strict=True)):
            decay = scale * self._group.weight_decays[member]
            if decay:
                for weight in weights:
                    weight.mul_(1 - decay)
            rate = scale * self._group.learning_rates[member]
            self._fused(weights, grads, first, second, member=member, rate=rate, step=step)

    def _fused(
        self,
        weights: list[Tensor],
        gradients: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
        *,
        member: int,
        rate: float,
        step: int,
    ) -> None:
        done = torch.full((len(weights),), step - 1.0, device=weights[0].device)
        adamw(
            weights,
            gradients,
            first,
            second,
            [],
            list(done.unbind()),  # the kernel adds one to each
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=rate,
            weight_decay=0.0,
            eps=self._group.epsilons[member],
        )

    def _members(self, tensors: Mapping[str, Tensor]) -> list[list[Tensor]]:
        """Returns, for each member, its views of the group's tensors."""
        views = (tensors[name].unbind(0) for name in self._group.names)
        return [list(member) for member in zip(*views, strict=True)]

    def state(self, member: int) -> dict[str, Tensor]:
        """Returns views of one member's moments."""
        moments = {"first_moment": self._first, "second_moment": self._second}
        return {
            f"{name}:{moment}": tensors[name][member]
            for moment, tensors in moments.items()
            for name in self._group.names
        }

    def keep(self, index: Sequence[int]) -> None:
        """Drops all members but those at ``index``."""
        self._group = self._group.keep(index)
        self._first = {name: select(moment, index) for name, moment in self._first.items()}
        self._second = {name: select(moment, index) for name, moment in self._second.items()}
