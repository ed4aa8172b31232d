"""An event loop in which nobody waits: where all sleep, the clock goes on to the next to wake."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Skipping(selectors.DefaultSelector):
    """Lets the time pass that it should wait.

    Attributes:
        now: seconds since the start.
    """

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0 if timeout is not None else None)
        if timeout and not found:
            self.now += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def run(scene: Coroutine[Any, Any, T], limit: float = 20.0) -> T:
    """Returns what a coroutine returns, which has so many virtual seconds for it."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(asyncio.wait_for(scene, limit))


def now() -> float:
    """Returns the virtual time, in seconds."""
    return asyncio.get_running_loop().time()
