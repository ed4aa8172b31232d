"""Runs one order in this process: trains its pack, keeps checkpoints, curves and outcomes.

The same code serves the inline executor and the Ray slots. A failure of the model is an
outcome, never an exception; a pack that fails as a whole is run again member by member, so
that one bad member cannot take the others with it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NoReturn

from sweeper.engine.messages import (
    Advanced,
    Ended,
    Event,
    Lost,
    Marked,
    Order,
    Reached,
    Saved,
    Task,
)
from sweeper.engine.worker.attempt import (
    AttemptLog,
    disk_failure,
    has_number,
    is_out_of_memory,
    text_of,
    told,
)
from sweeper.engine.worker.environment import environment, hostname
from sweeper.engine.worker.program import Printed
from sweeper.errors import DataError, SweeperError
from sweeper.outcome import Outcome, OutcomeKind
from sweeper.secrets import redacted
from sweeper.study import find_card
from workloads.programs import Programmed, RunsProgram
from workloads.workload import (
    Card,
    Closes,
    DataUnavailableError,
    LetsGo,
    Measurement,
    Member,
    ProcessLostError,
    ReadsTables,
    Trainer,
    factory_of,
)

SLICE_SECONDS = 0.5
"""How long a host trains before it listens again."""


_leave = os._exit
_inside: dict[int, int] = {}
_inside_lock = threading.Lock()


def _exit_or_raise(status: int) -> NoReturn:
    if _inside.get(threading.get_ident()) == os.getpid():
        raise SystemExit(f"os._exit({status}) was called")
    _leave(status)


@contextlib.contextmanager
def exits_raised() -> Iterator[None]:
    """Context in which ``os._exit``, called in this thread, raises SystemExit: a trial that calls
    it fails, and does not end the run with the code of its choice. Forked children, and other
    threads, end as ever."""
    thread = threading.get_ident()
    with _inside_lock:
        _inside[thread] = os.getpid()
        os._exit = _exit_or_raise
    try:
        yield
    finally:
        with _inside_lock:
            del _inside[thread]
            if not _inside:
                os._exit = _leave


def _is_asked_for(fault: BaseException) -> bool:
    """Whether an exception is a person's Ctrl-C that nothing else handles, so not a trial's."""
    handler = signal.getsignal(signal.SIGINT)
    return issubclass(type(fault), KeyboardInterrupt) and handler is signal.default_int_handler


_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What a trainer raises over a checkpoint that holds anything but what it wrote."""


