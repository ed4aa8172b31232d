"""The mailbox between controller and slots: one small Ray actor beside the controller.

Slots pull their next order and post events; the controller puts orders in and fetches events.
Because a slot finds its next order lying ready, a trial costs it one round trip and neither
Tune's event loop nor a process start.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sweeper.engine.messages import (
    Died,
    Ended,
    Event,
    Leaving,
    Lost,
    Order,
    Parked,
    Shape,
    Started,
    Task,
)
from sweeper.outcome import Outcome

PARK: Literal["park"] = "park"
"""What a slot is given at a quarantined place, or on a node that will be taken away: it idles, and
nobody else is put in its place."""


POSTS_PER_SECOND = 200.0
"""Posts of slots that have nothing to tell, all slots together: each costs the mailbox about half
a millisecond, and they are as many as slots however long a trial takes."""

LONGEST_QUIET = 5.0
"""Seconds after which a slot posts all the same, and so hears that it has to stop."""


@dataclass(frozen=True, kw_only=True)
class WorkerProcess:
    """One process of a slot; a restarted slot has another one.

    Attributes:
        id: unique to the process.
        host: name of its machine.
        pid: its number on that machine.
        node: Ray's name of the node.
        place: the node and the accelerators that it trains on, in words.
    """

    id: str
    host: str
    pid: int
    node: str = ""
    place: str = ""


@dataclass(frozen=True)
class Reply:
    """What a slot is told when it posts.

    Attributes:
        stop: it has to write checkpoints and end.
        drop: keys of its order that another controller runs now.
        dominated: keys of its order that are to end as dominated.
        halt: keys of its order that somebody wants stopped or paused.
        quiet: seconds in which it need not post again unless it has news.
    """

    stop: bool = False
    drop: frozenset[str] = frozenset()
    dominated: frozenset[str] = frozenset()
    halt: frozenset[str] = frozenset()
    quiet: float = 0.0


@dataclass(frozen=True)
class Exchanged:
    """What the controller is given in an exchange.

    Attributes:
        events: what happened since the last time, in order.
        ready: how many orders lie ready, by shape.
        silent: processes with an order in hand that have not spoken for too long; each is
            named once.
    """

    events: tuple[Event, ...]
    ready: Mapping[Shape, int]
    silent: tuple[WorkerProcess, ...] = ()


@dataclass
class _Hold:
    """An order that a process has: when it was last heard of, in seconds of the event loop; why
    it was ended, if it was; and the keys that it has to let go, to end as dominated, and to
    stop."""

    process: WorkerProcess
    order: int
    heard: float
    ended_because: str | None = None
    drop: frozenset[str] = field(default=frozenset())
    dominated: frozenset[str] = field(default=frozenset())
    halt: frozenset[str] = field(default=frozenset())


class Mailbox:
    """State of the exchange; runs as an asyncio actor, so every method is one coroutine."""

    def __init__(self) -> None:
        self._orders: dict[Shape, deque[Order]] = {}
        self._events: list[Event] = []
        self._held: dict[str, _Hold] = {}
        self._last: dict[str, str] = {}  # process by slot that pulled last
        self._dead: set[str] = set()  # processes that were reported
        self._quarantined: frozenset[str] = frozenset()
        self._leave: frozenset[str] = frozenset()
        self._draining: frozenset[str] = frozenset()
        self._parked: set[str] = set()
        self._more_orders = asyncio.Event()
        self._more_events = asyncio.Event()
        self._silence = math.inf
        self._closed = False

    async def pull(
        self,
        slot: str,
        process: WorkerProcess,
        shape: Shape,
        events: Sequence[Event],
        patience: float,
        notice: str | None = None,
    ) -> Order | Literal["park"] | None:
        """Posts a slot's events and returns its next order; None if none came in time.

        An order that would rather not run at this place is left for others until the slot's
        patience ends.

        Args:
            slot: name of the slot, the same over restarts of its process.
            process: the slot's process; another one with an order still in hand means that the
                process before it died.
            shape: resources of the slot.
            events: what happened in the slot since it last asked.
            patience: seconds to wait for an order.
            notice: that the slot's node will be taken away, in words; None if none was given.
        """
        self._post(events)
        if process.id in self._dead:
            return None  # a machine that was cut off goes on for a moment; nobody would hear of it
        self._last[slot] = process.id
        self._report_death(slot, process)
        self._held.pop(slot, None)
        deadline = _now() + patience
        while not (self._closed or self._has_to_leave(slot, process)):
            if notice is not None or process.place in self._quarantined:
                return await self._park(slot, deadline)
            if process.id in self._dead:
                return None
            late = _now() >= deadline
            order = self._pick(shape, process.place, choosy=not late)
            if order is not None:
                self._held[slot] = _Hold(process, order.number, _now())
                self._parked.discard(slot)
                # Reported here: the slot posts again only after its first step, which may be long.
                began = Started(
                    order=order.number,
                    slot=slot,
                    host=process.host,
                    pid=process.pid,
                    place=process.place,
                )
                self._post([began])
                return order
            if late:
                return None
            self._more_orders.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._more_orders.wait(), deadline - _now())
        return None

    async def post(self, slot: str, events: Sequence[Event]) -> Reply:
        """Posts events of a slot's running order; returns what the slot has to do."""
        self._post(events)
        hold = self._held.get(slot)
        if hold is None:
            return Reply(stop=self._closed)
        hold.heard = _now()
        leaves = self._has_to_leave(slot, hold.process)
        if leaves and slot not in self._leave:
            place, reason = hold.process.place, "Ray drains this node"
            self._post([Leaving(slot=slot, place=place, reason=reason)])
        return Reply(
            stop=self._closed or leaves,
            drop=hold.drop,
            dominated=hold.dominated,
            halt=hold.halt,
            quiet=self._quiet(),
        )

    def _has_to_leave(self, slot: str, process: WorkerProcess) -> bool:
        return slot in self._leave or process.node in self._draining

    def _quiet(self) -> float:
        """How long a slot with nothing to tell may say nothing: longer, the more there are."""
        return min(len(self._held) / POSTS_PER_SECOND, LONGEST_QUIET, self._silence / 4)

    async def report_death(self, slot: str, reason: str, node: bool = False) -> None:
        """Reports the order that a dead slot held as lost, or the death of an idle slot; its
        process is given no more orders.

        Args:
            slot: name of the slot.
            reason: what is known of its end, in words.
            node: True if its whole node is gone.
        """
        if slot in self._last:
            self._dead.add(self._last.pop(slot))
        if slot in self._held:
            self._report_death(slot, None, reason, node=node)
        elif slot not in self._parked:
            self._post([Died(slot=slot, reason=reason, node=node)])

    async def exchange(
        self,
        orders: Sequence[Order],
        patience: float,
        *,
        drop: Mapping[int, frozenset[str]] | None = None,
        dominated: Mapping[int, frozenset[str]] | None = None,
        halt: Mapping[int, frozenset[str]] | None = None,
        quarantined: frozenset[str] = frozenset(),
        leave: frozenset[str] = frozenset(),
        draining: frozenset[str] = frozenset(),
        silence: float = math.inf,
    ) -> Exchanged:
        """Puts orders in; returns what happened.

        Args:
            orders: for the slots to pull.
            patience: seconds to wait for something to happen.
            drop: keys by number of their order that another controller runs now.
            dominated: keys by number of their order that are to end as dominated.
            halt: keys by number of their order that somebody wants stopped or paused.
            quarantined: places that are given no more orders.
            leave: slots that have to stop what they have in hand, and end.
            draining: Ray's names of nodes whose slots have to do so.
            silence: seconds after which a process that says nothing is reported.
        """
        self._quarantined, self._leave, self._draining = quarantined, leave, draining
        self._silence = silence
        for order in orders:
            self._orders.setdefault(order.shape, deque()).append(order)
        if orders:
            self._more_orders.set()
        self._drop(drop or {})
        self._halt(halt or {})
        for hold in self._held.values():
            hold.dominated |= (dominated or {}).get(hold.order, frozenset())
        # Set since the last exchange too: an order taken meanwhile has to be replaced at once.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._more_events.wait(), patience)
        self._more_events.clear()
        events, self._events = self._events, []
        ready = {shape: len(waiting) for shape, waiting in self._orders.items()}
        return Exchanged(tuple(events), ready, self._silent(silence))

    async def close(self) -> list[int]:
        """Stops all slots; returns the numbers of orders that nobody had taken."""
        self._closed = True
        self._more_orders.set()
        untaken = [order.number for waiting in self._orders.values() for order in waiting]
        self._orders.clear()
        return untaken

    async def _park(self, slot: str, deadline: float) -> Literal["park"] | None:
        if slot not in self._parked:
            self._parked.add(slot)
            self._post([Parked(slot=slot)])
        while not self._closed and (left := deadline - _now()) > 0:
            await asyncio.sleep(min(left, 0.2))
        return None if self._closed else PARK

    def _pick(self, shape: Shape, place: str, *, choosy: bool) -> Order | None:
        waiting = self._orders.get(shape, deque())
        for index, order in enumerate(waiting):
            if not (choosy and place in order.avoid):
                del waiting[index]
                return order
        return None

    def _drop(self, drop: Mapping[int, frozenset[str]]) -> None:
        """Takes members out of orders that wait; slots that have theirs are told as they post."""
        if not drop:
            return
        for hold in self._held.values():
            hold.drop |= drop.get(hold.order, frozenset())
        self._cut(drop)

    def _halt(self, halt: Mapping[int, frozenset[str]]) -> None:
        """Stops members of orders that wait; slots that have theirs are told as they post."""
        if not halt:
            return
        for hold in self._held.values():
            hold.halt |= halt.get(hold.order, frozenset())
        for task, number in self._cut(halt):
            outcome = Outcome(key=task.key, attempt=task.attempt, kind="stopped")
            self._post([Ended(order=number, outcome=outcome)])

    def _cut(self, keys: Mapping[int, frozenset[str]]) -> list[tuple[Task, int]]:
        """Takes members out of orders that wait; returns them with the numbers of the orders."""
        taken = [
            (task, order.number)
            for waiting in self._orders.values()
            for order in waiting
            for task in order.tasks
            if task.key in keys.get(order.number, ())
        ]
        for shape, waiting in self._orders.items():
            left = [_without(order, keys.get(order.number, frozenset())) for order in waiting]
            self._orders[shape] = deque(order for order in left if order.tasks)
        return taken

    def _silent(self, limit: float) -> tuple[WorkerProcess, ...]:
        found = [
            hold
            for hold in self._held.values()
            if hold.ended_because is None and _now() - hold.heard > limit
        ]
        for hold in found:
            hold.ended_because = f"it said nothing for {limit:g} seconds and was ended"
        return tuple(hold.process for hold in found)

    def _post(self, events: Sequence[Event]) -> None:
        if events:
            self._events.extend(events)
            self._more_events.set()

    def _report_death(
        self, slot: str, process: WorkerProcess | None, reason: str = "", *, node: bool = False
    ) -> None:
        hold = self._held.get(slot)
        if hold is None or hold.process == process:
            return
        del self._held[slot]
        how = hold.ended_because or reason
        what = f"the worker process of {slot} on {hold.process.host} died"
        reason = f"{what}: {how}" if how else what
        self._post([Lost(order=hold.order, reason=reason, node=node, where=hold.process.node)])


def _now() -> float:
    return asyncio.get_running_loop().time()


def _without(order: Order, keys: frozenset[str]) -> Order:
    if not keys:
        return order
    return replace(order, tasks=tuple(task for task in order.tasks if task.key not in keys))
