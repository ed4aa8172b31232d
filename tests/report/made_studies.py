"""Studies of any settings whose losses, derived quantities and marks are functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.outcome import Mark, Outcome
from sweeper.store.owner import Owner
from sweeper.store.records import Membership, StudyRecord
from sweeper.store.store import Store
from sweeper.trial import Trial

Config = Mapping[str, Any]

MarksOf = Callable[[Config, int], Sequence[tuple[int, int, float]]]
"""Step, tokens and loss of every mark of a config and seed."""


def no_derived(config: Config) -> dict[str, Any]:
    return {}


def no_marks(config: Config, seed: int) -> Sequence[tuple[int, int, float]]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Made:
    """A study over a full grid; an infinite loss is a diverged trial, NaN a missing one."""

    axes: Mapping[str, Sequence[Any]]
    loss: Callable[[Config, int], float]
    scale: str = "width"
    seeds: Sequence[int] = (0, 1)
    derived: Callable[[Config], Mapping[str, Any]] = no_derived
    marks: MarksOf = no_marks
    claims: Sequence[Mapping[str, Any]] = ()
    scales: Sequence[str] = ()
    goal: str = "min"
    hidden_axes: Sequence[str] = ()
    name: str = "made"
    metrics: Mapping[str, float] = field(default_factory=dict)

    def save(self, store: Store) -> None:
        """Saves the study with all its results."""
        goal: Any = self.goal
        document = {
            "name": self.name,
            "workload": "made",
            "scale": self.scale,
            **({"scales": list(self.scales)} if self.scales else {}),
            "sweep": {k: list(v) for k, v in self.axes.items() if k not in self.hidden_axes},
            "claims": list(self.claims),
        }
        record = StudyRecord(
            name=self.name,
            question="What is made?",
            workload="made",
            scale=self.scale,
            metric="val_loss",
            goal=goal,
            document=document,
        )
        members = [
            Membership(
                trial=self._trial(dict(zip(self.axes, values, strict=True)), seed), variant="only"
            )
            for values in itertools.product(*self.axes.values())
            for seed in self.seeds
        ]
        store.save_study(record, members)
        answered = [
            m.trial for m in members if not math.isnan(self.loss(m.trial.config, m.trial.seed))
        ]
        claimed = store.claim([t.key for t in answered], owner=Owner.here(), lease_s=60)
        attempts = {claim.key: claim.attempt for claim in claimed}
        store.record_many([self._outcome(trial, attempts[trial.key]) for trial in answered])

    def _trial(self, config: dict[str, Any], seed: int) -> Trial:
        config = {**config, "in": self.name}  # Trials of two studies would be one without it.
        derived = {"params": 1000, "tokens": 1000, "flops": 1e6, **self.derived(config)}
        return Trial.of(
            workload="made", version="1", data="", config=config, seed=seed, derived=derived
        )

    def _outcome(self, trial: Trial, attempt: int) -> tuple[Outcome, float | None]:
        loss = self.loss(trial.config, trial.seed)
        loss = -loss if self.goal == "max" else loss
        finite = math.isfinite(loss)
        marks = tuple(
            Mark(step=step, tokens=tokens, metric=metric, value=value + shift)
            for step, tokens, value in self.marks(trial.config, trial.seed)
            for metric, shift in (("val_loss", 0.0), ("other", 7.0))
        )
        outcome = Outcome(
            key=trial.key,
            attempt=attempt,
            kind="completed" if finite else "diverged",
            metrics={"val_loss": loss} if finite else {},
            step=100,
            tokens=1000,
            device="a processor",
            host="a machine",
            environment={"commit": "c0ffee"},
            marks=marks,
        )
        return outcome, loss if finite else None
