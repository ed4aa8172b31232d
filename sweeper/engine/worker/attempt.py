"""What a worker keeps about one attempt at a trial: its curve, marks, time and checkpoints, and
what an exception of it says about."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sweeper.engine.messages import Task
from sweeper.errors import StoreError
from sweeper.outcome import Mark, Outcome, OutcomeKind
from sweeper.store import (
    Journal,
    Paths,
    disk_fault,
    forget_older,
    read_journal,
    read_outcome,
    remove_files,
    write_checkpoint,
    write_curve,
)
from workloads.workload import Measurement, Trainer

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE})
"""Full, over quota, over the limit of a file, read-only, failing, or a server that is gone."""

_TORCH_WRITER = ("PytorchStreamWriter failed", "unexpected pos", "iostream error")
"""Words of torch's writer of files, which knows no errno."""

_MEMORY_WORDS = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Shortages of memory that torch and its libraries tell as errors of another kind."""


def disk_failure(fault: BaseException) -> OSError | None:
    """Returns the complaint of a disk that an exception comes from; None if it comes from
    anything else. Such a failure is no fault of the trial."""
    for each in _chain(fault):
        if isinstance(each, OSError) and each.errno in _DISK:
            return each
    for each in _chain(fault):
        if isinstance(each, RuntimeError) and any(word in str(each) for word in _TORCH_WRITER):
            return OSError(errno.EIO, f"the file could not be written in full ({each})")
    return None


def is_out_of_memory(fault: BaseException) -> bool:
    """Returns whether an exception comes from a shortage of memory, of the device or of the
    machine. torch's own words are matched by name, since torch is not imported here."""
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
        or "OutOfMemoryError" in {kind.__name__ for kind in type(each).__mro__}
        or any(words in str(each) for words in _MEMORY_WORDS)
        for each in _chain(fault)
    )


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised from or beside, as a traceback shows them."""
    seen: set[int] = set()
    each: BaseException | None = fault
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


class AttemptLog:
    """The measurements of one attempt, and the checkpoints that it can go on from.

    Args:
        task: the claimed attempt.
        paths: owner of all paths.

    Attributes:
        task: the claimed attempt.
        ended: True once nothing more is written for it.
        adopted: True if its result was not trained but found, see :meth:`adopt`.
        device_seconds: seconds of device time of all steps up to :attr:`step`, those before the
            checkpoint that it went on from included.
        warnings: what a person should know.
        step: optimizer steps done.
        tokens: tokens seen.
    """

    def __init__(self, task: Task, paths: Paths) -> None:
        self.task = task
        self.ended = False
        self.adopted = False
        self.device_seconds = 0.0
        self.warnings: list[str] = []
        self.step = 0
        self.tokens = 0
        self._paths = paths
        self._started = time.monotonic()
        self._curve: list[Mapping[str, float]] = []
        self._marks: list[Mark] = []
        self._metrics: dict[str, float] = {}
        self._checkpoints: list[Path] = []
        self._journal: Journal | None = None
        self._kept_step = 0

    @property
    def fraction(self) -> float:
        """Done share of the trial's steps; 1 once it has ended."""
        return 1.0 if self.ended else min(1.0, self.step / max(1, self.task.steps))

    @property
    def checkpoint(self) -> Path | None:
        """The verified checkpoint to go on from; None starts from the beginning."""
        return self._checkpoints[-1] if self._checkpoints else None

    @property
    def resume_step(self) -> int:
        """Step of :attr:`checkpoint`; 0 without one."""
        return 0 if self.checkpoint is None else self._paths.step_of(self.checkpoint)

    def clear_unfinished(self) -> None:
        """Removes what dead writers left half written: nobody else may train this trial now.

        Raises:
            StoreError: a file cannot be removed.
        """
        remove_files(self._paths.unfinished(self.task.key))

    def adopt(self) -> Outcome | None:
        """Returns the result that an earlier attempt left in its curve file and nobody recorded
        (its controller died, or the database was lost), as this attempt's; None if there is none.

        Raises:
            StoreError: the folder of curves cannot be read.
        """
        for path in self._paths.curves_of(self.task.key):
            try:
                found = read_outcome(path)
            except ValueError as fault:
                self._warn(f"the result in {path} is not taken over: {fault}")
                continue
            if found is None:
                self._warn(f"the curve {path} is not taken over: it does not say how it ended")
            elif found.key != self.task.key or not found.accepted:
                self._warn(f"the result in {path} is not taken over: it is of another trial")
            else:
                self.ended = self.adopted = True
                relative = self._paths.relative(path)
                return replace(found, attempt=self.task.attempt, curve=relative)
        return None

    def find_checkpoint(self) -> None:
        """Looks for the newest checkpoint of this trial, of any earlier attempt, that is whole;
        says which newer ones are not.

        Raises:
            StoreError: the trial's folder cannot be read or tidied.
        """
        self._checkpoints = self._paths.checkpoints_of(self.task.key)
        lone = self._paths.lone_journals_of(self.task.key)
        self._verify()
        for journal in lone:
            if self.checkpoint is None or journal > self.checkpoint:
                self._warn(f"the checkpoint of {journal} is missing: lost, or never finished")
        remove_files(lone)

    def skip_checkpoint(self, reason: str) -> None:
        """Sets the checkpoint aside, says so, and turns to the one before it."""
        if self._checkpoints:
            self._warn(f"checkpoint {self._checkpoints.pop()} skipped: {reason}")
            self._verify()

    def restore(self) -> None:
        """Takes up the curve, marks and time that were written with the checkpoint, or none."""
        found = self._journal or Journal(
            key=self.task.key, step=0, tokens=0, device_seconds=0.0, curve=(), marks=()
        )
        self._curve, self._marks = list(found.curve), list(found.marks)
        self.step, self.tokens = found.step, found.tokens
        self.device_seconds = found.device_seconds
        self._kept_step = found.step

    def add(self, item: Measurement) -> None:
        """Takes in one measurement of the trainer."""
        self.step, self.tokens = item.step, item.tokens
        # float() turns a number of numpy or torch into one that JSON knows, with its bits.
        metrics = {name: float(value) for name, value in item.metrics.items()}
        if item.mark:
            self._marks.extend(
                Mark(step=item.step, tokens=item.tokens, metric=name, value=value)
                for name, value in metrics.items()
            )
        elif metrics and item.status == "running":
            self._curve.append({"step": item.step, "tokens": item.tokens, **metrics})
        if item.status == "completed":
            self._metrics = metrics

    def save_checkpoint(self, trainer: Trainer, member: int) -> None:
        """Writes a checkpoint, unless the last one is of this step. The one before the previous
        is removed once the new one is whole.

        Raises:
            StoreError: the disk is full or the folder cannot be written.
        """
        if self.step == self._kept_step:
            return
        path = self._paths.checkpoint(self.task.key, self.step)
        journal = Journal(
            key=self.task.key,
            step=self.step,
            tokens=self.tokens,
            device_seconds=self.device_seconds,
            curve=tuple(self._curve),
            marks=tuple(self._marks),
        )
        _write(path, partial(write_checkpoint, path, journal, partial(trainer.save, member)))
        self._kept_step = self.step
        forget_older(self._paths, self.task.key, self.step)

    def outcome(
        self,
        kind: OutcomeKind,
        *,
        device: str,
        host: str,
        environment: Mapping[str, Any],
        error: str | None,
    ) -> Outcome:
        """Closes the log: writes the curve of a result, with the outcome in it, and returns the
        outcome.

        Raises:
            StoreError: the disk is full or the folder cannot be written.
        """
        done = self.step / max(1, self.task.steps)
        outcome = Outcome(
            key=self.task.key,
            attempt=self.task.attempt,
            kind=kind,
            metrics=self._metrics,
            step=self.step,
            tokens=self.tokens,
            flops=self.task.flops * done,
            device_seconds=self.device_seconds,
            wall_seconds=time.monotonic() - self._started,
            device=device,
            host=host,
            environment=environment,
            marks=tuple(self._marks),
            curve=None,
            error=error,
        )
        if outcome.accepted:
            outcome = self._with_curve(outcome)
        self.ended = True
        return outcome

    def _with_curve(self, outcome: Outcome) -> Outcome:
        path = self._paths.curve(self.task.key, self.task.attempt)
        outcome = replace(outcome, curve=self._paths.relative(path))
        names = sorted({name for row in self._curve for name in row})
        nan = float("nan")
        columns = {name: [row.get(name, nan) for row in self._curve] for name in names}
        _write(path, partial(write_curve, path, columns, outcome=outcome))
        return outcome

    def _verify(self) -> None:
        """Skips checkpoints from the newest on until one is whole."""
        self._journal = None
        while self._checkpoints and self._journal is None:
            try:
                self._journal = read_journal(self._checkpoints[-1], key=self.task.key)
            except ValueError as fault:
                self._warn(f"checkpoint {self._checkpoints.pop()} skipped: {fault}")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:  # a pack that fails is looked at once more
            self.warnings.append(text)


def discard_checkpoints(paths: Paths, key: str) -> None:
    """Removes the checkpoints of a trial whose result is accepted.

    Raises:
        StoreError: the folder cannot be removed, or a late worker is writing there.
    """
    folder = paths.checkpoint_folder(key)
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return  # most trials end before their first checkpoint
    except OSError as fault:
        raise disk_fault("remove", folder, fault) from fault


def _write(path: Path, write: Callable[[], None]) -> None:
    """Writes a file; once more if its folder or unfinished file vanished meanwhile. Another
    worker that took the trial over clears both, which must not end the run of this one."""
    try:
        try:
            write()
        except StoreError as fault:
            if not isinstance(fault.__cause__, FileNotFoundError):
                raise
            write()
    except RuntimeError as fault:
        found = disk_failure(fault)
        if found is None:
            raise
        raise disk_fault("write", path, found) from fault
