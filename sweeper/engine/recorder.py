"""Outcomes to the store, on one writer thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from sweeper.engine.attempt import discard_checkpoints
from sweeper.engine.patience import Patience
from sweeper.errors import StoreAway, StoreError
from sweeper.outcome import Outcome
from sweeper.store.store import Store

GROUP = 256
"""Outcomes that may share one transaction when they queue up faster than the disk commits."""

RETRY_SECONDS = (0.1, 0.5, 2.0, 5.0)
"""Waits between tries of a write that failed. A store that is only away is waited for longer
(:class:`sweeper.engine.patience.Patience`)."""


class Recorder:
    """Context that commits outcomes in the order in which they arrive; leaving it commits what
    is queued.

    Args:
        store: where to.
        metric: the study's metric, copied into the results table as the objective.
        fatal: called once, on the writer thread, if outcomes can no longer be kept.
        note: hears what a person should know while the run goes on.

    Raises:
        StoreError: on leaving, if the store could not be written; what was not will run again.
    """

    def __init__(
        self,
        store: Store,
        *,
        metric: str,
        fatal: Callable[[Exception], None] = lambda fault: None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._store = store
        self._metric = metric
        self._fatal = fatal
        self._note = note
        self._patience = Patience(note=note, wait=self._pause)
        self._queue: queue.Queue[Outcome | None] = queue.Queue()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def record(self, outcome: Outcome) -> None:
        """Queues an outcome; returns at once."""
        self._queue.put(outcome)

    def flush(self) -> None:
        """Returns when everything queued so far is committed, or the store has failed."""
        self._queue.join()

    def _write(self) -> None:
        while True:
            group, last = self._group()
            if group and self._fault is None:
                try:
                    self._commit(group)
                    self._discard(group)
                except Exception as fault:
                    # Raised on leaving. The thread goes on, so that nobody waits for it in vain.
                    self._fault = fault
                    self._fatal(fault)
            for _ in range(len(group) + last):
                self._queue.task_done()
            if last:
                return

    def _pause(self, seconds: float) -> bool:
        """Waits. Results in hand are worth waiting for also when the run is being ended."""
        time.sleep(seconds)
        return False

    def _group(self) -> tuple[list[Outcome], bool]:
        """Returns what is queued now, at least one item; True at the end."""
        group: list[Outcome] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) >= GROUP:
                return group, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: Sequence[Outcome]) -> None:
        rows = [(outcome, outcome.metrics.get(self._metric)) for outcome in group]
        for wait in RETRY_SECONDS:
            try:
                self._patience.ask(lambda: self._store.record_many(rows))
                return
            except StoreAway:
                raise
            except StoreError:
                time.sleep(wait)
        self._store.record_many(rows)

    def _discard(self, group: Sequence[Outcome]) -> None:
        """A checkpoint that stays behind costs its space and nothing else."""
        for outcome in group:
            if outcome.accepted:
                try:
                    discard_checkpoints(self._store.paths, outcome.key)
                except StoreError as fault:
                    self._note(f"checkpoints of trial {outcome.key[:12]} are left over: {fault}")