class Host:
    """Executes one order, a slice of time at a time.

    Args:
        order: what to run.
        progress_seconds: how often it says how far it is.
    """

    def __init__(self, order: Order, *, progress_seconds: float = 1.0) -> None:
        self.order = order
        self._progress_seconds = progress_seconds
        self._records = {task.key: AttemptLog(task, order.paths) for task in order.tasks}
        self._packs: deque[tuple[Task, ...]] = deque([order.tasks])
        self._running: tuple[Task, ...] = ()
        self._trainer: Trainer | None = None
        self._steps: Iterator[Sequence[Measurement]] | None = None
        self._device = order.shape.device
        self._events: list[Event] = []
        self._data_checked = False
        self._checkpointed = time.monotonic()
        self._reported = 0.0
        self._printed: Printed | None = None
        self._clock = time.monotonic()

    @functools.cached_property
    def _card(self) -> Card:
        card = find_card(self.order.workload, trust=True)
        if isinstance(card, ReadsTables):
            return card.with_tables(self.order.paths.find_table)
        return card

    @property
    def done(self) -> bool:
        """True when every member has ended."""
        return all(record.ended for record in self._records.values())

    @property
    def running(self) -> dict[str, int]:
        """Steps done by each member of the pack that trains now, by key."""
        return {task.key: self._records[task.key].step for task in self._running}

    def advance(self, seconds: float = SLICE_SECONDS) -> list[Event]:
        """Trains for about ``seconds``, one step at least, and returns what happened; an
        evaluation that is told of ends it, so that the trial can be judged by it."""
        until = time.monotonic() + seconds
        while not self.done:
            try:
                with exits_raised():
                    self._one_step()
            except BaseException as fault:
                if _is_asked_for(fault):
                    raise
                self._fail(fault)
            if time.monotonic() >= until or any(isinstance(e, Marked) for e in self._events):
                break
        if self.done:
            self._dismiss()
        self._progress()
        return self._taken_events()

    def stop(self) -> list[Event]:
        """Checkpoints what is unfinished and returns ``stopped`` outcomes for it."""
        self._wind_up()
        self.save()
        for record in self._records.values():
            if not record.ended:
                self._end(record, "stopped")
        self._dismiss()
        return self._taken_events()

    def save(self) -> None:
        """Checkpoints what is unfinished."""
        if self._trainer is not None:
            self._account_time()
            try:
                with exits_raised():
                    self._checkpoint()
            except BaseException as fault:
                self._fail(fault)

    def _wind_up(self) -> None:
        """Has a program end, which may have a last word, or write its last checkpoint."""
        trainer: object = self._trainer
        if isinstance(trainer, RunsProgram):
            try:
                for item in trainer.wind_up():
                    self._measured(item)
            except Exception as fault:
                self._fail(fault)

    def drop(self, keys: Collection[str]) -> None:
        """Lets go of members whose lease was taken over: nothing more is written for them, and
        they end without an event. The others go on; keys of other orders change nothing.

        Args:
            keys: keys of the trials to let go.
        """
        for key in keys:
            if key in self._records:
                self._records[key].ended = True
        self._let_go(keys)

    def end_dominated(self, keys: Collection[str]) -> None:
        """Ends members that others dominate, with what was measured of them so far.

        Args:
            keys: keys of the trials; those that do not train now change nothing.
        """
        for record in self._unfinished():
            if record.task.key in keys:
                self._end(record, "dominated")
        self._let_go(keys)

    def halt(self, keys: Collection[str]) -> None:
        """Checkpoints members and ends them as stopped; the others go on. Keys of other orders
        change nothing.

        Args:
            keys: keys of the trials that somebody wants stopped or paused.
        """
        if not any(not record.ended for key, record in self._records.items() if key in keys):
            return
        self._wind_up()
        self.save()
        for key, record in self._records.items():
            if key in keys and not record.ended:
                self._end(record, "stopped")
        self._let_go(keys)

    def _let_go(self, keys: Collection[str]) -> None:
        """Has the trainer do without members that have ended, if it can: else they stay in it
        until their pack ends."""
        trainer: object = self._trainer
        if self.done:
            self._dismiss()
        elif isinstance(trainer, LetsGo):
            for index in [i for i, task in enumerate(self._running) if task.key in keys]:
                trainer.let_go(index)

    def _dismiss(self) -> None:
        """Lets the trainer go, with the processes that it may have started."""
        trainer: object = self._trainer
        self._steps = self._trainer = None
        if isinstance(trainer, Closes):
            with contextlib.suppress(Exception):  # its trials have ended, however it closes
                trainer.close()
        if self._printed is not None:
            self._printed.keep()
            self._printed = None

    def _taken_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _unfinished(self) -> list[AttemptLog]:
        records = [self._records[task.key] for task in self._running]
        return [record for record in records if not record.ended]

    def _one_step(self) -> None:
        if not self._unfinished():
            self._start(self._packs.popleft())
        if not self._unfinished():
            return  # all of that pack have a result, or were dropped
        assert self._steps is not None
        measurements = next(self._steps, None)
        self._account_time()
        if measurements is None:
            raise RuntimeError("the trainer stopped before all members of its pack had ended")
        for item in measurements:
            self._measured(item)
        marked = self._printed is None and any(item.mark for item in measurements)
        if marked or time.monotonic() - self._checkpointed >= self.order.checkpoint_seconds:
            self._checkpoint()
        if self._printed is not None:
            self._printed.keep_in_time()

    def _start(self, tasks: tuple[Task, ...]) -> None:
        self._dismiss()
        # Whatever fails from here on is theirs.
        self._running = tuple(t for t in tasks if not self._records[t.key].ended)
        for record in self._unfinished():
            self._adopt(record)
        unfinished = [record.task for record in self._unfinished()]
        if not unfinished:
            return
        self._check_data(unfinished[0])
        self._running, *later = self._by_checkpoint(unfinished)
        self._packs.extendleft(reversed(later))
        self._clock = time.monotonic()
        self._trainer = self._build(self._running)
        self._device = self._trainer.device_name()
        if isinstance(self._trainer, RunsProgram):
            (record,) = self._unfinished()
            record.bounded = True
            self._printed = Printed(self._trainer, record.task, self.order.paths)
        self._steps = self._trainer.run()
        self._checkpointed = time.monotonic()

    def _adopt(self, record: AttemptLog) -> None:
        """Ends a trial whose result is there and was never recorded: it costs no training."""
        record.clear_unfinished()
        outcome = record.adopt(self.order.metric)
        if outcome is not None:
            self._tell(record, outcome)

    def _check_data(self, task: Task) -> None:
        """The key of a trial promises its data; a corpus that was altered since the trial was
        planned, or that differs on this machine, would break the promise."""
        if self._data_checked:
            return
        found = self._card.data_fingerprint(task.config)
        if found != task.data:
            said = f"the data of workload {self.order.workload} on {hostname()} has fingerprint "
            said += f"{found}, but the trials were planned on {task.data}; restore it"
            if isinstance(self._card, Programmed):
                said = "a file of the command has changed since this run began, or is another one "
                said += f"on {hostname()}; nothing is lost: restore it"
            raise DataError(f"{said}, or run the study again to plan it on what is there")
        self._data_checked = True

    def _by_checkpoint(self, tasks: Sequence[Task]) -> list[tuple[Task, ...]]:
        """Members that go on from different steps cannot share a pack."""
        groups: dict[int, list[Task]] = {}
        for task in tasks:
            record = self._records[task.key]
            record.find_checkpoint()
            groups.setdefault(record.resume_step, []).append(task)
        return [tuple(group) for _, group in sorted(groups.items(), reverse=True)]

    def _build(self, tasks: Sequence[Task]) -> Trainer:
        """Builds a trainer from the newest checkpoints. One that cannot be read is skipped with
        a warning; in a pack nobody knows whose it is, so its members are built alone."""
        factory = factory_of(self._card, self.order.shape.processes)
        records = [self._records[task.key] for task in tasks]
        while True:
            try:
                members = [
                    Member(
                        config=task.config,
                        seed=task.seed,
                        checkpoint=record.checkpoint,
                        key=task.key,
                    )
                    for task, record in zip(tasks, records, strict=True)
                ]
                for record in records:
                    record.restore()
                return factory(members, **self._options())
            except (*_UNREADABLE, FileNotFoundError) as fault:
                if len(records) > 1 or not records[0].resume_step:
                    raise
                said = str(fault) if isinstance(fault, ValueError) else repr(fault)
                records[0].skip_checkpoint(said)

    def _options(self) -> dict[str, Any]:
        """What a factory is told besides the members; ``record`` only where there is something
        to record, so that others need not know of it."""
        shape, record = self.order.shape, self.order.record
        options: dict[str, Any] = {"threads": shape.threads, "device": shape.device}
        return options if record is None else {**options, "record": record}

    def _measured(self, item: Measurement) -> None:
        record = self._records[self._running[item.member].key]
        if record.ended:
            return  # dropped: the trainer goes on computing it beside the others
        record.add(item)
        metric = self.order.metric
        if self.order.tell_marks and item.status == "running" and item.mark:
            self._tell_mark(record, item.metrics.get(metric))
        if item.status != "completed" or has_number(record.metrics, metric):
            if item.status != "running":
                self._end(record, item.status)
        elif metric in record.metrics:
            self._end(record, "diverged")
        else:
            measured = ", ".join(sorted(record.metrics)) or "nothing"
            error = f"the trial ended without {metric!r}, the study's metric; measured: {measured}"
            self._end(record, "bug", error)

    def _tell_mark(self, record: AttemptLog, value: float | None) -> None:
        if value is not None:
            self._events.append(
                Marked(
                    order=self.order.number,
                    key=record.task.key,
                    step=record.step,
                    value=float(value),
                )
            )

    def _end(self, record: AttemptLog, kind: OutcomeKind, error: str | None = None) -> None:
        outcome = record.outcome(
            kind,
            device=self._device,
            host=hostname(),
            environment=self._environment(),
            error=None if error is None else redacted(error),
        )
        self._tell(record, outcome)

    def _environment(self) -> dict[str, Any]:
        """What decides the bits of a result, and what was recorded on the way."""
        shape, asked = self.order.shape, self.order.record
        found = environment(shape.threads, shape.processes)
        return found if asked is None else {**found, "record": list(asked.quantities)}

    def _tell(self, record: AttemptLog, outcome: Outcome) -> None:
        warnings = tuple(map(redacted, record.warnings))
        self._events.append(
            Ended(
                order=self.order.number,
                outcome=outcome,
                warnings=warnings,
                adopted=record.adopted,
            )
        )

    def _fail(self, fault: BaseException) -> None:
        """What is no fault of the model (the disk, the data, a workload that is not installed)
        stops the whole order; a pack's members are tried again alone; alone, it is an outcome."""
        self._account_time()
        unfinished = self._unfinished()
        alone = len(self._running) == 1
        self._running = ()
        self._dismiss()
        reason = _environment(fault)
        if issubclass(type(fault), ProcessLostError):
            self._lose(text_of(fault))
        elif reason is not None:
            for record in self._records.values():
                if not record.ended:
                    self._end(record, "stopped", reason)
        elif alone:
            kind: OutcomeKind = "out_of_memory" if is_out_of_memory(fault) else "bug"
            text = told(fault)
            for record in unfinished:
                self._end(record, kind, text)
        else:
            self._packs.extendleft((record.task,) for record in reversed(unfinished))

    def _lose(self, how: str) -> None:
        """Gives the order back: a part of the trainer died as a worker may, and what is left of
        the order runs again as after the death of a worker."""
        for record in self._records.values():
            record.ended = True
        self._events.append(Lost(order=self.order.number, reason=f"{how} on {hostname()}"))

    def _account_time(self) -> None:
        now = time.monotonic()
        unfinished = self._unfinished()
        spent = (now - self._clock) * self.order.shape.processes
        for record in unfinished:
            record.device_seconds += spent / len(unfinished)
        self._clock = now

    def _checkpoint(self) -> None:
        assert self._trainer is not None
        for index, task in enumerate(self._running):
            record = self._records[task.key]
            ready = not record.ended and (record.step > 0 or self._printed is not None)
            if ready and record.save_checkpoint(self._trainer, index):
                saved = Saved(order=self.order.number, key=task.key, step=record.kept_step)
                self._events.append(saved)
            elif self._printed is not None:
                return  # a program is asked again soon
        self._checkpointed = time.monotonic()
        self._clock = time.monotonic()

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._reported >= self._progress_seconds:
            self._reported = now
            records = self._records.values()
            fraction = sum(record.fraction for record in records) / len(records)
            reached = tuple(
                Reached(
                    key=record.task.key,
                    step=record.step,
                    began=record.began,
                    loss=record.latest(self.order.metric),
                )
                for record in self._unfinished()
            )
            self._events.append(
                Advanced(order=self.order.number, fraction=fraction, reached=reached)
            )


def _environment(fault: BaseException) -> str | None:
    """What is in the way of a trial that is no fault of it; None for everything else."""
    if issubclass(type(fault), SweeperError | DataUnavailableError):
        return text_of(fault)
    found = disk_failure(fault)
    if found is None:
        return None
    return (
        f"a disk of {hostname()} failed ({found.strerror or found}); check that it has space and "
        "may be written, and run the same command again: the trial goes on from its checkpoint"
    )
