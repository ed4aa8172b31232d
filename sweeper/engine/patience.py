"""Patience with a store that is away: locked by another program, or its server restarting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sweeper.errors import StoreAway

FIRST_WAIT = 0.2
LONGEST_WAIT = 10.0
"""Seconds between two tries; they double from the first to the longest."""

LIMIT = 600.0
"""Seconds after which a store is given up."""

T = TypeVar("T")


class Patience:
    """Asks again for as long as the store may come back.

    Args:
        note: hears once that the store is away, and once that it is back.
        wait: sleeps, and returns True if it is no use to go on waiting.
        limit: seconds to wait in all.
    """

    def __init__(
        self,
        *,
        note: Callable[[str], None],
        wait: Callable[[float], bool],
        limit: float = LIMIT,
    ) -> None:
        self._note = note
        self._wait = wait
        self._limit = limit

    def ask(self, question: Callable[[], T]) -> T:
        """Returns the answer of a question to the store.

        Raises:
            StoreAway: the store stayed away, or waiting was ended.
            StoreError: the store is there and something else is wrong.
        """
        since = time.monotonic()
        for number, seconds in enumerate(_waits()):
            try:
                answer = question()
            except StoreAway as fault:
                if number == 0:
                    self._note(f"waiting for the store: {fault}")
                if time.monotonic() - since > self._limit or self._wait(seconds):
                    raise
            else:
                if number:
                    away = time.monotonic() - since
                    self._note(f"the store is back after {away:.0f} s")
                return answer
        raise AssertionError("the waits never end")


def _waits() -> Iterator[float]:
    seconds = FIRST_WAIT
    while True:
        yield seconds
        seconds = min(2 * seconds, LONGEST_WAIT)
