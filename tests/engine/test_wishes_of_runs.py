"""Runs that people stop, pause and resume through the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_studies import attempts_of, bits, planted, trials_of

from sweeper.engine.messages import Event, Started
from sweeper.engine.policy import Limits
from sweeper.engine.run import Run, RunSummary
from sweeper.errors import RequestError
from sweeper.store.store import Store
from sweeper.study.study import Study

QUICK = Limits(lease_seconds=0.4)
"""A heartbeat every tenth of a second."""

ANN = "ann@lab"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


class Working:
    """A run in a thread of its own, as far as the test has come."""

    def __init__(self, study: Study, store: Store, **options: Any) -> None:
        self.begun = threading.Event()
        self.run = Run(study, store, executor="inline", limits=QUICK, observe=self._see, **options)
        self.summary: RunSummary | None = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        self.summary = self.run.execute()

    def _see(self, event: Event) -> None:
        if isinstance(event, Started):
            self.begun.set()

    def end(self) -> RunSummary:
        self._thread.join(timeout=60)
        assert self.summary is not None, "it never ends"
        return self.summary


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def slow(steps: int = 25) -> Study:
    """Two variants, each with two widths at one rate; a step takes a fiftieth of a second."""
    document = planted(sweep={"width": [32, 64], "learning_rate": [0.03]}).document
    fixed = {"steps": steps, "step_seconds": 0.02, "noise": 0.01}
    variants = {"a": {}, "b": {"cliff": 3}}
    return Study.from_document({**document, "fixed": fixed, "variants": variants})


def doing(store: Store) -> list[str]:
    return [each.doing for each in store.controllers_of("planted")]


def test_a_stopped_run_ends_with_checkpoints_and_is_refused_until_it_is_resumed(
    store: Store, tmp_path: Path
) -> None:
    work = Working(slow(60), store)
    work.begun.wait(30)
    store.make_wish("planted", "stop", by=ANN)
    summary = work.end()
    assert summary.interrupted
    assert work.run.wishes.end is not None
    assert store.controllers_of() == []
    with pytest.raises(RequestError, match=r"was stopped by ann@lab at .*sweeper resume planted"):
        Run(slow(60), store, executor="inline")
    assert {state for (state,) in attempts_of(store)} <= {"stopped", "completed"}
    assert ("stopped",) in attempts_of(store)
    store.lift_wishes("planted")
    assert Run(slow(60), store, executor="inline").execute().interrupted is False
    with Store.open(tmp_path / "calm", create=True) as calm:
        Run(slow(60), calm, executor="inline").execute()
        assert bits(store, "planted") == bits(calm, "planted")


def test_a_paused_run_waits_and_goes_on_when_it_is_resumed(store: Store) -> None:
    work = Working(slow(), store)
    work.begun.wait(30)
    store.make_wish("planted", "pause", by=ANN)
    until(lambda: doing(store) == ["paused"])
    before = store.account("planted")
    assert before.running == 0
    assert store.activity("planted").paused == before.pending > 0
    store.lift_wishes("planted")
    summary = work.end()
    assert (summary.finished, summary.stopped, summary.interrupted) == (4, 0, False)
    notes = work.run.progress.view().notes
    assert any("was paused by ann@lab" in note for note in notes)
    assert "study planted is no longer held back" in notes


def test_a_run_that_starts_while_a_pause_holds_waits_before_its_first_trial(store: Store) -> None:
    Run(slow(), store, executor="inline")
    store.make_wish("planted", "pause", by=ANN)
    work = Working(slow(), store)
    until(lambda: doing(store) == ["paused"])
    assert attempts_of(store) == []
    work.run.stop()
    assert work.end().interrupted, "a signal ends it all the same"


def test_a_stopped_variant_is_left_out_and_the_other_one_ends(store: Store) -> None:
    Run(slow(), store, executor="inline")
    store.make_wish("planted", "stop", variants=["a"], by=ANN)
    summary = Working(slow(), store).end()
    assert (summary.finished, summary.stopped, summary.failed) == (2, 2, 0)
    assert not summary.interrupted
    assert store.account("planted").pending == 2


def test_a_trial_that_is_stopped_while_it_runs_keeps_a_checkpoint(store: Store) -> None:
    work = Working(slow(steps=80), store)
    work.begun.wait(30)
    until(lambda: bool(store.activity("planted").running))
    (running,) = store.activity("planted").running
    store.make_wish("planted", "stop", keys=[running.key], by=ANN)
    summary = work.end()
    assert (summary.finished, summary.stopped) == (3, 1)
    assert store.paths.checkpoints_of(running.key)


def test_both_controllers_of_a_study_heed_a_wish(store: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as again:
        works = [Working(slow(), each) for each in (store, again)]
        for work in works:
            work.begun.wait(30)
        store.make_wish("planted", "stop", by=ANN)
        assert all(work.end().interrupted for work in works)


def test_stopping_a_study_leaves_the_one_that_shares_its_trials_alone(store: Store) -> None:
    theirs = Study.from_document({**slow().document, "name": "others"})
    Run(slow(), store, executor="inline")
    store.make_wish("planted", "stop", by=ANN)
    assert Working(theirs, store).end().finished == 4
    assert store.activity("planted").over, "its trials have their results"


def test_what_a_stopped_controller_lets_go_another_study_takes_over(store: Store) -> None:
    theirs = Study.from_document({**slow().document, "name": "others"})
    ours = Working(slow(), store)
    ours.begun.wait(30)
    other = Working(theirs, store)
    store.make_wish("planted", "stop", by=ANN)
    assert ours.end().interrupted
    summary = other.end()
    assert summary.finished + summary.reused == 4
    assert len(trials_of(theirs)) == 4


def test_a_ladder_neither_waits_for_a_stopped_variant_nor_takes_it_as_failed(
    store: Store,
) -> None:
    rates = [2.0**power for power in range(-8, 1)]
    sections = {
        "sweep": {"width": [32, 64, 128], "learning_rate": rates},
        "search": {"method": "ladder"},
        "variants": {"a": {"drift": 0.0}, "b": {"drift": -0.5}},
    }
    study = planted(fixed={"steps": 1, "noise": 0.001, "optimum": -4.2}, **sections)
    Run(study, store, executor="inline")
    store.make_wish("planted", "stop", variants=["b"], by=ANN)
    run = Run(study, store, executor="inline", limits=QUICK)
    summary = run.execute()
    assert summary.stopped > 0 == summary.failed
    stops = {(each.variant, each.stop) for each in run.standings}
    assert {stop for variant, stop in stops if variant == "a"} == {"narrow enough"}
    assert {stop for variant, stop in stops if variant == "b"} == {None}
    store.lift_wishes("planted")
    again = Run(study, store, executor="inline")
    again.execute()
    assert {each.stop for each in again.standings} == {"narrow enough"}
