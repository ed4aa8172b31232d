"""What a worker keeps about one attempt at a trial: its curve, marks, time and checkpoints."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.engine.order import Task
from sweeper.outcome import Mark, Outcome, OutcomeKind
from sweeper.store.curves import write_curve
from sweeper.store.paths import Paths, disk_fault, temporary
from workloads.workload import Measurement, Trainer


class AttemptLog:
    """The measurements of one attempt, and the checkpoints that it can go on from.

    Beside each checkpoint lies a journal (JSON) with the curve, the marks and the device seconds
    up to that step, so that a resumed trial ends with the same curve as an undisturbed one, and
    its seconds are those of all its steps.

    Args:
        task: the claimed attempt.
        paths: owner of all paths.
    """

    def __init__(self, task: Task, paths: Paths) -> None:
        self.task = task
        self.ended = False
        self.device_seconds = 0.0
        self.warnings: list[str] = []
        self._paths = paths
        self._started = time.monotonic()
        self._curve: list[dict[str, float]] = []
        self._marks: list[Mark] = []
        self._metrics: dict[str, float] = {}
        self._checkpoints: list[Path] = []
        self.step = 0
        self.tokens = 0

    @property
    def fraction(self) -> float:
        """Done share of the trial's steps; 1 once it has ended."""
        return 1.0 if self.ended else min(1.0, self.step / max(1, self.task.steps))

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to go on from; None starts from the beginning."""
        return self._checkpoints[-1] if self._checkpoints else None

    @property
    def resume_step(self) -> int:
        """Step of :attr:`checkpoint`; 0 without one."""
        return 0 if self.checkpoint is None else self._paths.step_of(self.checkpoint)

    def find_checkpoint(self) -> None:
        """Looks for whole checkpoints of this trial, of any earlier attempt."""
        self._checkpoints = [
            path
            for path in self._paths.checkpoints_of(self.task.key)
            if _journal_of(path).exists()
        ]

    def skip_checkpoint(self, reason: str) -> None:
        """Sets a checkpoint that cannot be read aside, and says so."""
        if self._checkpoints:
            bad = self._checkpoints.pop()
            self.warnings.append(f"checkpoint {bad} skipped: {reason}")

    def restore(self) -> None:
        """Takes up the curve, marks and time that were written with the checkpoint, or none.

        Raises:
            ValueError: the checkpoint's journal cannot be read.
        """
        self._curve, self._marks, self.step, self.tokens = [], [], 0, 0
        self.device_seconds = 0.0
        if self.checkpoint is None:
            return
        path = _journal_of(self.checkpoint)
        try:
            journal = json.loads(path.read_text(encoding="utf-8"))
            marks = [Mark(**mark) for mark in journal["marks"]]
            curve, step, tokens = journal["curve"], journal["step"], journal["tokens"]
            before = float(journal["device_seconds"])
        except (OSError, KeyError, TypeError, ValueError) as fault:
            raise ValueError(f"its journal {path} cannot be read: {fault!r}") from fault
        self._curve, self._marks, self.step, self.tokens = curve, marks, step, tokens
        self.device_seconds = before

    def add(self, item: Measurement) -> None:
        """Takes in one measurement of the trainer."""
        self.step, self.tokens = item.step, item.tokens
        if item.mark or item.status == "completed":
            self._marks.extend(
                Mark(step=item.step, tokens=item.tokens, metric=name, value=value)
                for name, value in item.metrics.items()
                if item.mark
            )
        if not item.mark and item.metrics and item.status == "running":
            self._curve.append({"step": item.step, "tokens": item.tokens, **item.metrics})
        if item.status == "completed":
            self._metrics = dict(item.metrics)

    def save_checkpoint(self, trainer: Trainer, member: int) -> None:
        """Writes a checkpoint: the journal first, so that a checkpoint always has one. The
        previous checkpoint is removed once the new one is whole."""
        path = self._paths.checkpoint(self.task.key, self.step)
        journal = {
            "step": self.step,
            "tokens": self.tokens,
            "curve": self._curve,
            "marks": [vars(mark) for mark in self._marks],
            "device_seconds": self.device_seconds,
        }
        with temporary(_journal_of(path)) as aside:
            aside.write_text(json.dumps(journal), encoding="utf-8")
        with temporary(path) as aside:
            trainer.save(member, aside)
        for old in self._paths.checkpoints_of(self.task.key):
            if old != path:
                _remove(old)

    def outcome(
        self,
        kind: OutcomeKind,
        *,
        device: str,
        host: str,
        environment: Mapping[str, Any],
        error: str | None,
    ) -> Outcome:
        """Closes the log: writes the curve of a result and returns the outcome."""
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
        if not self._curve:
            return outcome
        columns = sorted({name for row in self._curve for name in row})
        path = self._paths.curve(self.task.key, self.task.attempt)
        nan = float("nan")
        write_curve(path, {name: [row.get(name, nan) for row in self._curve] for name in columns})
        relative = self._paths.relative(path)
        return Outcome(**{**vars(outcome), "curve": relative})


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


def _journal_of(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".journal.json")


def _remove(checkpoint: Path) -> None:
    checkpoint.unlink(missing_ok=True)
    _journal_of(checkpoint).unlink(missing_ok=True)
