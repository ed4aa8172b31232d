"""The mailbox between controller and slots: one small Ray actor beside the controller.

Slots pull their next order and post events; the controller puts orders in and fetches events.
Because a slot finds its next order lying ready, a trial costs it one round trip and neither
Tune's event loop nor a process start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.engine.order import Died, Event, Lost, Order, Shape, Started


@dataclass(frozen=True, kw_only=True)
class Life:
    """One process of a slot; a slot that was restarted has another life.

    Attributes:
        id: unique to the process.
        host: name of its machine.
        pid: its number on that machine.
    """

    id: str
    host: str
    pid: int


class Mailbox:
    """State of the exchange; runs as an asyncio actor, so every method is one coroutine."""

    def __init__(self) -> None:
        self._orders: dict[Shape, deque[Order]] = {}
        self._events: list[Event] = []
        self._held: dict[str, tuple[Life, int]] = {}
        self._more_orders = asyncio.Event()
        self._more_events = asyncio.Event()
        self._closed = False

    async def pull(
        self, slot: str, life: Life, shape: Shape, events: Sequence[Event], patience: float
    ) -> Order | None:
        """Posts a slot's events and returns its next order; None if none came in time.

        Args:
            slot: name of the slot, the same over restarts of its process.
            life: the process; another one with an order still in hand means that the process
                before it died.
            shape: resources of the slot.
            events: what happened in the slot since it last spoke.
            patience: seconds to wait for an order.
        """
        self._post(events)
        self._bury(slot, life)
        self._held.pop(slot, None)
        deadline = asyncio.get_running_loop().time() + patience
        while not self._closed:
            waiting = self._orders.get(shape)
            if waiting:
                order = waiting.popleft()
                self._held[slot] = (life, order.number)
                # Said here, since the slot's next word may be as far away as a long step.
                self._post([Started(order=order.number, slot=slot, host=life.host, pid=life.pid)])
                return order
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            self._more_orders.clear()
            try:
                await asyncio.wait_for(self._more_orders.wait(), left)
            except TimeoutError:
                return None
        return None

    async def post(self, events: Sequence[Event]) -> bool:
        """Posts events of a running order; returns True if the slot has to stop."""
        self._post(events)
        return self._closed

    async def bury(self, slot: str, reason: str) -> None:
        """Reports the order that a dead slot held as lost, or the death of an idle slot."""
        if slot in self._held:
            self._bury(slot, None)
        else:
            self._post([Died(slot=slot, reason=reason)])

    async def exchange(
        self, orders: Sequence[Order], patience: float
    ) -> tuple[list[Event], dict[Shape, int]]:
        """Puts orders in; returns events, and how many orders lie ready per shape."""
        for order in orders:
            self._orders.setdefault(order.shape, deque()).append(order)
        if orders:
            self._more_orders.set()
        # Set since the last exchange too: an order taken meanwhile has to be replaced at once.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._more_events.wait(), patience)
        self._more_events.clear()
        events, self._events = self._events, []
        return events, {shape: len(waiting) for shape, waiting in self._orders.items()}

    async def close(self) -> list[int]:
        """Stops all slots; returns the numbers of orders that nobody had taken."""
        self._closed = True
        self._more_orders.set()
        untaken = [order.number for waiting in self._orders.values() for order in waiting]
        self._orders.clear()
        return untaken

    def _post(self, events: Sequence[Event]) -> None:
        if events:
            self._events.extend(events)
            self._more_events.set()

    def _bury(self, slot: str, life: Life | None) -> None:
        held = self._held.get(slot)
        if held is not None and held[0] != life:
            del self._held[slot]
            self._post([Lost(order=held[1], reason=f"the worker process of {slot} died")])
