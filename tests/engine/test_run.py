"""A run in this process: claims of others, faults, budgets and what it says of itself."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import altered_card
import memory_files
import pytest
from engine_program import Program
from engine_studies import adds_up, attempts_of, bits, planted, trials_of
from store_places import written

from sweeper.engine.messages import Advanced, Ended, Event, Started
from sweeper.engine.notice import Notices
from sweeper.engine.policy import Limits
from sweeper.engine.run import Run
from sweeper.errors import ClusterError, EnvironmentFault, StoreError, StoreMoved
from sweeper.outcome import Outcome
from sweeper.store.files.curves import read_curves
from sweeper.store.owner import Owner
from sweeper.store.store import Store
from sweeper.study.study import Study


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


@pytest.fixture
def card() -> Iterator[altered_card.AlteredCard]:
    altered_card.CARD.__dict__.clear()
    yield altered_card.CARD
    altered_card.CARD.__dict__.clear()


def altered() -> Study:
    return Study.from_document(planted().document | {"workload": altered_card.NAME})


def inline(study: Study, store: Store, **options: Any) -> Run:
    return Run(study, store, executor="inline", **options)


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Returns once something is so, or after many seconds."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)


def meanwhile(what: Callable[[], object]) -> threading.Thread:
    """Does something in another thread."""
    thread = threading.Thread(target=what)
    thread.start()
    return thread


def test_a_run_waits_for_trials_of_another_one_and_takes_over_what_that_lets_go(
    store: Store,
) -> None:
    study = planted()
    run = inline(study, store)
    done, failed, free = [trial.key for trial in trials_of(study)][:3]
    other = Owner(id="other", host="another.machine", pid=7)
    store.claim([done, failed, free], owner=other, lease_s=60)

    def end() -> None:
        store.record(Outcome(key=done, attempt=1, kind="completed"), objective=1.0)
        store.record(Outcome(key=failed, attempt=1, kind="bug", error="no"), objective=None)
        store.release(other)

    said = "3 trials are run by process 7 on another.machine"

    def waiting() -> bool:
        return any(said in note for note in run.progress.view().notes)

    other_run = meanwhile(lambda: (until(waiting), end()))
    summary = run.execute()
    other_run.join()
    assert (summary.finished, summary.reused, summary.failed_before) == (4, 1, 1)
    assert (summary.failed, summary.elsewhere, summary.interrupted) == (0, 0, False)
    assert waiting()
    assert adds_up(store, study.name)
    states = store.query("select trial_key, state from attempts order by id").rows
    assert [state for key, state in states if key == free] == ["stopped", "completed"]
    assert [state for key, state in states if key == failed] == ["bug"], "not repeated here"


def test_a_run_that_waits_for_another_one_ends_with_a_signal(store: Store) -> None:
    study = planted()
    run = inline(study, store)
    keys = [trial.key for trial in trials_of(study)]
    store.claim(keys[:2], owner=Owner(id="other", host="another.machine"), lease_s=60)
    watcher = meanwhile(lambda: (until(lambda: len(run.progress.finished) == 4), run.stop()))
    summary = run.execute()
    watcher.join()
    assert (summary.finished, summary.elsewhere, summary.interrupted) == (4, 2, True)


AWAY: dict[str, Callable[[Path], object]] = {
    "moved": lambda file: file.rename(file.with_name("elsewhere.db")),
    "removed": lambda file: file.unlink(),
    "replaced": lambda file: shutil.copy(file, file.with_name("new")).rename(file),
    "moved with its folder": lambda file: file.parent.rename(file.parent.with_name("other")),
}
"""What may become of a database while it is written; SQLite itself goes on with the open file."""


@pytest.mark.parametrize("name", AWAY)
def test_a_run_whose_database_is_gone_from_its_place_does_not_end_well(
    store: Store, tmp_path: Path, name: str
) -> None:
    moved = iter([True])

    def move(event: Event) -> None:
        if isinstance(event, Ended) and next(moved, False):
            run.recorder.flush()
            AWAY[name](tmp_path / "store" / "sweeper.db")

    run = inline(planted(resources={"pack": 1}), store, observe=move)
    with pytest.raises(StoreMoved, match=r"was (moved or removed|replaced) while it was in use"):
        run.execute()


OVERWRITTEN: dict[str, Callable[[Path, Path], object]] = {
    "cut to nothing": lambda file, earlier: file.write_bytes(b""),
    "put back as it was": lambda file, earlier: file.write_bytes(earlier.read_bytes()),
}
"""What may be written over a database that is in use; it stays the same file."""


@pytest.mark.parametrize("name", OVERWRITTEN)
def test_a_run_whose_database_was_written_over_does_not_end_well(
    store: Store, tmp_path: Path, name: str
) -> None:
    file, earlier = tmp_path / "store" / "sweeper.db", tmp_path / "earlier.db"
    ends = iter(range(6))

    def overwrite(event: Event) -> None:
        if not isinstance(event, Ended):
            return
        run.recorder.flush()
        if (end := next(ends)) in (0, 3):
            with closing(sqlite3.connect(file)) as link:  # nothing is left in the log
                link.execute("pragma wal_checkpoint(truncate)")
        if end == 0:
            shutil.copy(file, earlier)
        elif end == 3:
            OVERWRITTEN[name](file, earlier)

    run = inline(planted(resources={"pack": 1}), store, observe=overwrite)
    with pytest.raises(StoreError, match=r"damaged|malformed|not in the database any more"):
        run.execute()


@pytest.mark.postgres
def test_a_run_whose_results_are_gone_from_its_server_does_not_end_well(postgres: str) -> None:
    ends = iter(range(6))

    def empty(event: Event) -> None:
        if isinstance(event, Ended) and next(ends) == 3:
            run.recorder.flush()
            with written(postgres) as connection:
                for table in ("marks", "results", "attempts"):
                    connection.exec_driver_sql(f"delete from {table}")

    with Store.open(postgres, create=True) as store:
        run = inline(planted(resources={"pack": 1}), store, observe=empty)
        with pytest.raises(StoreMoved, match=r"not in the database any more"):
            run.execute()


def test_a_long_trial_does_not_hide_that_the_database_is_gone(
    store: Store, tmp_path: Path
) -> None:
    study = planted(
        fixed={"steps": 600, "step_seconds": 0.1}, sweep={"width": [32], "learning_rate": [0.5]}
    )
    run = inline(study, store, limits=Limits(lease_seconds=0.4))
    file = tmp_path / "store" / "sweeper.db"

    def move() -> None:
        until(lambda: attempts_of(store) == [("running",)])
        file.rename(tmp_path / "elsewhere.db")

    moving = meanwhile(move)
    with pytest.raises(StoreMoved):
        run.execute()
    moving.join()
    (tmp_path / "elsewhere.db").rename(file)
    assert attempts_of(store) == [("running",)], "put back, it goes on from its checkpoint"


def test_trials_taken_over_by_another_run_are_dropped(store: Store, tmp_path: Path) -> None:
    study = planted(
        fixed={"steps": 50, "step_seconds": 0.1}, sweep={"width": [32], "learning_rate": [0.5]}
    )
    run = inline(study, store, limits=Limits(lease_seconds=0.4))
    (key,) = [trial.key for trial in trials_of(study)]
    thief = Owner(id="thief", host="another.machine")

    def taken_over() -> bool:
        said = "1 trials were taken over by another run"
        return any(said in note for note in run.progress.view().notes)

    def steal() -> None:
        until(lambda: attempts_of(store) == [("running",)])
        text = "update attempts set state = 'lost_worker', expires_at = null"
        with closing(sqlite3.connect(tmp_path / "store" / "sweeper.db")) as link, link:
            link.execute(text)
        (claim,) = store.claim([key], owner=thief, lease_s=60)
        until(taken_over)
        outcome = Outcome(key=key, attempt=claim.attempt, kind="completed", step=50)
        store.record(outcome, objective=7.0)

    stealing = meanwhile(steal)
    summary = run.execute()
    stealing.join()
    assert (summary.finished, summary.reused) == (0, 1)
    assert attempts_of(store, "state, accepted") == [("lost_worker", 0), ("completed", 1)]
    assert taken_over()


@pytest.mark.parametrize("kind", ["bug", "memory"])
def test_a_bug_is_never_repeated_and_a_shortage_of_memory_once(store: Store, kind: str) -> None:
    study = planted(sweep={"width": [32], "learning_rate": [0.5], "misbehave": ["never", kind]})
    tries = ["bug"] if kind == "bug" else ["out_of_memory"] * 2
    for before in (0, 1):
        summary = inline(study, store).execute()
        assert (summary.failed, summary.failed_before) == (1 - before, before)
        states = attempts_of(store, "state")
        assert [state for (state,) in states if state != "completed"] == tries
    (failed,) = [t.key for t in trials_of(study) if t.config["misbehave"] == kind]
    store.forgive([failed])
    assert store.account(study.name).pending == 1
    assert inline(study, store).execute().failed == 1
    assert len(attempts_of(store)) == 1 + 2 * len(tries)


def test_a_shortage_that_was_met_once_before_a_crash_is_met_once_more(store: Store) -> None:
    study = planted(sweep={"width": [32], "learning_rate": [0.5], "misbehave": ["memory"]})
    run = inline(study, store, limits=Limits(lease_seconds=0.4))
    (key,) = [trial.key for trial in trials_of(study)]
    dead = Owner(id="dead", host="another.machine")
    store.claim([key], owner=dead, lease_s=60)
    store.record(Outcome(key=key, attempt=1, kind="out_of_memory", error="x"), objective=None)
    del run
    assert inline(study, store).execute().failed == 1
    assert attempts_of(store) == [("out_of_memory",)] * 2


def test_a_run_that_only_fails_is_ended_with_its_causes_and_the_rest_waits(store: Store) -> None:
    sweep = {"learning_rate": [0.5], "misbehave": ["bug"], "seed": list(range(8))}
    study = planted(sweep=sweep)
    with pytest.raises(EnvironmentFault, match=r"the first 10 failed: 10 x bug: RuntimeError"):
        inline(study, store).execute()
    account = store.account(study.name)
    assert (account.failed, account.pending) == (10, 6)


def test_what_another_run_finished_meanwhile_is_reused(store: Store) -> None:
    study = planted()
    first, second = inline(study, store), inline(study, store)
    assert first.execute().finished == 6
    summary = second.execute()
    assert (summary.reused, summary.finished, summary.elsewhere) == (6, 0, 0)
    assert len(attempts_of(store)) == 6


def test_the_summary_counts_a_result_that_another_run_brought_first_as_reused(
    store: Store,
) -> None:
    study = planted(resources={"pack": 1})
    (first, *_) = [trial.key for trial in trials_of(study)]

    def overtake(event: Event) -> None:
        if isinstance(event, Started) and not store.results_of([first]):
            store.record(Outcome(key=first, attempt=9, kind="completed"), objective=1.0)

    summary = inline(study, store, observe=overtake).execute()
    assert (summary.finished, summary.reused, summary.failed) == (5, 1, 0)


def test_two_runs_at_once_train_every_trial_once(store: Store, tmp_path: Path) -> None:
    study = planted(fixed={"step_seconds": 0.002}, sweep={"seed": list(range(4))})
    with Store.open(tmp_path / "store") as again:
        runs = [inline(study, store), inline(study, again)]
        summaries = []
        threads = [
            threading.Thread(target=lambda run=run: summaries.append(run.execute()))
            for run in runs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert sum(summary.finished for summary in summaries) == 24
    assert attempts_of(store, "state, number") == [("completed", 1)] * 24


def test_a_trial_whose_owner_died_is_run_at_once(store: Store) -> None:
    study = planted()
    keys = [trial.key for trial in trials_of(study)]
    run = inline(study, store)
    here = Owner.here()
    dead = Owner(id="dead", host=here.host, pid=here.pid, started=here.started + "0")
    store.claim(keys[:3], owner=dead, lease_s=3600)
    assert run.execute().finished == 6
    assert sorted(attempts_of(store)) == [("completed",)] * 6 + [("lost_worker",)] * 3


def test_data_altered_after_planning_end_the_run_as_a_fault_of_the_environment(
    card: altered_card.AlteredCard, store: Store
) -> None:
    study = altered()
    run = inline(study, store)
    card.fingerprint = "altered since"
    with pytest.raises(EnvironmentFault, match=r"altered since.*as planned") as caught:
        run.execute()
    assert caught.value.exit_code == 4
    account = store.account(study.name)
    assert (account.pending, account.failed, account.running) == (6, 0, 0)
    assert len(attempts_of(store)) == 1, "the first trial is enough to know"


def test_a_store_that_cannot_be_written_ends_the_run_with_its_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = planted(fixed={"steps": 2, "step_seconds": 0.02})
    run = inline(study, store, limits=Limits(write_retry_seconds=(0.0,)))

    def refuse(entries: Sequence[tuple[Outcome, float | None]]) -> list[bool]:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "record_many", refuse)
    with pytest.raises(StoreError, match="the disk is full"):
        run.execute()
    monkeypatch.undo()
    assert store.account(study.name).running == 0, "claims are given back"
    assert inline(study, store).execute().finished == 6
    assert adds_up(store, study.name)


def test_the_budget_of_a_study_spans_its_runs(store: Store) -> None:
    assert inline(planted(budget={"trials": 4}), store).execute().finished == 4
    summary = inline(planted(budget={"trials": 5}), store).execute()
    assert (summary.reused, summary.finished, summary.ceiling) == (4, 1, "5 trials")
    spent = inline(planted(budget={"trials": 5}), store).execute()
    assert (spent.finished, spent.ceiling) == (0, "5 trials")
    assert store.account("planted").ceiling == "5 trials"


def test_trials_that_failed_in_an_earlier_run_were_paid_for(store: Store) -> None:
    broken = planted(fixed={"misbehave": "bug"}, budget={"trials": 2})
    assert inline(broken, store).execute().failed == 2
    assert store.account("planted").ceiling == "2 trials"
    again = inline(broken, store).execute()
    assert (again.failed, again.failed_before, again.ceiling) == (0, 2, "2 trials")


def test_a_budget_of_flops_is_never_exceeded(store: Store) -> None:
    flops = 3 * 4 * 32**2 + 2.5 * 4 * 64**2
    summary = inline(planted(budget={"flops": flops}), store).execute()
    assert summary.finished == 5
    assert float(store.query("select sum(flops) from results").rows[0][0]) <= flops


def test_ray_that_ends_with_the_signal_is_an_interruption(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(planted(), store, executor="ray")

    def broken(*args: object, **options: object) -> None:
        raise ClusterError("the Ray session broke off")

    monkeypatch.setattr("sweeper.engine.ray.run_ray", broken)
    with pytest.raises(ClusterError):
        run.execute()
    again = Run(planted(), store, executor="ray")
    again.stop()
    assert again.execute().interrupted
    assert again.progress.view().notes == ("the Ray session broke off",)


def test_a_notice_ends_a_run_with_checkpoints_and_it_goes_on(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "preempted"
    study = planted(fixed={"steps": 200, "step_seconds": 0.05}, sweep={"width": [32]})

    def appear(event: Event) -> None:
        if isinstance(event, Advanced):
            file.touch()

    run = inline(study, store, notices=Notices(file=str(file)), observe=appear)
    assert run.execute().interrupted
    assert run.preempted == f"{file} has appeared"
    assert any("will be taken away" in note for note in run.progress.view().notes)
    assert attempts_of(store, "state, step > 0") == [("stopped", True)]


def test_a_notice_ends_the_program_with_exit_code_3(tmp_path: Path) -> None:
    file = tmp_path / "preempted"
    study = planted(fixed={"steps": 40, "step_seconds": 0.05}, sweep={"width": [32]})
    program = Program(tmp_path, study, "inline", options=["--preemption-file", str(file)])
    program.start()
    program.await_results(1)
    file.touch()
    assert program.wait() == 3
    assert f"{file} has appeared" in program.said
    assert "nothing is lost" in program.said


def test_custom_resources_mean_nothing_without_ray_and_that_is_said(store: Store) -> None:
    run = inline(planted(sweep={"width": [32]}, resources={"H100": 1}), store)
    assert run.execute().finished == 3
    assert any("H100" in note for note in run.progress.view().notes)


def test_packs_give_the_same_bits_as_single_trials(store: Store, tmp_path: Path) -> None:
    document = {
        "name": "tiny",
        "workload": "llama",
        "scale": "width",
        "fixed": {"depth": 1, "context": 16, "batch_size": 4, "steps": 6, "eval_tokens": 64},
        "sweep": {"width": [16], "learning_rate": [0.001, 0.01, 0.1], "seed": [0, 1]},
    }
    packed = Study.from_document(document | {"resources": {"pack": 4}})
    single = Study.from_document(document | {"resources": {"pack": 1}})
    assert inline(packed, store).execute().finished == 6
    with Store.open(tmp_path / "single", create=True) as other:
        assert inline(single, other).execute().finished == 6
        assert bits(store, "tiny") == bits(other, "tiny")


def test_the_board_of_a_resumed_run_shows_the_best_of_all_runs(store: Store) -> None:
    inline(planted(budget={"trials": 3}), store).execute()
    run = inline(planted(), store)
    before = run.progress.view()
    assert (before.done, before.best["default", 32.0].trials) == (3, 3)
    run.execute()
    frame = store.frame("planted")
    for (variant, width), best in run.progress.view().best.items():
        here = frame[(frame["variant"] == variant) & (frame["width"] == width)]
        assert best.objective == here["loss"].min()


def test_a_study_whose_files_lie_in_no_folder_is_run_and_ends_as_in_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = planted()
    inline(study, store).execute()
    monkeypatch.setitem(sys.modules, "sweeper.store.files.memory", memory_files)
    monkeypatch.setenv("SWEEPER_FILES", f"memory://{tmp_path}/")
    with Store.open(f"sqlite:///{tmp_path}/other.db", create=True) as other:
        inline(study, other, checkpoint_seconds=0.0).execute()

        assert bits(other, study.name) == bits(store, study.name)
        curves, warnings = read_curves(other.paths.files, other.curve_files(study.name))
        assert warnings == [] and curves["key"].nunique() == len(trials_of(study))
        assert other.verify().findings == () == tuple(other.prune())
    assert not (tmp_path / "curves").exists()
