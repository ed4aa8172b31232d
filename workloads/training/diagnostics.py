"""What is recorded of a pack on the way: updates, activations, attention logits.

Nothing here changes a weight, a gradient or a draw, so that a trial is the same with it or
without. Each kind looks at some sequences of the step's batch, not all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from workloads.training.model import Batch, Model, Observe, started, turned_names
from workloads.training.pack import Pack
from workloads.training.quantities import alignment, rms, spectral_norm, stable_rank
from workloads.workload import Layer, Record

PROBE = 512
"""Tokens (or examples) of each member that are looked at, about."""

INPUT = "input "
"""How the names of what goes into a matrix begin."""

NEARLY_NONE = 1 / 1024
"""Factor on epsilons that shows what they take; without any, gradients that are rounding would
count as much as others."""

POOLED = ("hidden", "vector")
"""Roles of many tensors, which have columns of their own."""


@runtime_checkable
class Observed(Protocol):
    """A model that tells what goes on in it."""

    def logits(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, observe: Observe | None = None
    ) -> Tensor:
        """Returns the logits; tells of activations and of what goes into each matrix."""
        ...


@runtime_checkable
class Attends(Protocol):
    """A model with attention."""

    def peaks(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Returns the largest attention logit of each block's heads, [E, blocks, H]."""
        ...


