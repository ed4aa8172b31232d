"""A seat: a member's place in the tensors of a pack, its loss history and its divergence."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

LIMIT = 2.0
"""Loss beyond which a model is worse than useless, as a multiple of the loss of guessing."""

PATIENCE = 3
"""Least number of steps in a row beyond the limit that end a run; a twentieth of a longer one."""


@dataclass(kw_only=True)
class Seat:
    """A member that is still in the tensors of the pack.

    It has diverged once its loss or the norm of its gradient is not finite, or once its loss is
    beyond ``LIMIT * ln(vocabulary)`` for a twentieth of the steps (at least ``PATIENCE``) in a
    row. Only its own history decides. A spike that it recovers from is no divergence.

    Attributes:
        member: its index in the pack as it was given.
        seed: its seed.
        steps: steps of its whole run.
        vocabulary: number of different targets; ln of it is the loss of guessing.
        above: steps in a row, up to now, with a loss beyond the limit.
        ended: True once it has diverged; its tensors mean nothing from then on.
        recent: losses of the last twentieth of the steps, the latest last; nats.
    """

    member: int
    seed: int
    steps: int
    vocabulary: int
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
        self.ended = not finite or self.above >= max(PATIENCE, self.steps // 20)
        return self.ended

    @property
    def train_loss(self) -> float:
        """Mean loss over the last twentieth of the steps, nats."""
        return math.fsum(self.recent) / len(self.recent)
