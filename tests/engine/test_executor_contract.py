"""What a run promises, whoever executes it and wherever results are kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_studies import RATES, adds_up, attempts_of, bits, losses, planted, starter, trials_of
from on_disk import on_disk

from sweeper.engine.run import Run, RunSummary
from sweeper.store.store import Store
from sweeper.study.study import Study

Runner = Callable[..., RunSummary]


INLINE = ["inline-sqlite", "inline-postgres"]

EVERY = [*INLINE, pytest.param("ray-sqlite", marks=pytest.mark.ray)]
"""Executors and databases. Workers know nothing of the database, so that one test on Ray is enough
for the other one."""


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest) -> str:
    """Returns the executor and the database under test."""
    return str(request.param)


@pytest.fixture
def start(place: str, request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Returns what makes a run for the executor under test."""
    return starter(place.partition("-")[0], request)


@pytest.fixture
def store(place: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    sqlite = place.endswith("sqlite")
    with Store.open(
        tmp_path / "store" if sqlite else request.getfixturevalue("postgres"), create=True
    ) as made:
        yield made


@pytest.fixture
def calm(tmp_path: Path) -> Iterator[Callable[[Study], list[tuple[Any, ...]]]]:
    """Yields what runs a study undisturbed in this process and returns its bits."""
    with Store.open(tmp_path / "calm", create=True) as opened:

        def run(study: Study) -> list[tuple[Any, ...]]:
            Run(study, opened, executor="inline").execute()
            return bits(opened, study.name)

        yield run


def stop_after(run: Run, finished: int) -> threading.Thread:
    """Stops a run from another thread a few steps into a trial, once so many others have ended."""

    def in_a_trial() -> bool:
        return len(run.progress.finished) >= finished and run.progress.view().running > 0

    def watch() -> None:
        until = time.monotonic() + 60
        while not in_a_trial() and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.2)
        run.stop()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_every_declared_trial_gets_one_result_and_a_second_run_trains_nothing(
    start: Callable[..., Run], store: Store, calm: Callable[[Study], list[Any]]
) -> None:
    study = planted(fixed={"cliff": 0.5, "steps": 6}, sweep={"seed": [0, 1]})
    summary = start(study, store).execute()
    assert (summary.declared, summary.finished, summary.failed) == (12, 12, 0)
    assert not summary.interrupted
    assert summary.ceiling is None
    account = store.account(study.name)
    assert account.done + account.diverged == 12
    assert account.diverged > 0, "diverged trials are results"
    assert attempts_of(store, "number, accepted") == [(1, 1)] * 12
    assert bits(store, study.name) == calm(study)
    again = start(study, store).execute()
    assert (again.reused, again.finished, again.slots) == (12, 0, ())
    assert len(attempts_of(store)) == 12


@pytest.mark.parametrize("place", INLINE, indirect=True)  # it is the plan's, whoever executes it
def test_growth_runs_the_new_cells_only_and_studies_share_trials(
    start: Callable[..., Run], store: Store
) -> None:
    small = planted("small")
    assert start(small, store).execute().finished == 6
    grown = planted("grown", sweep={"width": [32, 64, 128]})
    summary = start(grown, store).execute()
    assert (summary.declared, summary.reused, summary.finished) == (9, 6, 3)
    both = start(planted("small", sweep={"width": [64, 128]}), store).execute()
    assert (both.declared, both.reused, both.finished) == (6, 6, 0)
    assert store.account("small").hidden == 3
    assert sorted(set(store.frame("small")["width"])) == [64, 128]
    assert len(attempts_of(store)) == 9


def test_failures_are_stored_with_their_traceback_and_run_again_once_they_are_excused(
    start: Callable[..., Run], store: Store
) -> None:
    study = planted(
        sweep={"width": [32], "learning_rate": RATES[:2], "misbehave": ["never", "bug"]}
    )
    summary = start(study, store).execute()
    assert (summary.finished, summary.failed) == (2, 2)
    account = store.account(study.name)
    assert (account.done, account.failed) == (2, 2)
    assert [(cause.cause, cause.count) for cause in account.causes] == [
        ("bug: RuntimeError: planted bug", 2)
    ]
    keys = [trial.key for trial in trials_of(study)]
    assert all("Traceback" in item.error for item in store.failures_of(keys).values())
    again = start(study, store).execute()
    assert (again.reused, again.finished, again.failed) == (2, 0, 0)
    assert again.failed_before == 2
    store.forgive(keys)
    assert store.account(study.name).pending == 2
    again = start(study, store).execute()
    assert (again.reused, again.finished, again.failed) == (2, 0, 2)
    assert sorted(attempts_of(store, "state, number")) == [
        ("bug", 1),
        ("bug", 1),
        ("bug", 2),
        ("bug", 2),
        ("completed", 1),
        ("completed", 1),
    ]
    assert adds_up(store, study.name)


@pytest.mark.parametrize(
    "place", [*INLINE, pytest.param("ray-postgres", marks=pytest.mark.ray)], indirect=True
)
def test_a_stopped_run_accounts_for_everything_and_goes_on_with_the_same_bits(
    start: Callable[..., Run], store: Store, tmp_path: Path
) -> None:
    sweep = {"width": [32], "seed": [0, 1]}
    study = planted(fixed={"steps": 12, "step_seconds": 0.05}, sweep=sweep)
    run = start(study, store)
    watcher = stop_after(run, 1)
    summary = run.execute()
    watcher.join()
    assert summary.interrupted
    assert 1 <= summary.finished < 6
    account = store.account(study.name)
    assert (account.running, account.done, account.failed) == (0, summary.finished, 0)
    assert adds_up(store, study.name)
    assert "running" not in {state for (state,) in attempts_of(store)}
    stopped = store.query("select count(*) from attempts where state = 'stopped' and step > 0")
    assert stopped.rows[0][0] >= 1
    rest = start(study, store).execute()
    assert (rest.reused, rest.finished) == (summary.finished, 6 - summary.finished)
    assert not rest.interrupted
    with Store.open(tmp_path / "calm", create=True) as other:
        Run(planted(fixed={"steps": 12}, sweep=sweep), other, executor="inline").execute()
        assert losses(store, study.name) == losses(other, study.name)
    assert not list(on_disk(store.paths).root.rglob("*.pt"))


def test_the_budget_of_the_study_ends_the_run_and_is_not_an_interruption(
    start: Callable[..., Run], store: Store
) -> None:
    study = planted(budget={"trials": 4})
    summary = start(study, store).execute()
    assert (summary.finished, summary.ceiling, summary.interrupted) == (4, "4 trials", False)
    account = store.account(study.name)
    assert (account.done, account.pending, account.running) == (4, 2, 0)
    cheapest = store.frame(study.name).set_index("width")["outcome"]
    assert list(cheapest.loc[32]) == ["completed"] * 3, "the cheapest trials come first"


def test_a_run_that_is_stopped_before_it_begins_does_nothing(
    start: Callable[..., Run], store: Store
) -> None:
    study = planted()
    run = start(study, store)
    run.stop()
    summary = run.execute()
    assert summary.interrupted
    assert summary.finished == 0
    assert store.account(study.name).pending == 6
