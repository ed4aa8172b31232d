"""The ``two_layer`` model, its examples, and its trainer.

Legend: E members of the pack, B examples, F numbers of an input, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.optimizers import Unit
from workloads.training import (
    Batch,
    InitialTensor,
    Observe,
    Ranks,
    Training,
    compute_dtype,
    grouped,
    tell_nobody,
)
from workloads.workload import Card, Config, Member, Record, Resolved

EXAMPLES = 0xBED5
"""What examples are drawn for, apart from any other use of a seed."""

PART = 2048
"""Held-out examples that go through the model at once; the same in any pack."""


class TwoLayer:
    """f(x) = r relu(W x + b) + c as functions of stacked parameters; it holds none itself.

    Attributes:
        tensors: every tensor and how it starts, by name.
        units: what the parameters make up for an optimizer, by the name of their group.
    """

    def __init__(self, plan: Resolved, *, compute: torch.dtype = torch.float32) -> None:
        """Reads sizes and task off a resolved config."""
        width, dim, groups = plan.config["width"], plan.config["dim"], plan.derived["groups"]
        self._squared = plan.config["task"] == "k_index"
        self._compute = compute
        spread = {role: groups[role]["init_std"] for role in ("embedding", "readout")}
        self.tensors: Mapping[str, InitialTensor] = {
            "embedding": InitialTensor("embedding", (width, dim), spread["embedding"]),
            "embedding.bias": InitialTensor("vector", (width,), 0.0),
            "readout": InitialTensor("readout", (1, width), spread["readout"]),
            "readout.bias": InitialTensor("vector.readout", (1,), 0.0),
        }
        self.units: Mapping[str, Sequence[Unit]] = grouped(
            ((each.kind, Unit(names=(name,))) for name, each in self.tensors.items()), plan
        )

    def losses(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each example, [E, B], of inputs [E, B, F] and targets [E, B]."""
        return self._losses(self.logits(parameters, inputs), targets)

    def sampled_losses(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, draws: Tensor
    ) -> Tensor:
        """Returns the losses, [E, B], on targets that the model guesses: a label with its own
        probability, or its own value and a standard normal number."""
        values = self.logits(parameters, inputs)
        guess = values.detach()
        if self._squared:
            normal = torch.special.ndtri(draws.clamp(1e-6, 1 - 1e-6))
            return self._losses(values, guess + normal)
        return self._losses(values, (draws < torch.sigmoid(guess)).to(guess.dtype))

    def evaluated(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        """Returns ``val_loss`` of each example, [E, B]."""
        return {"val_loss": self.losses(parameters, inputs, targets)}

    def logits(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, observe: Observe | None = None
    ) -> Tensor:
        """Returns the outputs, [E, B], in the number format of the parameters.

        Args:
            parameters: by name, each [E, ...].
            inputs: [E, B, F].
            observe: is told the ReLUs, the outputs, and what goes into each matrix.
        """
        tell = observe or tell_nobody
        tell("input embedding", inputs)
        weight, bias, readout, shift = (
            parameters[name].to(self._compute) for name in self.tensors
        )
        x = torch.baddbmm(bias[:, None], inputs.to(self._compute), weight.mT).relu()
        # A sum of products, since a matrix product with one column rounds in a pack as it may.
        values = ((x * readout).sum(-1) + shift).to(parameters["readout"].dtype)
        tell("embedding", x)
        tell("input readout", x)
        tell("outputs", values)
        return values

    def _losses(self, values: Tensor, targets: Tensor) -> Tensor:
        if self._squared:
            return (values - targets) ** 2
        return F.binary_cross_entropy_with_logits(values, targets, reduction="none")


class Examples:
    """The examples of each seed and step, and those that are held out.

    Attributes:
        vocabulary: 2, whose logarithm is the loss of guessing which half an input is in.
    """

    vocabulary = 2

    def __init__(self, config: Config, *, device: str) -> None:
        self._config, self._device = config, device

    def training(self, seeds: Sequence[int], *, step: int) -> Batch:
        """Returns the batch of a step, [E, B, F] and [E, B]; members of one seed see the same
        one, whatever their width."""
        drawn = {seed: self._drawn(self._config["batch_size"], seed, step) for seed in set(seeds)}
        inputs = torch.stack([drawn[seed][0] for seed in seeds])
        targets = torch.stack([drawn[seed][1] for seed in seeds])
        return Batch(inputs.to(self._device), targets.to(self._device))

    def evaluation(self, members: int) -> Iterator[Batch]:
        """Yields the held-out examples in parts, the same for every member and every trial."""
        inputs, targets = self._drawn(self._config["eval_examples"], 0, 0)
        for some, theirs in zip(
            torch.split(inputs, PART), torch.split(targets, PART), strict=True
        ):
            yield Batch(
                some.to(self._device).expand(members, -1, -1),
                theirs.to(self._device).expand(members, -1),
            )

    def metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Returns the means: ``val_loss``."""
        return dict(means)

    def _drawn(self, number: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Returns inputs [number, F] and targets [number]; step 0 is held out."""
        dim = self._config["dim"]
        key = np.array([seed % 2**64, EXAMPLES], dtype=np.uint64)
        bits = np.random.Philox(key=key, counter=np.array([0, 0, step, 0], dtype=np.uint64))
        inputs = np.random.Generator(bits).standard_normal((number, dim))
        if self._config["task"] == "ball":
            targets = (np.square(inputs).sum(1) > _median(dim)).astype(np.float32)
        else:
            counted = np.square(inputs[:, : self._config["k"]])
            targets = np.sqrt(counted.mean(1)).astype(np.float32)
            inputs *= 2 / math.sqrt(dim)
        return torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets)


def _median(dim: int) -> float:
    """Returns the median of the squared length of a normal vector."""
    from scipy.stats import chi2

    return float(chi2.median(dim))


class TwoLayerTrainer(Training):
    """Trains a pack of ``two_layer`` trials."""

    def __init__(
        self,
        card: Card,
        members: Sequence[Member],
        *,
        threads: int,
        device: str,
        ranks: Ranks | None = None,
        record: Record | None = None,
    ) -> None:
        """Makes model, examples and optimizers; see :class:`TrainerFactory` and, for ``ranks``,
        :class:`Training`."""
        plan = card.resolve(members[0].config)
        super().__init__(
            card,
            members,
            model=TwoLayer(plan, compute=compute_dtype(plan.config["dtype"], device)),
            stream=Examples(plan.config, device=device),
            activation=plan.config["batch_size"]
            // plan.config["accumulation"]
            * plan.config["width"],
            record=record,
            threads=threads,
            device=device,
            ranks=ranks,
        )
