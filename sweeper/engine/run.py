"""Runs a study: what remains, through an executor, into the store."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeper.engine.board import Board
from sweeper.engine.dispatch import Ceiling, Dispatcher
from sweeper.engine.packing import make_packs
from sweeper.engine.recorder import Recorder
from sweeper.errors import StoreError
from sweeper.plan import PlannedTrial, expand, remaining, unique_trials
from sweeper.store.owner import Owner
from sweeper.store.records import Membership, StudyRecord
from sweeper.store.store import Store
from sweeper.study import Study

Executor = Literal["ray", "inline"]

LEASE_SECONDS = 120.0
"""How long a claim stays ours without a heartbeat."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run did.

    Attributes:
        declared: trials of the study.
        reused: trials that had a result before.
        finished: trials that got a result in this run.
        failed: trials that failed in this run.
        interrupted: True if a signal ended the run before all was done.
        ceiling: the budget that ended the run, in words; None if none did.
        slots: names of the slots that worked.
        seconds: wall seconds of the run.
        working_seconds: wall seconds from the first trial's start to the end.
    """

    declared: int
    reused: int
    finished: int
    failed: int
    interrupted: bool
    ceiling: str | None
    slots: tuple[str, ...]
    seconds: float
    working_seconds: float


class Run:
    """One run of a study; make it, show its :attr:`board`, call :meth:`execute`.

    Args:
        study: what to run.
        store: where results go and come from.
        executor: ``ray``, or ``inline`` for this process without Ray.
        address: of a running Ray cluster; None starts a local one.
        checkpoint_seconds: seconds between checkpoints of a trial.

    Raises:
        DataError: the data of the study is missing.
        StoreError: the store cannot be written.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        *,
        executor: Executor = "ray",
        address: str | None = None,
        checkpoint_seconds: float = 300.0,
    ) -> None:
        self.study = study
        self._store = store
        self._executor = executor
        self._address = address
        self._stop = threading.Event()
        self._owner = Owner.here()
        planned = expand(study)
        self._trials = unique_trials(planned)
        store.save_study(study_record(study), [membership(item) for item in planned])
        self._before = store.results_of(list(self._trials))
        left = remaining(planned, self._before)
        self.board = self._make_board(planned)
        self._recorder = Recorder(store, metric=study.objective.metric, fatal=self._store_failed)
        self._dispatcher = Dispatcher(
            make_packs(study, left),
            claim=self._claim,
            workload=study.workload,
            paths=store.paths,
            record=self._recorder.record,
            settle=self._recorder.flush,
            observe=self.board.see,
            ordered=self.board.ordered,
            checkpoint_seconds=checkpoint_seconds,
            ceiling=self._ceiling(),
        )

    def stop(self) -> None:
        """Ends the run gracefully: running trials write a checkpoint. Safe in a handler."""
        self._stop.set()

    def execute(self) -> RunSummary:
        """Runs what remains and returns what was done.

        Raises:
            ClusterError: Ray cannot be started or joined, or broke off.
            DataError: a worker cannot read the data.
            StoreError: results could not be written; their trials will run again.
        """
        began = time.monotonic()
        if not self._dispatcher.finished:
            with self._heartbeat():
                try:
                    self._run_executor()
                finally:
                    self._recorder.flush()
                    self._store.release(self._owner)
        self._recorder.close()
        if self._dispatcher.fault is not None:
            raise self._dispatcher.fault
        return self._summary(time.monotonic() - began)

    def _run_executor(self) -> None:
        if self._executor == "inline":
            from sweeper.engine.inline import run_inline

            run_inline(self._dispatcher, stopped=self._stop.is_set)
        else:
            from sweeper.engine.session import run_ray

            run_ray(self._dispatcher, stopped=self._stop.is_set, address=self._address)

    def _claim(self, keys: Sequence[str]) -> dict[str, int]:
        claims = self._store.claim(keys, owner=self._owner, lease_s=LEASE_SECONDS)
        return {claim.key: claim.attempt for claim in claims}

    @contextlib.contextmanager
    def _heartbeat(self) -> Iterator[None]:
        over = threading.Event()

        def beat() -> None:
            while not over.wait(LEASE_SECONDS / 4):
                # A store that is away for a moment is not the end: the next beat renews.
                with contextlib.suppress(StoreError):
                    self._store.heartbeat(self._owner, lease_s=LEASE_SECONDS)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _store_failed(self, fault: StoreError) -> None:
        self.stop()

    def _ceiling(self) -> Ceiling:
        """A study's budget is for the whole study: what earlier runs spent counts."""
        budget = self.study.budget
        spent = [self._trials[key] for key in self._before]
        flops = sum(float(trial.derived["flops"]) for trial in spent)
        return Ceiling(
            flops=None if budget.flops is None else budget.flops - flops,
            trials=None if budget.trials is None else budget.trials - len(spent),
            seconds=None if budget.hours is None else budget.hours * 3600,
        )

    def _make_board(self, planned: Sequence[PlannedTrial]) -> Board:
        places: dict[str, list[tuple[str, float]]] = {}
        for item in planned:
            places.setdefault(item.trial.key, []).append((item.variant, item.scale))
        return Board(
            self._trials,
            places,
            self._before,
            hyperparameters=self.study.hyperparameters,
            metric=self.study.objective.metric,
            goal=self.study.objective.goal,
        )

    def _summary(self, seconds: float) -> RunSummary:
        view = self.board.view()
        finished = view.done + view.diverged - len(self._before)
        complete = finished + len(self._before) + view.failed >= len(self._trials)
        return RunSummary(
            declared=len(self._trials),
            reused=len(self._before),
            finished=finished,
            failed=view.failed,
            interrupted=self._stop.is_set() and not complete,
            ceiling=self._dispatcher.ceiling_reached,
            slots=view.slots,
            seconds=seconds,
            working_seconds=view.worked,
        )


def study_record(study: Study) -> StudyRecord:
    """Returns a study as the store keeps it."""
    return StudyRecord(
        name=study.name,
        question=study.question,
        workload=study.workload,
        scale=study.scale,
        metric=study.objective.metric,
        goal=study.objective.goal,
        document=study.document,
    )


def membership(item: PlannedTrial) -> Membership:
    """Returns a planned trial as the store keeps it."""
    return Membership(trial=item.trial, variant=item.variant)


@contextlib.contextmanager
def graceful(run: Run) -> Iterator[None]:
    """Context in which a first SIGINT or SIGTERM ends the run gracefully, and a second one ends
    the process at once (what is accepted is in the store either way)."""

    def handle(number: int, frame: object) -> None:
        if run._stop.is_set():
            os._exit(3)
        run.stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
