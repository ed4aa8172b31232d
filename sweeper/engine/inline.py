"""Executes orders in this process: the same path as a Ray slot, without Ray."""

from __future__ import annotations

import os
from collections.abc import Callable

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.messages import Order, Started
from sweeper.engine.worker import Host, hostname

SLICE_SECONDS = 0.5


def run_inline(dispatcher: Dispatcher, *, stopped: Callable[[], bool]) -> None:
    """Runs everything that waits, one order after the other.

    Args:
        dispatcher: what to run.
        stopped: polled between slices of time; True ends gracefully.
    """
    while not stopped():
        shapes = dispatcher.shapes()
        if not shapes:
            return
        for order in dispatcher.take(shapes[0]):
            _run(order, dispatcher, stopped)
    dispatcher.stop()


def _run(order: Order, dispatcher: Dispatcher, stopped: Callable[[], bool]) -> None:
    began = Started(
        order=order.number, slot="inline", host=hostname(), pid=os.getpid(), place=hostname()
    )
    dispatcher.handle(began)
    host = Host(order)
    while not host.done:
        host.drop(dispatcher.dropped().get(order.number, frozenset()))
        events = host.stop() if stopped() else host.advance(SLICE_SECONDS)
        dispatcher.handle(*events)
