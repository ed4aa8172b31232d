"""A pack: trials of equal shape that train side by side, before they are claimed."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from sweeper.engine.budget import flops_of
from sweeper.engine.order import Shape, Task
from sweeper.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Trials of equal shape that train side by side.

    Attributes:
        shape: resources of the slot that they need.
        trials: the members.
        avoid: places that should not take it while another one would.
    """

    shape: Shape
    trials: tuple[Trial, ...]
    avoid: frozenset[str] = frozenset()

    def members(self, keys: Container[str]) -> list[Trial]:
        """Returns the members whose keys are among those given."""
        return [trial for trial in self.trials if trial.key in keys]


def task_of(trial: Trial, attempt: int) -> Task:
    """Returns what a worker is told about a claimed trial."""
    return Task(
        key=trial.key,
        attempt=attempt,
        config=trial.config,
        seed=trial.seed,
        flops=flops_of(trial),
        steps=int(trial.derived.get("steps", 1)),
        tokens=int(trial.derived.get("tokens", 0)),
        data=trial.data,
    )
