"""What is recorded of a pack on the way: updates, activations, attention logits.

Nothing here changes a weight, a gradient or a draw, so that a trial is the same with it or
without. Each kind looks at some sequences of the step's batch, not all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from workloads.training.model import Batch, Model, Observe
from workloads.training.quantities import alignment, rms, spectral_norm, stable_rank
from workloads.workload import Record

PROBE = 512
"""Tokens (or examples) of each member that are looked at, about."""

INPUT = "input "
"""How the names of what goes into a matrix begin."""

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
    the columns. At all other steps both do nothing.
    """

    def __init__(self, record: Record | None, model: Model, *, steps: int) -> None:
        """Takes what is to be recorded.

        Args:
            record: its ``quantities`` are among the card's ``recordings``; None records nothing.
            model: the model of the pack.
            steps: of the whole run.
        """
        self._kinds = frozenset(() if record is None else record.quantities)
        self._steps = frozenset[int]() if record is None else record.at(steps)
        self._model = model
        self._taken: _Taken | None = None

    def before(self, step: int, parameters: Mapping[str, Tensor], batch: Batch) -> None:
        """Takes down weights and activations before the update of a step.

        Args:
            step: the update that comes, from 1.
            parameters: by name, each [E, ...].
            batch: of the step.
        """
        self._taken = None
        if step in self._steps:
            probe = probe_of(batch.inputs)
            seen = self._seen(parameters, probe)
            weights = {k: v.clone() for k, v in parameters.items()} if self._wants_updates else {}
            self._taken = _Taken(probe, weights, seen)

    @torch.no_grad()
    def after(self, parameters: Mapping[str, Tensor]) -> list[dict[str, float]]:
        """Returns the columns of each member after the update; empty where none are due."""
        taken, self._taken = self._taken, None
        if taken is None:
            return []
        found: dict[str, Tensor] = {}
        if self._wants_updates:
            found |= self._updates(parameters, taken)
        if "activations" in self._kinds:
            found |= activation_columns(taken.seen, self._seen(parameters, taken.probe))
        if "attention_logits" in self._kinds and isinstance(self._model, Attends):
            found |= _logit_columns(self._model.peaks(parameters, taken.probe))
        if not found:
            return []
        rows = torch.stack([each.double() for each in found.values()], 1).tolist()
        return [dict(zip(found, row, strict=True)) for row in rows]

    @property
    def _wants_updates(self) -> bool:
        return "updates" in self._kinds

    @torch.no_grad()
    def _seen(self, parameters: Mapping[str, Tensor], probe: Tensor) -> dict[str, Tensor]:
        if not self._kinds & {"updates", "activations"}:
            return {}
        return seen_of(self._model, parameters, probe)

    def _updates(self, parameters: Mapping[str, Tensor], taken: _Taken) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, now in parameters.items():
            update = now - taken.weights[name]
            found |= update_columns(name, update, taken.seen.get(f"{INPUT}{name}"))
        roles = {name: tensor.role for name, tensor in self._model.tensors.items()}
        return found | _pooled(found, roles)


class _Taken:
    """What was taken down before an update: the probe, weights and activations."""

    def __init__(
        self, probe: Tensor, weights: Mapping[str, Tensor], seen: Mapping[str, Tensor]
    ) -> None:
        self.probe, self.weights, self.seen = probe, weights, seen


def probe_of(inputs: Tensor) -> Tensor:
    """Returns the first sequences (or examples) of a batch [E, B, ...], ``PROBE`` tokens of each
    member, about, and one sequence at least."""
    each = 1 if inputs.dtype.is_floating_point else inputs.shape[2]
    return inputs[:, : max(1, PROBE // each)]


@torch.no_grad()
def seen_of(model: Model, parameters: Mapping[str, Tensor], probe: Tensor) -> dict[str, Tensor]:
    """Returns what a model tells of a probe, by name; empty of one that tells nothing."""
    found: dict[str, Tensor] = {}
    if isinstance(model, Observed):
        model.logits(
            parameters, probe, observe=lambda name, value: found.update({name: value.detach()})
        )
    return found


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


def activation_columns(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns size and change of each activation, [E] each, by column."""
    found = {}
    for name, now in after.items():
        if not name.startswith(INPUT):
            place = name.replace(" ", ".")
            found[f"activation_rms.{place}"] = rms(now)
            found[f"activation_change.{place}"] = rms(now - before[name])
    return found


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
