"""The controller's thread that keeps the mailbox filled, takes events out, and finds out whether
the worker of a lost order died or its whole node."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.messages import Event, Lost, Shape
from sweeper.engine.patience import NOTE_SECONDS
from sweeper.engine.ray.capacity import Capacity
from sweeper.engine.ray.cluster import end_process, on_node
from sweeper.engine.ray.mailbox import Exchanged
from sweeper.engine.ray.pulse import Call, Pulse, aside
from sweeper.engine.ray.roster import Roster
from sweeper.errors import ClusterError
from sweeper.outcome import first_line

NODE_SECONDS = 60.0
"""How long a node may take to answer or to be declared dead; Ray takes about 20 seconds."""


@dataclass
class _OpenLoss:
    """A loss that may be that of a node: what was lost, the answer to be of a task that was sent
    to the node, the list of nodes to be, and when it was asked, in seconds."""

    event: Lost
    answer: Call[Any]
    nodes: Call[Any]
    since: float


class LossClassifier:
    """Tells the loss of a worker from that of its node; keeps events of losses until it is known.

    A worker dies at once with its node, and Ray notices the worker first: only a task on that
    node tells the two apart.

    Args:
        pulse: knows whether the node of this machine lives.
        here: Ray's name of that node.
    """

    def __init__(self, pulse: Pulse, here: str) -> None:
        self._pulse = pulse
        self._here = here
        self._open: list[_OpenLoss] = []

    def review(self, events: tuple[Event, ...]) -> list[Event]:
        """Returns the events that can be dealt with now, in order: the new ones, but for losses
        on nodes that have not answered yet, and earlier losses of which it is known now."""
        ready: list[Event] = []
        for event in events:
            if not isinstance(event, Lost) or event.node or not event.where:
                ready.append(event)
            elif event.where == self._here:
                ready.append(_told(event, gone=self._pulse.node_died()))
            else:
                answer = on_node(event.where, _answer)
                self._open.append(_OpenLoss(event, answer, aside(ray.nodes), time.monotonic()))
        for loss in list(self._open):
            gone = _node_is_gone(loss)
            if gone is not None:
                self._open.remove(loss)
                ready.append(_told(loss.event, gone=gone))
        return ready


def _told(event: Lost, *, gone: bool) -> Lost:
    """Returns a loss of which is known whether its node is gone."""
    reason = f"{event.reason} (its node is gone)" if gone else event.reason
    return replace(event, node=gone, reason=reason)


def _answer() -> bool:
    return True


def _node_is_gone(loss: _OpenLoss) -> bool | None:
    """True if the node is gone, False if it lives, None as long as nobody knows."""
    if loss.answer.done():
        return loss.answer.exception() is not None  # nobody there to run it
    if loss.nodes.done():
        nodes = loss.nodes.result() if loss.nodes.exception() is None else None
        if nodes is not None and not any(
            node["NodeID"] == loss.event.where and node["Alive"] for node in nodes
        ):
            return True
        loss.nodes = aside(ray.nodes)
    return False if time.monotonic() - loss.since > NODE_SECONDS else None


READY_PER_SLOT = 2
"""Orders that lie ready in the mailbox for every slot of a shape: a slot finds its next one
without waiting for the controller, and few are claimed ahead of time."""

EXCHANGE_SECONDS = 0.25

LOOK_SECONDS = 1.0
"""How often it is looked whether to wait any longer for a reply."""

SILENT_SECONDS = 300.0
"""Without an answer of Ray for so long, the run ends. Some minutes later Ray itself would end the
process."""

STOP_SECONDS = 10.0
"""The same for a run that is being ended; its grace is thirty."""

CLOSE_SECONDS = 10.0
"""How long slots may take to write checkpoints and say so once Ray is in trouble."""


MAILBOX = "Ray's mailbox of this run"
GOES_ON = "run the same command again: trials go on from their checkpoints"


class Exchange:
    """Context that exchanges orders for events until it is left.

    Args:
        dispatcher: where orders come from and events go.
        mailbox: handle of the mailbox actor.
        stopped: polled between exchanges; True closes the mailbox, so that slots checkpoint.
        roster: the slots of the run; None makes one.
        pulse: watches Ray's processes; None watches nothing.
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
        roster: Roster | None = None,
        pulse: Pulse | None = None,
        hang_seconds: float = math.inf,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._note = note
        self._dispatcher = dispatcher
        self._mailbox = mailbox
        self._stopped = stopped
        self._pulse = pulse or Pulse("", "")
        self._hang_seconds = hang_seconds
        self._roster = roster or Roster(dispatcher, Capacity())
        here = ray.get_runtime_context().get_node_id()
        self._classifier = LossClassifier(self._pulse, here)
        self._ready: Mapping[Shape, int] = {}
        self._said = False
        self._mute = False  # whether the mailbox is what was waited for in vain
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

    @property
    def in_haste(self) -> bool:
        """True where nobody should wait for Ray to end in good order."""
        return self._stopped() or self._fault is not None or self._pulse.ill

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
            self._abandon(self._broke_off(fault))
        except BaseException as fault:
            self._abandon(fault)

    def _is_ending(self) -> bool:
        """Returns whether no more orders are to be taken by any slot."""
        dispatcher = self._dispatcher
        return self._stopped() or dispatcher.finished or dispatcher.fault is not None

    def _abandon(self, fault: BaseException) -> None:
        """The run ends: slots write checkpoints and end, and say so as far as they can be heard.
        The fault is raised by :meth:`__exit__` on the main thread."""
        self._dispatcher.stop()
        until = time.monotonic() + CLOSE_SECONDS
        try:
            if self._mute:
                return  # the slots notice by themselves
            for number in ray.get(self._mailbox.close.remote(), timeout=CLOSE_SECONDS):
                self._dispatcher.withdraw(number)
            while isinstance(fault, ClusterError) and not self._dispatcher.finished:
                reply = self._mailbox.exchange.remote([], EXCHANGE_SECONDS)
                heard: Exchanged = ray.get(reply, timeout=max(0.0, until - time.monotonic()))
                self._dispatcher.handle(*self._classifier.review(heard.events))
        except ray.exceptions.RayError:
            pass  # nor does the mailbox live
        finally:
            self._fault = fault

    def _broke_off(self, fault: ray.exceptions.RayError) -> ClusterError:
        """Returns why the mailbox is gone: with one of Ray's processes, or by itself."""
        self._pulse.node_died()
        if (dead := self._pulse.fault) is not None:
            return ClusterError(f"{dead}; {GOES_ON}")
        silent, who = self._pulse.silence
        why = f"{who} has not answered for {silent:.0f} s" if self._pulse.ill else ""
        said = first_line(str(fault)) or type(fault).__name__
        return ClusterError(f"the Ray session broke off: {why or said}; {GOES_ON}")

    def _close(self) -> None:
        if not self._dispatcher.finished:
            self._dispatcher.stop()
        for number in self._heard(self._mailbox.close.remote()):
            self._dispatcher.withdraw(number)

    def _round(self, patience: float) -> None:
        dispatcher = self._dispatcher
        capacity = self._roster.capacity
        dispatcher.health.expected = capacity.places()
        orders = [
            order
            for shape in dispatcher.shapes()
            for order in dispatcher.take(shape, self._room(shape))
        ]
        exchanged: Exchanged = self._heard(
            self._mailbox.exchange.remote(
                orders,
                patience,
                drop=dispatcher.dropped.take(),
                dominated=dispatcher.dominated.take(),
                halt=dispatcher.halted.take(),
                quarantined=dispatcher.health.quarantined,
                leave=self._roster.leaving(),
                draining=capacity.nodes.draining,
                silence=self._hang_seconds,
            )
        )
        self._ready = exchanged.ready
        self._roster.heard(exchanged.events)
        dispatcher.handle(*self._classifier.review(exchanged.events))
        for process in exchanged.silent:
            end_process(process.node, process.pid)

    def _heard(self, reply: Any) -> Any:
        """Returns the mailbox's reply, while Ray lives; a note says that it takes long.

        Raises:
            ClusterError: it takes too long, or the run is to end and it takes a while; or one of
                Ray's processes has died, or is silent for too long.
        """
        since = time.monotonic()
        while True:
            try:
                answer = ray.get(reply, timeout=LOOK_SECONDS)
            except ray.exceptions.GetTimeoutError:
                waited = time.monotonic() - since
                ending = self._stopped() or self._left.is_set()
                self._mute = waited > (STOP_SECONDS if ending else SILENT_SECONDS)
                self._endure(waited, MAILBOX)
            else:
                self._endure(*self._pulse.silence)
                return answer

    def _endure(self, silent: float, who: str) -> None:
        """Says once that somebody has been silent for many seconds, and when that is over; raises
        ClusterError if they are too many, or if one of Ray's processes is known to have died."""
        if (dead := self._pulse.fault) is not None:
            raise ClusterError(f"{dead}; {GOES_ON}")
        if self._mute or silent > SILENT_SECONDS:
            raise ClusterError(
                f"{who} has not answered for {silent:.0f} s; look after Ray's processes (`ray "
                f"status`), and {GOES_ON}"
            )
        if silent > NOTE_SECONDS and not self._said:
            self._note(f"{who} has not answered for {silent:.0f} s; waiting for it")
            self._said = True
        elif silent < NOTE_SECONDS and self._said and who != MAILBOX:
            self._note("Ray answers again")
            self._said = False

    def _room(self, shape: Shape) -> int:
        ready = READY_PER_SLOT * self._roster.slots(shape)
        return max(0, ready - self._ready.get(shape, 0))
