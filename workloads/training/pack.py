"""A pack: the members, parameters and optimizer state of trials that train side by side."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from workloads.optimizers import build, select
from workloads.training.checkpoints import Checkpoint, read, trial_digest, write
from workloads.training.model import Model, started
from workloads.training.topk import TopK
from workloads.workload import Card, Member, Resolved, applies

LIMIT = 2.0
"""Loss beyond which a model is worse than useless, as a multiple of the loss of guessing."""

PATIENCE = 3
"""Least number of steps in a row beyond the limit that end a run; a twentieth of a longer one."""


@dataclass(kw_only=True)
class MemberState:
    """A member that is still in the tensors of the pack.

    It has diverged once its loss or the norm of its gradient is not finite; once its gradient is
    zero and its loss is not (a norm of activations whose squares are beyond the finite gives
    zeros, with the loss of guessing); or once its loss is
    beyond ``LIMIT * ln(vocabulary)`` for a twentieth of the steps (at least ``PATIENCE``) in a
    row. Only its own history decides. A spike that it recovers from is no divergence.

    Attributes:
        member: its index in the pack as it was given.
        seed: its seed.
        steps: steps of its whole run.
        vocabulary: number of different targets; ln of it is the loss of guessing, infinite where
            it is not known.
        above: steps in a row, up to now, with a loss beyond the limit.
        ended: True once it has diverged; its tensors mean nothing from then on.
        recent: losses of the last twentieth of the steps, the latest last; nats.
    """

    member: int
    seed: int
    steps: int
    vocabulary: float
    above: int = 0
    ended: bool = False
    recent: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.recent = deque(maxlen=max(1, self.steps // 20))

    def take(self, loss: float, norm: float) -> bool:
        """Takes loss (nats) and gradient norm of a step; returns whether it ended."""
        self.recent.append(loss)
        self.above = self.above + 1 if loss > LIMIT * math.log(self.vocabulary) else 0
        finite = math.isfinite(loss) and math.isfinite(norm)
        dead = norm == 0.0 and loss > 0.0
        self.ended = not finite or dead or self.above >= max(PATIENCE, self.steps // 20)
        return self.ended

    @property
    def train_loss(self) -> float:
        """Mean loss over the last twentieth of the steps, nats."""
        return math.fsum(self.recent) / len(self.recent)


class Pack:
    """The state of a pack. Its tensors hold the members in the order of ``states``.

    Attributes:
        states: of the members that are still in the tensors.
        parameters: by name, each [E, ...] with E the number of states.
        followers: what follows each member; empty where nothing does.
        step: updates done, the same for every member.
    """

    def __init__(
        self,
        members: Sequence[Member],
        plans: Sequence[Resolved],
        *,
        card: Card,
        model: Model,
        vocabulary: float,
        device: str,
        follow: Callable[[Mapping[str, Tensor]], TopK] | None = None,
    ) -> None:
        """Puts the members at their start, or where their checkpoints are.

        Args:
            members: the pack.
            plans: their resolved configs.
            card: card of the workload.
            model: the model of this shape.
            vocabulary: number of different targets.
            device: ``cpu`` or ``cuda``.
            follow: returns what follows a member from its first weights on; None follows none.

        Raises:
            ValueError: members do not fit into one pack, or a checkpoint is unusable.
        """
        _check_alike(card, plans)
        steps = int(plans[0].derived["steps"])
        self.states = [
            MemberState(member=i, seed=member.seed, steps=steps, vocabulary=vocabulary)
            for i, member in enumerate(members)
        ]
        initial = started(model, [member.seed for member in members])
        self.parameters = {name: value.to(device) for name, value in initial.items()}
        self._optimizers = build(self.parameters, model.units, plans)
        self.followers = [follow(self._own(i)) for i in range(len(members))] if follow else []
        self._trials = [trial_digest(card, member) for member in members]
        self.step = self._restore(members)

    def update(
        self,
        gradients: Mapping[str, Tensor],
        *,
        scale: float,
        curvature: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Makes the next update of every member; ``scale`` is s(t)."""
        self.step += 1
        for optimizer in self._optimizers:
            optimizer.step(gradients, scale=scale, step=self.step, curvature=curvature)

    def alternative(
        self,
        gradients: Mapping[str, Tensor],
        *,
        scale: float,
        epsilons: float,
        curvature: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Returns what the next update would add to each tensor if every epsilon were so many
        times as large; changes nothing."""
        memo: dict[int, object] = {}
        parameters = copy.deepcopy(self.parameters, memo)
        for each in self._optimizers:
            optimizer = copy.deepcopy(each, memo)  # by the memo, of the copied parameters
            optimizer.scale_epsilons(epsilons)
            own = {name: gradient.clone() for name, gradient in gradients.items()}
            optimizer.step(own, scale=scale, step=self.step + 1, curvature=curvature)
        return {name: each - self.parameters[name] for name, each in parameters.items()}

    def follow(self) -> None:
        """Shows the weights after an update to what follows the members that still run."""
        for place, follower in enumerate(self.followers):
            if not self.states[place].ended:
                follower.take(self.step, self._own(place))

    def wants_curvature(self) -> bool:
        """Returns whether the next update reads gradients on sampled labels."""
        return any(optimizer.wants_curvature(self.step + 1) for optimizer in self._optimizers)

    def compact(self) -> None:
        """Cuts the tensors down to the running members once half of them or more have ended."""
        index = [i for i, state in enumerate(self.states) if not state.ended]
        if 2 * len(index) > len(self.states):
            return
        self.states = [self.states[i] for i in index]
        for name, each in self.parameters.items():
            self.parameters[name] = select(each, index)
        self.followers = [self.followers[i] for i in index] if self.followers else []
        for optimizer in self._optimizers:
            optimizer.keep(index)

    def save(self, member: int, path: Path) -> None:
        """Writes a checkpoint of one member at ``path``.

        Raises:
            ValueError: the member has diverged, so that nothing is left to go on with.
        """
        running = {s.member: place for place, s in enumerate(self.states) if not s.ended}
        if member not in running:
            raise ValueError(f"member {member} has no state to save: it has diverged")
        place = running[member]
        checkpoint = Checkpoint(
            trial=self._trials[member],
            step=self.step,
            parameters=self._own(place),
            optimizer=self._state(place),
            recent_losses=list(self.states[place].recent),
            steps_above=self.states[place].above,
        )
        write(checkpoint, path)

    def _own(self, place: int) -> dict[str, Tensor]:
        """Returns views of the parameters of the member at ``place``, without E."""
        return {name: each[place] for name, each in self.parameters.items()}

    def _state(self, place: int) -> dict[str, Tensor]:
        """Returns views of the optimizer state of the member at ``place``, and of the state of
        what follows it."""
        found = {k: v for each in self._optimizers for k, v in each.state(place).items()}
        if self.followers:
            found |= {f"topk.{k}": v for k, v in self.followers[place].state.items()}
        return found

    def _restore(self, members: Sequence[Member]) -> int:
        """Loads the members' checkpoints and returns the step they are of; 0 without any."""
        paths = [member.checkpoint for member in members if member.checkpoint is not None]
        if not paths:
            return 0
        if len(paths) < len(members):
            raise ValueError(
                f"{len(paths)} of {len(members)} members of the pack have a checkpoint; pack "
                "trials that go on apart from those that start"
            )
        found = [read(p, trial=trial) for p, trial in zip(paths, self._trials, strict=True)]
        steps = sorted({checkpoint.step for checkpoint in found})
        if len(steps) > 1:
            raise ValueError(
                f"the checkpoints of the pack are of steps {', '.join(map(str, steps))}; pack "
                "trials of one step"
            )
        if steps[0] > self.states[0].steps:
            raise ValueError(f"{paths[0]} is of step {steps[0]}, beyond the end of the trial")
        for place, checkpoint in enumerate(found):
            self._restore_member(place, paths[place], checkpoint)
        return steps[0]

    def _restore_member(self, place: int, path: Path, checkpoint: Checkpoint) -> None:
        pairs = (
            (self._own(place), checkpoint.parameters),
            (self._state(place), checkpoint.optimizer),
        )
        if not all(_fit(views, values) for views, values in pairs):
            raise ValueError(
                f"{path} holds tensors of another model, or was written while something else was "
                "recorded; delete it to start over"
            )
        with torch.no_grad():
            for views, values in pairs:
                for name, view in views.items():
                    view.copy_(values[name])
        self.states[place].recent.extend(checkpoint.recent_losses)
        self.states[place].above = checkpoint.steps_above


def _fit(views: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> bool:
    """Returns whether values have the names and shapes of the tensors that they are to fill."""
    return views.keys() == values.keys() and all(
        view.shape == values[name].shape for name, view in views.items()
    )


def _check_alike(card: Card, plans: Sequence[Resolved]) -> None:
    """Refuses members that differ in what has to be common to a pack."""
    packable = {setting.name for setting in card.settings if setting.packable}
    for plan in plans[1:]:
        differing = [
            name
            for name in sorted(plan.config.keys() | plans[0].config.keys())
            if name not in packable and plan.config.get(name) != plans[0].config.get(name)
        ]
        if differing:
            allowed = sorted(
                setting.name
                for setting in card.settings
                if setting.packable and applies(setting, plans[0].config)
            )
            raise ValueError(
                f"members of a pack differ in {', '.join(differing)}; they may differ in "
                f"{', '.join(allowed)} and the seed only"
            )
