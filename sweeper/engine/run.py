"""Runs a study: what remains, through an executor, into the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.ledger import Patience, Recorder, Tenure
from sweeper.engine.packing import make_packs
from sweeper.engine.policy import Ceiling, Retries
from sweeper.engine.progress import Board
from sweeper.engine.worker import discard_checkpoints
from sweeper.errors import ClusterError, StoreError
from sweeper.store import Membership, Store, StudyRecord, checkpoint_folders
from sweeper.study import PlannedTrial, Study, expand, remaining, unique_trials

Executor = Literal["ray", "inline"]

HANG_SECONDS = 1800.0
"""How long a worker may say nothing about what it trains."""

LOOK_SECONDS = (0.5, 5.0)
"""Seconds between two looks at trials that other controllers run: at first, and at last."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run did.

    Attributes:
        declared: trials of the study.
        reused: trials that had a result before, or got one from another run meanwhile.
        finished: trials that got a result in this run.
        adopted: of the finished trials, those whose result lay in a curve file already.
        failed: trials that failed in this run.
        failed_before: trials that failed in another run, and are not repeated by a plain run.
        interrupted: True if a signal ended the run before all was done.
        ceiling: the budget that ended the run, in words; None if none did.
        slots: names of the slots that worked.
        seconds: wall seconds of the run.
        working_seconds: wall seconds from the first trial's start to the end.
        elsewhere: trials left to another run, which was still at it when this one was ended.
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
    failed_before: int = 0
    adopted: int = 0


class Run:
    """One run of a study; make it, show its :attr:`board`, call :meth:`execute`.

    Args:
        study: what to run.
        store: where results go and come from.
        executor: ``ray``, or ``inline`` for this process without Ray.
        address: of a running Ray cluster; None starts a local one.
        checkpoint_seconds: seconds between checkpoints of a trial.
        hang_seconds: a worker that says nothing about its trials for so long is ended; inline
            nobody is there to end it.

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
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self.study = study
        self._store = store
        self._executor = executor
        self._address = address
        self._hang_seconds = hang_seconds
        self._stop = threading.Event()
        planned = expand(study)
        self._trials = unique_trials(planned)
        store.save_study(study_record(study), [membership(item) for item in planned])
        self._before = store.results_of(list(self._trials))
        failures = store.failures_of(list(self._trials))
        owed = {key for key, failure in failures.items() if not failure.final}
        self._failed_before = failures.keys() - owed
        left = remaining(planned, self._before.keys() | self._failed_before)
        self.board = self._make_board(planned)
        if left and (orphans := store.orphans()):
            self.board.note(
                f"{orphans} curve files hold results that the database does not know; those of "
                "this study are taken over and not trained again"
            )
        self._recorder = Recorder(
            store,
            metric=study.objective.metric,
            fatal=lambda fault: self.stop(),
            note=self.board.note,
        )
        self._tenure = Tenure(
            store,
            patience=Patience(note=self.board.note, wait=self._stop.wait),
            note=self.board.note,
            held=lambda: self._dispatcher.held(),
            lost=lambda keys: self._dispatcher.drop(keys),
        )
        self._tenure.owe(owed)
        self._dispatcher = Dispatcher(
            make_packs(study, left, short=owed),
            claim=self._tenure.claim,
            workload=study.workload,
            paths=store.paths,
            record=self._recorder.record,
            settle=self._recorder.flush,
            excuse=store.excuse,
            owe=self._tenure.owe,
            observe=self.board.see,
            ordered=self.board.ordered,
            note=self.board.note,
            checkpoint_seconds=checkpoint_seconds,
            ceiling=self._ceiling(),
            retries=Retries(store.losses_of(list(self._trials)), short=owed),
        )

    def stop(self) -> None:
        """Ends the run gracefully: running trials write a checkpoint. Safe in a handler."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """True once :meth:`stop` was called."""
        return self._stop.is_set()

    def execute(self) -> RunSummary:
        """Runs what remains and returns what was done.

        Raises:
            ClusterError: Ray cannot be started or joined, or broke off.
            DataError: a worker cannot read the data.
            StoreError: results could not be written; their trials will run again.
        """
        began = time.monotonic()
        self._clear_finished()
        if not self._dispatcher.finished:
            with self._tenure, self._recorder:
                self._run_executor()
                while self._await_others():
                    self._run_executor()
        if self._dispatcher.fault is not None:
            raise self._dispatcher.fault
        return self._summary(time.monotonic() - began)

    def _clear_finished(self) -> None:
        """Removes what a controller left that was killed after it had recorded a result and before
        it had removed the trial's checkpoints; left there, they cost their space alone."""
        try:
            for key, _ in checkpoint_folders(self._store.paths):
                if key in self._before:
                    discard_checkpoints(self._store.paths, key)
        except StoreError as fault:
            self.board.note(f"checkpoints of finished trials are left over: {fault}")

    def _run_executor(self) -> None:
        if self._executor == "inline":
            from sweeper.engine.inline import run_inline

            run_inline(self._dispatcher, stopped=self._stop.is_set)
        else:
            from sweeper.engine.ray import run_ray

            try:
                run_ray(
                    self._dispatcher,
                    stopped=self._stop.is_set,
                    address=self._address,
                    hang_seconds=self._hang_seconds,
                    note=self.board.note,
                )
            except ClusterError as fault:
                if not self._stop.is_set():
                    raise
                # A scheduler ends every process of a job, Ray's too; it is an interruption.
                self.board.note(str(fault))

    def _await_others(self) -> bool:
        """Waits until other controllers have ended the trials of ours that they had claimed;
        returns True as soon as they let go of some, which are ours to run then."""
        elsewhere, seconds = self._dispatcher.elsewhere, LOOK_SECONDS[0]
        said = False
        while (keys := list(elsewhere.keys)) and not self._over():
            self._recorder.flush()
            done = self._store.results_of(keys)
            self.board.found(done)
            failed = self._store.failures_of([key for key in keys if key not in done])
            elsewhere.take(done.keys() | failed.keys())
            left = [key for key in keys if key not in done and key not in failed]
            holders = self._store.holders(left)
            free = [key for key in left if key not in holders]
            if free:
                self._dispatcher.come_back(free)
                return not self._dispatcher.finished
            if holders and not said:
                who = sorted({f"process {each.pid} on {each.host}" for each in holders.values()})
                self.board.note(f"{len(left)} trials are run by {', '.join(who)}; waiting")
                said = True
            if left and self._stop.wait(seconds):
                break
            seconds = min(2 * seconds, LOOK_SECONDS[1])
        return False

    def _over(self) -> bool:
        dispatcher = self._dispatcher
        spent = dispatcher.ceiling_reached is not None
        return self._stop.is_set() or dispatcher.fault is not None or spent

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
        failed = self._store.failures_of([key for key in refused if key not in theirs])
        failed_before = len(self._failed_before | (failed.keys() - self.board.failed))
        reused = len(self._before) + len(theirs)
        ended = reused + len(finished) + len(self.board.failed) + failed_before
        return RunSummary(
            declared=len(self._trials),
            reused=reused,
            finished=len(finished),
            adopted=view.adopted,
            failed=len(self.board.failed),
            interrupted=self._stop.is_set() and ended < len(self._trials),
            ceiling=self._dispatcher.ceiling_reached,
            slots=view.slots,
            seconds=seconds,
            working_seconds=view.worked,
            elsewhere=len(self._dispatcher.elsewhere.keys),
            failed_before=failed_before,
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
