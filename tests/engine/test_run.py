"""A run in this process: claims of others, faults, budgets and what it says of itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import altered_card
import pytest
from engine_studies import adds_up, attempts_of, bits, planted, trials_of

from sweeper.engine.run import Run
from sweeper.errors import ClusterError, EnvironmentFault, StoreError
from sweeper.outcome import Outcome
from sweeper.store.owner import Owner
from sweeper.store.store import Store
from sweeper.study import Study


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def card() -> Iterator[altered_card.AlteredCard]:
    altered_card.CARD.__dict__.clear()
    yield altered_card.CARD
    altered_card.CARD.__dict__.clear()


def altered() -> Study:
    return Study.from_document(planted().document | {"workload": altered_card.NAME})


def inline(study: Study, store: Store) -> Run:
    return Run(study, store, executor="inline")


def test_trials_of_a_live_run_elsewhere_are_left_to_it(store: Store) -> None:
    study = planted()
    run = inline(study, store)
    theirs = [trial.key for trial in trials_of(study)][:2]
    other = Owner(id="other", host="another.machine")
    store.claim(theirs, owner=other, lease_s=60)
    summary = run.execute()
    assert (summary.finished, summary.elsewhere, summary.interrupted) == (4, 2, False)
    account = store.account(study.name)
    assert (account.done, account.running) == (4, 2)


def test_what_another_run_finished_meanwhile_is_reused(store: Store) -> None:
    study = planted()
    first, second = inline(study, store), inline(study, store)
    assert first.execute().finished == 6
    summary = second.execute()
    assert (summary.reused, summary.finished, summary.elsewhere) == (6, 0, 0)
    assert len(attempts_of(store)) == 6


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
    run = inline(study, store)

    def refuse(entries: Sequence[tuple[Outcome, float | None]]) -> list[bool]:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "record_many", refuse)
    monkeypatch.setattr("sweeper.engine.recorder.RETRY_SECONDS", (0.0,))
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

    monkeypatch.setattr("sweeper.engine.session.run_ray", broken)
    with pytest.raises(ClusterError):
        run.execute()
    again = Run(planted(), store, executor="ray")
    again.stop()
    assert again.execute().interrupted
    assert again.board.view().notes == ("the Ray session broke off",)


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
    with Store.open(tmp_path / "single") as other:
        assert inline(single, other).execute().finished == 6
        assert bits(store, "tiny") == bits(other, "tiny")


def test_the_board_of_a_resumed_run_shows_the_best_of_all_runs(store: Store) -> None:
    inline(planted(budget={"trials": 3}), store).execute()
    run = inline(planted(), store)
    before = run.board.view()
    assert (before.done, before.best["default", 32.0].trials) == (3, 3)
    run.execute()
    frame = store.frame("planted")
    for (variant, width), best in run.board.view().best.items():
        here = frame[(frame["variant"] == variant) & (frame["width"] == width)]
        assert best.objective == here["loss"].min()
