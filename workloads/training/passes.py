"""The passes of a pack through its model: gradients, curvature, evaluations.

Legend: E members of the pack, B sequences (or examples) of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from workloads.training.model import Batch, Model, Stream
from workloads.training.pack import Pack
from workloads.training.ranks import Ranks
from workloads.training.sampling import uniform

Losses = Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]
"""Parameters, inputs and targets (or draws for them) to losses [E, B]."""


class Passes:
    """Takes the members of a pack through the model, as many at once as pay."""

    def __init__(
        self,
        pack: Pack,
        model: Model,
        *,
        together: int,
        accumulation: int,
        compiled: bool,
        ranks: Ranks | None = None,
    ) -> None:
        """Takes pack and model.

        Args:
            pack: the pack, whose members may end in between.
            model: the model of its shape.
            together: members that go through the model at once, at least 1.
            accumulation: equal parts of this process's share of a batch that go through one
                after the other.
            compiled: True to compile the functions of the model.
            ranks: the processes that share a batch; None is this one alone.
        """
        self._ranks = ranks or Ranks()
        self._pack, self._together, self._accumulation = pack, together, accumulation
        self._losses: Losses = torch.compile(model.losses) if compiled else model.losses
        self._evaluated = torch.compile(model.evaluated) if compiled else model.evaluated
        self._sampled_losses: Losses = model.sampled_losses

    def gradients(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns loss [E] and gradients by name, each contiguous and [E, ...]."""
        return self._backward(self._losses, batch)

    def curvature(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the gradients of the mean loss on labels that the model guesses for a batch
        with draws in the place of targets, by name."""
        return self._backward(self._sampled_losses, batch)[1]

    def draws(self, batch: Batch, *, step: int) -> Batch:
        """Returns a batch with the draws of a step in the place of its targets."""
        seeds = [state.seed for state in self._pack.states]
        shape = batch.targets.shape[1:]
        each = {seed: uniform(shape, seed=seed, step=step) for seed in dict.fromkeys(seeds)}
        draws = torch.stack([each[seed] for seed in seeds])
        return Batch(batch.inputs, draws.to(batch.inputs.device))

    @torch.no_grad()
    def means(self, stream: Stream) -> list[dict[str, float]]:
        """Returns, for each member, what the model measures, averaged over the held-out data."""
        parts = [self._held_out(members, stream) for members in self._slices()]
        columns = {
            name: torch.cat([part[name] for part in parts]).double().mean(1).tolist()
            for name in parts[0]
        }
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _held_out(self, members: slice, stream: Stream) -> dict[str, Tensor]:
        """Returns what is measured of every held-out sequence, by name, [members, N]."""
        weights = {name: each[members] for name, each in self._pack.parameters.items()}
        number = len(self._pack.states[members])
        sizes, found = [], {}
        for index, part in enumerate(stream.evaluation(number)):
            sizes.append(part.inputs.shape[1])
            if index % self._ranks.size == self._ranks.rank:
                found[index] = self._evaluated(weights, *part)
        # One without a part of its own, for want of parts, takes the last one for its names.
        like = next(iter(found.values()), None) or self._evaluated(weights, *part)
        return {
            name: self._ranks.total(
                torch.cat(
                    [
                        found[index][name] if index in found else each.new_zeros(number, size)
                        for index, size in enumerate(sizes)
                    ],
                    1,
                )
            )
            for name, each in like.items()
        }

    @torch.no_grad()
    def largest(
        self, function: Callable[[Mapping[str, Tensor], Tensor], Tensor], batch: Batch
    ) -> Tensor:
        """Returns the largest values, [E, ...], of a function of parameters and inputs over the
        parts of a batch."""
        share = self._ranks.share(batch)
        found = [self._largest(function, members, share) for members in self._slices()]
        return self._ranks.largest(torch.cat(found))

    def _largest(
        self,
        function: Callable[[Mapping[str, Tensor], Tensor], Tensor],
        members: slice,
        batch: Batch,
    ) -> Tensor:
        weights = {name: each[members] for name, each in self._pack.parameters.items()}
        parts = batch.inputs[members].chunk(self._accumulation, 1)
        return torch.stack([function(weights, part) for part in parts]).amax(0)

    def _backward(self, losses: Losses, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        share = self._ranks.share(batch)
        parts = [self._accumulated(losses, members, share) for members in self._slices()]
        columns = zip(*(part[1] for part in parts), strict=True)
        local = [_joined([part[0] for part in parts]), *map(_joined, columns)]
        loss, *gradients = self._ranks.average(local)
        return loss, dict(zip(self._pack.parameters, gradients, strict=True))

    def _accumulated(
        self, losses: Losses, members: slice, batch: Batch
    ) -> tuple[Tensor, list[Tensor]]:
        """Returns loss and gradients, in the order of the parameters, of some members: the mean
        over the parts of the batch."""
        leaves = {
            name: each[members].requires_grad_() for name, each in self._pack.parameters.items()
        }
        number = self._accumulation
        parts = zip(batch.inputs.chunk(number, 1), batch.targets.chunk(number, 1), strict=True)
        loss, gradients = self._of_part(losses, leaves, members, next(parts))
        for part in parts:
            more = self._of_part(losses, leaves, members, part)
            loss += more[0]
            torch._foreach_add_(gradients, more[1])
        if number > 1:
            loss /= number
            torch._foreach_div_(gradients, number)
        return loss, gradients

    def _of_part(
        self,
        losses: Losses,
        leaves: Mapping[str, Tensor],
        members: slice,
        part: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        """Returns loss and gradients of some members on one part of the batch."""
        mean = losses(leaves, part[0][members], part[1][members]).mean(1)
        gradients = torch.autograd.grad(mean.sum(), list(leaves.values()))
        return mean.detach(), list(gradients)

    def _slices(self) -> list[slice]:
        """Returns the members in parts that go through the model together."""
        size = self._together
        return [slice(first, first + size) for first in range(0, len(self._pack.states), size)]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Returns the members of all parts as one contiguous tensor."""
    return parts[0].contiguous() if len(parts) == 1 else torch.cat(list(parts))
