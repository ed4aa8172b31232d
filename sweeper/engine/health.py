"""Who is to blame for failures: a trial, a place, or everything. No Ray here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

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
class _Question:
    """A suspect's trial, which another place is asked about."""

    key: str
    since: float
    begun: bool = False


class Health:
    """Scores of places (a node, or its accelerators).

    Failing alone convicts nobody: a trial may fail everywhere. A place is quarantined once
    :data:`STREAK` different trials in a row have failed there and one of them has succeeded
    somewhere else. To find that out a suspect's trial is run once more elsewhere, and until that
    has ended the suspect is given nothing, so that it cannot eat the queue; where the trial
    fails too the place is cleared, and has to fail twice as often to be suspected again.

    Args:
        note: hears of every place that is quarantined, or taken back.
    """

    def __init__(self, note: Callable[[str], None] = lambda text: None) -> None:
        self._note = note
        self._known: set[str] = set()
        self._streaks: dict[str, dict[str, bool]] = {}
        self._patience: dict[str, int] = {}
        self._asked: dict[str, _Question] = {}
        self._convicted: set[str] = set()
        self.expected = 1

    @property
    def quarantined(self) -> frozenset[str]:
        """Places that are given nothing: convicted ones, and suspects for the time being."""
        late = time.monotonic() - PROBATION_SECONDS
        for place, question in list(self._asked.items()):
            if not question.begun and question.since < late:
                self._clear(place)  # nobody else is there to answer
        return frozenset(self._convicted | self._asked.keys())

    def began(self, place: str, keys: Collection[str] = ()) -> None:
        """Notes that a place is at work, and on which trials."""
        self._known.add(place)
        for suspect, question in self._asked.items():
            question.begun |= suspect != place and question.key in keys

    def succeeded(self, place: str, key: str) -> set[str]:
        """Notes a result; returns the trials to run again because their place failed them."""
        self._streaks.pop(place, None)
        self._asked.pop(place, None)
        again: set[str] = set()
        for other, streak in list(self._streaks.items()):
            if other != place and key in streak:
                streak[key] = True
                if len(streak) >= STREAK:
                    again |= self._quarantine(other)
        return again - {key}

    def failed(self, place: str, key: str) -> bool:
        """Notes a failure; returns whether another place should be asked about the trial."""
        suspects = [other for other, asked in self._asked.items() if asked.key == key]
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
            self._asked[place] = _Question(key, time.monotonic())
        return ask

    def gone(self, place: str) -> None:
        """Notes that a place's node is gone. Without a healthy place left, the quarantined ones
        are better than none."""
        self._known.discard(place)
        if self.quarantined and not self._known - self.quarantined:
            self._note(f"no other place is left: {_listed(self.quarantined)} is used again")
            self._convicted.clear()
            self._asked.clear()

    def _others(self, place: str) -> bool:
        """Whether another place is there to answer, or should come up soon."""
        known = self._known | {place}
        return bool(known - self.quarantined - {place}) or self.expected > len(known)

    def _clear(self, place: str) -> None:
        self._asked.pop(place, None)
        self._streaks.pop(place, None)
        self._patience[place] = 2 * self._patience.get(place, STREAK)

    def _quarantine(self, place: str) -> set[str]:
        streak = self._streaks.pop(place)
        self._asked.pop(place, None)
        self._convicted.add(place)
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
