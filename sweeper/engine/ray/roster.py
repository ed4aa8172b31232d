"""The slots of a run: how many of each shape there are to be, which are there, which must go."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.messages import Event, Shape, Started
from sweeper.engine.priority import Above, Bundle, Entry, allotted, bundle_of
from sweeper.engine.ray.capacity import Capacity

PLAN_SECONDS = 0.25
"""How often it is worked out anew how many slots there are to be."""

AHEAD = (2, 64)
"""Where nodes may join, slots wait for them: as many as there are already, within these bounds. An
autoscaler adds nodes for what waits, so that a cluster can double each time."""


WITHDRAWN_SECONDS = 5.0
"""How long slots that have begun nothing may take to go before others are asked to."""


@dataclass(frozen=True)
class _Target:
    """How many slots of each shape are to be there: in all, and of them on nodes that are there
    already."""

    most: Mapping[Shape, int] = field(default_factory=dict)
    here: Mapping[Shape, int] = field(default_factory=dict)


class Roster:
    """Keeps count of slots, between Tune's thread and the exchange's.

    Args:
        dispatcher: knows which shapes have work.
        capacity: knows what fits the cluster.
        may_grow: True if nodes may join.
        priority: studies of a higher one come first.
        note: is told when they do, and when that is over.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        capacity: Capacity,
        *,
        may_grow: bool = False,
        priority: int = 0,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._dispatcher = dispatcher
        self._note = note
        self.capacity = capacity
        self._may_grow = may_grow
        self.priority = priority
        self.above = Above(priority)
        self._live: dict[str, Shape] = {}
        self._places: dict[str, str] = {}
        self._leaving: set[str] = set()
        self._marked = 0.0
        self._below = False
        self._target = _Target()
        self._planned = 0.0
        self._lock = threading.RLock()

    @property
    def finished(self) -> bool:
        """True when every pack has ended, or the run is being stopped."""
        return self._dispatcher.finished or self._dispatcher.stopping

    def bundle(self, shape: Shape) -> dict[str, float]:
        """Returns what a slot asks Ray for."""
        return self.capacity.bundle(shape)

    def slots(self, shape: Shape) -> int:
        """Returns how many slots of a shape may have work now, on nodes that are there."""
        with self._lock:
            if self._below:
                return self._plan().here.get(shape, 0)
        return self.capacity.slots(shape)

    # Tune's side ------------------------------------------------------------------------------

    def lacking(self) -> Shape | None:
        """Returns the shape of one more slot that is needed; None while there are enough."""
        with self._lock:
            live = self._counts(set(self._live))
            most = self._plan().most
            return next((shape for shape, count in most.items() if live[shape] < count), None)

    def proposed(self, name: str, shape: Shape) -> None:
        """Notes a slot that Tune will start."""
        with self._lock:
            self._live[name] = shape

    def ended(self, name: str) -> None:
        """Forgets a slot."""
        with self._lock:
            self._live.pop(name, None)
            self._places.pop(name, None)
            self._leaving.discard(name)

    def surplus(self, waiting: Collection[str]) -> list[str]:
        """Returns those of the slots that wait for resources that are not needed."""
        with self._lock:
            room = Counter(self._plan().most)
            room.subtract(self._counts(self._live.keys() - set(waiting)))
            vain = []
            for name in waiting:
                shape = self._live[name]
                room[shape] -= 1
                if room[shape] < 0:
                    vain.append(name)
            return vain

    # The exchange's side ----------------------------------------------------------------------

    def heard(self, events: Collection[Event]) -> None:
        """Takes in where slots began orders."""
        with self._lock:
            for event in events:
                if isinstance(event, Started) and event.slot in self._live:
                    self._places[event.slot] = event.place

    def leaving(self) -> frozenset[str]:
        """Returns the slots that have to stop what they have in hand, and end, for a study above.

        Those that have not begun go first, and are waited for: they would take what the others
        leave. Of the others whole places go, so that what is large finds room.
        """
        with self._lock:
            here = self._plan().here
            if self._below:
                self._mark_leaving(here)
            return frozenset(self._leaving)

    def _mark_leaving(self, here: Mapping[Shape, int]) -> None:
        staying = self._live.keys() - self._leaving - self._dispatcher.parked
        excess = self._counts(staying)
        excess.subtract(here)
        begun = sorted(staying & self._places.keys(), key=self._place_of, reverse=True)
        for name in [*(staying - self._places.keys()), *begun]:
            if name in self._places and self._must_wait():
                break
            if excess[self._live[name]] > 0:
                excess[self._live[name]] -= 1
                self._leaving.add(name)
                if name not in self._places:
                    self._marked = time.monotonic()
        self._dispatcher.excuse(self._leaving)

    def _must_wait(self) -> bool:
        unbegun = self._leaving - self._places.keys()
        return bool(unbegun) and time.monotonic() - self._marked < WITHDRAWN_SECONDS

    def _place_of(self, name: str) -> str:
        return self._places[name]

    # The side of other studies ----------------------------------------------------------------

    def entry(self, study: str, beat: int) -> Entry:
        """Returns what the controllers of other studies are told."""
        with self._lock:
            here = {shape: count for shape, count in self._plan().here.items() if count}
            uses: Counter[Bundle] = Counter()
            for shape, count in here.items():
                uses[bundle_of(self.bundle(shape))] += count
            running = self._counts(self._places.keys() - self._leaving)
            waiting = sum(max(0, count - running[shape]) for shape, count in here.items())
        return Entry(
            study=study, priority=self.priority, uses=dict(uses), waiting=waiting, beat=beat
        )

    # ------------------------------------------------------------------------------------------

    def _counts(self, names: Collection[str]) -> Counter[Shape]:
        """Returns how many of the slots have work or look for it, by shape."""
        parked = self._dispatcher.parked
        return Counter(self._live[name] for name in names if name not in parked)

    def _plan(self) -> _Target:
        now = time.monotonic()
        if now - self._planned > PLAN_SECONDS:
            self._planned = now
            self._target = self._planned_anew()
        return self._target

    def _planned_anew(self) -> _Target:
        parked = self._dispatcher.parked & self._live.keys()
        idle = Counter(self._live[name] for name in parked)
        wanted = self._dispatcher.demand()
        taken = self.above.uses
        needs = [(shape, self.bundle(shape), count) for shape, count in wanted.items()]
        together = allotted(self.capacity.nodes.staying, taken, needs)
        here = {shape: max(0, count - idle[shape]) for shape, count in together.items()}
        if taken:
            here = {shape: int(count * self.above.share) for shape, count in here.items()}
        self._say(squeezed=bool(taken) and any(here[shape] < wanted[shape] for shape in wanted))
        if taken:
            return _Target(here, here)
        most = {}
        for shape, count in wanted.items():
            fits = max(1, self.capacity.slots(shape) - idle[shape])
            most[shape] = min(count, fits + self._ahead(shape, fits))
        return _Target(most, here)

    def _ahead(self, shape: Shape, fits: int) -> int:
        low, high = AHEAD
        return max(low, min(high, fits)) if self._may_grow and not shape.alone else 0

    def _say(self, *, squeezed: bool) -> None:
        if squeezed and not self._below:
            self._note(
                f"{' and '.join(self.above.studies)} comes first on this cluster: this study has "
                "the slots that are left, and stops what is in their way at a checkpoint"
            )
        elif self._below and not squeezed:
            self._note("this study has the slots of the cluster again")
        self._below = squeezed
