"""Outcomes to the store, on one writer thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from sweeper.engine.attempt import discard_checkpoints
from sweeper.errors import StoreError
from sweeper.outcome import Outcome
from sweeper.store.store import Store

GROUP = 256
"""Outcomes that may share one transaction when they queue up faster than the disk commits."""

RETRY_SECONDS = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
"""Waits between tries of a write that failed (a locked or restarting database)."""


class Recorder:
    """Commits outcomes in the order in which they arrive.

    Args:
        store: where to.
        metric: the study's metric, copied into the results table as the objective.
        accepted: called on the writer thread after each commit, with what was committed.
        fatal: called once if the store stays out of reach.
    """

    def __init__(
        self,
        store: Store,
        *,
        metric: str,
        accepted: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
        fatal: Callable[[StoreError], None] = lambda fault: None,
    ) -> None:
        self._store = store
        self._metric = metric
        self._accepted = accepted
        self._fatal = fatal
        self._queue: queue.Queue[Outcome | None] = queue.Queue()
        self.fault: StoreError | None = None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def record(self, outcome: Outcome) -> None:
        """Queues an outcome; returns at once."""
        self._queue.put(outcome)

    def flush(self) -> None:
        """Returns when everything queued so far is committed, or the store has failed."""
        self._queue.join()

    def close(self) -> None:
        """Commits what is queued and ends the thread.

        Raises:
            StoreError: the store could not be written; those trials will run again.
        """
        self._queue.put(None)
        self._thread.join()
        if self.fault is not None:
            raise self.fault

    def _write(self) -> None:
        while True:
            group, last = self._group()
            if group and self.fault is None:
                self._commit(group)
            for _ in range(len(group) + last):
                self._queue.task_done()
            if last:
                return

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

    def _commit(self, group: list[Outcome]) -> None:
        rows = [(outcome, outcome.metrics.get(self._metric)) for outcome in group]
        for wait in (*RETRY_SECONDS, None):
            try:
                self._store.record_many(rows)
                break
            except StoreError as fault:
                if wait is None:
                    self.fault = fault
                    self._fatal(fault)
                    return
                time.sleep(wait)
        for outcome in group:
            if outcome.accepted:
                discard_checkpoints(self._store.paths, outcome.key)
        self._accepted(group)
