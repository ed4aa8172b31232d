"""Who runs what next: packs waiting per shape, orders in flight, losses, budgets. No Ray here."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeper.engine.order import Ended, Event, Lost, Order, Progress, Shape, Started, Task
from sweeper.errors import EnvironmentFault
from sweeper.outcome import Outcome
from sweeper.store.paths import Paths
from sweeper.trial import Trial

MAX_LOSSES = 3
"""Workers that may die under one trial before it is given up as the likely cause."""


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
    """What a run may spend; None is no limit.

    Attributes:
        flops: training FLOPs of trials started in this run.
        trials: number of trials started in this run.
        seconds: wall seconds after which no further trial is started.
    """

    flops: float | None = None
    trials: int | None = None
    seconds: float | None = None


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
        ceiling: what this run may spend.
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
        self._spent_flops = 0.0
        self._spent_trials = 0
        self._flying: dict[int, tuple[Order, dict[str, Trial]]] = {}
        self._losses: Counter[str] = Counter()
        self._number = 0
        self._lock = threading.RLock()
        self._stopping = False
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

        Members that another controller runs or has finished are left out; a pack of nothing
        but such members gives no order.
        """
        with self._lock:
            packs: list[Pack] = []
            waiting = self._waiting.get(shape, deque())
            while waiting and len(packs) < count:
                if self._over_budget(waiting[0]):
                    self.stop()
                    break
                packs.append(waiting.popleft())
            keys = [trial.key for pack in packs for trial in pack.trials]
            attempts = self._claim(keys) if keys else {}
            orders = []
            for pack in packs:
                trials = {t.key: t for t in pack.trials if t.key in attempts}
                if trials:
                    orders.append(self._order(shape, trials, attempts))
            return orders

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

    def _over_budget(self, pack: Pack) -> bool:
        """Books a pack on the budget; True if a ceiling leaves no room for it."""
        ceiling = self._ceiling
        trials = self._spent_trials + len(pack.trials)
        flops = self._spent_flops + sum(_flops(trial) for trial in pack.trials)
        if ceiling.trials is not None and trials > ceiling.trials:
            self.ceiling_reached = f"{ceiling.trials} trials"
        elif ceiling.flops is not None and flops > ceiling.flops:
            self.ceiling_reached = f"{ceiling.flops:.3g} FLOPs"
        elif ceiling.seconds is not None and self._elapsed() >= ceiling.seconds:
            self.ceiling_reached = f"{ceiling.seconds / 3600:g} hours"
        else:
            self._spent_trials, self._spent_flops = trials, flops
        return self.ceiling_reached is not None

    def _elapsed(self) -> float:
        return time.monotonic() - self._started_at

    def handle(self, event: Event) -> None:
        """Takes in what a worker said; a late word about an order that was given up is still
        recorded (the store keeps it as an extra attempt)."""
        if isinstance(event, Ended):
            if event.outcome.kind == "stopped" and event.outcome.error is not None:
                self._break(event.outcome.error)
            self._record(event.outcome)
            self._land(event.order, event.outcome.key)
        elif isinstance(event, Lost):
            self._lose(event)
        else:
            assert isinstance(event, Started | Progress)
        self._observe(event)

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

    def _lose(self, event: Lost) -> None:
        """Closes the attempts of a lost order and puts its trials back, each alone, unless they
        lost their workers too often."""
        with self._lock:
            order, trials = self._flying.pop(event.order, (None, {}))
            if order is None:
                return
            attempts = {task.key: task.attempt for task in order.tasks}
            for key in trials:
                self._record(
                    Outcome(key=key, attempt=attempts[key], kind="lost_worker", error=event.reason)
                )
                self._losses[key] += 1
            self._settle()
            for key, trial in trials.items():
                if self._losses[key] < MAX_LOSSES and not self._stopping:
                    pack = Pack(shape=order.shape, trials=(trial,))
                    self._waiting.setdefault(order.shape, deque()).appendleft(pack)


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
    )
