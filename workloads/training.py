"""The training loop of a pack: steps, evaluations, divergence, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from workloads.checkpoints import Checkpoint, read, trial_digest, write
from workloads.devices import device_name
from workloads.optimizers.clipping import clip
from workloads.optimizers.factory import build
from workloads.optimizers.optimizer import select
from workloads.schedule import Schedule
from workloads.seats import Seat
from workloads.streams import TokenStream
from workloads.workload import Card, Measurement, Member, Resolved

CURVE_POINTS = 200
"""Training losses that a run reports at most, besides that of its first step."""


Status = Literal["running", "completed", "diverged"]


class Model(Protocol):
    """A model with an ensemble axis, as functions of stacked parameters."""

    @property
    def roles(self) -> Mapping[str, str]:
        """Role of each parameter by name."""
        ...

    def initial(self, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Returns the parameters of each seed's member at the start, [E, ...]."""
        ...

    def losses(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of each sequence, [E, B], nats per token."""
        ...


class Training:
    """Trains a pack; satisfies :class:`workloads.workload.Trainer`.

    Members never meet, so each one's bits are those it has alone: on a CPU, without ``compile``,
    for sizes of the model and of the batch (batch_size * context) that are multiples of 16. At
    other sizes vectorised kernels round a rest of less than a register in another way, and
    where that rest lies depends on the pack.

    A member that diverges (see :class:`workloads.seats.Seat`; an evaluation that is not finite
    counts too) ends alone. When half of the pack or more has ended, the tensors are cut down to
    the others.
    """

    def __init__(
        self,
        members: Sequence[Member],
        plans: Sequence[Resolved],
        *,
        card: Card,
        model: Model,
        stream: TokenStream,
        threads: int,
        device: str,
    ) -> None:
        """Puts parameters and optimizer on the device and loads the checkpoints, if any.

        Raises:
            ValueError: members do not fit into one pack, or a checkpoint is unusable.
        """
        _check_pack(card, plans)
        config, self._steps = plans[0].config, int(plans[0].derived["steps"])
        self._threads, self._device = threads, device
        self._stream, self._roles = stream, model.roles
        self._losses = torch.compile(model.losses) if config["compile"] else model.losses
        self._clip = float(config["clip"])
        self._tokens_per_step = int(plans[0].derived["tokens"]) // self._steps
        self._schedule = Schedule(
            steps=self._steps,
            warmup_steps=plans[0].derived["warmup_steps"],
            shape=config["schedule"],
            final_ratio=config["final_ratio"],
        )
        self._marks = {
            -(-self._steps * i // config["evals"]) for i in range(1, config["evals"] + 1)
        }
        self._trials = [trial_digest(card, member) for member in members]
        self._seats = [
            Seat(member=i, seed=member.seed, steps=self._steps, vocabulary=stream.vocabulary)
            for i, member in enumerate(members)
        ]
        initial = model.initial([member.seed for member in members])
        self._parameters = {name: value.to(device) for name, value in initial.items()}
        self._optimizers = build(self._parameters, self._roles, plans)
        self._step = self._restore(members)

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields the measurements of each step; see :class:`workloads.workload.Trainer`.

        A pack that starts from checkpoints of the last step yields its final ones once more.
        """
        torch.set_num_threads(self._threads)
        if self._device == "cpu":
            torch.set_flush_denormal(True)  # denormals slow products down by up to 100 times
        if self._step == self._steps:
            yield self._evaluated()
        while self._seats and self._step < self._steps:
            yield self._advance()

    def save(self, member: int, path: Path) -> None:
        """Writes a checkpoint of one member at ``path``.

        Raises:
            ValueError: the member has diverged, so that nothing is left to go on with.
        """
        places = [i for i, seat in enumerate(self._seats) if seat.member == member]
        if not places or self._seats[places[0]].ended:
            raise ValueError(f"member {member} has no state to save: it has diverged")
        seat = self._seats[places[0]]
        checkpoint = Checkpoint(
            trial=self._trials[member],
            step=self._step,
            parameters={name: each[places[0]] for name, each in self._parameters.items()},
            optimizer=self._state(places[0]),
            recent_losses=list(seat.recent),
            steps_above=seat.above,
        )
        write(checkpoint, path)

    def device_name(self) -> str:
        """Returns the name of the processor or accelerator."""
        return device_name(self._device)

    def _advance(self) -> list[Measurement]:
        """Makes one update of every seat and returns what there is to say about it."""
        step = self._step + 1
        scale = self._schedule(step)
        losses, gradients = self._gradients(step)
        norms = clip(gradients, self._clip)
        for optimizer in self._optimizers:
            optimizer.step(gradients, scale=scale, step=step)
        self._step = step
        measured = torch.stack([losses, norms]).tolist()  # the step's one transfer to the host
        said = self._judge(measured[0], measured[1], scale)
        if step in self._marks:
            said += self._evaluated()
        self._compact()
        return said

    def _gradients(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns loss [E] and gradients by name, each contiguous and [E, ...]."""
        inputs, targets = self._stream.training([s.seed for s in self._seats], step=step)
        leaves = {name: each.requires_grad_() for name, each in self._parameters.items()}
        losses = self._losses(leaves, inputs, targets).mean(1)
        found = torch.autograd.grad(losses.sum(), list(leaves.values()))
        gradients = {n: each.contiguous() for n, each in zip(leaves, found, strict=True)}
        return losses.detach(), gradients

    def _judge(
        self, losses: Sequence[float], norms: Sequence[float], scale: float
    ) -> list[Measurement]:
        """Takes each seat's loss into its history; returns curve points and divergences."""
        said = []
        for seat, loss, norm in zip(self._seats, losses, norms, strict=True):
            if seat.ended:
                continue
            if seat.take(loss, norm):
                said.append(self._measurement(seat, {}, status="diverged"))
            elif self._is_curve_point():
                metrics = {"train_loss": loss, "grad_norm": norm, "schedule": scale}
                said.append(self._measurement(seat, metrics))
        return said

    def _is_curve_point(self) -> bool:
        """Returns whether this step is the first or one of ``CURVE_POINTS`` evenly spaced."""
        now, before = (step * CURVE_POINTS // self._steps for step in (self._step, self._step - 1))
        return now != before or self._step == 1

    @torch.no_grad()
    def _evaluated(self) -> list[Measurement]:
        """Returns the evaluation of every seat, final after the last step."""
        parts = [
            self._losses(self._parameters, inputs, targets)
            for inputs, targets in self._stream.evaluation(len(self._seats))
        ]
        losses = torch.cat(parts, 1).double().mean(1).tolist()
        return [
            self._mark(seat, loss)
            for seat, loss in zip(self._seats, losses, strict=True)
            if not seat.ended
        ]

    def _mark(self, seat: Seat, loss: float) -> Measurement:
        if not math.isfinite(loss):
            seat.ended = True
            return self._measurement(seat, {}, status="diverged")
        bits = loss / math.log(2) / self._stream.bytes_per_token
        metrics = {"val_loss": loss, "val_bits_per_byte": bits}
        if self._step < self._steps:
            return self._measurement(seat, metrics, mark=True)
        metrics["train_loss"] = seat.train_loss
        return self._measurement(seat, metrics, mark=True, status="completed")

    def _measurement(
        self,
        seat: Seat,
        metrics: Mapping[str, float],
        *,
        mark: bool = False,
        status: Status = "running",
    ) -> Measurement:
        return Measurement(
            member=seat.member,
            step=self._step,
            tokens=self._step * self._tokens_per_step,
            metrics=metrics,
            mark=mark,
            status=status,
        )

    def _compact(self) -> None:
        """Cuts the tensors down to the running seats once half of them or more have ended."""
        index = [i for i, seat in enumerate(self._seats) if not seat.ended]
        if 2 * len(index) > len(self._seats):
            return
        self._seats = [self._seats[i] for i in index]
        for name, each in self._parameters.items():
            self._parameters[name] = select(each.detach(), index)
        for optimizer in self._optimizers:
            optimizer.keep(index)

    def _state(self, place: int) -> dict[str, Tensor]:
        """Returns views of the optimizer state of the seat at ``place``."""
        return {k: v for each in self._optimizers for k, v in each.state(place).items()}

    def _restore(self, members: Sequence[Member]) -> int:
        """Loads the members' checkpoints and returns the step they are of; 0 without any."""
        given = [(i, m.checkpoint) for i, m in enumerate(members) if m.checkpoint is not None]
        if not given:
            return 0
        if len(given) < len(members):
            raise ValueError(
                f"{len(given)} of {len(members)} members of the pack have a checkpoint; pack "
                "trials that go on apart from those that start"
            )
        found = [read(path, trial=self._trials[i]) for i, path in given]
        steps = sorted({checkpoint.step for checkpoint in found})
        if len(steps) > 1:
            raise ValueError(
                f"the checkpoints of the pack are of steps {steps}; of one they must be"
            )
        for (place, path), checkpoint in zip(given, found, strict=True):
            self._restore_seat(place, path, checkpoint)
        return steps[0]

    @torch.no_grad()
    def _restore_seat(self, place: int, path: Path, checkpoint: Checkpoint) -> None:
        own = {name: each[place] for name, each in self._parameters.items()}
        pairs = ((own, checkpoint.parameters), (self._state(place), checkpoint.optimizer))
        for views, values in pairs:
            fits = views.keys() == values.keys() and all(
                view.shape == values[name].shape for name, view in views.items()
            )
            if not fits:
                raise ValueError(f"{path} holds tensors of another model; delete it to start over")
            for name, view in views.items():
                view.copy_(values[name])
        self._seats[place].recent.extend(checkpoint.recent_losses)
        self._seats[place].above = checkpoint.steps_above


def _check_pack(card: Card, plans: Sequence[Resolved]) -> None:
    """Refuses members that differ in what has to be common to a pack."""
    packable = {setting.name for setting in card.settings if setting.packable}
    for plan in plans[1:]:
        differing = [
            name
            for name in sorted(plan.config.keys() | plans[0].config.keys())
            if name not in packable and plan.config.get(name) != plans[0].config.get(name)
        ]
        if differing:
            raise ValueError(
                f"members of a pack differ in {', '.join(differing)}; they may differ in "
                f"{', '.join(sorted(packable))} and the seed only"
            )
