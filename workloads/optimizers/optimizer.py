"""What an optimizer of a pack is: stacked parameters, one setting a member, plain state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
"""Stacked parameters by name, each [E, ...]; shared with the trainer, which may compact it."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What an algorithm takes for one matrix: a tensor, several of them, or parts of one.

    Attributes:
        names: tensors [E, out, in] that lie on top of each other along their outputs; one name
            for most.
        parts: number of equal parts, along the outputs, that are a matrix each; 1 for the whole.
        turned: True if the tensor is stored as [E, in, out], as tables of embeddings are.
    """

    names: tuple[str, ...]
    parts: int = 1
    turned: bool = False


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tensors that one optimizer drives with the same settings, and each member's settings.

    Attributes:
        units: the matrices (or vectors) that the tensors make up.
        learning_rates: peak learning rate of each member, used as it is.
        weight_decays: independent weight decay of each member: the share of a weight that one
            update takes away at the peak of the schedule.
        epsilons: by name, the epsilon of each member; ``epsilon`` is the optimizer's first.
        constant_decay: True if weight decay does not follow the schedule.
    """

    units: tuple[Unit, ...]
    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...]
    epsilons: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    constant_decay: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors."""
        return tuple(name for unit in self.units for name in unit.names)

    def keep(self, index: Sequence[int]) -> Group:
        """Returns the group of the chosen members."""
        return Group(
            units=self.units,
            learning_rates=tuple(self.learning_rates[i] for i in index),
            weight_decays=tuple(self.weight_decays[i] for i in index),
            epsilons={
                name: tuple(values[i] for i in index) for name, values in self.epsilons.items()
            },
            constant_decay=self.constant_decay,
        )


class Optimizer(Protocol):
    """Updates the tensors of one group: W <- W - s(t) * (learning_rate * U + weight_decay * W).

    Members never meet: what one of them holds, NaN included, leaves the bits of the others.
    """

    def step(
        self,
        gradients: Mapping[str, Tensor],
        *,
        scale: float,
        step: int,
        curvature: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Updates the parameters in place; may overwrite the gradients.

        Args:
            gradients: by name, shaped like the parameters, contiguous.
            scale: s(t).
            step: number of this update, t, from 1.
            curvature: where :meth:`wants_curvature`, the gradients of the mean loss of this
                batch on labels sampled from the model.
        """
        ...

    def wants_curvature(self, step: int) -> bool:
        """Returns whether the update of a step reads ``curvature``."""
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
