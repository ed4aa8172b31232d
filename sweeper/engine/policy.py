"""The policy of a run: what is tried again, who is to blame for failures, what may be spent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

from sweeper.engine.messages import Lost, Shape
from sweeper.outcome import Outcome
from sweeper.store import spent_budget
from sweeper.study import Budget
from sweeper.trial import Trial

MAX_DEATHS = 3
"""Workers that may die under one trial, without a new checkpoint in between, before it is given up
as the likely cause."""

MAX_ACCIDENTS = 10
"""Ends of one trial that were nobody's fault (its node died, its slot was taken away) before it
is given up."""


class Retries:
    """Counts the ends of trials by cause.

    Ends that are not the trial's fault cost it nothing up to a cap; one that ran out of memory is
    tried once more on a device of its own; a bug is not tried again.
    """

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()
        self._accidents: Counter[str] = Counter()
        self._kept: dict[str, int] = {}
        self._short: set[str] = set()

    def remember(self, deaths: Mapping[str, int], short: Collection[str]) -> None:
        """Takes in what earlier runs saw of trials that are new to this one.

        Args:
            deaths: workers that died under trials, by key.
            short: keys of trials that have run out of memory once.
        """
        self._deaths.update(deaths)
        self._short.update(short)

    def after_loss(self, key: str, attempt: int, event: Lost, *, kept: int = 0) -> Outcome:
        """Returns how an attempt ended whose worker is gone: lost, and the trial runs again, or
        given up (``bug``).

        Args:
            key: key of the trial.
            attempt: number of the attempt.
            event: what is known of the loss.
            kept: step of the newest checkpoint. A trial that gets further each time is hit by
                accidents; one that kills its workers does so at the same step.
        """
        lost = partial(Outcome, key=key, attempt=attempt, step=kept)
        self._further(key, kept)
        if event.node:
            self._accidents[key] += 1
            if self._accidents[key] < MAX_ACCIDENTS:
                return lost(kind="lost_node", error=event.reason)
            given_up = f"given up: {MAX_ACCIDENTS} nodes died under this trial"
        else:
            self._deaths[key] += 1
            if self._deaths[key] < MAX_DEATHS:
                return lost(kind="lost_worker", error=event.reason)
            given_up = (
                f"given up: {MAX_DEATHS} workers in a row died under this trial; does it crash, "
                "or need more memory than there is?"
            )
        error = f"{given_up} The last one: {event.reason}"
        return lost(kind="bug", error=error)

    def after_stop(self, key: str, *, kept: int = 0) -> bool:
        """Returns whether a trial runs again whose slot was taken away.

        Args:
            key: key of the trial.
            kept: step of the newest checkpoint; one that gets further each time is not counted.
        """
        self._further(key, kept)
        self._accidents[key] += 1
        return self._accidents[key] < MAX_ACCIDENTS

    def _further(self, key: str, kept: int) -> None:
        if kept > self._kept.get(key, 0):
            self._kept[key] = kept
            self._deaths[key] = self._accidents[key] = 0

    def after_shortage(self, key: str, shape: Shape) -> Shape | None:
        """Returns the shape for the one more try of a trial that ran out of memory; None if it
        has had it."""
        if key in self._short:
            return None
        self._short.add(key)
        return replace(shape, alone=True)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a run waits, and how often it tries.

    Attributes:
        hang_seconds: a worker that says nothing about its trials for so long is ended; inline
            nobody is there to end it.
        lease_seconds: how long a claim stays ours without a heartbeat.
        write_retry_seconds: waits between tries of a write that failed. A store that is only
            away is waited for longer.
        idle_deaths: worker processes that may die in a row without having begun anything.
    """

    hang_seconds: float = 1800.0
    lease_seconds: float = 120.0
    write_retry_seconds: tuple[float, ...] = (0.1, 0.5, 2.0, 5.0)
    idle_deaths: int = 8


STREAK = 3
"""Failures in a row without a success that make a place suspect."""

PROBATION_SECONDS = 120.0
"""How long a suspect waits for another place to begin its trial."""

FIRST_FAILURES = 10
"""Failed trials of a run without a single success that end it."""

FAILURES_IN_A_ROW = 50
"""Failed trials in a row that end a run that has had successes."""

CAUSES_SHOWN = 5


@dataclass
class _Check:
    """A trial that runs again elsewhere, to tell whether the place that failed it is at fault."""

    key: str
    since: float
    begun: bool = False


