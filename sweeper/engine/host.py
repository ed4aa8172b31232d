"""Runs one order in this process: trains its pack, keeps checkpoints, curves and outcomes.

The same code serves the inline executor and the Ray slots. A failure of the model is an
outcome, never an exception; a pack that fails as a whole is run again member by member, so
that one bad member cannot take the others with it.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence

from sweeper.catalogue import find_card
from sweeper.engine.attempt import AttemptLog
from sweeper.engine.environment import environment, hostname
from sweeper.engine.order import Ended, Event, Order, Progress, Task
from sweeper.errors import EnvironmentFault
from sweeper.outcome import Outcome, OutcomeKind
from workloads.workload import DataUnavailableError, Measurement, Member, Trainer

PROGRESS_SECONDS = 1.0


class Host:
    """Executes one order, a slice of time at a time.

    Args:
        order: what to run.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self._records = {task.key: AttemptLog(task, order.paths) for task in order.tasks}
        self._packs: deque[tuple[Task, ...]] = deque()
        self._packs.extend(self._by_checkpoint(order.tasks))
        self._running: tuple[Task, ...] = ()
        self._trainer: Trainer | None = None
        self._steps: Iterator[Sequence[Measurement]] | None = None
        self._checkpointed = time.monotonic()
        self._reported = 0.0
        self._clock = time.monotonic()

    @property
    def done(self) -> bool:
        """True when every member has ended."""
        return not self._packs and not self._unfinished()

    def advance(self, seconds: float) -> list[Event]:
        """Trains for about ``seconds`` and returns what happened."""
        events: list[Event] = []
        until = time.monotonic() + seconds
        while not self.done and time.monotonic() < until:
            try:
                events.extend(self._one_step())
            except Exception as fault:
                events.extend(self._fail(fault))
        events.extend(self._progress())
        return events

    def stop(self) -> list[Event]:
        """Checkpoints what is unfinished and returns ``stopped`` outcomes for it."""
        unfinished = [record for record in self._records.values() if not record.ended]
        if self._trainer is not None:
            self._account_time()
            self._checkpoint()
        self._packs.clear()
        return [self._end(record, "stopped") for record in unfinished]

    def _unfinished(self) -> list[AttemptLog]:
        return [
            self._records[task.key] for task in self._running if not self._records[task.key].ended
        ]

    def _by_checkpoint(self, tasks: Sequence[Task]) -> list[tuple[Task, ...]]:
        """Members that go on from different steps cannot share a pack."""
        groups: dict[int, list[Task]] = {}
        for task in tasks:
            record = self._records[task.key]
            record.find_checkpoint()
            groups.setdefault(record.resume_step, []).append(task)
        return [tuple(group) for _, group in sorted(groups.items(), reverse=True)]

    def _one_step(self) -> list[Event]:
        if not self._unfinished():
            self._start(self._packs.popleft())
        assert self._steps is not None
        measurements = next(self._steps, None)
        self._account_time()
        if measurements is None:
            raise RuntimeError("the trainer stopped before all members of its pack had ended")
        events = [event for item in measurements for event in self._measured(item)]
        if time.monotonic() - self._checkpointed >= self.order.checkpoint_seconds:
            self._checkpoint()
        return events

    def _start(self, tasks: tuple[Task, ...]) -> None:
        self._running = tasks
        self._trainer = None
        self._clock = time.monotonic()
        self._trainer = self._build(tasks)
        self._steps = self._trainer.run()
        self._checkpointed = time.monotonic()

    def _build(self, tasks: tuple[Task, ...]) -> Trainer:
        """Builds a trainer from the newest checkpoints; a bad one is skipped with a warning."""
        factory = find_card(self.order.workload).trainer()
        shape = self.order.shape
        records = [self._records[task.key] for task in tasks]
        while True:
            members = [
                Member(config=task.config, seed=task.seed, checkpoint=record.checkpoint)
                for task, record in zip(tasks, records, strict=True)
            ]
            try:
                trainer = factory(members, threads=shape.threads, device=shape.device)
            except ValueError as fault:
                if all(record.checkpoint is None for record in records):
                    raise
                for record in records:
                    record.skip_checkpoint(str(fault))
                if len({record.resume_step for record in records}) > 1:
                    for record in records:
                        record.forget_checkpoint()
                continue
            for record in records:
                record.restore()
            return trainer

    def _measured(self, item: Measurement) -> list[Event]:
        record = self._records[self._running[item.member].key]
        record.add(item)
        if item.status == "running":
            return []
        return [self._end(record, item.status)]

    def _end(self, record: AttemptLog, kind: OutcomeKind, error: str | None = None) -> Ended:
        shape = self.order.shape
        device = self._trainer.device_name() if self._trainer is not None else shape.device
        outcome: Outcome = record.outcome(
            kind,
            device=device,
            host=hostname(),
            environment=environment(shape.threads),
            error=error,
        )
        return Ended(order=self.order.number, outcome=outcome, warnings=tuple(record.warnings))

    def _fail(self, fault: Exception) -> list[Event]:
        """A failure of a pack: its members are tried again alone; alone, it is an outcome."""
        self._account_time()
        unfinished = self._unfinished()
        running, self._running, self._steps, self._trainer = self._running, (), None, None
        if len(running) > 1:
            for record in unfinished:
                record.find_checkpoint()
                self._packs.appendleft((record.task,))
            return []
        if isinstance(fault, EnvironmentFault | DataUnavailableError):
            return [self._end(record, "stopped", str(fault)) for record in unfinished]
        kind: OutcomeKind = "out_of_memory" if _is_out_of_memory(fault) else "bug"
        text = "".join(traceback.format_exception(fault))
        return [self._end(record, kind, text) for record in unfinished]

    def _account_time(self) -> None:
        now = time.monotonic()
        unfinished = self._unfinished()
        for record in unfinished:
            record.device_seconds += (now - self._clock) / len(unfinished)
        self._clock = now

    def _checkpoint(self) -> None:
        assert self._trainer is not None
        for index, task in enumerate(self._running):
            record = self._records[task.key]
            if not record.ended and record.step > 0:
                record.save_checkpoint(self._trainer, index)
        self._checkpointed = time.monotonic()
        self._clock = time.monotonic()

    def _progress(self) -> list[Event]:
        now = time.monotonic()
        if now - self._reported < PROGRESS_SECONDS:
            return []
        self._reported = now
        records = self._records.values()
        fraction = sum(record.fraction for record in records) / len(records)
        return [Progress(order=self.order.number, fraction=fraction)]


def _is_out_of_memory(fault: Exception) -> bool:
    """torch's own class is matched by name, since torch is not imported here."""
    return isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryError"
