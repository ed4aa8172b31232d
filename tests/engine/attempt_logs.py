"""Attempts to test with, and a trainer that only saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine_studies import task_of

from sweeper.engine.worker.attempt import AttemptLog
from sweeper.outcome import Outcome
from sweeper.store.files.curves import read_curves
from sweeper.store.files.paths import Paths
from workloads.workload import Measurement

TASK = task_of({"width": 32, "learning_rate": 0.01, "steps": 10})
OTHER = task_of({"width": 32, "learning_rate": 0.02, "steps": 10})


class OneByte:
    """A trainer of which only the saving matters."""

    def __init__(self, fault: Exception | None = None) -> None:
        self._fault = fault

    def run(self) -> Iterator[Sequence[Measurement]]:
        return iter(())

    def save(self, member: int, path: Path) -> None:
        path.write_bytes(b"x")
        if self._fault is not None:
            raise self._fault

    def device_name(self) -> str:
        return "cpu"


def at(step: int, *, mark: bool = False, status: Any = "running", **metrics: float) -> Measurement:
    values = metrics or {"train_loss": 1.0 / step}
    return Measurement(
        member=0, step=step, tokens=16 * step, metrics=values, mark=mark, status=status
    )


def close(log: AttemptLog, kind: Any = "completed") -> Outcome:
    return log.outcome(kind, device="cpu", host="here", environment={}, error=None)


def walk(log: AttemptLog, steps: range) -> None:
    for step in steps:
        log.add(at(step))
        if step % 4 == 0:
            log.add(at(step, mark=True, val_loss=2.0 / step))
    if steps[-1] == 10:
        log.add(at(10, mark=True, status="completed", val_loss=0.2))


def curve_of(paths: Paths, outcome: Outcome) -> dict[str, list[float]]:
    assert outcome.curve is not None
    frame, warnings = read_curves(paths.files, {"key": outcome.curve})
    assert warnings == []
    return {str(name): list(frame[name]) for name in frame.columns if name != "key"}


def saved(paths: Paths, *steps: int) -> AttemptLog:
    """A log with checkpoints at some steps, which left the process."""
    log = AttemptLog(TASK, paths)
    for step in range(1, steps[-1] + 1):
        log.add(at(step))
        if step in steps:
            log.save_checkpoint(OneByte(), 0)
    return AttemptLog(TASK, paths)
