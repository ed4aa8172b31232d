"""What a study may spend, and what of it is spent."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sweeper.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """What a study may spend; None is no limit.

    Attributes:
        flops: training FLOPs of all trials that were started.
        trials: number of trials that were started.
        seconds: wall seconds of this run after which no further trial is started.
        spent_flops, spent_trials: what earlier runs have spent of it.
    """

    flops: float | None = None
    trials: int | None = None
    seconds: float | None = None
    spent_flops: float = 0.0
    spent_trials: int = 0


class Budget:
    """Books trials against a ceiling, each once however often it is run.

    Args:
        ceiling: what may be spent.

    Attributes:
        reached: the limit that left no room for a trial, in words; None if none did.
    """

    def __init__(self, ceiling: Ceiling) -> None:
        self._ceiling = ceiling
        self._started_at = time.monotonic()
        self._booked: set[str] = set()
        self._flops = ceiling.spent_flops
        self.reached: str | None = None

    def has_room(self, trial: Trial) -> bool:
        """Returns whether a trial may start. One that runs once more after its worker was lost
        is booked already; for others a limit, once reached, holds: a dear trial is not passed
        over for a cheap one."""
        if trial.key in self._booked:
            return True
        self.reached = self.reached or self._over(trial)
        return self.reached is None

    def book(self, trial: Trial) -> None:
        """Puts a trial on the bill, once."""
        if trial.key not in self._booked:
            self._booked.add(trial.key)
            self._flops += flops_of(trial)

    def refund(self, trial: Trial) -> None:
        """Takes a trial that was not started after all off the bill."""
        if trial.key in self._booked:
            self._booked.discard(trial.key)
            self._flops -= flops_of(trial)

    def _over(self, trial: Trial) -> str | None:
        ceiling = self._ceiling
        spent = ceiling.spent_trials + len(self._booked)
        if ceiling.trials is not None and spent + 1 > ceiling.trials:
            return f"{ceiling.trials} trials"
        if ceiling.flops is not None and self._flops + flops_of(trial) > ceiling.flops:
            return f"{ceiling.flops:.3g} FLOPs"
        elapsed = time.monotonic() - self._started_at
        if ceiling.seconds is not None and elapsed >= ceiling.seconds:
            return f"{ceiling.seconds / 3600:g} hours"
        return None


def flops_of(trial: Trial) -> float:
    """Returns the training FLOPs of a trial."""
    return float(trial.derived.get("flops", 0.0))
