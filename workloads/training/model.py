"""What a model of a pack and its batches are: functions and values of stacked parameters.

Legend: E members of the pack, B sequences (or examples) of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from workloads.optimizers import Unit
from workloads.workload import Resolved

RMS_EPSILON = 1e-6
"""Added to the mean square in every RMSNorm."""

Observe = Callable[[str, Tensor], None]
"""Is told the name and the value of an activation, [E, ...]."""


class Model(Protocol):
    """A model with an ensemble axis; it holds no parameters, and members never meet in it."""

    @property
    def tensors(self) -> Mapping[str, InitialTensor]:
        """Every tensor and how it starts, by name, in the order in which members draw them."""
        ...

    @property
    def units(self) -> Mapping[str, Sequence[Unit]]:
        """What the parameters make up for an optimizer, by the name of their group: a role, or
        a role and the kind of the tensor."""
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


@runtime_checkable
class StartsItself(Protocol):
    """A model that makes its own initial values."""

    def initial(self, seed: int) -> Mapping[str, Tensor]:
        """Returns the parameters of one member at the start, by name, without E, on the CPU."""
        ...


class InitialTensor(NamedTuple):
    """One tensor of a model and how it starts.

    Attributes:
        kind: its role, or role and kind, as rules know it.
        shape: without E.
        std: spread of its start.
        mean: of its start: 1 for a gain, else 0.
    """

    kind: str
    shape: tuple[int, ...]
    std: float
    mean: float = 0.0

    @property
    def role(self) -> str:
        """What it is to a rule."""
        return self.kind.partition(".")[0]


def turned_names(model: Model) -> set[str]:
    """Returns the tensors of a model whose inputs come first, [in, out]."""
    units = (unit for group in model.units.values() for unit in group)
    return {name for unit in units if unit.turned for name in unit.names}


def started(model: Model, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Returns the parameters of a model at the start, [E, ...], on the CPU in float32."""
    if not isinstance(model, StartsItself):
        return initial_parameters(model.tensors, seeds)
    members = [model.initial(seed) for seed in seeds]
    return {name: torch.stack([each[name] for each in members]) for name in model.tensors}


def initial_parameters(
    tensors: Mapping[str, InitialTensor], seeds: Sequence[int]
) -> dict[str, Tensor]:
    """Returns the parameters at the start, [E, ...], on the CPU in float32.

    One generator a member draws its tensors in their order, so that a member starts the same in
    any pack.
    """
    members = [_initial_member(tensors, seed) for seed in seeds]
    return {name: torch.stack([each[name] for each in members]) for name in tensors}


def _initial_member(tensors: Mapping[str, InitialTensor], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(each.shape, generator=generator) * each.std
        if each.std
        else torch.full(each.shape, each.mean)
        for name, each in tensors.items()
    }


def grouped(units: Iterable[tuple[str, Unit]], plan: Resolved) -> dict[str, list[Unit]]:
    """Returns units, given with their kinds, by group: that of their kind where the plan has one,
    else that of their role."""
    found: dict[str, list[Unit]] = {}
    for kind, unit in units:
        group = kind if kind in plan.derived["groups"] else kind.partition(".")[0]
        found.setdefault(group, []).append(unit)
    return found


def tell_nobody(name: str, value: Tensor) -> None:
    """Observes nothing."""


class Batch(NamedTuple):
    """Inputs and targets of a pack, [E, B, ...] each; tokens [E, B, T] of a corpus."""

    inputs: Tensor
    targets: Tensor


class Stream(Protocol):
    """The training batches of each seed and the fixed evaluation batches."""

    @property
    def vocabulary(self) -> float:
        """Number of classes of a target (different tokens); ln of it is the loss of guessing,
        and infinity where nobody knows that."""
        ...

    def training(self, seeds: Sequence[int], *, step: int) -> Batch:
        """Returns the batch of a step, which depends on (seed, step) only."""
        ...

    def evaluation(self, members: int) -> Iterator[Batch]:
        """Yields the held-out data in parts, the same for every member and every trial."""
        ...

    def metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Returns the metrics of an evaluation.

        Args:
            means: what :meth:`Model.evaluated` measures, by name, averaged.
        """
        ...
