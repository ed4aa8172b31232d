"""What a model of a pack is: functions of stacked parameters.

Legend: E members of the pack, B sequences (or examples) of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from workloads.optimizers import Unit


class Model(Protocol):
    """A model with an ensemble axis; it holds no parameters, and members never meet in it."""

    @property
    def units(self) -> Mapping[str, Sequence[Unit]]:
        """What the parameters make up for an optimizer, by the name of their group: a role, or
        a role and the kind of the tensor."""
        ...

    def initial(self, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Returns the parameters of each seed's member at the start, [E, ...]."""
        ...

    def losses(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of each sequence (or the loss of each example), [E, B], in nats.

        Args:
            parameters: by name, each [E, ...].
            inputs: of a batch, [E, B, ...].
            targets: of a batch, [E, B, ...], classes.
        """
        ...

    def sampled_losses(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, draws: Tensor
    ) -> Tensor:
        """Returns :meth:`losses` with the model's own guesses as targets, [E, B].

        Args:
            parameters: by name, each [E, ...].
            inputs: of a batch, [E, B, ...].
            draws: a number from 0 up to 1 for each target, shaped like the targets; see
                :func:`sampled`.
        """
        ...

    def evaluated(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        """Returns what is measured of each held-out sequence, by name, each [E, B]; ``val_loss``
        is among it. A metric of the model is the mean over all of them."""
        ...
