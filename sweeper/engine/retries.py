"""What is run again after which end, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from sweeper.engine.order import Lost, Shape
from sweeper.outcome import Outcome

MAX_LOSSES = 3
"""Workers that may die under one trial, without a new checkpoint in between, before it is given up
as the likely cause."""

MAX_ACCIDENTS = 10
"""Ends of one trial that were nobody's fault (its node died, its slot was taken away) before it
is given up."""


class Retries:
    """Counts the ends of trials by cause.

    Infrastructure is free of charge up to a cap, a shortage of memory is met once with a device
    of the trial's own, and a bug is not tried again.

    Args:
        losses: workers that died under trials in earlier runs, by key.
        short: keys of trials that have run out of memory once.
    """

    def __init__(self, losses: Mapping[str, int] | None = None, short: Collection[str] = ()):
        self._losses = Counter(losses or {})
        self._accidents: Counter[str] = Counter()
        self._kept: dict[str, int] = {}
        self._short = set(short)

    def after_loss(self, key: str, attempt: int, event: Lost, *, kept: int = 0) -> Outcome:
        """Returns how an attempt ended whose worker is gone: lost, and the trial runs again, or
        given up (``bug``).

        Args:
            key: key of the trial.
            attempt: number of the attempt.
            event: what is known of the loss.
            kept: step of the newest checkpoint. A trial that gets further each time is hit by
                accidents; one that is guilty dies at the same place.
        """
        lost = partial(Outcome, key=key, attempt=attempt, step=kept)
        if kept > self._kept.get(key, 0):
            self._kept[key] = kept
            self._losses[key] = self._accidents[key] = 0
        if event.node:
            self._accidents[key] += 1
            if self._accidents[key] < MAX_ACCIDENTS:
                return lost(kind="lost_node", error=event.reason)
            given_up = f"given up: {MAX_ACCIDENTS} nodes died under this trial"
        else:
            self._losses[key] += 1
            if self._losses[key] < MAX_LOSSES:
                return lost(kind="lost_worker", error=event.reason)
            given_up = (
                f"given up: {MAX_LOSSES} workers in a row died under this trial; does it crash, "
                "or need more memory than there is?"
            )
        error = f"{given_up} The last one: {event.reason}"
        return lost(kind="bug", error=error)

    def after_stop(self, key: str) -> bool:
        """Returns whether a trial runs again whose slot was taken away."""
        self._accidents[key] += 1
        return self._accidents[key] < MAX_ACCIDENTS

    def after_shortage(self, key: str, shape: Shape) -> Shape | None:
        """Returns the shape for the one more try of a trial that ran out of memory; None if it
        has had it."""
        if key in self._short:
            return None
        self._short.add(key)
        return replace(shape, alone=True)
