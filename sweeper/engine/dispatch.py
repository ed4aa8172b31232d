"""Who runs what next: packs waiting, orders in flight, dead workers, budgets. No Ray here."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence

from sweeper.engine.messages import (
    Died,
    Ended,
    Event,
    Leaving,
    Lost,
    Marked,
    Order,
    Parked,
    Shape,
    Started,
)
from sweeper.engine.packing import Flight, Pack, task_of
from sweeper.engine.policy import Breaker, Health, Limits, Retries, Spending
from sweeper.engine.withheld import KeysOfOrders, LeasedByOthers, Withheld
from sweeper.errors import EnvironmentFault
from sweeper.outcome import FAILED, Outcome, cause
from sweeper.store import Paths, Wish
from sweeper.study import Budget
from sweeper.trial import Trial
from workloads.workload import Record

Claimer = Callable[[Sequence[str]], dict[str, int]]
"""Claims keys in the store: returns the attempt number of each key that is ours to run."""


class Dispatcher:
    """Hands out orders and takes in events; thread-safe.

    Args:
        packs: what to run first, in order.
        claim: claims keys in the store at the moment they are handed out.
        workload: name of the workload.
        paths: owner of all paths, for the workers.
        record: takes an outcome to the store (and must not block for long).
        flush: returns once everything recorded so far is in the store.
        forgive: makes failures that were a place's fault count no more, in the store.
        allow_retry: is given the keys that may be claimed once more although they failed.
        observe: is given every event after it was dealt with.
        ordered: is given every order that is handed out.
        note: is given what a person should know, a sentence a call.
        is_dominated: is given key, step and metric at every evaluation of a running trial, and
            returns whether it is to be stopped; None asks for no evaluations.
        wish_of: returns what somebody wants of a trial, by its key: that it is stopped or paused;
            None of one that may run.
        propose: returns what else is to be run now that outcomes have come in; it is asked after
            every batch of events that brought some.
        checkpoint_seconds: seconds between checkpoints.
        metric: the study's metric, without which no trial is completed; empty asks for none.
        diagnostics: what trainers record on the way; None is nothing.
        budget: what the study may spend; None is no limit.
        retries: what is run again, and how often.
        idle_deaths: worker processes that may die in a row without having begun anything.

    Attributes:
        leased_by_others: trials that other controllers had claimed when their turn came, or took
            over.
        health: scores of the places where trials run.
        parked: slots that idle at quarantined places.
        refused: keys that another run had claimed or finished when their turn came.
        withheld: packs that are held back because somebody wants it.
        dropped, dominated, halted: trials that workers are to be told of: given up, dominated, and
            to be stopped with a checkpoint.
        fault: what a worker had to stop for, which ended the run; None if nothing.
    """

    def __init__(
        self,
        packs: Sequence[Pack] = (),
        *,
        claim: Claimer,
        workload: str,
        paths: Paths,
        record: Callable[[Outcome], None],
        flush: Callable[[], None] = lambda: None,
        forgive: Callable[[Sequence[str]], None] = lambda keys: None,
        allow_retry: Callable[[Sequence[str]], None] = lambda keys: None,
        observe: Callable[[Event], None] = lambda event: None,
        ordered: Callable[[Order], None] = lambda order: None,
        note: Callable[[str], None] = lambda text: None,
        is_dominated: Callable[[str, int, float], bool] | None = None,
        wish_of: Callable[[str], Wish | None] = lambda key: None,
        propose: Callable[[], Sequence[Pack]] = lambda: (),
        checkpoint_seconds: float = 300.0,
        metric: str = "",
        diagnostics: Record | None = None,
        budget: Budget | None = None,
        retries: Retries | None = None,
        idle_deaths: int = Limits.idle_deaths,
    ) -> None:
        self._waiting: dict[Shape, deque[Pack]] = {}
        self._claim = claim
        self._workload = workload
        self._paths = paths
        self._record = record
        self._flush = flush
        self._forgive = forgive
        self._allow_retry = allow_retry
        self._observe = observe
        self._ordered = ordered
        self._note = note
        self._is_dominated = is_dominated
        self._propose = propose
        self._news = False  # whether outcomes have come in since `propose` was called
        self._checkpoint_seconds = checkpoint_seconds
        self._metric, self._diagnostics = metric, diagnostics
        self._spending = Spending(budget or Budget())
        self._retries = retries or Retries()
        self._breaker = Breaker()
        self._deaths, self._idle_deaths = 0, idle_deaths
        self._flying: dict[int, Flight] = {}
        self._failures: dict[str, Pack] = {}
        self.dropped, self.dominated, self.halted = KeysOfOrders(), KeysOfOrders(), KeysOfOrders()
        self._halting: set[str] = set()  # whose stop is no accident
        self._number = 0
        self._lock = threading.RLock()
        self._stopping = False
        self.leased_by_others = LeasedByOthers()
        self.withheld = Withheld(wish_of)
        self._wish_of = wish_of
        self.health = Health(note)
        self.parked: set[str] = set()
        self._excused: set[str] = set()
        self._leaving: set[str] = set()
        self.refused: set[str] = set()
        self.fault: EnvironmentFault | None = None
        self.add(packs)

    @property
    def finished(self) -> bool:
        """True when nothing waits, nothing flies, and nothing more is proposed."""
        with self._lock:
            return not (self._flying or self._news or any(self._waiting.values()))

    @property
    def stopping(self) -> bool:
        """True once :meth:`stop` was called."""
        return self._stopping

    @property
    def ceiling_reached(self) -> str | None:
        """The budget that left no room for a trial, in words; None if none did."""
        return self._spending.reached

    def stop(self) -> None:
        """Hands out nothing more; orders in flight may still end."""
        with self._lock:
            self._stopping = True
            self._news = False
            self._waiting.clear()
            self.withheld.clear()

    def spend(self, trials: Iterable[Trial]) -> None:
        """Counts trials that earlier runs have started against the budget."""
        with self._lock:
            for trial in trials:
                self._spending.book(trial)

    def add(self, packs: Iterable[Pack]) -> None:
        """Has packs wait, each at the end of the line of its shape."""
        with self._lock:
            for pack in self.withheld.sort(packs):
                if not self._stopping:
                    self._waiting.setdefault(pack.shape, deque()).append(pack)

    def grow(self) -> None:
        """Adds what is proposed now, unless the run is ending."""
        if not self._stopping and self._spending.reached is None:
            self.add(self._propose())
        self._news = False

    def heed(self) -> None:
        """Heeds what people want now: what waits is held back, what runs is halted, and what is
        held back no longer waits again, unless the run is about to end (:meth:`lift`)."""
        with self._lock:
            for shape, packs in self._waiting.items():
                self._waiting[shape] = deque(self.withheld.sort(packs))
            for number, flight in self._flying.items():
                if keys := {key for key in flight.trials if self._wish_of(key) is not None}:
                    self.halted.add(number, keys)
                    self._halting |= keys
            if not self.finished:
                self.lift()

    def lift(self) -> bool:
        """Has trials wait again that nobody wants held back any more; returns whether there are
        any. Slots may have gone home once a run is finished: then it has to start them anew."""
        with self._lock:
            lifted = [] if self._stopping else self.withheld.lift()
            self.add(lifted)
            return bool(lifted)

    def shapes(self) -> list[Shape]:
        """Returns the shapes that have packs waiting, in the order of the plan."""
        with self._lock:
            return [shape for shape, packs in self._waiting.items() if packs]

    def demand(self) -> dict[Shape, int]:
        """Returns how many slots of each shape have work: packs that wait and orders in flight."""
        with self._lock:
            slots = Counter({shape: len(self._waiting[shape]) for shape in self.shapes()})
            slots.update(flight.order.shape for flight in self._flying.values())
            return slots

    def take(self, shape: Shape, count: int = 1) -> list[Order]:
        """Claims up to ``count`` next packs of a shape, in one transaction, as orders.

        Members that another run has claimed or finished are left out; a pack of nothing but
        such members gives no order.
        """
        with self._lock:
            packs = self._affordable(shape, count)
            trials = {trial.key: trial for pack in packs for trial in pack.trials}
            attempts = self._claim(list(trials)) if trials else {}
            for key in trials.keys() - attempts.keys():
                self._leave(trials[key], shape)
            return [self._order(pack, attempts) for pack in packs if pack.members(attempts)]

    def _affordable(self, shape: Shape, count: int) -> list[Pack]:
        """Takes packs off the queue and books them, cut to what the budget leaves; those with
        nothing left are dropped, so that a spent budget ends the run at once."""
        packs: list[Pack] = []
        waiting = self._waiting.get(shape, deque())
        while waiting and len(packs) < count:
            pack = waiting.popleft()
            members = []
            for trial in pack.trials:
                if self._spending.has_room(trial):
                    self._spending.book(trial)
                    members.append(trial)
            if members:
                packs.append(Pack(shape=shape, trials=tuple(members), avoid=pack.avoid))
        return packs

    def _order(self, pack: Pack, attempts: dict[str, int]) -> Order:
        self._number += 1
        members = pack.members(attempts)
        order = Order(
            number=self._number,
            workload=self._workload,
            shape=pack.shape,
            tasks=tuple(task_of(trial, attempts[trial.key]) for trial in members),
            paths=self._paths,
            checkpoint_seconds=self._checkpoint_seconds,
            avoid=pack.avoid,
            metric=self._metric,
            tell_marks=self._is_dominated is not None,
            record=self._diagnostics,
        )
        self._flying[order.number] = Flight(order, {trial.key: trial for trial in members})
        self._ordered(order)
        return order

    def withdraw(self, number: int) -> None:
        """Takes back an order that no worker has begun; its attempts end as stopped."""
        with self._lock:
            flight = self._flying.pop(number, None)
        if flight is None:
            return
        for task in flight.order.tasks:
            if task.key in flight.trials:
                self._record(Outcome(key=task.key, attempt=task.attempt, kind="stopped"))

    def held(self) -> set[str]:
        """Returns the keys whose claims are ours: handed out and not ended."""
        with self._lock:
            return {key for flight in self._flying.values() for key in flight.trials}

    def come_back(self, keys: Collection[str]) -> None:
        """Takes over trials that other controllers have let go of: they wait again."""
        self.add(self.leased_by_others.take(keys))

    def drop(self, keys: Collection[str]) -> None:
        """Gives up trials in flight that another controller has taken over."""
        with self._lock:
            for number, flight in list(self._flying.items()):
                gone = flight.trials.keys() & set(keys)
                for key in gone:
                    self._leave(flight.trials.pop(key), flight.order.shape)
                if gone:
                    self.dropped.add(number, gone)
                self._land(number, flight)

    def _leave(self, trial: Trial, shape: Shape) -> None:
        """Leaves a trial to the controller that has claimed it; the budget of the study pays for
        it all the same."""
        self.refused.add(trial.key)
        self.leased_by_others.put(Pack(shape=shape, trials=(trial,)))

    def handle(self, *events: Event) -> None:
        """Takes in what workers reported; an outcome of an order that was given up is still
        recorded (the store keeps it as an extra attempt)."""
        for event in events:
            self._handle(event)
        if self._news:
            self.grow()

    def _handle(self, event: Event) -> None:
        given_up: list[Event] = []
        self._count_deaths(event)
        if isinstance(event, Started):
            self._began(event)
        elif isinstance(event, Parked):
            self.parked.add(event.slot)
        elif isinstance(event, Leaving):
            self._leave_node(event)
        elif isinstance(event, Marked):
            self._mark(event)
        elif isinstance(event, Ended):
            self._end(event)
        elif isinstance(event, Lost):
            given_up = self._lose(event)
        for each in (event, *given_up):
            self._observe(each)

    def _began(self, event: Started) -> None:
        with self._lock:
            self.parked.discard(event.slot)
            flight = self._flying.get(event.order)
            self.health.began(event.place, () if flight is None else flight.trials)
            if flight is not None:
                flight.place, flight.slot = event.place, event.slot

    def excuse(self, slots: Collection[str]) -> None:
        """Notes that slots are asked to stop what they have in hand: no trial pays for it."""
        with self._lock:
            self._excused.update(slots)

    def _leave_node(self, event: Leaving) -> None:
        self.excuse([event.slot])
        with self._lock:
            new = event.place not in self._leaving
            self._leaving.add(event.place)
        if new:
            self._note(
                f"{event.place} will be taken away: {event.reason}; what ran there goes on "
                "elsewhere from its checkpoints"
            )

    def _mark(self, event: Marked) -> None:
        with self._lock:
            flight = self._flying.get(event.order)
            if flight is None or event.key not in flight.trials or self._is_dominated is None:
                return
            if self._is_dominated(event.key, event.step, event.value):
                self.dominated.add(event.order, {event.key})

    def _count_deaths(self, event: Event) -> None:
        """When worker processes die again and again and none gets as far as beginning an order,
        no trial is to blame, and starting more of them would never end."""
        if isinstance(event, Died) and event.node:
            return
        self._deaths = self._deaths + 1 if isinstance(event, Died) else 0
        if isinstance(event, Died) and self._deaths >= self._idle_deaths:
            self._break(f"{self._deaths} worker processes in a row died idle: {event.reason}")

    def _break(self, reason: str) -> None:
        """Going on would fail every other trial too."""
        self.give_up(EnvironmentFault(reason))

    def give_up(self, fault: EnvironmentFault) -> None:
        """Ends the run for a reason that lies outside of it."""
        with self._lock:
            self.fault = self.fault or fault
        self.stop()

    def _end(self, event: Ended) -> None:
        outcome = event.outcome
        if outcome.kind == "stopped" and outcome.error is not None:
            self._break(f"a worker had to stop: {outcome.error}")
        self._record(outcome)
        # Asked without the lock, which the lease keeper takes: a bucket may be away for minutes.
        kept = self._paths.kept_step(outcome.key) if outcome.kind == "stopped" else 0
        with self._lock:
            flight = self._flying.get(event.order)
            trial = None if flight is None else flight.trials.pop(outcome.key, None)
            if flight is None or trial is None:
                return
            self._judge(outcome, trial, flight, kept)
            self._land(event.order, flight)

    def _land(self, number: int, flight: Flight) -> None:
        """Closes an order once all its members have ended; those that were stopped with their
        slot wait again, as one pack."""
        if flight.trials:
            return
        del self._flying[number]
        if flight.again:
            self._again([Pack(shape=flight.order.shape, trials=tuple(flight.again))])

    def _judge(self, outcome: Outcome, trial: Trial, flight: Flight, kept: int) -> None:
        """Decides whether a trial that has ended runs again."""
        place, shape = flight.place, flight.order.shape
        if outcome.accepted:
            self._news = True
            self._breaker.succeeded()
            self._run_forgiven(self.health.succeeded(place, trial.key))
        elif outcome.kind == "stopped":
            excused = flight.slot in self._excused or trial.key in self._halting
            self._halting.discard(trial.key)
            if excused or self._retries.after_stop(trial.key, kept=kept):
                flight.again.append(trial)
        elif outcome.kind in FAILED:
            asked = self.health.failed(place, trial.key)
            if outcome.kind == "out_of_memory":
                again = self._retries.after_shortage(trial.key, shape)
            else:
                again = shape if asked else None
            if again is None:
                self._failed(outcome, Pack(shape=shape, trials=(trial,)), place)
            else:
                self._note(f"trial {trial.key[:12]} {_ONCE_MORE[outcome.kind]}")
                self._allow_retry([trial.key])
                self._again([Pack(shape=again, trials=(trial,), avoid=frozenset({place}))])

    def _failed(self, outcome: Outcome, pack: Pack, place: str) -> None:
        self._news = True
        self._failures[outcome.key] = pack
        if place in self.health.quarantined:
            return  # that a faulty place fails a trial says nothing about the whole run
        reason = self._breaker.failed(cause(outcome.kind, outcome.error))
        if reason is not None and not self._stopping:
            self._break(f"the run only fails, and was ended: {reason}")

    def _run_forgiven(self, keys: Collection[str]) -> None:
        """Runs trials again that failed at a place which fails everything."""
        packs = [self._failures.pop(key) for key in sorted(keys) if key in self._failures]
        if packs:
            self._flush()
            self._forgive([pack.trials[0].key for pack in packs])
            self._again(packs)

    def _again(self, packs: Sequence[Pack]) -> None:
        """Puts trials back, first in their line, once their last attempts are in the store."""
        self._flush()
        if not self._stopping:
            for pack in reversed(self.withheld.sort(packs, first=True)):
                self._waiting.setdefault(pack.shape, deque()).appendleft(pack)

    def _lose(self, event: Lost) -> list[Event]:
        """Closes the attempts of a lost order and puts its trials back, each alone, unless they
        lost their workers too often; returns the ends of those."""
        with self._lock:
            flight = self._flying.get(event.order)
            keys = [] if flight is None else [*flight.trials]
        kept = {key: self._paths.kept_step(key) for key in keys}  # without the lock, as above
        with self._lock:
            flight = self._flying.pop(event.order, None)
            if flight is None:
                return []
            order, trials = flight.order, flight.trials
            if event.node:
                self.health.gone(flight.place)
            else:
                for key in trials:
                    self.health.failed(flight.place, key)
            attempts = {task.key: task.attempt for task in order.tasks}
            outcomes = [
                self._retries.after_loss(key, attempts[key], event, kept=kept[key])
                for key in trials
            ]
            avoid = frozenset() if event.node else frozenset({flight.place})
            again = []
            for outcome in outcomes:
                self._record(outcome)
                pack = Pack(shape=order.shape, trials=(trials[outcome.key],), avoid=avoid)
                if outcome.kind in FAILED:
                    self._failed(outcome, pack, flight.place)
                else:
                    again.append(pack)
            if flight.again:
                again.append(Pack(shape=order.shape, trials=tuple(flight.again)))
            self._again(again)
            return [
                Ended(order=event.order, outcome=outcome)
                for outcome in outcomes
                if outcome.kind in FAILED
            ]


_ONCE_MORE = {
    "out_of_memory": "ran out of memory; it runs once more, on a device of its own",
    "bug": "failed where others had failed before; it is tried once at another place",
}
