"""What a worker keeps about one attempt at a trial: its curve, marks, time and checkpoints, and
what an exception of it says about."""

from __future__ import annotations

import errno
import functools
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sweeper.engine.messages import Task
from sweeper.engine.worker.program import MOST_MARKS, MOST_ROWS, evenly, one_a_step
from sweeper.errors import StoreError
from sweeper.outcome import Mark, Outcome, OutcomeKind
from sweeper.store import (
    FileStore,
    Journal,
    Paths,
    disk_fault,
    forget_older,
    read_journal,
    read_outcome,
    write_checkpoint,
    write_curve,
)
from workloads.programs import NotNowError, RunsProgram, TrialFailedError
from workloads.workload import Measurement, Trainer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


Seen = TypeVar("Seen")
Unseen = TypeVar("Unseen")


def _unless_it_raises(
    otherwise: Unseen,
) -> Callable[[Callable[[BaseException], Seen]], Callable[[BaseException], Seen | Unseen]]:
    """Makes a look at an exception give the answer ``otherwise`` where the exception itself, or
    its type, raises when it is looked at."""

    def make(look: Callable[[BaseException], Seen]) -> Callable[[BaseException], Seen | Unseen]:
        @functools.wraps(look)
        def looked(fault: BaseException) -> Seen | Unseen:
            try:
                return look(fault)
            except BaseException:
                return otherwise

        return looked

    return make


@_unless_it_raises(None)
def disk_failure(fault: BaseException) -> OSError | None:
    """Returns the complaint of a disk that an exception comes from; None if it comes from
    anything else. Such a failure is no fault of the trial."""
    for each in _chain(fault):
        if isinstance(each, OSError) and each.errno in _DISK:
            return each
    for each in _chain(fault):
        said = text_of(each)
        if isinstance(each, RuntimeError) and any(word in said for word in _TORCH_WRITER):
            return OSError(errno.EIO, f"the file could not be written in full ({said})")
    return None


@_unless_it_raises(False)
def is_out_of_memory(fault: BaseException) -> bool:
    """Returns whether an exception comes from a shortage of memory, of the device or of the
    machine. torch's own words are matched by name, since torch is not imported here."""
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
        or "OutOfMemoryError" in {_own(kind, "__name__") for kind in type(each).__mro__}
        or any(words in text_of(each) for words in _MEMORY_WORDS)
        for each in _chain(fault)
    )


def text_of(fault: BaseException) -> str:
    """Returns the message of an exception, also of one whose message cannot be made."""
    try:
        return str(fault)
    except BaseException:
        return "<its message cannot be shown>"


LONGEST_ERROR = 20_000
"""Characters that are kept of a failure; of more, the beginning and the end."""


def _own(kind: type, name: str) -> str:
    """Returns what a class is called, whatever its metaclass says."""
    return str(type.__dict__[name].__get__(kind))


@_unless_it_raises("an exception that cannot be shown")
def told(fault: BaseException) -> str:
    """Returns what is kept of an exception that failed a trial: its type and the first line of
    its message, and below them the traceback; of one that is its own cause its message alone."""
    kind = type(fault)
    home = _own(kind, "__module__")
    module = "" if home in ("builtins", "__main__") else f"{home}."
    lines = text_of(fault).strip().splitlines()
    if issubclass(kind, TrialFailedError):
        return _shortened(text_of(fault))
    head = f"{module}{_own(kind, '__qualname__')}" + (f": {lines[0]}" if lines else "")
    try:
        text = "".join(traceback.format_exception(fault))
    except BaseException:
        calls = "".join(traceback.format_tb(fault.__traceback__))
        text = f"Traceback (most recent call last):\n{calls}an exception that cannot be shown"
    return _shortened(f"{head[: LONGEST_ERROR // 10]}\n\n{text}")


