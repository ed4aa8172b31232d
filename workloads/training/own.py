"""Trains a module of a user's own: the model as functions of stacked parameters, its batches.

Legend: E members of the pack, B examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from workloads.optimizers import Unit
from workloads.parameters import FoundTensor
from workloads.training.loop import Training
from workloads.training.model import Batch, InitialTensor, Observe, grouped
from workloads.training.modules import hooked
from workloads.training.ranks import Ranks
from workloads.workload import Card, Config, Member, Record, Resolved


class TorchWorkload(Card, Protocol):
    """What a workload says of its module; see :class:`workloads.torch_workload.TorchWorkload`."""

    @property
    def guess(self) -> float | None: ...
    def built(self, config: Config, *, width: int | None = None) -> nn.Module: ...
    def found(self, config: Config) -> Sequence[FoundTensor]: ...
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor: ...
    def measured(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]: ...
    def batch(self, config: Config, seed: int, step: int) -> tuple[Tensor, Tensor]: ...
    def held_out(self, config: Config) -> Iterable[tuple[Tensor, Tensor]]: ...


class OwnModel:
    """A module as functions of stacked parameters; a parameter of more than two dimensions, as of
    a convolution, is a matrix of outputs and inputs here.

    Attributes:
        tensors: every parameter, by name.
        units: what the parameters make up for an optimizer, by the name of their group.
    """

    def __init__(self, workload: TorchWorkload, plan: Resolved, *, device: str) -> None:
        """Builds the module of a resolved config."""
        self._workload, self._config = workload, plan.config
        self._module = workload.built(plan.config).to(device)
        self._found = {each.name: each for each in workload.found(plan.config)}
        self._together = device != "cpu"
        groups = plan.derived["groups"]
        self._factors = {
            name: groups[each.kind.role]["init_std"] for name, each in self._found.items()
        }
        self.tensors = {
            name: InitialTensor(each.kind.key, _matrix(each.parameter.shape), 0.0)
            for name, each in self._found.items()
        }
        self.units: Mapping[str, Sequence[Unit]] = grouped(
            (
                (each.kind.key, Unit(names=(name,), turned=each.turned))
                for name, each in self._found.items()
            ),
            plan,
        )

    def initial(self, seed: int) -> Mapping[str, Tensor]:
        """Returns the module's own initial values, each matrix with the size that it has in the
        base model times the rule's factor."""
        base_width = self._config.get("base_width") or self._config["width"]
        own, base = (self._drawn(seed, width) for width in (None, base_width))
        for name, each in self._found.items():
            if each.kind.role == "vector" or self._config["width"] == base_width:
                continue
            wanted = _size(base[name]) * self._factors[name]
            size = _size(own[name])
            own[name] *= wanted / size if size else 0.0
        return {name: own[name].reshape(self.tensors[name].shape) for name in self.tensors}

    def losses(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each example, [E, B]: of all members at once on a GPU, where the
        module allows it, and one after the other elsewhere."""
        if self._together and len(targets) > 1:  # elsewhere each has the bits that it has alone
            try:
                return vmap(self._loss)(dict(parameters), inputs, targets)
            except RuntimeError:  # what vmap cannot take apart
                self._together = False
        members = zip(_members(parameters, len(targets)), inputs, targets, strict=True)
        return torch.stack([self._loss(*member) for member in members])

    def sampled_losses(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, draws: Tensor
    ) -> Tensor:
        """Refuses: nobody says how targets are sampled from the module's outputs.

        Raises:
            ValueError: always.
        """
        raise ValueError("sophia reads losses on sampled labels, which this workload cannot draw")

    def evaluated(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        """Returns what is measured of each example, [E, B] each."""
        members = zip(_members(parameters, len(targets)), inputs, targets, strict=True)
        rows = [self._measured(*member) for member in members]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def logits(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, observe: Observe | None = None
    ) -> Tensor:
        """Returns the outputs, [E, B, ...]; ``observe`` is told what comes out of every part of
        the module that has a weight, and what goes into a linear layer or a table."""
        outputs, seen = [], list[dict[str, Tensor]]()
        for weights, each in zip(_members(parameters, len(inputs)), inputs, strict=True):
            found: dict[str, Tensor] = {}
            with hooked(self._module, found):
                outputs.append(self._outputs(weights, each))
            seen.append(found)
        if observe is not None:
            for name in seen[0]:
                observe(name, torch.cat([each[name] for each in seen]))
        return torch.stack(outputs)

    def _loss(self, weights: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        loss = self._workload.loss(self._outputs(weights, inputs), targets)
        return self._of_each("loss", loss, len(targets))

    def _measured(
        self, weights: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        outputs = self._outputs(weights, inputs)
        found = {
            "val_loss": self._workload.loss(outputs, targets),
            **self._workload.measured(outputs, targets),
        }
        return {name: self._of_each(name, each, len(targets)) for name, each in found.items()}

    def _of_each(self, what: str, found: Tensor, examples: int) -> Tensor:
        """Returns what was measured of each example.

        Raises:
            ValueError: it is not one number an example.
        """
        if found.shape != (examples,):
            given = "x".join(map(str, found.shape)) or "one number in all"
            raise ValueError(
                f"{what} of workload {self._workload.name} is {given} for {examples} examples; "
                "return one number an example (reduction='none', and the mean over other sides)"
            )
        return found

    def _outputs(self, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        shaped = {
            name: weights[name].view(each.parameter.shape) for name, each in self._found.items()
        }
        outputs: Tensor = functional_call(self._module, shaped, (inputs,))
        return outputs

    def _drawn(self, seed: int, width: int | None) -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self._workload.built(self._config, width=width)
        return {name: each.detach().float().clone() for name, each in module.named_parameters()}


class OwnStream:
    """The batches of a workload.

    Attributes:
        vocabulary: e to the loss of guessing; infinity where that is not known.
    """

    def __init__(self, workload: TorchWorkload, config: Config, *, device: str) -> None:
        self._workload, self._config, self._device = workload, config, device
        self.vocabulary = math.inf if workload.guess is None else math.exp(workload.guess)

    def training(self, seeds: Sequence[int], *, step: int) -> Batch:
        """Returns the batch of a step, [E, B, ...] each; members of one seed see the same one."""
        drawn = {seed: self._workload.batch(self._config, seed, step) for seed in set(seeds)}
        inputs, targets = (torch.stack([drawn[seed][i] for seed in seeds]) for i in (0, 1))
        return Batch(inputs.to(self._device), targets.to(self._device))

    def evaluation(self, members: int) -> Iterator[Batch]:
        """Yields what is held out in parts, the same for every member and every trial."""
        for inputs, targets in self._workload.held_out(self._config):
            yield Batch(
                inputs.to(self._device).expand(members, *inputs.shape),
                targets.to(self._device).expand(members, *targets.shape),
            )

    def metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Returns the means."""
        return dict(means)


class OwnTrainer(Training):
    """Trains a pack of trials of a user's own module."""

    def __init__(
        self,
        workload: TorchWorkload,
        members: Sequence[Member],
        *,
        threads: int,
        device: str,
        ranks: Ranks | None = None,
        record: Record | None = None,
    ) -> None:
        """Makes module, batches and optimizers; see :class:`TrainerFactory` and, for ``ranks``,
        :class:`Training`."""
        plan = workload.resolve(members[0].config)
        super().__init__(
            workload,
            members,
            model=OwnModel(workload, plan, device=device),
            stream=OwnStream(workload, plan.config, device=device),
            activation=plan.config["batch_size"] * plan.config["width"],
            record=record,
            threads=threads,
            device=device,
            ranks=ranks,
        )


def _members(parameters: Mapping[str, Tensor], number: int) -> Iterator[dict[str, Tensor]]:
    """Yields the parameters of each member, without E."""
    return ({name: each[i] for name, each in parameters.items()} for i in range(number))


def _matrix(shape: torch.Size) -> tuple[int, ...]:
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else tuple(shape)


def _size(tensor: Tensor) -> float:
    return tensor.double().square().mean().sqrt().item()
