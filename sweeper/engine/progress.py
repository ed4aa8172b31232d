"""What a run looks like at this moment: counts, throughput, time left, best so far."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.engine.messages import (
    Advanced,
    Died,
    Ended,
    Event,
    Leaving,
    Lost,
    Order,
    Parked,
    Reached,
    Started,
    Task,
)
from sweeper.engine.pace import Pace, Running
from sweeper.engine.policy import flops_of
from sweeper.outcome import FAILED, Outcome, first_line
from sweeper.store import Stand
from sweeper.study import PlannedTrial, Study, unique_trials
from sweeper.trial import Trial

VariantScale = tuple[str, float]
"""A variant and a value of the scale."""

SAID_PER_CAUSE = 5
"""Failures with one cause that are told one by one."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best trial so far of one variant at one scale.

    Attributes:
        objective: value of the study's metric.
        setting: the hyperparameters of that trial, by name.
        trials: finished trials there.
    """

    objective: float
    setting: Mapping[str, float]
    trials: int


@dataclass(frozen=True, kw_only=True)
class View:
    """A snapshot of a run.

    Attributes:
        total: trials of the study.
        done, diverged, dominated, running, failed: counts over the study, of this run and before.
        elapsed: seconds since the run began.
        worked: seconds since the first trial of this run started.
        rate: trials finished per second in this run.
        flops_rate: training FLOPs per second in this run.
        left: estimated seconds to the end; None before anything is known.
        best: best trial per variant and scale.
        slots: names of the slots that have worked so far.
        notes: warnings, newest last.
        adopted: trials of this run whose result lay in a curve file already.
        stopped: trials of this run that others dominated.
        tokens: tokens that were trained on in this run.
        busy: workers that train now.
    """

    total: int
    done: int
    diverged: int
    running: int
    failed: int
    elapsed: float
    worked: float
    rate: float
    flops_rate: float
    left: float | None
    best: Mapping[VariantScale, Best]
    slots: tuple[str, ...]
    notes: tuple[str, ...]
    adopted: int = 0
    dominated: int = 0
    stopped: int = 0
    tokens: float = 0.0
    busy: int = 0


@dataclass
class _RunningOrder:
    flops: float
    keys: set[str]
    tasks: dict[str, Task]
    reached: dict[str, Reached] = field(default_factory=dict)
    fraction: float = 0.0
    started: float | None = None
    """When a slot began it, by the clock; None before."""


@dataclass
class _Totals:
    done: int = 0
    diverged: int = 0
    dominated: int = 0
    flops_done: float = 0.0
    tokens: float = 0.0
    adopted: int = 0
    stopped: int = 0
    notes: list[str] = field(default_factory=list)


class Progress:
    """Counts what a run does, event by event; thread-safe.

    Args:
        hyperparameters: names of settings to show with the best trial.
        metric: the study's metric.
        goal: ``min`` or ``max``.
        pace: tells how long the rest will take.
        tell: is given every warning that comes by :meth:`note`.
        clock: tells the time, in seconds.
    """

    def __init__(
        self,
        *,
        hyperparameters: Sequence[str],
        metric: str,
        goal: str,
        pace: Pace | None = None,
        tell: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trials: dict[str, Trial] = {}
        self._places: dict[str, list[VariantScale]] = {}
        self._hyperparameters = tuple(hyperparameters)
        self._metric = metric
        self._sign = 1.0 if goal == "min" else -1.0
        self._pace = pace or Pace()
        self._totals = _Totals()
        self._flops_left = 0.0
        self._flights: dict[int, _RunningOrder] = {}
        self._best: dict[VariantScale, Best] = {}
        self._slots: dict[str, None] = {}
        self._failed: set[str] = set()
        self._causes: Counter[str] = Counter()
        self._finished: set[str] = set()
        self._tell = tell
        self._clock = clock
        self._began = clock()
        self._working: float | None = None
        self._lock = threading.Lock()

    def add(self, planned: Sequence[PlannedTrial], had: Mapping[str, Outcome]) -> None:
        """Takes in trials of the study that it does not know yet.

        Args:
            planned: the trials; one may stand in several variants.
            had: the results, by key, of those that have one already.
        """
        with self._lock:
            new = {key: t for key, t in unique_trials(planned).items() if key not in self._trials}
            self._trials |= new
            for item in planned:
                places = self._places.setdefault(item.trial.key, [])
                places.append((item.variant, item.scale))
            for key, trial in new.items():
                if key not in had:
                    self._flops_left += flops_of(trial)
                    self._pace.add(trial, self._places[key][0][1])
                else:
                    self._count(had[key])
                    self._pace.ended(trial, had[key], here=False)

    def ordered(self, order: Order) -> None:
        """Notes the members of an order that was handed out."""
        flops = sum(task.flops for task in order.tasks)
        with self._lock:
            tasks = {task.key: task for task in order.tasks}
            self._flights[order.number] = _RunningOrder(flops, set(tasks), tasks)
            self._failed -= tasks.keys()

    def handle(self, event: Event) -> None:
        """Takes in one event of the engine."""
        with self._lock:
            if isinstance(event, Died):
                self._totals.notes.append(f"{event.slot} died idle: {event.reason}")
                return
            if isinstance(event, Parked | Leaving):
                return
            flight = self._flights.get(event.order)
            if isinstance(event, Started):
                self._slots[event.slot] = None
                self._working = self._working or self._clock()
                if flight is not None:
                    flight.started = self._clock()
            elif isinstance(event, Advanced) and flight is not None:
                flight.fraction = event.fraction
                for reached in event.reached:
                    self._reach(flight, reached)
            elif isinstance(event, Lost):
                self._flights.pop(event.order, None)
                self._totals.notes.append(event.reason)
            elif isinstance(event, Ended):
                self._ended(event, flight)

    def _ended(self, event: Ended, flight: _RunningOrder | None) -> None:
        outcome = event.outcome
        self._totals.notes.extend(event.warnings)
        if flight is not None:
            if not event.adopted and outcome.key in flight.tasks:
                self._reach(flight, Reached(key=outcome.key, step=outcome.step))
            flight.keys.discard(outcome.key)
            flight.reached.pop(outcome.key, None)
            if not flight.keys:
                del self._flights[event.order]
        if outcome.key in self._finished:
            return  # reported twice: by a worker that was thought lost, and by its replacement
        if outcome.accepted or outcome.kind in FAILED:
            self._totals.flops_done += 0.0 if event.adopted else outcome.flops
            self._totals.adopted += event.adopted
            self._totals.stopped += outcome.kind == "dominated"
            if outcome.key not in self._failed:
                self._expect_no_more(outcome.key)
            self._pace.ended(self._trials[outcome.key], outcome, here=not event.adopted)
        if outcome.accepted:
            self._finished.add(outcome.key)
            self._failed.discard(outcome.key)
            self._count(outcome)
        elif outcome.kind in FAILED and outcome.key not in self._failed:
            self._failed.add(outcome.key)
            self._say_failed(outcome)

    def _expect_no_more(self, key: str) -> None:
        self._flops_left -= flops_of(self._trials[key])
        self._pace.take(self._trials[key])

    def _running(self, now: float) -> Iterator[Running]:
        """Yields the trials that train now and have said how far they are."""
        for flight in self._flights.values():
            since = now if flight.started is None else flight.started
            for key, reached in flight.reached.items():
                if key not in self._trials:
                    continue
                yield Running(
                    trial=self._trials[key],
                    began=reached.began,
                    step=reached.step,
                    seconds=(now - since) / len(flight.tasks),
                )

    def _reach(self, flight: _RunningOrder, now: Reached) -> None:
        """Notes how far a trial is, and the tokens that it was trained on meanwhile."""
        task, before = flight.tasks[now.key], flight.reached.get(now.key)
        steps = now.step - (now.began if before is None else before.step)
        self._totals.tokens += task.tokens * max(0, steps) / max(1, task.steps)
        flight.reached[now.key] = now

    def members(self, order: int) -> list[str]:
        """Returns the keys of an order that is in hand."""
        with self._lock:
            flight = self._flights.get(order)
            return [] if flight is None else [key for key in flight.tasks if key in flight.keys]

    def places(self, key: str) -> list[VariantScale]:
        """Returns where a trial stands in the study."""
        with self._lock:
            return list(self._places.get(key, ()))

    def stands(self) -> dict[str, Stand]:
        """Returns how far the trials are that run, by key."""
        with self._lock:
            return {
                key: Stand(step=reached.step, loss=reached.loss)
                for flight in self._flights.values()
                for key, reached in flight.reached.items()
            }

    def _say_failed(self, outcome: Outcome) -> None:
        """Notes a failure, and of many with one cause the first few."""
        said = first_line(outcome.error) or outcome.kind
        self._causes[said] += 1
        if self._causes[said] < SAID_PER_CAUSE:
            self._totals.notes.append(f"trial {outcome.key[:12]} failed: {said}")
        elif self._causes[said] == SAID_PER_CAUSE:
            self._totals.notes.append(
                f"trial {outcome.key[:12]} failed: {said} (others that fail likewise are counted)"
            )

    def found(self, results: Mapping[str, Outcome]) -> None:
        """Notes results, by key, that other controllers have brought in."""
        with self._lock:
            for key, outcome in results.items():
                self._count(outcome)
                self._expect_no_more(key)
                self._pace.ended(self._trials[key], outcome, here=False)

    def note(self, text: str) -> None:
        """Adds a warning."""
        with self._lock:
            self._totals.notes.append(text)
        self._tell(text)

    @property
    def finished(self) -> frozenset[str]:
        """Keys of the trials that got a result in this run."""
        with self._lock:
            return frozenset(self._finished)

    @property
    def failed(self) -> frozenset[str]:
        """Keys of the trials that failed in this run."""
        with self._lock:
            return frozenset(self._failed)

    def _count(self, outcome: Outcome) -> None:
        """Counts a result, and takes it into the table of the best."""
        self._totals.done += outcome.kind == "completed"
        self._totals.diverged += outcome.kind == "diverged"
        self._totals.dominated += outcome.kind == "dominated"
        worst = math.inf * self._sign
        ended = outcome.kind == "completed"
        value = outcome.metrics.get(self._metric, worst) if ended else worst
        config = self._trials[outcome.key].config
        given = {name: config.get(name) for name in self._hyperparameters}
        setting = {k: float(v) for k, v in given.items() if isinstance(v, int | float)}
        for place in self._places[outcome.key]:
            known = self._best.get(place)
            trials = (known.trials if known else 0) + 1
            if known is None or self._sign * value < self._sign * known.objective:
                self._best[place] = Best(objective=value, setting=setting, trials=trials)
            else:
                self._best[place] = replace(known, trials=trials)

    def view(self) -> View:
        """Returns a snapshot."""
        with self._lock:
            totals = self._totals
            flying = sum(flight.fraction * flight.flops for flight in self._flights.values())
            now = self._clock()
            worked = 0.0 if self._working is None else now - self._working
            flops_rate = (totals.flops_done + flying) / worked if worked > 0 else 0.0
            busy = sum(flight.started is not None for flight in self._flights.values())
            left = self._pace.seconds_left(self._running(now), worked=worked, busy=busy)
            if left is None and flops_rate > 0:
                left = max(0.0, self._flops_left - flying) / flops_rate
            return View(
                total=len(self._trials),
                done=totals.done,
                diverged=totals.diverged,
                dominated=totals.dominated,
                running=sum(
                    len(flight.keys)
                    for flight in self._flights.values()
                    if flight.started is not None
                ),
                failed=len(self._failed),
                elapsed=now - self._began,
                worked=worked,
                rate=(len(self._finished) + len(self._failed)) / worked if worked > 0 else 0.0,
                flops_rate=flops_rate,
                left=left,
                best=dict(sorted(self._best.items())),
                slots=tuple(self._slots),
                notes=tuple(totals.notes),
                adopted=totals.adopted,
                stopped=totals.stopped,
                tokens=totals.tokens,
                busy=busy,
            )


def amiss_with(had: Collection[Outcome], study: Study, *, stops: bool) -> Iterator[str]:
    """Yields, in sentences, what results that were there before lack for a study.

    Args:
        had: the results.
        study: the study.
        stops: whether it stops dominated trials itself.
    """
    stopped = sum(outcome.kind == "dominated" for outcome in had)
    if stopped and not stops:
        yield (
            f"{stopped} trials of this study were stopped before their end, dominated by others; "
            f"sweeper retry {study.name} --dominated has them run to it"
        )
    wanted = set(() if study.recording is None else study.recording.quantities)
    lacking = [each for each in had if wanted - set(each.environment.get("record", ()))]
    if lacking:
        yield (
            f"{len(lacking)} trials of this study had a result before, made without recording "
            f"{', '.join(sorted(wanted))}; they are shared as they are"
        )