def _shortened(text: str) -> str:
    left_out = len(text) - LONGEST_ERROR
    if left_out <= 0:
        return text
    half = LONGEST_ERROR // 2
    return f"{text[:half]}\n... {left_out} characters are left out ...\n{text[-half:]}"


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
        began: the step of the checkpoint that it went on from; 0 without one.
        kept_step: that of its newest checkpoint; 0 without one.
        tokens: tokens seen.
        bounded: True if what is said of it is thinned where it is too much.
    """

    def __init__(self, task: Task, paths: Paths) -> None:
        self.task = task
        self.bounded = False
        self.ended = False
        self.adopted = False
        self.device_seconds = 0.0
        self.warnings: list[str] = []
        self.step = 0
        self.began = 0
        self.tokens = 0
        self._latest: dict[str, float] = {}
        self._paths = paths
        self._started = time.monotonic()
        self._curve: list[Mapping[str, float]] = []
        self._marks: list[Mark] = []
        self._metrics: dict[str, float] = {}
        self._arrays: Mapping[str, NDArray[np.float64]] = {}
        self._checkpoints: list[str] = []
        self._journal: Journal | None = None
        self._said = False  # whether anything was, since it began
        self.kept_step = 0

    @property
    def metrics(self) -> Mapping[str, float]:
        """Final metrics; empty until the trainer has ended the trial."""
        return self._metrics

    @property
    def fraction(self) -> float:
        """Done share of the trial's steps; 1 once it has ended. Of a program that was planned as
        one step nobody knows how many there are."""
        if self.bounded and self.task.steps <= 1 and not self.ended:
            return 0.0
        return 1.0 if self.ended else min(1.0, self.step / max(1, self.task.steps))

    @property
    def checkpoint(self) -> Path | None:
        """The verified checkpoint to go on from; None starts from the beginning."""
        return self._paths.files.local(self._checkpoints[-1]) if self._checkpoints else None

    @property
    def resume_step(self) -> int:
        """Step of :attr:`checkpoint`; 0 without one."""
        return self._paths.step_of(self._checkpoints[-1]) if self._checkpoints else 0

    def clear_unfinished(self) -> None:
        """Removes what dead writers left half written: nobody else may train this trial now.

        Raises:
            StoreError: a file cannot be removed.
        """
        for name in self._paths.unfinished_of(self.task.key):
            self._paths.files.remove(name)

    def adopt(self, metric: str = "") -> Outcome | None:
        """Returns the result that an earlier attempt left in its curve file and nobody recorded
        (its controller died, or the database was lost), as this attempt's; None if there is none.

        Args:
            metric: without which none is taken over as completed; empty asks for none.

        Raises:
            StoreError: the folder of curves cannot be read.
        """
        for name in self._paths.curves_of(self.task.key, attempts=self.task.attempt - 1):
            path = self._paths.files.shown(name)
            try:
                found = read_outcome(self._paths.files, name)
            except ValueError as fault:
                self._warn(f"the result in {path} is not taken over: {fault}")
                continue
            if found is None:
                self._warn(f"the curve {path} is not taken over: it does not say how it ended")
            elif found.key != self.task.key or not found.accepted:
                self._warn(f"the result in {path} is not taken over: it is of another trial")
            elif found.kind == "completed" and not has_number(found.metrics, metric):
                self._warn(f"the result in {path} is not taken over: it has no finite {metric}")
            else:
                self.ended = self.adopted = True
                return replace(found, attempt=self.task.attempt, curve=name)
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
        newest = self._checkpoints[-1] if self._checkpoints else ""
        for journal in lone:
            if journal > newest:
                shown = self._paths.files.shown(journal)
                self._warn(f"the checkpoint of {shown} is missing: lost, or never finished")
            self._paths.files.remove(journal)

    def skip_checkpoint(self, reason: str) -> None:
        """Sets the checkpoint aside, says so, and turns to the one before it."""
        if self._checkpoints:
            self._skip(reason)
            self._verify()

    def restore(self) -> None:
        """Takes up the curve, marks and time that were written with the checkpoint, or none."""
        found = self._journal or Journal(
            key=self.task.key, step=0, tokens=0, device_seconds=0.0, curve=(), marks=()
        )
        self._curve, self._marks = list(found.curve), list(found.marks)
        self.step, self.tokens = found.step, found.tokens
        self.device_seconds = found.device_seconds
        self.kept_step = self.began = found.step

    def latest(self, metric: str) -> float | None:
        """Returns a metric where it was measured last, or else the loss in training; None before
        there was either, and of a number that is not finite."""
        value = self._latest.get(metric, self._latest.get("train_loss"))
        return value if value is not None and math.isfinite(value) else None

    def add(self, item: Measurement) -> None:
        """Takes in one measurement of the trainer."""
        self.step, self.tokens = item.step, item.tokens
        self._said = True
        if item.anew:
            self._curve = [row for row in self._curve if row["step"] < item.step]
            self._marks = [mark for mark in self._marks if mark.step < item.step]
        # float() turns a number of numpy or torch into one that JSON knows, with its bits.
        metrics = {name: float(value) for name, value in item.metrics.items()}
        self._latest.update(metrics)
        if item.mark:
            self._marks.extend(
                Mark(step=item.step, tokens=item.tokens, metric=name, value=value)
                for name, value in metrics.items()
            )
        elif metrics and item.status == "running":
            self._curve.append({"step": item.step, "tokens": item.tokens, **metrics})
        if item.status == "completed":
            self._metrics, self._arrays = metrics, item.arrays
        if self.bounded and len(self._curve) > 2 * MOST_ROWS:
            self._curve = one_a_step(self._curve)
            self._curve = self._curve[:: 1 + (len(self._curve) > MOST_ROWS)]
        if self.bounded and len(self._marks) > 2 * MOST_MARKS:
            self._marks = self._marks[::2]

    def save_checkpoint(self, trainer: Trainer, member: int) -> bool:
        """Writes a checkpoint, unless the last one is of this step, or a program has no new one;
        returns whether it did. The one before the previous is removed once the new one is whole.

        Raises:
            StoreError: the disk is full or the folder cannot be written.
        """
        step = self.step
        if isinstance(trainer, RunsProgram):
            if not trainer.has_checkpoint():
                return False
            step = max(step, self.kept_step + 1)  # it may do steps again that it has done
        if step == self.kept_step:
            return False
        files, name = self._paths.files, self._paths.checkpoint(self.task.key, step)
        journal = Journal(
            key=self.task.key,
            step=step,
            tokens=self.tokens,
            device_seconds=self.device_seconds,
            curve=tuple(self._curve),
            marks=tuple(self._marks),
        )
        save = functools.partial(trainer.save, member)
        try:
            _write(files, name, functools.partial(write_checkpoint, files, name, journal, save))
        except NotNowError:
            return False
        self.kept_step = step
        forget_older(self._paths, self.task.key, step)
        return True

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
        outcome. Metrics of a dominated trial are those of its last evaluation.

        Raises:
            StoreError: the disk is full or the folder cannot be written.
        """
        done = self.step / max(1, self.task.steps)
        if self.bounded and kind == "bug" and not self._said:
            self._forsake()
        if self.bounded:  # its steps are those that it says, and may be none that were planned
            done = 1.0 if kind == "completed" else min(1.0, done)
            self._curve = evenly(one_a_step(self._curve), MOST_ROWS)
            self._marks = evenly(self._marks, MOST_MARKS)
        if kind == "dominated":
            self._metrics = {m.metric: m.value for m in self._marks}  # the later one of a name
        outcome = Outcome(
            key=self.task.key,
            attempt=self.task.attempt,
            kind=kind,
            metrics={
                name: value
                for name, value in self._metrics.items()
                if kind == "completed" or math.isfinite(value)
            },
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
        self._paths.files.release(self._paths.checkpoint_folder(self.task.key))
        self.ended = True
        return outcome

    def _forsake(self) -> None:
        """Removes the checkpoint with which a program could not even begin: what it writes itself
        may be torn, or of another version of it."""
        if self._checkpoints:
            name = self._checkpoints.pop()
            self._paths.files.remove(self._paths.journal(name))
            self._paths.files.remove(name)
            shown = self._paths.files.shown(name)
            self._warn(f"checkpoint {shown} removed: the program failed as soon as it had it")

    def _with_curve(self, outcome: Outcome) -> Outcome:
        files, curve = self._paths.files, self._paths.curve(self.task.key, self.task.attempt)
        outcome = replace(outcome, curve=curve)
        names = sorted({name for row in self._curve for name in row})
        nan = float("nan")
        columns = {name: [row.get(name, nan) for row in self._curve] for name in names}
        write = functools.partial(
            write_curve, files, curve, columns, outcome=outcome, arrays=self._arrays
        )
        _write(files, curve, write)
        return outcome

    def _verify(self) -> None:
        """Skips checkpoints from the newest on until one is whole."""
        self._journal = None
        while self._checkpoints and self._journal is None:
            try:
                newest = self._checkpoints[-1]
                self._journal = read_journal(self._paths.files, newest, key=self.task.key)
            except ValueError as fault:
                self._skip(str(fault))

    def _skip(self, reason: str) -> None:
        shown = self._paths.files.shown(self._checkpoints.pop())
        self._warn(f"checkpoint {shown} skipped: {reason}")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:  # a pack that fails is looked at once more
            self.warnings.append(text)


def has_number(metrics: Mapping[str, float], metric: str) -> bool:
    """Returns whether a metric was measured and is finite; True if none is asked for."""
    return not metric or math.isfinite(metrics.get(metric, math.nan))


def _write(files: FileStore, name: str, write: Callable[[], None]) -> None:
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
        raise disk_fault("write", files.shown(name), found) from fault
