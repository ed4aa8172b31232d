"""What a run writes to the store: its leases, and outcomes on one writer thread; both wait
while the store is away."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Self, TypeVar

from sweeper.engine.patience import NOTE_SECONDS, told_late
from sweeper.engine.policy import Limits
from sweeper.errors import StoreAway, StoreError, StoreMoved
from sweeper.outcome import Outcome
from sweeper.store import Elsewhere, Owner, Store, discard_checkpoints

FIRST_WAIT = 0.2
LONGEST_WAIT = 10.0
"""Seconds between two tries; they double from the first to the longest."""

LIMIT = 600.0
"""Seconds after which a store is given up."""

T = TypeVar("T")


class StoreRetry:
    """Calls a function of the store again for as long as the store may come back.

    Args:
        note: is told once that the store is away, and once that it is back.
        wait: sleeps, and returns True if it is no use to go on waiting.
        limit: seconds to wait in all.
        late: seconds without an answer after which a note says so.
        clock: tells the time, in seconds.
    """

    def __init__(
        self,
        *,
        note: Callable[[str], None],
        wait: Callable[[float], bool],
        limit: float = LIMIT,
        late: float = NOTE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note = note
        self._wait = wait
        self._limit = limit
        self._late = late
        self._clock = clock

    def call(self, function: Callable[[], T]) -> T:
        """Returns what a function of the store returns, once the store is there.

        Raises:
            StoreAway: the store stayed away, or waiting was ended.
            StoreError: the store is there and something else is wrong.
        """
        since, seconds, away = self._clock(), FIRST_WAIT, False
        while True:
            try:
                with told_late("the store has not answered", self._note, seconds=self._late):
                    answer = function()
            except StoreAway as fault:
                if not away:
                    self._note(f"waiting for the store: {fault}")
                away = True
                if self._clock() - since > self._limit or self._wait(seconds):
                    raise
                seconds = min(2 * seconds, LONGEST_WAIT)
            else:
                if away:
                    self._note(f"the store is back after {self._clock() - since:.0f} s")
                return answer


LOOK_SECONDS = 5.0
"""How often a run says in the store what it does, and heeds what people want of it."""


class LeaseKeeper:
    """Context in which trials may be claimed: keeps their leases, and gives them back on leaving.

    Args:
        store: where claims are kept.
        store_retry: waits for a store that is away.
        note: is given what a person should know, a sentence a call.
        held: tells which keys the run believes to hold.
        lost: is given the keys that another controller has taken over.
        fatal: is given the fault if the database is no longer where it was.
        look: is called every few seconds, the first time at once, beside the heartbeats.
        owner: who claims; None is this process.
        lease_seconds: how long a claim stays ours without a heartbeat.
        clock: tells the time, in seconds.

    Attributes:
        owner: who claims.
    """

    def __init__(
        self,
        store: Store,
        *,
        store_retry: StoreRetry,
        note: Callable[[str], None],
        held: Callable[[], set[str]],
        lost: Callable[[set[str]], None],
        fatal: Callable[[StoreMoved], None] = lambda fault: None,
        look: Callable[[], None] = lambda: None,
        owner: Owner | None = None,
        lease_seconds: float = Limits.lease_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[Elsewhere, float]] = {}
        self._hosts: set[str] = set()
        self._store = store
        self._store_retry = store_retry
        self._note = note
        self._held = held
        self._lost = lost
        self._fatal = fatal
        self._look = look
        self.owner = owner or Owner.here()
        self._lease_seconds = lease_seconds
        self._retry_allowed: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._store.release(self.owner)
        except StoreError as fault:
            self._note(f"the claims of this run lapse by themselves: {fault}")

    def allow_retry(self, keys: Collection[str]) -> None:
        """Lets trials be claimed once more although their last attempt failed."""
        self._retry_allowed |= set(keys)

    def claim(self, keys: Sequence[str]) -> dict[str, int]:
        """Returns the number of the attempt of each key that is ours to run.

        A trial whose last attempt failed is not, unless :meth:`allow_retry` was told: it may have
        failed under another controller meanwhile, or under a worker that was given up. Nor is one
        that this run has handed out already, which the store would give to it once more.
        """
        return self._store_retry.call(lambda: self._claim(keys))

    def _claim(self, keys: Sequence[str]) -> dict[str, int]:
        doubtful = [key for key in keys if key not in self._retry_allowed]
        failed = self._store.failures_of(doubtful) if doubtful else {}
        held = self._held()
        wanted = [key for key in keys if key not in failed and key not in held]
        watched = self._watched(wanted)
        wanted = [key for key in wanted if key not in watched]
        claims = self._store.claim(
            wanted,
            owner=self.owner,
            lease_s=self._lease_seconds,
            # What another machine has claimed since is not among these, and stays its own.
            given_up={self._seen[key][0] for key in wanted if key in self._seen},
        )
        self._retry_allowed -= {claim.key for claim in claims}
        return {claim.key: claim.attempt for claim in claims}

    def watched(self, keys: Sequence[str]) -> set[str]:
        """Returns those trials of other machines that are not given up yet: a lease that looks
        lapsed may be one that a machine renews whose clock is behind, so that it has to stay the
        same for as long as a lease holds."""
        return self._store_retry.call(lambda: self._watched(keys))

    def _watched(self, keys: Sequence[str]) -> set[str]:
        found, now = self._store.held_elsewhere(list(keys)), self._clock()
        self._warn_of({each.host for each in found.values()})
        lapsed = {key: each for key, each in found.items() if each.lapsed}
        for key, each in lapsed.items():
            if key not in self._seen or self._seen[key][0] != each:
                self._seen[key] = each, now
        return {key for key in lapsed if now - self._seen[key][1] < self._lease_seconds}

    def _warn_of(self, hosts: set[str]) -> None:
        if new := hosts - self._hosts:
            self._hosts |= new
            self._note(
                f"{', '.join(sorted(new))} has claims in this SQLite database, where leases go by "
                "the clock of each machine: what looks left behind is taken over when nobody has "
                f"renewed it for {self._lease_seconds:g} s. Machines that share a study should "
                "share a PostgreSQL server"
            )

    def _run(self) -> None:
        wait, every, renewed = 0.0, self._lease_seconds / 4, -math.inf
        while not self._over.wait(wait):
            wait, now = min(every, LOOK_SECONDS), time.monotonic()
            # A store that is away for a moment is not the end: the next beat renews.
            try:
                if now - renewed >= every:
                    renewed = now
                    self.beat()
                self._look()
            except StoreMoved as fault:
                self._fatal(fault)
            except StoreError:
                continue

    def beat(self) -> None:
        """Renews the leases once, and hands on what is no longer ours.

        Raises:
            StoreError: the store cannot be written.
        """
        before = self._held()
        kept = self._store.heartbeat(self.owner, lease_s=self._lease_seconds)
        gone = (before & self._held()) - kept
        if gone:
            self._note(
                f"{len(gone)} trials were taken over by another run, since the claims of "
                "this one had lapsed; they are dropped here"
            )
            self._lost(gone)


GROUP = 256
"""Outcomes that may share one transaction when they queue up faster than the disk commits."""


class Recorder:
    """Context that commits outcomes in the order in which they arrive; leaving it commits what
    is queued.

    Args:
        store: where to.
        metric: the study's metric, copied into the results table as the objective.
        fatal: called once, on the writer thread, if outcomes can no longer be kept.
        note: is given what a person should know while the run goes on.
        retry_seconds: waits between tries of a write that failed.

    Attributes:
        accepted: keys of the trials whose results it brought in; of others the store had one.

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
        retry_seconds: Sequence[float] = Limits.write_retry_seconds,
    ) -> None:
        self.accepted: set[str] = set()
        self._store = store
        self._retry_seconds = retry_seconds
        self._metric = metric
        self._fatal = fatal
        self._note = note
        self._store_retry = StoreRetry(note=note, wait=self._pause)
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
        rows = [
            (each, None if each.kind == "dominated" else each.metrics.get(self._metric))
            for each in group
        ]
        for wait in self._retry_seconds:
            try:
                self._take(group, self._store_retry.call(lambda: self._store.record_many(rows)))
                return
            except (StoreAway, StoreMoved):
                raise
            except StoreError:
                time.sleep(wait)
        self._take(group, self._store.record_many(rows))

    def _take(self, group: Sequence[Outcome], verdicts: Sequence[bool]) -> None:
        pairs = zip(group, verdicts, strict=True)
        self.accepted |= {outcome.key for outcome, accepted in pairs if accepted}

    def _discard(self, group: Sequence[Outcome]) -> None:
        """A checkpoint that stays behind costs its space and nothing else."""
        for outcome in group:
            if outcome.accepted:
                try:
                    discard_checkpoints(self._store.paths, outcome.key)
                except StoreError as fault:
                    self._note(f"checkpoints of trial {outcome.key[:12]} are left over: {fault}")
