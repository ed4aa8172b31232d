"""Who runs what next: packs waiting per shape, orders in flight, losses, budgets. No Ray here."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeper.engine.order import Died, Ended, Event, Lost, Order, Shape, Task
from sweeper.errors import EnvironmentFault
from sweeper.outcome import Outcome
from sweeper.store.paths import Paths
from sweeper.trial import Trial

MAX_LOSSES = 3
"""Workers that may die under one trial before it is given up as the likely cause."""

MAX_DEATHS = 8
"""Worker processes that may die in a row without having begun anything."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Trials of equal shape that train side by side.

    Attributes:
        shape: resources of the slot that they need.
        trials: the members.
    """

    shape: Shape
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """What a study may spend; None is no limit.

    Attributes:
        flops: training FLOPs of all trials that were started.
        trials: number of trials that were started.
        seconds: wall seconds of this run after which no further trial is started.
        spent_flops, spent_trials: what earlier runs have spent of it.
    """

    flops: float | None = None
    trials: int | None = None
    seconds: float | None = None
    spent_flops: float = 0.0
    spent_trials: int = 0


Claimer = Callable[[Sequence[str]], dict[str, int]]
"""Claims keys in the store: returns the attempt number of each key that is ours to run."""


class Dispatcher:
    """Hands out orders and takes in events; thread-safe.

    Args:
        packs: everything to run, in order.
        claim: claims keys in the store at the moment they are handed out.
        workload: name of the workload.
        paths: owner of all paths, for the workers.
        record: takes an outcome to the store (and must not block for long).
        settle: returns once everything recorded so far is in the store.
        observe: hears every event after it was dealt with.
        ordered: hears every order that is handed out.
        checkpoint_seconds: seconds between checkpoints.
        ceiling: what the study may spend.

    Attributes:
        ceiling_reached: the budget that left no room for a trial, in words; None if none did.
        refused: keys that another run had claimed or finished when their turn came.
        fault: what a worker had to stop for, which ended the run; None if nothing.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        *,
        claim: Claimer,
        workload: str,
        paths: Paths,
        record: Callable[[Outcome], None],
        settle: Callable[[], None] = lambda: None,
        observe: Callable[[Event], None] = lambda event: None,
        ordered: Callable[[Order], None] = lambda order: None,
        checkpoint_seconds: float = 300.0,
        ceiling: Ceiling | None = None,
    ) -> None:
        self._waiting: dict[Shape, deque[Pack]] = {}
        for pack in packs:
            self._waiting.setdefault(pack.shape, deque()).append(pack)
        self._claim = claim
        self._workload = workload
        self._paths = paths
        self._record = record
        self._settle = settle
        self._observe = observe
        self._ordered = ordered
        self._checkpoint_seconds = checkpoint_seconds
        self._ceiling = ceiling or Ceiling()
        self._started_at = time.monotonic()
        self._booked: set[str] = set()
        self._spent_flops = self._ceiling.spent_flops
        self._deaths = 0
        self._flying: dict[int, tuple[Order, dict[str, Trial]]] = {}
        self._losses: Counter[str] = Counter()
        self._number = 0
        self._lock = threading.RLock()
        self._stopping = False
        self.refused: set[str] = set()
        self.ceiling_reached: str | None = None
        self.fault: EnvironmentFault | None = None

    @property
    def finished(self) -> bool:
        """True when nothing waits and nothing flies."""
        with self._lock:
            return not self._flying and not any(self._waiting.values())

    @property
    def stopping(self) -> bool:
        """True once :meth:`stop` was called."""
        return self._stopping

    def stop(self) -> None:
        """Hands out nothing more; orders in flight may still end."""
        with self._lock:
            self._stopping = True
            self._waiting.clear()

    def shapes(self) -> list[Shape]:
        """Returns the shapes that have packs waiting, in the order of the plan."""
        with self._lock:
            return [shape for shape, packs in self._waiting.items() if packs]

    def active(self) -> list[Shape]:
        """Returns the shapes that have packs waiting or orders in flight."""
        with self._lock:
            flying = [order.shape for order, _ in self._flying.values()]
            return list(dict.fromkeys([*self.shapes(), *flying]))

    def waiting(self, shape: Shape) -> int:
        """Returns the number of packs that wait for a slot of a shape."""
        with self._lock:
            return len(self._waiting.get(shape, ()))

    def flying(self, shape: Shape) -> int:
        """Returns the number of orders of a shape that are handed out and not ended."""
        with self._lock:
            return sum(order.shape == shape for order, _ in self._flying.values())

    def take(self, shape: Shape, count: int = 1) -> list[Order]:
        """Claims up to ``count`` next packs of a shape, in one transaction, as orders.

        Members that another run has claimed or finished are left out; a pack of nothing but
        such members gives no order.
        """
        with self._lock:
            packs = self._affordable(shape, count)
            trials = {trial.key: trial for pack in packs for trial in pack}
            attempts = self._claim(list(trials)) if trials else {}
            for key in trials.keys() - attempts.keys():
                self.refused.add(key)
                self._book(trials[key], back=True)
            ours = [{t.key: t for t in pack if t.key in attempts} for pack in packs]
            return [self._order(shape, members, attempts) for members in ours if members]

    def _affordable(self, shape: Shape, count: int) -> list[tuple[Trial, ...]]:
        """Takes packs off the queue and books them, cut to what the budget leaves; those with
        nothing left are dropped, so that a spent budget ends the run at once."""
        packs: list[tuple[Trial, ...]] = []
        waiting = self._waiting.get(shape, deque())
        while waiting and len(packs) < count:
            members = []
            for trial in waiting.popleft().trials:
                if self._has_room(trial):
                    self._book(trial)
                    members.append(trial)
            if members:
                packs.append(tuple(members))
        return packs

    def _order(self, shape: Shape, trials: dict[str, Trial], attempts: dict[str, int]) -> Order:
        self._number += 1
        order = Order(
            number=self._number,
            workload=self._workload,
            shape=shape,
            tasks=tuple(_task(trial, attempts[key]) for key, trial in trials.items()),
            paths=self._paths,
            checkpoint_seconds=self._checkpoint_seconds,
        )
        self._flying[order.number] = (order, dict(trials))
        self._ordered(order)
        return order

    def _has_room(self, trial: Trial) -> bool:
        """A trial that runs once more after its worker was lost is booked already; for others a
        ceiling, once reached, holds: a dear trial is not passed over for a cheap one."""
        if trial.key in self._booked:
            return True
        self.ceiling_reached = self.ceiling_reached or self._ceiling_over(trial)
        return self.ceiling_reached is None

    def _ceiling_over(self, trial: Trial) -> str | None:
        ceiling = self._ceiling
        spent = ceiling.spent_trials + len(self._booked)
        if ceiling.trials is not None and spent + 1 > ceiling.trials:
            return f"{ceiling.trials} trials"
        if ceiling.flops is not None and self._spent_flops + _flops(trial) > ceiling.flops:
            return f"{ceiling.flops:.3g} FLOPs"
        elapsed = time.monotonic() - self._started_at
        if ceiling.seconds is not None and elapsed >= ceiling.seconds:
            return f"{ceiling.seconds / 3600:g} hours"
        return None

    def _book(self, trial: Trial, *, back: bool = False) -> None:
        """Puts a trial on the bill once, or takes it off."""
        if (trial.key in self._booked) == back:
            (self._booked.discard if back else self._booked.add)(trial.key)
            self._spent_flops += -_flops(trial) if back else _flops(trial)

    def handle(self, event: Event) -> None:
        """Takes in what a worker said; a late word about an order that was given up is still
        recorded (the store keeps it as an extra attempt)."""
        given_up: list[Event] = []
        self._count_deaths(event)
        if isinstance(event, Ended):
            if event.outcome.kind == "stopped" and event.outcome.error is not None:
                self._break(event.outcome.error)
            self._record(event.outcome)
            self._land(event.order, event.outcome.key)
        elif isinstance(event, Lost):
            given_up = self._lose(event)
        for each in (event, *given_up):
            self._observe(each)

    def _count_deaths(self, event: Event) -> None:
        """When worker processes die again and again and none gets as far as beginning an order,
        no trial is to blame, and starting more of them would never end."""
        self._deaths = self._deaths + 1 if isinstance(event, Died) else 0
        if isinstance(event, Died) and self._deaths >= MAX_DEATHS:
            self._break(f"{self._deaths} worker processes in a row died idle: {event.reason}")

    def _break(self, reason: str) -> None:
        """The disk or the data failed a worker: going on would fail every other trial too."""
        with self._lock:
            self.fault = self.fault or EnvironmentFault(f"a worker had to stop: {reason}")
        self.stop()

    def withdraw(self, number: int) -> None:
        """Takes back an order that no worker has begun; its attempts end as stopped."""
        with self._lock:
            order, trials = self._flying.pop(number, (None, {}))
        for task in order.tasks if order is not None else ():
            if task.key in trials:
                self._record(Outcome(key=task.key, attempt=task.attempt, kind="stopped"))

    def _land(self, number: int, key: str) -> None:
        with self._lock:
            if number in self._flying:
                trials = self._flying[number][1]
                trials.pop(key, None)
                if not trials:
                    del self._flying[number]

    def _lose(self, event: Lost) -> list[Event]:
        """Closes the attempts of a lost order and puts its trials back, each alone, unless they
        lost their workers too often; returns the ends of those."""
        with self._lock:
            order, trials = self._flying.pop(event.order, (None, {}))
            if order is None:
                return []
            attempts = {task.key: task.attempt for task in order.tasks}
            self._losses.update(list(trials))
            outcomes = [self._lost(key, attempts[key], event.reason) for key in trials]
            for outcome in outcomes:
                self._record(outcome)
            self._settle()
            again = [outcome.key for outcome in outcomes if outcome.kind == "lost_worker"]
            if not self._stopping:
                packs = (Pack(shape=order.shape, trials=(trials[key],)) for key in reversed(again))
                self._waiting.setdefault(order.shape, deque()).extendleft(packs)
            return [
                Ended(order=event.order, outcome=outcome)
                for outcome in outcomes
                if outcome.kind == "bug"
            ]

    def _lost(self, key: str, attempt: int, reason: str) -> Outcome:
        if self._losses[key] < MAX_LOSSES:
            return Outcome(key=key, attempt=attempt, kind="lost_worker", error=reason)
        given_up = (
            f"given up: {MAX_LOSSES} workers in a row died under this trial; does it crash, or "
            f"need more memory than there is? The last one: {reason}"
        )
        return Outcome(key=key, attempt=attempt, kind="bug", error=given_up)


def _flops(trial: Trial) -> float:
    return float(trial.derived.get("flops", 0.0))


def _task(trial: Trial, attempt: int) -> Task:
    return Task(
        key=trial.key,
        attempt=attempt,
        config=trial.config,
        seed=trial.seed,
        flops=_flops(trial),
        steps=int(trial.derived.get("steps", 1)),
        tokens=int(trial.derived.get("tokens", 0)),
        data=trial.data,
    )
