"""The training loop of a pack: steps, curve points, evaluations, divergence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import get_total_norm

from workloads.optimizers import QKClip
from workloads.training.devices import denormals_flushed, device_name, members_together
from workloads.training.diagnostics import Diagnostics, layers_of
from workloads.training.model import Batch, Model, Stream
from workloads.training.pack import MemberState, Pack
from workloads.training.passes import Passes
from workloads.training.ranks import Ranks
from workloads.training.schedule import Schedule
from workloads.training.topk import follower
from workloads.workload import Card, Layer, Measurement, Member, Record

_FLOOR = 1e-6
"""Added to the norm, as torch does, so that a zero gradient stays zero."""

CURVE_POINTS = 200
"""Training losses that a run reports at most, besides that of its first step."""

HUGE = 1e6
"""Weights beyond it, with the loss of guessing, are those of a model whose activations are beyond
the finite: their squares are infinite, and divided by those they are zero."""

Status = Literal["running", "completed", "diverged"]


class Training:
    """Trains a pack; satisfies :class:`Trainer`.

    Members never meet, so each one's bits are those it has alone: on a CPU, without ``compile``,
    for sizes of the model and of a pass (what goes through the model at once: batch_size *
    context / accumulation tokens of the llama) that are multiples of 16. At other sizes
    vectorised kernels round a rest of less than a register in another way, and where that rest
    lies depends on the pack.

    A member that diverges (see :class:`MemberState`; an evaluation that is not finite
    counts too) ends alone. When half of the pack or more has ended, the tensors are cut down to
    the others.
    """

    def __init__(
        self,
        card: Card,
        members: Sequence[Member],
        *,
        model: Model,
        stream: Stream,
        activation: int,
        threads: int,
        device: str,
        qk_clip: QKClip | None = None,
        ranks: Ranks | None = None,
        record: Record | None = None,
    ) -> None:
        """Puts parameters and optimizer on the device and loads the checkpoints, if any.

        Args:
            card: card of the workload.
            members: the pack.
            model: the model of this shape.
            stream: its batches.
            activation: numbers of an activation of one member in a pass.
            threads: processor threads.
            device: ``cpu`` or ``cuda``.
            qk_clip: what limits attention logits after an update, if anything does.
            ranks: the processes that train the pack together; None is this one alone.
            record: what is recorded on the way, if anything is.

        Raises:
            ValueError: members do not fit into one pack, or a checkpoint is unusable.
        """
        plans = [card.resolve(member.config) for member in members]
        config, derived = plans[0].config, plans[0].derived
        self._threads, self._device, self._ranks = threads, device, ranks or Ranks()
        self._steps: int = derived["steps"]
        self._tokens_per_step: int = derived["tokens"] // derived["steps"]
        self._clip: float = config["clip"]
        self._marks = _marks(self._steps, config["evals"])
        self._schedule = Schedule(
            steps=self._steps,
            warmup_steps=derived["warmup_steps"],
            shape=config["schedule"],
            final_ratio=config["final_ratio"],
        )
        self._model, self._stream, self._qk_clip = model, stream, qk_clip
        self._pack = Pack(
            members,
            plans,
            card=card,
            model=model,
            vocabulary=stream.vocabulary,
            device=device,
            follow=follower(
                record, model, stream, steps=self._steps, examples=self._tokens_per_step
            ),
        )
        self._diagnostics = Diagnostics(record, model, self._pack)
        self._passes = Passes(
            self._pack,
            model,
            together=members_together(len(members), numbers=activation, device=device),
            accumulation=self._ranks.parts(config["accumulation"], config["batch_size"]),
            compiled=config["compile"],
            ranks=self._ranks,
        )

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields the measurements of each step; see :class:`Trainer`.

        A pack that starts from checkpoints of the last step yields its final ones once more.
        """
        torch.set_num_threads(self._threads)
        at_end = self._pack.step == self._steps
        while at_end or (self._pack.states and self._pack.step < self._steps):
            with denormals_flushed():
                said = self._evaluated() if at_end else self._advance()
            yield said
            at_end = False

    def save(self, member: int, path: Path) -> None:
        """Writes a checkpoint of one member at ``path``.

        Raises:
            ValueError: the member has diverged, so that nothing is left to go on with.
        """
        self._pack.save(member, path)

    def let_go(self, member: int) -> None:
        """Ends a member as a divergence would: the tensors are cut down once half have ended."""
        for state in self._pack.states:
            state.ended |= state.member == member

    def device_name(self) -> str:
        """Returns the name of the processor or accelerator."""
        return device_name(self._device)

    def parameters(self, member: int) -> dict[str, Tensor]:
        """Returns views of the parameters of one member, by name, [1, ...]."""
        place = [state.member for state in self._pack.states].index(member)
        return {name: each[place : place + 1] for name, each in self._pack.parameters.items()}

    def layers(self) -> dict[str, Layer]:
        """Returns role and sizes of every tensor, by name."""
        return layers_of(self._model)

    def _advance(self) -> list[Measurement]:
        """Makes one update of every member and returns what there is to say about it."""
        step = self._pack.step + 1
        scale = self._schedule(step)
        batch = self._stream.training([state.seed for state in self._pack.states], step=step)
        losses, gradients = self._passes.gradients(batch)
        norms = clip(gradients, self._clip)
        curvature = self._curvature(batch, step)
        peaks = self._peaks(batch, step)
        self._diagnostics.before(step, batch, gradients, scale, curvature)
        self._pack.update(gradients, scale=scale, curvature=curvature)
        if self._qk_clip is not None and peaks is not None:
            self._qk_clip.scale(self._pack.parameters, peaks)
        measured = torch.stack([losses, norms]).tolist()  # the step's one transfer to the host
        recorded = self._diagnostics.after()
        said = self._judge(measured[0], measured[1], scale, recorded)
        self._pack.follow()
        if step in self._marks:
            said += self._evaluated()
        self._pack.compact()
        return said

    def _curvature(self, batch: Batch, step: int) -> dict[str, Tensor] | None:
        """Returns the gradients on sampled labels where the update reads them; never clipped."""
        if not self._pack.wants_curvature():
            return None
        return self._passes.curvature(self._passes.draws(batch, step=step))

    def _peaks(self, batch: Batch, step: int) -> Tensor | None:
        """Returns the largest attention logits before the update where they are looked at."""
        if self._qk_clip is None or not self._qk_clip.reads_logits(step):
            return None
        return self._passes.largest(self._qk_clip.peaks, batch)

    def _judge(
        self,
        losses: Sequence[float],
        norms: Sequence[float],
        scale: float,
        recorded: Sequence[Mapping[str, float]] = (),
    ) -> list[Measurement]:
        """Takes each member's loss into its history; returns curve points, which hold what was
        recorded, and divergences."""
        said = []
        extras = recorded or [{}] * len(self._pack.states)
        for state, loss, norm, extra in zip(self._pack.states, losses, norms, extras, strict=True):
            if state.ended:
                continue
            if state.take(loss, norm):
                said.append(self._measurement(state, {}, status="diverged"))
            elif extra or self._is_curve_point():
                metrics = {"train_loss": loss, "grad_norm": norm, "schedule": scale, **extra}
                said.append(self._measurement(state, metrics))
        return said

    def _is_curve_point(self) -> bool:
        """Returns whether this step is the first or one of ``CURVE_POINTS`` evenly spaced."""
        step = self._pack.step
        now, before = (each * CURVE_POINTS // self._steps for each in (step, step - 1))
        return now != before or step == 1

    def _evaluated(self) -> list[Measurement]:
        """Returns the evaluation of every running member, final after the last step."""
        largest = self._largest_weights()
        said = [
            self._mark(state, means, weight)
            for state, means, weight in zip(
                self._pack.states, self._passes.means(self._stream), largest, strict=True
            )
            if not state.ended
        ]
        return [replace(each, arrays=self._arrays(each)) for each in said]

    def _arrays(self, said: Measurement) -> dict[str, NDArray[np.float64]]:
        """Returns what following a member has added up to, once it is completed."""
        if not self._pack.followers or said.status != "completed":
            return {}
        place = [state.member for state in self._pack.states].index(said.member)
        return {name: each.numpy() for name, each in self._pack.followers[place].arrays().items()}

    @torch.no_grad()
    def _largest_weights(self) -> list[float]:
        """Returns the largest absolute value of each member's weights; NaN if any is.

        Raises:
            RuntimeError: another process does not have the same weights.
        """
        weights = self._pack.parameters.values()
        peaks = torch.stack([each.abs().flatten(1).amax(1) for each in weights])
        sums = torch.stack([each.flatten(1).sum(1) for each in weights])
        self._ranks.require_same(torch.stack([peaks, sums]).double().nan_to_num(), "weights")
        found: list[float] = peaks.amax(0).tolist()
        return found

    def _mark(self, state: MemberState, means: Mapping[str, float], weight: float) -> Measurement:
        guessing = math.log(state.vocabulary)
        guesses = math.isclose(means.get("val_loss", math.nan), guessing, rel_tol=1e-5)
        numbers = (weight, *means.values())
        if not all(map(math.isfinite, numbers)) or (guesses and weight > HUGE):
            state.ended = True
            return self._measurement(state, {}, status="diverged")
        metrics = self._stream.metrics(means)
        if self._pack.step < self._steps:
            return self._measurement(state, metrics, mark=True)
        metrics["train_loss"] = state.train_loss
        return self._measurement(state, metrics, mark=True, status="completed")

    def _measurement(
        self,
        state: MemberState,
        metrics: Mapping[str, float],
        *,
        mark: bool = False,
        status: Status = "running",
    ) -> Measurement:
        return Measurement(
            member=state.member,
            step=self._pack.step,
            tokens=self._pack.step * self._tokens_per_step,
            metrics=metrics,
            mark=mark,
            status=status,
        )


def _marks(steps: int, number: int) -> frozenset[int]:
    """Returns ``number`` evenly spaced steps, rounded up; the last one is ``steps``."""
    return frozenset(-(-steps * i // number) for i in range(1, number + 1))


@torch.no_grad()
def clip(gradients: Mapping[str, Tensor], limit: float) -> Tensor:
    """Scales each member's gradient down to a global norm of ``limit``, in place
    (arXiv 1211.5063).

    The norm is taken over one member's views at a time, so that the order of the sum, and so
    its bits, do not depend on the pack.

    Args:
        gradients: by name, each [E, ...].
        limit: largest norm; 0 for no clipping.

    Returns:
        the global norm of each member before clipping, [E].
    """
    members = zip(*(gradient.unbind(0) for gradient in gradients.values()), strict=True)
    norms = torch.stack([get_total_norm(list(member)) for member in members])
    if limit:
        factors = (limit / (norms + _FLOOR)).clamp(max=1.0)
        for gradient in gradients.values():
            gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
    return norms
