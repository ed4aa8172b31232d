"""Signals: the first one asks a run to end, the second one ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Protocol

from sweeper.errors import Interrupted

GRACE_SECONDS = 30.0
"""How long running trials may take to write checkpoints after the first signal."""


class Stoppable(Protocol):
    """What can be asked to end, as :class:`Run` can."""

    @property
    def stopping(self) -> bool:
        """True once it was asked."""
        ...

    def stop(self) -> None:
        """Asks it; safe in a signal handler."""
        ...


@contextlib.contextmanager
def graceful(run: Stoppable, *, seconds: float = GRACE_SECONDS) -> Iterator[None]:
    """Context in which a first SIGINT or SIGTERM ends a run gracefully, and a second one, or the
    end of the grace, ends the process at once with exit code 3. What is accepted is in the store
    either way.

    Args:
        run: what to stop.
        seconds: the grace.
    """
    grace = threading.Timer(seconds, _give_up, [seconds])
    grace.daemon = True

    def handle(number: int, frame: object) -> None:
        if run.stopping:
            os._exit(Interrupted.exit_code)
        run.stop()
        grace.start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        grace.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _give_up(seconds: float) -> None:
    """Ends the process; whatever it waits for may take for ever."""
    print(
        f"some trials wrote no checkpoint within {seconds:g} s and go on from their last one: "
        "run the same command again",
        file=sys.stderr,
        flush=True,
    )
    os._exit(Interrupted.exit_code)