class Diagnostics:
    """Records what is asked for, at the steps that are asked for.

    Before an update :meth:`before` takes down what the update will change; :meth:`after` returns
    the columns. At all other steps both do nothing. It keeps nothing from one recorded step to
    the next, so that a trial goes on from a checkpoint as if it had never stopped.
    """

    def __init__(self, record: Record | None, model: Model, pack: Pack) -> None:
        """Takes what is to be recorded.

        Args:
            record: its ``quantities`` are among the card's ``recordings``; None records nothing.
            model: the model of the pack.
            pack: the pack.
        """
        self._kinds = frozenset(() if record is None else record.quantities)
        steps = pack.states[0].steps
        self._steps = frozenset[int]() if record is None else record.at(steps)
        self._model, self._pack = model, pack
        self._taken: _Taken | None = None

    def before(
        self,
        step: int,
        batch: Batch,
        gradients: Mapping[str, Tensor],
        scale: float,
        curvature: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Takes down weights and activations before the update of a step.

        Args:
            step: the update that comes, from 1.
            batch: of the step.
            gradients: that the update is made of, by name.
            scale: s(t).
            curvature: see :meth:`Pack.update`.
        """
        self._taken = None
        if step not in self._steps:
            return
        weights, probe = self._pack.parameters, probe_of(batch.inputs)
        taken = _Taken(probe, self._seen(weights, probe))
        if self._kinds & {"updates", "coordinates"}:
            taken.weights = {name: each.clone() for name, each in weights.items()}
        if "coordinates" in self._kinds:
            taken.alternative = self._pack.alternative(
                gradients, scale=scale, epsilons=NEARLY_NONE, curvature=curvature
            )
        self._taken = taken

    @torch.no_grad()
    def after(self) -> list[dict[str, float]]:
        """Returns the columns of each member after the update; empty where none are due."""
        taken, self._taken = self._taken, None
        if taken is None:
            return []
        found: dict[str, Tensor] = {}
        weights, probe = self._pack.parameters, taken.probe
        updates = {name: weights[name] - before for name, before in taken.weights.items()}
        if "updates" in self._kinds:
            found |= self._updates(updates, taken)
        now = self._seen(weights, probe)
        if "activations" in self._kinds:
            found |= _sizes(now) | _changes("activation_change", taken.seen, now)
        if "attention_logits" in self._kinds and isinstance(self._model, Attends):
            found |= _logit_columns(self._model.peaks(weights, probe))
        if "coordinates" in self._kinds:
            found |= self._since_start(now, probe) | _epsilon_shares(updates, taken.alternative)
        if not found:
            return []
        rows = torch.stack([each.double() for each in found.values()], 1).tolist()
        return [dict(zip(found, row, strict=True)) for row in rows]

    @torch.no_grad()
    def _seen(self, weights: Mapping[str, Tensor], probe: Tensor) -> dict[str, Tensor]:
        """Returns what the model tells of a probe, by name, if anything recorded needs it."""
        found: dict[str, Tensor] = {}
        if self._kinds & {"updates", "activations", "coordinates"}:
            assert isinstance(self._model, Observed)
            self._model.logits(
                weights, probe, observe=lambda name, value: found.update({name: value.detach()})
            )
        return found

    def _updates(self, updates: Mapping[str, Tensor], taken: _Taken) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, update in updates.items():
            found |= update_columns(name, update, taken.seen.get(f"{INPUT}{name}"))
        roles = {name: tensor.role for name, tensor in self._model.tensors.items()}
        return found | _pooled(found, roles)

    def _since_start(self, now: Mapping[str, Tensor], probe: Tensor) -> dict[str, Tensor]:
        seeds = [state.seed for state in self._pack.states]
        start = {name: each.to(probe.device) for name, each in started(self._model, seeds).items()}
        found = {f"initial_rms.{name}": rms(each) for name, each in start.items()}
        return found | _changes("activation_moved", self._seen(start, probe), now)


class _Taken:
    """What was taken down before an update: the probe, what the model told of it, and where they
    are needed the weights and the update that nearly no epsilons would have made."""

    def __init__(self, probe: Tensor, seen: Mapping[str, Tensor]) -> None:
        self.probe, self.seen = probe, seen
        self.weights: Mapping[str, Tensor] = {}
        self.alternative: Mapping[str, Tensor] = {}


def layers_of(model: Model) -> dict[str, Layer]:
    """Returns role and sizes of every tensor of a model, by name."""
    turned, found = turned_names(model), {}
    for name, tensor in model.tensors.items():
        out, *rest = tensor.shape[::-1] if name in turned else tensor.shape
        found[name] = Layer(kind=tensor.kind, inputs=rest[0] if rest else 1, outputs=out)
    return found


def probe_of(inputs: Tensor) -> Tensor:
    """Returns the first sequences (or examples) of a batch [E, B, ...], ``PROBE`` tokens of each
    member, about, and one sequence at least."""
    each = 1 if inputs.dtype.is_floating_point or inputs.ndim < 3 else inputs.shape[2]
    return inputs[:, : max(1, PROBE // each)]


def update_columns(name: str, update: Tensor, inputs: Tensor | None) -> dict[str, Tensor]:
    """Returns what is said of the update [E, ...] of one tensor, [E] each, by column; inputs are
    what goes into it, None where that is not known (of vectors, for example)."""
    norm = spectral_norm(update)
    found = {"update_rms": rms(update), "update_norm": norm}
    if update.ndim > 2:
        found["update_stable_rank"] = stable_rank(update, norm)
        if inputs is not None:
            found["update_alignment"] = alignment(update, inputs, norm)
    return {f"{quantity}.{name}": value for quantity, value in found.items()}


def _activations(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the activations among what a model told, by the name of their columns."""
    return {k.replace(" ", "."): each for k, each in seen.items() if not k.startswith(INPUT)}


def _sizes(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"activation_rms.{name}": rms(each) for name, each in _activations(seen).items()}


def _changes(
    quantity: str, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    old, new = _activations(before), _activations(after)
    return {f"{quantity}.{name}": rms(each - old[name]) for name, each in new.items()}


def _epsilon_shares(
    updates: Mapping[str, Tensor], alternative: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns the share of each update that is lost to its epsilon: eps / (x + eps) of one that
    goes as 1 / (x + eps)."""
    return {
        f"epsilon_share.{name}": 1 - rms(update) / rms(alternative[name])
        for name, update in updates.items()
    }


def _logit_columns(peaks: Tensor) -> dict[str, Tensor]:
    blocks = peaks.amax(2)
    each = {f"attention_logit_max.{layer}": peak for layer, peak in enumerate(blocks.unbind(1))}
    return {"attention_logit_max": blocks.amax(1), **each}


def _pooled(columns: Mapping[str, Tensor], roles: Mapping[str, str]) -> dict[str, Tensor]:
    """Returns root mean squares over the tensors of each role that has many."""
    groups: dict[str, list[Tensor]] = {}
    for column, value in columns.items():
        quantity, _, name = column.partition(".")
        if roles[name] in POOLED:
            groups.setdefault(f"{quantity}.{roles[name]}", []).append(value)
    return {column: _mean_square(values) for column, values in groups.items()}


def _mean_square(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).square().mean(0).sqrt()
