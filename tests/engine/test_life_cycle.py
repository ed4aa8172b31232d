"""The life of trials as a state machine: whatever happens in whatever order, nothing is lost."""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from engine_studies import planted, trials_of
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from life_cycle import Clock, Controller, Worker
from long_form import draws

from sweeper.engine.policy import Limits
from sweeper.errors import RequestError
from sweeper.outcome import Outcome, OutcomeKind
from sweeper.store.store import Store

NAME = "planted"
WIDTHS = (32, 64, 128)
RATES = (0.015625, 0.03125)
ROUNDS = 60
"""Rounds in which everything that is left has to come to its end."""

which = st.integers(0, 9)
words = st.sampled_from(["take", "take", "end", "end", "lose", "lose node", "late"])
kinds = st.sampled_from(
    ["completed", "completed", "completed", "diverged", "bug", "out_of_memory", "stopped"]
)


class LifeCycle(RuleBasedStateMachine):
    """Two controllers at most at a time, their workers, the clock and the study's editor."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.clock = Clock()
        self.controllers: list[Controller] = []
        self.accepted: dict[str, tuple[str, float | None]] = {}
        self.told: set[tuple[str, int]] = set()
        self.expiry: dict[tuple[int, str], float] = {}
        self.known: set[str] = set()
        self.number = 0

    # What can happen --------------------------------------------------------------------------

    @initialize(pack=st.integers(1, 3))
    def begin(self, pack: int) -> None:
        location = self._location()
        self.store = self.clock.set_on(
            self._stack.enter_context(Store.open(location, create=True))
        )
        upkeep = self._stack.enter_context(Store.open(location, create=False))
        self.upkeep = self.clock.set_on(upkeep)
        self.pack = pack
        self.edit({32, 64}, False)

    def _location(self) -> str:
        return self._stack.enter_context(tempfile.TemporaryDirectory())

    @rule(widths=st.sets(st.sampled_from(WIDTHS), min_size=1), reverse=st.booleans())
    def edit(self, widths: set[int], reverse: bool) -> None:
        """Edits the file; it counts from the next run on."""
        self.study = planted(
            sweep={
                "width": sorted(widths, reverse=reverse),
                "learning_rate": list(RATES[:: -1 if reverse else 1]),
            },
            resources={"pack": self.pack},
        )

    @precondition(lambda self: len(self.controllers) < 2)
    @rule(here=st.booleans())
    def start(self, here: bool) -> None:
        self.number += 1
        controller = Controller(self.study, self.store, number=self.number, here=here)
        self.controllers.append(controller)
        self.newest, self.retried = controller, False
        self.declared = {trial.key for trial in trials_of(self.study)}
        self.known |= self.declared

    @precondition(lambda self: self.controllers)
    @rule(steps=st.lists(st.tuples(words, which, kinds), min_size=2, max_size=6))
    def work(self, steps: list[tuple[str, int, OutcomeKind]]) -> None:
        """Controllers hand out trials and workers do what workers do, a few steps at a time."""
        for word, one, kind in steps:
            busy, late = self._busy(), self._late()
            if word == "take":
                self._take(self._controller(one), 1 + one % 2)
            elif word == "end" and busy:
                self._end(*busy[one % len(busy)], kind)
            elif word.startswith("lose") and busy:
                controller, worker = busy[one % len(busy)]
                controller.lose(worker, node=word == "lose node")
            elif word == "late" and late:
                # A worker that was given up tells how it ended all the same.
                self._end(*late[one % len(late)], kind)

    @precondition(lambda self: any(controller.said for controller in self.controllers))
    @rule(one=which)
    def say_again(self, one: int) -> None:
        """What a worker said arrives a second time."""
        said = [(c, event) for c in self.controllers for event in c.said]
        controller, event = said[-1 - one % len(said)]
        controller.tell(event)
        self._accept(event.outcome)

    @precondition(lambda self: self.controllers)
    @rule(one=which)
    def beat(self, one: int) -> None:
        self._beat(self._controller(one))

    @precondition(lambda self: self.controllers)
    @rule(one=which)
    def look(self, one: int) -> None:
        self._controller(one).look()

    @precondition(lambda self: self.controllers)
    @rule(one=which, killed=st.booleans())
    def leave(self, one: int, killed: bool) -> None:
        controller = self._controller(one)
        self.controllers.remove(controller)
        controller.crash() if killed else controller.close()

    @rule(seconds=st.sampled_from([1, Limits.lease_seconds / 2, Limits.lease_seconds + 1, -300]))
    def pass_time(self, seconds: float) -> None:
        """Time passes, or the clock is put back."""
        self.clock.offset += seconds

    @precondition(lambda self: self.known)
    @rule(diverged=st.booleans())
    def retry(self, diverged: bool) -> None:
        """`sweeper retry`: the one way in which a result ceases to be one."""
        try:
            done = self.upkeep.retry(NAME, failed=True, diverged=diverged)
        except RequestError as refusal:
            assert "is running on" in str(refusal)
            return
        self.retried |= bool(done.failed or done.withdrawn)
        for key in done.withdrawn:
            assert self.accepted.pop(key)[0] == "diverged"

    # What always holds ------------------------------------------------------------------------

    @invariant()
    def nothing_accepted_is_lost_or_changed(self) -> None:
        if self.known:
            rows = self.store.query("select trial_key, outcome, objective from results").rows
            assert {key: (kind, loss) for key, kind, loss in rows} == self.accepted
            assert len(rows) == len(self.accepted)

    @invariant()
    def the_account_adds_up(self) -> None:
        if not self.known:
            return
        account = self.store.account(NAME)
        parts = Counter(kind for key, (kind, _) in self.accepted.items() if key in self.declared)
        rest = account.running + account.pending + account.failed
        assert min(account.running, account.pending, account.failed) >= 0
        assert (account.done, account.diverged) == (parts["completed"], parts["diverged"])
        assert account.declared == len(self.declared) == sum(parts.values()) + rest
        assert account.hidden == len(self.known - self.declared)
        assert account.failed == sum(cause.count for cause in account.causes)

    @invariant()
    def no_trial_runs_twice(self) -> None:
        if self.known:
            statement = "select trial_key from attempts where state = 'running'"
            keys = [key for (key,) in self.store.query(statement).rows]
            assert len(set(keys)) == len(keys)

    # The end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        with self._stack:
            if hasattr(self, "store"):
                try:
                    self._bring_to_an_end()
                finally:
                    for controller in self.controllers:
                        controller.crash()

    def _bring_to_an_end(self) -> None:
        """Lets the controllers that are left work on, and a last one do the rest."""
        for last in (False, True):
            # Past every lease, also those from before the clock was put back.
            latest = max(self.expiry.values(), default=0.0)
            self.clock.offset = max(self.clock.offset, latest) + Limits.lease_seconds
            if last:
                for controller in self.controllers:
                    controller.close()
                self.controllers.clear()
                self.start(True)
            for _ in range(ROUNDS):
                if all(controller.idle for controller in self.controllers):
                    break
                for controller in self.controllers:
                    self._beat(controller)
                    self._take(controller, 1)
                    for worker in list(controller.workers):
                        self._end(controller, worker, "completed")
                    controller.look()
            if self.controllers and self.newest in self.controllers and not self.retried:
                account = self.store.account(NAME)
                assert (account.running, account.pending) == (0, 0), "the newest leaves nothing"
        self.nothing_accepted_is_lost_or_changed()
        account = self.store.account(NAME)
        assert (account.running, account.pending) == (0, 0)
        assert account.done + account.diverged + account.failed == account.declared

    # Steps ------------------------------------------------------------------------------------

    def _controller(self, one: int) -> Controller:
        return self.controllers[one % len(self.controllers)]

    def _busy(self) -> list[tuple[Controller, Worker]]:
        return [(c, worker) for c in self.controllers for worker in c.workers if worker.tasks]

    def _late(self) -> list[tuple[Controller, Worker]]:
        return [(c, worker) for c in self.controllers for worker in c.zombies]

    def _take(self, controller: Controller, count: int) -> None:
        final = self._final_failures()
        orders = controller.take(count)
        for key in (task.key for order in orders for task in order.tasks):
            assert key not in self.accepted, "what has a result is not run"
            assert key not in final, f"a failed trial is repeated: {final.get(key)}"
            for other in self.controllers:
                if other is not controller and key in other.dispatcher.held():
                    assert not other.here, "the other one is certainly alive"
                    assert self.expiry[id(other), key] <= self.clock.offset
            self.expiry[id(controller), key] = self.clock.offset + Limits.lease_seconds

    def _beat(self, controller: Controller) -> None:
        controller.beat()
        for key in controller.dispatcher.held():
            self.expiry[id(controller), key] = self.clock.offset + Limits.lease_seconds
        for other in self.controllers:
            if other is not controller:
                other.beat()
                assert not controller.dispatcher.held() & other.dispatcher.held()

    def _end(self, controller: Controller, worker: Worker, kind: OutcomeKind) -> None:
        self.number += 1
        self._accept(controller.end(worker, kind, float(self.number)))

    def _accept(self, outcome: Outcome) -> None:
        """The first result of a trial is accepted, unless it was told before: one that was
        withdrawn does not come back."""
        told = (outcome.key, outcome.attempt) in self.told
        self.told.add((outcome.key, outcome.attempt))
        if outcome.accepted and not told and outcome.key not in self.accepted:
            loss = outcome.metrics.get("val_loss")
            self.accepted[outcome.key] = (outcome.kind, loss)

    def _final_failures(self) -> Mapping[str, Sequence[str]]:
        """The states of the attempts of every trial that a plain run leaves alone: its last one
        was a bug, or it has run out of memory twice."""
        statement = (
            "select trial_key, state from attempts where state <> 'running' and not excused "
            "order by trial_key, number"
        )
        states: dict[str, list[str]] = {}
        for key, state in self.store.query(statement).rows:
            states.setdefault(key, []).append(state)
        return {
            key: found
            for key, found in states.items()
            if found[-1] == "bug"
            or (found[-1] == "out_of_memory" and found.count("out_of_memory") > 1)
        }


def _live(machine: type[LifeCycle], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_life_of_trials_on_sqlite() -> None:
    _live(LifeCycle, draws(12, 60))


@pytest.mark.postgres
def test_the_life_of_trials_on_postgresql(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_FILES", str(tmp_path))

    class OnPostgres(LifeCycle):
        def _location(self) -> str:
            import psycopg

            name = f"life_{uuid.uuid4().hex[:12]}"
            with psycopg.connect(postgres_server, autocommit=True) as link:
                link.execute(f"create schema {name}")
            return f"{postgres_server}&options=-csearch_path%3D{name}"

    _live(OnPostgres, draws(3, 12))
