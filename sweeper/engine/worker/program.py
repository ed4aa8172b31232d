"""What is kept of a trial's program: what it prints, while it runs and when it has ended, and as
much of what it measures as anybody needs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

from sweeper.engine.messages import Task
from sweeper.errors import StoreError
from sweeper.store import Paths
from workloads.programs import RunsProgram

KEEP_SECONDS = 2.0
"""How often it is written while a program runs, where that costs little."""

SHARE = 0.05
"""Of the time may be spent on writing it, as to a bucket."""


class Printed:
    """The output of one attempt, in a file of the store.

    Args:
        trainer: which runs the program.
        task: the claimed attempt.
        paths: owner of all paths.
    """

    def __init__(self, trainer: RunsProgram, task: Task, paths: Paths) -> None:
        self._trainer = trainer
        self._files, self._name = paths.files, paths.output(task.key, task.attempt)
        self._kept: str | None = None
        self._next = time.monotonic() + KEEP_SECONDS

    def keep_in_time(self) -> None:
        """Writes it if it is time to."""
        began = time.monotonic()
        if began >= self._next:
            self.keep()
            spent = time.monotonic() - began
            self._next = began + max(KEEP_SECONDS, spent / SHARE)

    def keep(self) -> None:
        """Writes it, if there is more than there was. One that cannot be written is done without:
        where the disk is full the result cannot be written either, and says so."""
        text = self._trainer.output()
        if text == (self._kept or ""):
            return
        with (
            contextlib.suppress(StoreError, OSError),
            self._files.write(self._name, durable=False) as aside,
        ):
            aside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        self._kept = text


MOST_ROWS, MOST_MARKS = 10_000, 1_000
"""Rows of a curve, and marks, that are kept of a program that says more."""

Item = TypeVar("Item")


def evenly(items: list[Item], most: int) -> list[Item]:
    """Returns so many of the items at most, evenly, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


def one_a_step(rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Returns rows by their step, what was said of one step in several lines as one row; what was
    said last of a name counts."""
    found: dict[float, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["step"], {}).update(row)
    return [found[step] for step in sorted(found)]
