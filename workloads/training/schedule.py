"""The schedule s(t): the factor in [0, 1] on learning rate and weight decay at every update."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workloads.workload import Config


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warmup, then a decay towards ``final_ratio``.

    Updates are counted from 1 to ``steps``. The warmup is s(t) = t/w for t = 1..w, so the first
    update moves the weights and update w is the first at full rate. After it, with the progress
    u = (t - 1 - w) / (steps - w) in [0, 1), s(t) = f + (1 - f) * d(u), where d(u) = 1 - u
    (linear) or (1 + cos(pi u)) / 2 (cosine). So s(w + 1) = 1 too, and the last update still has
    s > 0. This is arXiv 2512.05620's schedule with updates counted from 0 in the decay and from
    1 in the warmup, where counting from 0 would waste the first batch.

    Attributes:
        steps: updates of the whole run, T.
        warmup_steps: updates of the warmup, w, less than T.
        shape: of the decay, ``linear`` or ``cosine``.
        final_ratio: f, where the decay would be after one more update.
    """

    steps: int
    warmup_steps: int
    shape: str
    final_ratio: float

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps} of {self.steps} steps; it has to be at "
                "least 0 and below the number of steps"
            )
        if self.shape not in ("linear", "cosine"):
            raise ValueError(f"schedule is {self.shape!r}; known: linear, cosine")
        if not 0 <= self.final_ratio <= 1:
            raise ValueError(f"final_ratio is {self.final_ratio}; it has to be in [0, 1]")

    def __call__(self, step: int) -> float:
        """Returns s(t) of update ``step``, counted from 1."""
        if not 1 <= step <= self.steps:
            raise ValueError(f"step is {step}; updates are counted from 1 to {self.steps}")
        if step <= self.warmup_steps:
            return step / self.warmup_steps
        progress = (step - 1 - self.warmup_steps) / (self.steps - self.warmup_steps)
        cosine = self.shape == "cosine"
        decay = (1 + math.cos(math.pi * progress)) / 2 if cosine else 1 - progress
        return self.final_ratio + (1 - self.final_ratio) * decay


def warmup_steps(config: Config) -> int:
    """Returns the steps of warmup of a config with ``steps``: the nearest whole number to its
    share ``warmup``, fewer than all steps."""
    return min(int(config["warmup"] * config["steps"] + 0.5), int(config["steps"]) - 1)
