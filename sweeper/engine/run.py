"""Runs a study: what remains, through an executor, into the store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sweeper.check import require_check
from sweeper.engine.changes import settle
from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.domination import Domination
from sweeper.engine.ledger import LeaseKeeper, Recorder, StoreRetry
from sweeper.engine.messages import Ended, Event, Started
from sweeper.engine.metrics import RunMetrics, Snapshot
from sweeper.engine.notice import Notices, NoticeWatch
from sweeper.engine.packing import Pack, make_packs
from sweeper.engine.policy import Limits, Retries
from sweeper.engine.progress import Progress, amiss_with
from sweeper.engine.proposals import MakeSearch, Proposals
from sweeper.engine.timing import pace_of
from sweeper.engine.withheld import Wishes
from sweeper.engine.worker import Host, hostname
from sweeper.errors import ClusterError, RequestError, StoreError, StoreMoved
from sweeper.outcome import Outcome
from sweeper.search import Standing, make_search, standings_of
from sweeper.store import Doing, Owner, Store, Wish, discard_checkpoints
from sweeper.study import Study, remaining, require_command_trusted, unique_trials
from sweeper.trial import Trial

Executor = Literal["ray", "inline"]

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
        dominated: of the finished trials, those that were stopped since others dominated them.
        failed: trials that failed in this run.
        failed_before: trials that failed in another run, and are not repeated by a plain run.
        interrupted: True if a signal ended the run before all was done.
        ceiling: the budget that ended the run, in words; None if none did.
        slots: names of the slots that worked.
        seconds: wall seconds of the run.
        working_seconds: wall seconds from the first trial's start to the end.
        elsewhere: trials left to another run, which was still at it when this one was ended.
        stopped: trials without a result because somebody wants them stopped (`sweeper stop`).
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
    dominated: int = 0
    stopped: int = 0


class Run:
    """One run of a study; make it, show its :attr:`progress`, call :meth:`execute`.

    Args:
        study: what to run.
        store: where results go and come from.
        executor: ``ray``, or ``inline`` for this process without Ray.
        address: of a running Ray cluster; None starts a local one.
        checkpoint_seconds: seconds between checkpoints of a trial.
        limits: how long it waits, and how often it tries; None are the usual ones.
        priority: studies of a higher one come first on a Ray cluster that they share.
        notices: where it hears that this machine, or that of a worker, will be taken away.
        search: makes what proposes the trials, given the study and the trials that were known
            before; by default that which the study names.
        observe: is given every event of the engine, on the thread that it comes in on.
        tell: is given every note, a sentence a call, on any thread.
        owner: who claims trials; None is this process.
        stopped: is set by :meth:`stop`, and waited for; None makes one.

    Attributes:
        study: what is run.
        progress: what there is to show.
        proposals: what the search has proposed.
        dispatcher: what is to run, and what runs.
        recorder: brings outcomes to the store.
        lease_keeper: claims trials.
        preempted: the notice that ended the run, in words; None if none did.
        wishes: what people want of it.
        metrics: what it measures of itself.

    Raises:
        DataError: the data of the study is missing.
        RequestError: the study is stopped, or somebody has to decide something before it runs.
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
        limits: Limits | None = None,
        priority: int = 0,
        notices: Notices | None = None,
        search: MakeSearch = make_search,
        observe: Callable[[Event], None] = lambda event: None,
        tell: Callable[[str], None] = lambda text: None,
        owner: Owner | None = None,
        stopped: threading.Event | None = None,
    ) -> None:
        self.study = study
        self._store = store
        self._observe = observe
        self._executor = executor
        self._address = address
        self._limits = limits = limits or Limits()
        self._priority = priority
        self._notices = notices or Notices()
        self.preempted: str | None = None
        self._stop = stopped or threading.Event()
        self.wishes = Wishes()
        self.wishes.take(wanted := store.wishes_of(study.name))
        if self.wishes.end is not None:
            wish = self.wishes.end
            raise RequestError(f"{wish.said}; {wish.lifted_by} lets it be run again")
        self._taken = self._changes_seen = 0
        self._trials: dict[str, Trial] = {}
        self._before: set[str] = set()
        self._failed_before: set[str] = set()
        self.progress = Progress(
            hyperparameters=study.hyperparameters,
            metric=study.objective.metric,
            goal=study.objective.goal,
            pace=pace_of(study, store),
            tell=tell,
        )
        require_command_trusted(study.file, study.command)
        settle(study, store, note=self.progress.note)
        self.proposals = Proposals(study, store, search)
        self.metrics = RunMetrics(study.name, self._snapshot)
        self._domination = Domination(study)
        self._retries = Retries()
        self._store_retry = StoreRetry(note=self.progress.note, wait=self._stop.wait)
        self.recorder = Recorder(
            store,
            metric=study.objective.metric,
            fatal=lambda fault: self.stop(),
            note=self.progress.note,
            retry_seconds=limits.write_retry_seconds,
        )
        self.lease_keeper = LeaseKeeper(
            store,
            store_retry=self._store_retry,
            note=self.progress.note,
            held=lambda: self.dispatcher.held(),
            lost=lambda keys: self.dispatcher.drop(keys),
            fatal=lambda fault: self.dispatcher.give_up(fault),
            look=self._report,
            owner=owner,
            lease_seconds=limits.lease_seconds,
        )
        self.dispatcher = Dispatcher(
            claim=self.lease_keeper.claim,
            workload=study.workload,
            paths=store.paths,
            record=self.recorder.record,
            flush=self.recorder.flush,
            forgive=lambda keys: self._store_retry.call(lambda: store.forgive(keys)),
            allow_retry=self.lease_keeper.allow_retry,
            observe=self._see,
            ordered=self.progress.ordered,
            note=self.progress.note,
            is_dominated=self._domination.dominated if study.stop.dominated else None,
            wish_of=self.wishes.of,
            propose=self._propose,
            checkpoint_seconds=checkpoint_seconds,
            metric=study.objective.metric,
            diagnostics=study.recording,
            budget=study.budget,
            retries=self._retries,
            idle_deaths=limits.idle_deaths,
        )
        self.dispatcher.add(packs := self._take_up())
        self._say_held(wanted)
        if packs and (orphans := store.orphans()):
            self.progress.note(
                f"{orphans} curve files hold results that the database does not know; those of "
                "this study are taken over and not trained again"
            )

    @property
    def standings(self) -> Sequence[Standing]:
        """Where the search stands at each scale; empty of one that cannot say."""
        return standings_of(self.proposals.search)

    def stop(self) -> None:
        """Ends the run gracefully: running trials write a checkpoint. Safe in a handler."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """True once :meth:`stop` was called."""
        return self._stop.is_set()

    def preempt(self, notice: str) -> None:
        """Ends the run gracefully since this machine will be taken away."""
        self.preempted = notice
        self.progress.note(f"this machine will be taken away: {notice}; trials are checkpointed")
        self.stop()

    def execute(self) -> RunSummary:
        """Runs what remains and returns what was done.

        Raises:
            RequestError: the study requires its coordinate check to pass, and it fails.
            ClusterError: Ray cannot be started or joined, or broke off.
            DataError: a worker cannot read the data.
            StoreError: results could not be written; their trials will run again.
        """
        began = time.monotonic()
        self._store.database.timed = self.metrics.transacted
        self._clear(self._before)
        if self.study.check.required and not self.dispatcher.finished:
            say, paths = self.progress.note, self._store.paths
            require_check(self.study, paths, tell=say, stopped=self._stop.is_set)
        if not self.dispatcher.finished or self.dispatcher.withheld.paused:
            watch = NoticeWatch(self._notices, heard=self.preempt, unread=self.progress.note)
            with self.lease_keeper, self.recorder, watch:
                if not self.dispatcher.finished:
                    self._run_executor()
                while self.await_others() or self._await_lift():
                    self._run_executor()
        if self.dispatcher.fault is not None:
            raise self.dispatcher.fault
        accepted = self.recorder.accepted
        self._store_retry.call(lambda: self._store.require_kept(accepted))
        self._clear(accepted)
        return self.summary(time.monotonic() - began)

    def _snapshot(self) -> Snapshot:
        kinds = self.dispatcher.withheld.kinds
        return Snapshot(
            view=self.progress.view(),
            stopped=kinds.count("stop"),
            paused=kinds.count("pause"),
            recorded=len(self.recorder.accepted),
        )

    # What people want of it --------------------------------------------------------------------

    def _report(self) -> None:
        """Says in the store what this run does, and heeds what is wanted of it.

        Raises:
            StoreError: the store cannot be written.
        """
        view = self.progress.view()
        self._store.report(
            self.lease_keeper.owner,
            self.study.name,
            executor=self._executor,
            lease_s=self._limits.lease_seconds,
            doing=self._doing(),
            slots=len(view.slots),
            trials=self.progress.stands(),
            left_seconds=view.left,
        )
        self._heed(self._store.wishes_of(self.study.name))

    def _doing(self) -> Doing:
        if not self.dispatcher.finished:
            return "running"
        return "paused" if self.dispatcher.withheld.paused else "waiting"

    def _heed(self, wanted: Sequence[Wish]) -> None:
        new, lifted = self.wishes.take(wanted)
        if not (new or lifted):
            return
        self.dispatcher.heed()
        self._say_held(new)
        for wish in lifted:
            if not any((w.variant, w.key) == (wish.variant, wish.key) for w in new):
                self.progress.note(f"{wish.of} is no longer held back")
        if self.wishes.end is not None:
            self.stop()

    def _say_held(self, new: Sequence[Wish]) -> None:
        for wish in new:
            self.progress.note(f"{wish.said}; {wish.lifted_by} lifts it")

    def _await_lift(self) -> bool:
        """Waits while trials are paused; returns True as soon as some may run again."""
        changes = -1
        while not self._over():
            if self._lifted():
                return True
            if changes != self.wishes.changes:  # there may be many to look at
                changes = self.wishes.changes
                if not self.dispatcher.withheld.paused:
                    return False
            self._stop.wait(LOOK_SECONDS[0])
        return False

    def _lifted(self) -> bool:
        """Has trials wait again where wishes have changed since this was last asked; returns
        whether there are any."""
        before, self._changes_seen = self._changes_seen, self.wishes.changes
        return before != self.wishes.changes and self.dispatcher.lift()

    def _see(self, event: Event) -> None:
        self.progress.handle(event)
        self.metrics.see(event)
        if isinstance(event, Ended):
            self._domination.ended(event.outcome)
        self._observe(event)

    def _propose(self) -> list[Pack]:
        """Asks the search again, once what has come in is in the store."""
        if self.proposals.finished:
            return []
        self.recorder.flush()
        self._store_retry.call(self.proposals.grow)
        return self._store_retry.call(self._take_up)

    def _take_up(self) -> list[Pack]:
        """Enters the trials proposed since the last time into progress, leases, retries and
        budget; returns what of them is left to run. Changes nothing if the store cannot be read.
        """
        planned = self.proposals.planned[self._taken :]
        new = {k: trial for k, trial in unique_trials(planned).items() if k not in self._trials}
        had = self._store.outcomes_of(new, environment=self.study.recording is not None)
        failures = self._store.failures_of([key for key in new if key not in had])
        deaths = self._store.worker_deaths(new)
        short = {key for key, failure in failures.items() if not failure.final}
        done = had.keys() | (failures.keys() - short)
        self._taken += len(planned)
        self._trials |= new
        self._before |= had.keys()
        self._failed_before |= failures.keys() - short
        self.progress.add(planned, had)
        self.wishes.add(planned)
        self._compare_with(new, had)
        self.lease_keeper.allow_retry(short)
        self._retries.remember(deaths, short)
        self.dispatcher.spend(new[key] for key in done)
        left = [item for item in remaining(planned, done) if item.trial.key in new]
        return make_packs(self.study, left, short=short)

    def _compare_with(self, new: Mapping[str, Trial], had: Mapping[str, Outcome]) -> None:
        """Has trials judged by those that have results, and says what is amiss with these."""
        self._domination.add(new.values())
        if self._domination.enabled and had:
            for outcome in self._store.with_marks(had):
                self._domination.ended(outcome)
        for text in amiss_with(had.values(), self.study, stops=self._domination.enabled):
            self.progress.note(text)

    def _clear(self, finished: Collection[str]) -> None:
        """Removes what was kept of trials that have results, by a controller that was killed
        before it did so or by a worker that was cut off; left there, it costs its space alone."""
        try:
            for key, _ in self._store.paths.checkpoint_folders():
                if key in finished:
                    discard_checkpoints(self._store.paths, key)
        except StoreError as fault:
            self.progress.note(f"checkpoints of finished trials are left over: {fault}")

    def _run_executor(self) -> None:
        if self._executor == "inline":
            self._run_inline()
        else:
            from sweeper.engine.ray import run_ray

            try:
                run_ray(
                    self.dispatcher,
                    self._store.paths,
                    stopped=self._stop.is_set,
                    address=self._address,
                    hang_seconds=self._limits.hang_seconds,
                    priority=self._priority,
                    notices=self._notices or None,
                    note=self.progress.note,
                    study=self.study.name,
                    scale=self.study.scale,
                    metrics=self.metrics.registry,
                )
            except ClusterError as fault:
                if not self._stop.is_set():
                    raise
                # A scheduler ends every process of a job, Ray's too; it is an interruption.
                self.progress.note(str(fault))

    def _run_inline(self) -> None:
        """Runs everything that waits in this process, as a Ray slot would, one order at a time."""
        dispatcher = self.dispatcher
        if custom := self.study.resources.custom:
            self.progress.note(
                f"{', '.join(custom)} in `resources` tells a Ray cluster where trials may run; "
                "without Ray they run here"
            )
        while (shapes := dispatcher.shapes()) and not self.stopping:
            for order in dispatcher.take(shapes[0]):
                here, host = hostname(), Host(order)
                began = Started(
                    order=order.number, slot="inline", host=here, pid=os.getpid(), place=here
                )
                dispatcher.handle(began)
                while not host.done:
                    host.drop(dispatcher.dropped.take().get(order.number, ()))
                    host.end_dominated(dispatcher.dominated.take().get(order.number, ()))
                    host.halt(dispatcher.halted.take().get(order.number, ()))
                    ending = self.stopping or isinstance(dispatcher.fault, StoreMoved)
                    dispatcher.handle(*(host.stop() if ending else host.advance()))
        if self.stopping:
            dispatcher.stop()

    def await_others(self) -> bool:
        """Waits until other controllers have ended the trials of ours that they had claimed;
        returns True as soon as they let go of some, which are ours to run then."""
        others, seconds = self.dispatcher.leased_by_others, LOOK_SECONDS[0]
        ask, said = self._store_retry.call, False
        while (keys := list(others.keys)) and not self._over():
            if self._lifted():
                return True
            self.recorder.flush()
            done = ask(partial(self._store.outcomes_of, keys))
            self.progress.found(done)
            open_keys = [key for key in keys if key not in done]
            failed = ask(partial(self._store.failures_of, open_keys))
            if others.take(done.keys() | failed.keys()):
                self.dispatcher.grow()
            left = [key for key in open_keys if key not in failed]
            holders = ask(partial(self._store.holders, left))
            watched = self.lease_keeper.watched(left)
            free = [key for key in left if key not in holders and key not in watched]
            self.dispatcher.come_back(free)
            if not self.dispatcher.finished:
                return True
            if holders and not said:
                who = sorted({f"process {each.pid} on {each.host}" for each in holders.values()})
                self.progress.note(f"{len(left)} trials are run by {', '.join(who)}; waiting")
                said = True
            if left and self._stop.wait(seconds):
                break
            seconds = min(2 * seconds, LOOK_SECONDS[1])
        return False

    def _over(self) -> bool:
        dispatcher = self.dispatcher
        spent = dispatcher.ceiling_reached is not None
        return self._stop.is_set() or dispatcher.fault is not None or spent

    def summary(self, seconds: float) -> RunSummary:
        """Returns what was done so far, in so many seconds."""
        view = self.progress.view()
        finished = self.progress.finished & self.recorder.accepted
        refused = (self.dispatcher.refused | self.progress.finished) - finished
        theirs = self._store_retry.call(partial(self._store.results_of, list(refused)))
        left = [key for key in refused if key not in theirs]
        failed = self._store_retry.call(partial(self._store.failures_of, left))
        failed_before = len(self._failed_before | (failed.keys() - self.progress.failed))
        reused = len(self._before) + len(theirs)
        ended = reused + len(finished) + len(self.progress.failed) + failed_before
        return RunSummary(
            declared=len(self._trials),
            reused=reused,
            finished=len(finished),
            adopted=view.adopted,
            dominated=view.stopped,
            failed=len(self.progress.failed),
            interrupted=self._stop.is_set() and ended < len(self._trials),
            ceiling=self.dispatcher.ceiling_reached,
            slots=view.slots,
            seconds=seconds,
            working_seconds=view.worked,
            elsewhere=len(self.dispatcher.leased_by_others.keys),
            failed_before=failed_before,
            stopped=len(self.dispatcher.withheld.keys),
        )
