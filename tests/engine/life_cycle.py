"""Controllers, workers and a clock that a test moves by hand, around a real store."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from sweeper.engine.messages import Ended, Event, Lost, Order, Started, Task
from sweeper.engine.run import Run
from sweeper.errors import StoreError
from sweeper.outcome import Outcome, OutcomeKind
from sweeper.store.database import shared_clock
from sweeper.store.owner import Owner
from sweeper.store.store import Store
from sweeper.study.study import Study


@dataclass
class Clock:
    """Seconds by which the database's clock is off."""

    offset: float = 0.0

    def set_on(self, store: Store) -> Store:
        """Makes a store read this clock; returns the store."""
        store.database.clock = lambda connection: (
            shared_clock(connection) + timedelta(seconds=self.offset)
        )
        return store


class Impatient(threading.Event):
    """An event that nobody waits for: whoever would, is told at once that it is no use."""

    def wait(self, timeout: float | None = None) -> bool:
        return True


@dataclass
class Worker:
    """A worker with an order: the members that it has not brought to an end."""

    order: Order
    tasks: list[Task] = field(default_factory=list)


class Controller:
    """A run whose executor is the test.

    Args:
        study: what it runs.
        store: the store.
        number: unique to this controller.
        here: True for a process whose end can be seen; False for one of another container, of
            which only the lease is known.
    """

    def __init__(self, study: Study, store: Store, *, number: int, here: bool) -> None:
        boot = Owner.here().started.partition("/")[0]  # all go by one clock
        there = f"{boot}/another namespace:1"
        elsewhere = Owner(id=f"far-{number}", host="a-container", pid=number, started=there)
        self.here = here
        self.owner = Owner.here() if here else elsewhere
        self.store = store
        self.run = Run(study, store, executor="inline", owner=self.owner, stopped=Impatient())
        self.dispatcher = self.run.dispatcher
        self.workers: list[Worker] = []
        self.zombies: list[Worker] = []
        self.said: list[Ended] = []
        self.run.recorder.__enter__()

    @property
    def idle(self) -> bool:
        """True if nothing is left to do, here or with other controllers."""
        return self.dispatcher.finished and not self.dispatcher.leased_by_others.keys

    def take(self, count: int) -> list[Order]:
        """Has orders handed out, to a worker each."""
        orders = [
            order
            for shape in self.dispatcher.shapes()
            for order in self.dispatcher.take(shape, count)
        ]
        for order in orders:
            self.workers.append(Worker(order, list(order.tasks)))
            began = Started(order=order.number, slot="slot", host="h", pid=1, place="place")
            self.tell(began)
        return orders

    def end(self, worker: Worker, kind: OutcomeKind, loss: float) -> Outcome:
        """Lets a worker bring its next member to an end; returns the outcome."""
        task = worker.tasks.pop(0)
        outcome = Outcome(
            key=task.key,
            attempt=task.attempt,
            kind=kind,
            metrics={"val_loss": loss} if kind == "completed" else {},
            step=4,
            device_seconds=loss,
            error="planted" if kind in ("bug", "out_of_memory") else None,
        )
        ended = Ended(order=worker.order.number, outcome=outcome)
        self.said.append(ended)
        self.tell(ended)
        return outcome

    def lose(self, worker: Worker, *, node: bool) -> None:
        """Gives a worker up that may be alive all the same, and speak later."""
        self.workers.remove(worker)
        self.zombies.append(worker)
        self.tell(Lost(order=worker.order.number, reason="planted", node=node))

    def tell(self, event: Event) -> None:
        """Has the controller take in an event, and everything recorded be in the store."""
        self.dispatcher.handle(event)
        self.run.recorder.flush()
        self._tidy()

    def beat(self) -> None:
        """Goes once through what the thread of the heartbeat does."""
        with suppress(StoreError):
            self.run.lease_keeper.beat()
        for number, keys in self.dispatcher.dropped.take().items():
            for worker in self.workers:
                if worker.order.number == number:
                    worker.tasks = [task for task in worker.tasks if task.key not in keys]
        self._tidy()

    def look(self) -> None:
        """Looks once at the trials that other controllers run."""
        self.run.await_others()

    def crash(self) -> None:
        """Ends as a process that is killed: nothing is given back."""
        self.run.recorder.__exit__()
        if self.here:
            self.owner.retire()

    def close(self) -> None:
        """Ends as on a signal: running trials stop, claims are given back."""
        self.dispatcher.stop()
        while self.workers:
            self.end(self.workers[0], "stopped", 0.0)
        self.run.recorder.__exit__()
        self.store.release(self.owner)
        self.owner.retire()

    def _tidy(self) -> None:
        self.workers = [worker for worker in self.workers if worker.tasks]
        self.zombies = [worker for worker in self.zombies if worker.tasks]
