"""Checkpoints: one file a trial, of tensors and plain values only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workloads.workload import Card, Member

_FORMAT = 1
"""Version of what a checkpoint holds; a change of it must raise this."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that a trial needs to go on with the same bits, alone or in any pack.

    Batches are drawn by (seed, step) and the model draws nothing after its start, so there is no
    state of a random generator.

    Attributes:
        trial: digest of the trial, from :func:`trial_digest`.
        step: updates done.
        parameters: by name, without the ensemble axis.
        optimizer: state of the optimizers by key, without the ensemble axis.
        recent_losses: losses of the last steps, for the final ``train_loss``; nats per token.
        steps_above: steps in a row, up to now, with a loss beyond the limit of divergence.
    """

    trial: str
    step: int
    parameters: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    recent_losses: list[float]
    steps_above: int


def trial_digest(card: Card, member: Member) -> str:
    """Returns 64 hex digits over workload, version, canonical config and seed."""
    what = [card.name, card.version, dict(member.config), member.seed]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def write(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a checkpoint as one file, with tensors copied to the CPU."""
    document = {"format": _FORMAT} | {
        f.name: getattr(checkpoint, f.name) for f in fields(Checkpoint)
    }
    for name in ("parameters", "optimizer"):
        # A view would take the whole pack's storage into the file.
        document[name] = {key: each.cpu().clone() for key, each in document[name].items()}
    # Into an open file: torch's own writer tells no errno, and puts the file's name inside.
    with path.open("wb") as file:
        torch.save(document, file)


def read(path: Path, *, trial: str) -> Checkpoint:
    """Returns the checkpoint in a file, its tensors on the CPU.

    Args:
        path: file that :func:`write` made.
        trial: digest of the trial that wants to go on.

    Raises:
        ValueError: the file is unreadable, is no checkpoint or is of another trial.
    """
    document = _load(path)
    names = {field.name for field in fields(Checkpoint)}
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError(f"{path} is no checkpoint of format {_FORMAT}; delete it to start over")
    if set(document) != names | {"format"}:
        raise ValueError(f"{path} is an incomplete checkpoint; delete it to start over")
    if document["trial"] != trial:
        raise ValueError(
            f"{path} is a checkpoint of another trial (or of another version of the workload); "
            "give the trial its own checkpoint, or delete this one to start over"
        )
    found = Checkpoint(**{name: document[name] for name in names})
    if not _is_sound(found):
        raise ValueError(f"{path} holds values of another kind; delete it to start over")
    return found


def _is_sound(found: Checkpoint) -> bool:
    """Returns whether all that a checkpoint holds is of its type: a forged one may hold anything
    that needs no code to be read."""
    tensors = (found.parameters, found.optimizer)
    return (
        all(isinstance(each, dict) for each in tensors)
        and all(isinstance(value, Tensor) for each in tensors for value in each.values())
        and all(type(each) is int and each >= 0 for each in (found.step, found.steps_above))
        and isinstance(found.recent_losses, list)
        and all(isinstance(loss, float) for loss in found.recent_losses)
    )


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the content of a file makes torch raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"the checkpoint {path} cannot be read ({reason}); delete it to start over"
        ) from error
