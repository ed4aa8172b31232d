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
from sweeper.errors import ClusterError, StoreError
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
        reused: trials that had a result before, or got one from another run meanwhile.
        finished: trials that got a result in this run.
        failed: trials that failed in this run.
        interrupted: True if a signal ended the run before all was done.
        ceiling: the budget that ended the run, in words; None if none did.
        slots: names of the slots that worked.
        seconds: wall seconds of the run.
        working_seconds: wall seconds from the first trial's start to the end.
        elsewhere: trials left to another run of this or another study, which is still at it.
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
    elsewhere: int = 0


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
        self._recorder = Recorder(
            store,
            metric=study.objective.metric,
            fatal=lambda fault: self.stop(),
            note=self.board.note,
        )
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
            with self._claims(), self._recorder:
                self._run_executor()
        if self._dispatcher.fault is not None:
            raise self._dispatcher.fault
        return self._summary(time.monotonic() - began)

    def _run_executor(self) -> None:
        if self._executor == "inline":
            from sweeper.engine.inline import run_inline

            run_inline(self._dispatcher, stopped=self._stop.is_set)
        else:
            from sweeper.engine.session import run_ray

            try:
                run_ray(
                    self._dispatcher,
                    stopped=self._stop.is_set,
                    address=self._address,
                    note=self.board.note,
                )
            except ClusterError as fault:
                if not self._stop.is_set():
                    raise
                # A scheduler ends every process of a job, Ray's too; it is an interruption.
                self.board.note(str(fault))

    def _claim(self, keys: Sequence[str]) -> dict[str, int]:
        claims = self._store.claim(keys, owner=self._owner, lease_s=LEASE_SECONDS)
        return {claim.key: claim.attempt for claim in claims}

    @contextlib.contextmanager
    def _claims(self) -> Iterator[None]:
        """Keeps our claims alive; on leaving, what is still claimed is given back."""
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
            self._store.release(self._owner)

    def _ceiling(self) -> Ceiling:
        """A study's budget is for the whole study: what earlier runs spent counts."""
        budget = self.study.budget
        spent = [self._trials[key] for key in self._before]
        flops = sum(float(trial.derived["flops"]) for trial in spent)
        return Ceiling(
            flops=budget.flops,
            trials=budget.trials,
            seconds=None if budget.hours is None else budget.hours * 3600,
            spent_flops=flops,
            spent_trials=len(spent),
        )

    def _make_board(self, planned: Sequence[PlannedTrial]) -> Board:
        places: dict[str, list[tuple[str, float]]] = {}
        for item in planned:
            places.setdefault(item.trial.key, []).append((item.variant, item.scale))
        board = Board(
            self._trials,
            places,
            self._before,
            hyperparameters=self.study.hyperparameters,
            metric=self.study.objective.metric,
            goal=self.study.objective.goal,
        )
        if self._before:
            frame = self._store.frame(self.study.name)
            had = frame[frame["key"].isin(list(self._before))]
            board.remember(dict(zip(had["key"], had["loss"], strict=True)))
        return board

    def _summary(self, seconds: float) -> RunSummary:
        view = self.board.view()
        finished = self.board.finished
        refused = self._dispatcher.refused - finished
        theirs = self._store.results_of(list(refused))
        reused = len(self._before) + len(theirs)
        complete = reused + len(finished) + view.failed >= len(self._trials)
        return RunSummary(
            declared=len(self._trials),
            reused=reused,
            finished=len(finished),
            failed=view.failed,
            interrupted=self._stop.is_set() and not complete,
            ceiling=self._dispatcher.ceiling_reached,
            slots=view.slots,
            seconds=seconds,
            working_seconds=view.worked,
            elsewhere=len(refused) - len(theirs),
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
