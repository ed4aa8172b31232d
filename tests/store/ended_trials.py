"""Trials that ended as a worker ends them: with a curve file that holds the outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sample_store import outcome

from sweeper.outcome import Outcome, OutcomeKind
from sweeper.store.files.checkpoints import Journal, write_checkpoint
from sweeper.store.files.curves import write_curve
from sweeper.store.store import Store


def finish(
    store: Store, key: str, kind: OutcomeKind = "completed", attempt: int = 1, **fields: Any
) -> Outcome:
    """Writes the curve file of an attempt, as its worker does; nothing is recorded."""
    path = store.paths.curve(key, attempt)
    fields.setdefault("curve", store.paths.relative(path))
    report = outcome(key, kind, attempt=attempt, **fields)
    if report.accepted:
        write_curve(path, {"step": [1], "tokens": [64], "train_loss": [3.0]}, outcome=report)
    return report


def end(store: Store, key: str, kind: OutcomeKind = "completed", attempt: int = 1) -> Path:
    """Ends an attempt and records it; returns the curve's file."""
    report = finish(store, key, kind, attempt)
    store.record(report, objective=report.metrics.get("val_loss"))
    return store.paths.curve(key, attempt)


def checkpoint(store: Store, key: str, step: int) -> Path:
    """Writes a checkpoint of a trial after so many steps; returns its file."""
    path = store.paths.checkpoint(key, step)
    journal = Journal(key=key, step=step, tokens=step, device_seconds=1.0, curve=(), marks=())

    def save(aside: Path) -> None:
        aside.write_bytes(b"weights after %d" % step)

    write_checkpoint(path, journal, save)
    return path