class Health:
    """Scores of places (a node, or its accelerators).

    Failures alone say nothing about a place: a trial may fail everywhere. A place is quarantined
    once :data:`STREAK` different trials in a row have failed there and one of them has succeeded
    somewhere else. To find that out a trial of a suspect place is run once more elsewhere, and
    until that has ended the suspect is given no orders, which it would only fail. If the trial
    fails elsewhere too the place is cleared, and has to fail twice as often to be suspected again.

    Args:
        note: is told of every place that is quarantined, or used again.
        clock: tells the time, in seconds.
    """

    def __init__(
        self,
        note: Callable[[str], None] = lambda text: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note = note
        self._clock = clock
        self._known: set[str] = set()
        self._streaks: dict[str, dict[str, bool]] = {}
        self._patience: dict[str, int] = {}
        self._checks: dict[str, _Check] = {}
        self._at_fault: set[str] = set()
        self.expected = 1

    @property
    def quarantined(self) -> frozenset[str]:
        """Places that are given no orders: those at fault, and suspects while they are checked."""
        late = self._clock() - PROBATION_SECONDS
        for place, check in list(self._checks.items()):
            if not check.begun and check.since < late:
                self._clear(place)  # nobody else is there to answer
        return frozenset(self._at_fault | self._checks.keys())

    def began(self, place: str, keys: Collection[str] = ()) -> None:
        """Notes that a place is at work, and on which trials."""
        self._known.add(place)
        for suspect, check in self._checks.items():
            check.begun |= suspect != place and check.key in keys

    def succeeded(self, place: str, key: str) -> set[str]:
        """Notes a result; returns the trials to run again because their place failed them."""
        self._streaks.pop(place, None)
        self._checks.pop(place, None)
        again: set[str] = set()
        for other, streak in list(self._streaks.items()):
            if other != place and key in streak:
                streak[key] = True
                if len(streak) >= STREAK:
                    again |= self._quarantine(other)
        return again - {key}

    def failed(self, place: str, key: str) -> bool:
        """Notes a failure; returns whether another place should be asked about the trial."""
        suspects = [other for other, check in self._checks.items() if check.key == key]
        for suspect in suspects:
            if suspect != place:  # it fails elsewhere too
                self._clear(suspect)
        streak = self._streaks.setdefault(place, {})
        streak.setdefault(key, False)
        ask = (
            not suspects
            and place not in self.quarantined
            and len(streak) >= self._patience.get(place, STREAK)
            and self._others(place)
        )
        if ask:
            self._checks[place] = _Check(key, self._clock())
        return ask

    def gone(self, place: str) -> None:
        """Notes that a place's node is gone. Without a healthy place left, the quarantined ones
        are better than none."""
        self._known.discard(place)
        if self.quarantined and not self._known - self.quarantined:
            self._note(f"no other place is left: {_listed(self.quarantined)} is used again")
            self._at_fault.clear()
            self._checks.clear()

    def _others(self, place: str) -> bool:
        """Whether another place is there to answer, or should come up soon."""
        known = self._known | {place}
        return bool(known - self.quarantined - {place}) or self.expected > len(known)

    def _clear(self, place: str) -> None:
        self._checks.pop(place, None)
        self._streaks.pop(place, None)
        self._patience[place] = 2 * self._patience.get(place, STREAK)

    def _quarantine(self, place: str) -> set[str]:
        streak = self._streaks.pop(place)
        self._checks.pop(place, None)
        self._at_fault.add(place)
        self._note(
            f"{place} is quarantined: the last {len(streak)} trials there failed, and "
            f"{sum(streak.values())} of them succeeded elsewhere; it is given nothing more in "
            "this run, and what failed there runs again"
        )
        return set(streak)


class Breaker:
    """Ends a run that only fails."""

    def __init__(self) -> None:
        self._causes: Counter[str] = Counter()
        self._successes = 0
        self._row = 0

    def succeeded(self) -> None:
        """Notes a result."""
        self._successes += 1
        self._row = 0
        self._causes.clear()

    def failed(self, cause: str) -> str | None:
        """Notes a failure that is final; returns why the run should end, or None."""
        self._row += 1
        self._causes[cause] += 1
        limit = FAILURES_IN_A_ROW if self._successes else FIRST_FAILURES
        if self._row < limit:
            return None
        shown = self._causes.most_common(CAUSES_SHOWN)
        more = len(self._causes) - len(shown)
        causes = "; ".join(f"{count} x {name}" for name, count in shown)
        what = f"{self._row} trials in a row" if self._successes else f"the first {self._row}"
        return f"{what} failed: {causes}{f'; and {more} other causes' if more else ''}"


def _listed(places: frozenset[str]) -> str:
    return ", ".join(sorted(places))


class Spending:
    """Books trials against a study's budget, each once however often it is run.

    Args:
        budget: training FLOPs and number of all trials that were started, by whichever run, and
            wall hours of this run after which no further trial is started.

    Attributes:
        reached: the limit that left no room for a trial, in words; None if none did.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._started_at = time.monotonic()
        self._booked: set[str] = set()
        self._flops = 0.0
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
        """Counts a trial, once."""
        if trial.key not in self._booked:
            self._booked.add(trial.key)
            self._flops += flops_of(trial)

    def _over(self, trial: Trial) -> str | None:
        budget = self._budget
        limits = budget.model_dump()
        if spent := spent_budget(limits, len(self._booked), self._flops, flops_of(trial)):
            return spent
        elapsed = time.monotonic() - self._started_at
        if budget.hours is not None and elapsed >= 3600 * budget.hours:
            return f"{budget.hours:g} hours"
        return None


def flops_of(trial: Trial) -> float:
    """Returns the training FLOPs of a trial."""
    return float(trial.derived.get("flops", 0.0))


def steps_of(trial: Trial) -> int:
    """Returns the optimizer steps of a trial, 1 at least."""
    return max(1, int(trial.derived.get("steps", 1)))
