"""Words for a person who waits for something that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NOTE_SECONDS = 60.0
"""Without an answer for so long, a note says so."""


@contextmanager
def told_late(
    who: str, note: Callable[[str], None], *, seconds: float = NOTE_SECONDS
) -> Iterator[None]:
    """Notes that what is done in this context takes long.

    Args:
        who: what is waited for and what it does not do, for example ``Ray has not answered``.
        note: is given one sentence, on a thread of its own, after so many seconds.
        seconds: how long is long.
    """
    clock = threading.Timer(seconds, note, [f"{who} for {seconds:.0f} s; waiting for it"])
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()
