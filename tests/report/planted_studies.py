"""Studies on a planted surface, saved as if they had been run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweeper.outcome import Outcome
from sweeper.store.files.curves import write_curve
from sweeper.store.owner import Owner
from sweeper.store.records import Membership, StudyRecord
from sweeper.store.store import Store
from sweeper.trial import Trial

OPTIMUM = -5.0
"""log2 of the best learning rate at width 32."""

CLAIM = {"hyperparameter": "learning_rate", "exponent": 0, "tolerance": 0.25}


def surface(config: Mapping[str, Any], drift: float) -> float:
    """Returns the loss without noise; infinite from 3.5 octaves above the optimum on."""
    doublings = math.log2(config["width"] / 32)
    away = math.log2(config["learning_rate"]) - OPTIMUM - drift * doublings
    return math.inf if away > 3.5 else 2.0 + config["width"] ** -0.5 + 0.05 * away**2


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A study to be saved; ``unseen`` axes stand in its file and not in its configs."""

    name: str = "planted"
    question: str = "Does it transfer?"
    drifts: Mapping[str, float] = field(default_factory=lambda: {"sp": -1.0, "mup": 0.0})
    widths: Sequence[int] = (32, 64, 128)
    octaves: Sequence[float] = tuple(range(-9, -1))
    more: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    unseen: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    seeds: Sequence[int] = (0, 1)
    claims: Sequence[Mapping[str, Any]] = (CLAIM,)
    goal: str = "min"
    answered: Callable[[Mapping[str, Any]], bool] = lambda config: True
    commits: Sequence[str] = ("c0ffee",)
    curves: bool = False

    @property
    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "question": self.question,
            "workload": "planted",
            "scale": "width",
            "variants": {name: {} for name in self.drifts},
            "sweep": {
                "width": list(self.widths),
                "learning_rate": [2.0**k for k in self.octaves],
                **{name: list(v) for name, v in {**self.more, **self.unseen}.items()},
                "seed": list(self.seeds),
            },
            "claims": list(self.claims),
        }

    def configs(self) -> Iterable[tuple[str, dict[str, Any]]]:
        extra = [dict(zip(self.more, values, strict=True)) for values in _product(self.more)]
        for variant in self.drifts:
            for width in self.widths:
                for octave in self.octaves:
                    for settings in extra:
                        config = {"width": width, "learning_rate": 2.0**octave, **settings}
                        yield variant, {**config, "kind": variant, "in": self.name}

    def save(self, store: Store) -> None:
        """Saves the study with the results of the trials that are answered."""
        goal: Any = self.goal
        record = StudyRecord(
            name=self.name,
            question=self.question,
            workload="planted",
            scale="width",
            metric="val_loss",
            goal=goal,
            document=self.document,
        )
        members = [
            Membership(trial=_trial(config, seed), variant=variant)
            for variant, config in self.configs()
            for seed in self.seeds
        ]
        store.save_study(record, members)
        self._answer(store, members)

    def _answer(self, store: Store, members: Sequence[Membership]) -> None:
        chosen = [member for member in members if self.answered(member.trial.config)]
        keys = [member.trial.key for member in chosen]
        claims = {c.key: c for c in store.claim(keys, owner=Owner.here(), lease_s=60)}
        rng = np.random.default_rng(3)
        entries = []
        for place, member in enumerate(chosen):
            loss = surface(member.trial.config, self.drifts[member.variant])
            loss += 0.005 * float(rng.standard_normal())
            loss = loss if self.goal == "min" else -loss
            attempt = claims[member.trial.key].attempt
            commit = self.commits[place % len(self.commits)]
            entries.append(_outcome(store, member.trial, attempt, loss, commit, self.curves))
        store.record_many(entries)


def _product(axes: Mapping[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
    return list(itertools.product(*axes.values()))


def _trial(config: Mapping[str, Any], seed: int) -> Trial:
    size = int(config["width"])
    derived = {"params": size * size, "tokens": 1000, "flops": 6e3 * size * size}
    return Trial.of(
        workload="planted", version="1.0.0", data="none", config=config, seed=seed, derived=derived
    )


def _outcome(
    store: Store, trial: Trial, attempt: int, loss: float, commit: str, curves: bool
) -> tuple[Outcome, float | None]:
    finite = math.isfinite(loss)
    relative = None
    if curves:
        relative = store.paths.curve(trial.key, attempt)
        steps = list(range(1, 51))
        losses = [loss + 3 * math.exp(-s / 10) if finite else 9.0 for s in steps]
        columns = {"step": steps, "tokens": [20 * s for s in steps], "train_loss": losses}
        write_curve(store.paths.files, relative, columns)
    outcome = Outcome(
        key=trial.key,
        attempt=attempt,
        kind="completed" if finite else "diverged",
        metrics={"val_loss": loss} if finite else {},
        step=50,
        tokens=1000,
        device_seconds=2.0,
        device="a processor",
        host="a machine",
        environment={"commit": commit, "torch": "2.9"},
        curve=relative,
    )
    return outcome, loss if finite else None
