"""The controller's thread that keeps the mailbox filled and takes events out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ray

from sweeper.engine.cluster import Capacity
from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.order import Shape
from sweeper.errors import ClusterError

READY_PER_SLOT = 2
"""Orders that lie ready in the mailbox for every slot of a shape: a slot finds its next one
without waiting for the controller, and few are claimed ahead of time."""

EXCHANGE_SECONDS = 0.25


class Exchange:
    """Context that exchanges orders for events until it is left.

    Args:
        dispatcher: where orders come from and events go.
        mailbox: handle of the mailbox actor.
        stopped: polled between exchanges; True closes the mailbox, so that slots checkpoint.

    Raises:
        ClusterError: on leaving, if the Ray session broke off meanwhile.
    """

    def __init__(self, dispatcher: Dispatcher, mailbox: Any, stopped: Callable[[], bool]) -> None:
        self._dispatcher = dispatcher
        self._mailbox = mailbox
        self._stopped = stopped
        self._capacity = Capacity()
        self._ready: dict[Shape, int] = {}
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exchange", daemon=True)
        self._fault: BaseException | None = None

    def __enter__(self) -> Exchange:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            closed = False
            while not self._left.is_set():
                if not closed and (self._stopped() or self._dispatcher.finished):
                    self._close()
                    closed = True
                self._round(EXCHANGE_SECONDS)
            self._round(0.0)
        except ray.exceptions.RayError as fault:
            self._dispatcher.stop()
            self._fault = ClusterError(f"the Ray session broke off: {fault}")
        except BaseException as fault:
            # Re-raised by __exit__ on the main thread.
            self._dispatcher.stop()
            self._fault = fault

    def _close(self) -> None:
        self._dispatcher.stop()
        for number in ray.get(self._mailbox.close.remote()):
            self._dispatcher.withdraw(number)

    def _round(self, patience: float) -> None:
        orders = [
            order
            for shape in self._dispatcher.shapes()
            for order in self._dispatcher.take(shape, self._room(shape))
        ]
        events, self._ready = ray.get(self._mailbox.exchange.remote(orders, patience))
        for event in events:
            self._dispatcher.handle(event)

    def _room(self, shape: Shape) -> int:
        ready = READY_PER_SLOT * self._capacity.slots(shape)
        return max(0, ready - self._ready.get(shape, 0))
