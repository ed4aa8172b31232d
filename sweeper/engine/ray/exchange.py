"""The controller's thread that keeps the mailbox filled, takes events out, and finds out whether
the worker of a lost order died or its whole node."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.messages import Event, Lost, Shape
from sweeper.engine.ray.cluster import Capacity, end_process, on_node
from sweeper.engine.ray.mailbox import Exchanged
from sweeper.errors import ClusterError

ANSWER_SECONDS = 60.0
"""How long a node may take to answer or to be declared dead; Ray takes about 20 seconds."""


@dataclass
class _OpenLoss:
    """A loss that may be that of a node: what was lost, Ray's reference to the answer of a task
    that was sent to the node, and when, in seconds."""

    event: Lost
    answer: Any
    since: float


class LossClassifier:
    """Tells the loss of a worker from that of its node; keeps events of losses until it is known.

    A worker dies at once with its node, and Ray notices the worker first: only a task on that
    node tells the two apart.
    """

    def __init__(self) -> None:
        self._here = ray.get_runtime_context().get_node_id()
        self._open: list[_OpenLoss] = []

    def review(self, events: tuple[Event, ...]) -> list[Event]:
        """Returns the events that can be dealt with now, in order: the new ones, but for losses
        on nodes that have not answered yet, and earlier losses of which it is known now."""
        ready: list[Event] = []
        for event in events:
            if isinstance(event, Lost) and not event.node and event.where not in ("", self._here):
                answer = on_node(event.where, _answer)
                self._open.append(_OpenLoss(event, answer, time.monotonic()))
            else:
                ready.append(event)
        for loss in list(self._open):
            gone = _node_is_gone(loss)
            if gone is not None:
                self._open.remove(loss)
                reason = f"{loss.event.reason} (its node is gone)" if gone else None
                ready.append(replace(loss.event, node=gone, reason=reason or loss.event.reason))
        return ready


def _answer() -> bool:
    return True


def _node_is_gone(loss: _OpenLoss) -> bool | None:
    """True if the node is gone, False if it lives, None as long as nobody knows."""
    done, _ = ray.wait([loss.answer], timeout=0)
    if done:
        try:
            return not ray.get(loss.answer)
        except ray.exceptions.RayError:
            return True  # nobody there to run it
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    if not any(node["NodeID"] == loss.event.where and node["Alive"] for node in nodes):
        return True
    return False if time.monotonic() - loss.since > ANSWER_SECONDS else None


READY_PER_SLOT = 2
"""Orders that lie ready in the mailbox for every slot of a shape: a slot finds its next one
without waiting for the controller, and few are claimed ahead of time."""

EXCHANGE_SECONDS = 0.25

LOOK_SECONDS = 1.0
"""How often it is looked whether to wait any longer for a reply."""

NOTE_SECONDS = 60.0
"""Without a reply for so long, a note says so."""

SILENT_SECONDS = 600.0
"""Without a reply for so long, the run ends."""

STOP_SECONDS = 20.0
"""The same for a run that is being ended; its grace is thirty."""

CLOSE_SECONDS = 10.0
"""How long a mailbox in trouble may take to tell the slots to stop."""


class Exchange:
    """Context that exchanges orders for events until it is left.

    Args:
        dispatcher: where orders come from and events go.
        mailbox: handle of the mailbox actor.
        stopped: polled between exchanges; True closes the mailbox, so that slots checkpoint.
        hang_seconds: a slot that says nothing about its order for so long is ended.
        note: is told once that Ray does not answer.

    Raises:
        ClusterError: on leaving, if the Ray session broke off meanwhile.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        mailbox: Any,
        stopped: Callable[[], bool],
        *,
        hang_seconds: float = math.inf,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._note = note
        self._dispatcher = dispatcher
        self._mailbox = mailbox
        self._stopped = stopped
        self._hang_seconds = hang_seconds
        self._capacity = Capacity()
        self._classifier = LossClassifier()
        self._ready: Mapping[Shape, int] = {}
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

    @property
    def over(self) -> bool:
        """True when no slot has anything left to say, or nobody would hear it."""
        return self._dispatcher.finished or self._fault is not None

    def _run(self) -> None:
        try:
            closed = False
            while not self._left.is_set():
                if not closed and self._is_ending():
                    self._close()
                    closed = True
                self._round(EXCHANGE_SECONDS)
            self._round(0.0)
        except ray.exceptions.RayError as fault:
            self._abandon(ClusterError(f"the Ray session broke off: {fault}"))
        except BaseException as fault:
            self._abandon(fault)

    def _is_ending(self) -> bool:
        """Returns whether no more orders are to be taken by any slot."""
        dispatcher = self._dispatcher
        return self._stopped() or dispatcher.finished or dispatcher.fault is not None

    def _abandon(self, fault: BaseException) -> None:
        """Nobody listens to the slots any more: they write checkpoints and end. The fault is
        raised by :meth:`__exit__` on the main thread."""
        self._dispatcher.stop()
        # If the mailbox is what broke, the slots notice by themselves.
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self._mailbox.close.remote(), timeout=CLOSE_SECONDS)
        self._fault = fault

    def _close(self) -> None:
        if not self._dispatcher.finished:
            self._dispatcher.stop()
        for number in self._heard(self._mailbox.close.remote()):
            self._dispatcher.withdraw(number)

    def _round(self, patience: float) -> None:
        dispatcher = self._dispatcher
        dispatcher.health.expected = self._capacity.nodes()
        orders = [
            order
            for shape in dispatcher.shapes()
            for order in dispatcher.take(shape, self._room(shape))
        ]
        exchanged: Exchanged = self._heard(
            self._mailbox.exchange.remote(
                orders,
                patience,
                drop=dispatcher.dropped(),
                quarantined=dispatcher.health.quarantined,
                silence=self._hang_seconds,
            )
        )
        self._ready = exchanged.ready
        dispatcher.handle(*self._classifier.review(exchanged.events))
        for process in exchanged.silent:
            end_process(process.node, process.pid)

    def _heard(self, reply: Any) -> Any:
        """Returns the mailbox's reply; a note says that it takes long.

        Raises:
            ClusterError: it takes too long, or the run is to end and it takes a while.
        """
        since, said = time.monotonic(), False
        while True:
            try:
                return ray.get(reply, timeout=LOOK_SECONDS)
            except ray.exceptions.GetTimeoutError:
                waited = time.monotonic() - since
            if waited > (STOP_SECONDS if self._stopped() else SILENT_SECONDS):
                raise ClusterError(
                    f"Ray has not answered for {waited:.0f} s; look after its processes (`ray "
                    "status`), and run the same command again: trials go on from their checkpoints"
                )
            if waited > NOTE_SECONDS and not said:
                self._note(f"Ray has not answered for {waited:.0f} s; waiting for it")
                said = True

    def _room(self, shape: Shape) -> int:
        ready = READY_PER_SLOT * self._capacity.slots(shape)
        return max(0, ready - self._ready.get(shape, 0))
