"""What an optimizer of a pack is: stacked parameters, one setting a member, plain state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
"""Stacked parameters by name, each [E, ...]; shared with the trainer, which may compact it."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tensors that one optimizer drives with the same settings, and each member's settings.

    Attributes:
        names: the tensors.
        learning_rates: peak learning rate of each member, used as it is.
        weight_decays: independent weight decay of each member: the share of a weight that one
            update takes away at the peak of the schedule.
        epsilons: epsilon of each member.
    """

    names: tuple[str, ...]
    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...]
    epsilons: tuple[float, ...]

    def keep(self, index: Sequence[int]) -> Group:
        """Returns the group of the chosen members."""
        return Group(
            names=self.names,
            learning_rates=tuple(self.learning_rates[i] for i in index),
            weight_decays=tuple(self.weight_decays[i] for i in index),
            epsilons=tuple(self.epsilons[i] for i in index),
        )


class Optimizer(Protocol):
    """Updates the tensors of one group: W <- W - s(t) * (learning_rate * U + weight_decay * W).

    Members never meet: what one of them holds, NaN included, leaves the bits of the others.
    """

    def step(self, gradients: Mapping[str, Tensor], *, scale: float, step: int) -> None:
        """Updates the parameters in place; may overwrite the gradients.

        Args:
            gradients: by name, shaped like the parameters, contiguous.
            scale: s(t).
            step: number of this update, t, from 1.
        """
        ...

    def state(self, member: int) -> dict[str, Tensor]:
        """Returns views of one member's state, under keys that name tensor and moment."""
        ...

    def keep(self, index: Sequence[int]) -> None:
        """Drops all members but those at ``index``; the parameters are compacted elsewhere."""
        ...


def select(tensor: Tensor, index: Sequence[int]) -> Tensor:
    """Returns a copy of the chosen members of a stacked tensor [E, ...]."""
    return tensor.index_select(0, torch.tensor(index, dtype=torch.int64, device=tensor.device))
