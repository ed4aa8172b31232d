"""Runs whose search proposes trials while they go on, stopped after each of its decisions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from doubling_search import Doubling
from engine_studies import adds_up, bits, planted
from long_form import LONG

from sweeper.cli import main
from sweeper.engine.messages import Event
from sweeper.engine.run import Run, RunSummary
from sweeper.outcome import Outcome
from sweeper.store.owner import Owner
from sweeper.store.store import Store
from sweeper.study.study import Study

FIXED = {"steps": 4, "noise": 0.0, "drift": -1.0}

STUDY = planted(sweep={"learning_rate": [2.0**-8, 2.0**-7]}, fixed=FIXED)
"""Two widths; the losses fall up to rates of 2^-5 and 2^-6."""

MADE = 9
"""Trials that the search proposes of it in all: five rates at one width, four at the other."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


@pytest.fixture
def calm(tmp_path: Path) -> list[Any]:
    """Returns what an undisturbed run leaves."""
    with Store.open(tmp_path / "calm", create=True) as opened:
        assert run(opened).execute().finished == MADE
        return left_by(opened)


def run(store: Store, study: Study = STUDY, **options: Any) -> Run:
    return Run(study, store, **({"executor": "inline"} | options), search=Doubling)


def left_by(store: Store, study: Study = STUDY) -> list[Any]:
    """Results, exact losses, and why each trial is there."""
    reasons = store.query(
        "select variant, trial_key, reason, hidden from study_trials order by trial_key"
    ).rows
    return [*bits(store, study.name), *reasons]


def whole(summary: RunSummary) -> bool:
    ended = summary.finished + summary.reused + summary.failed + summary.failed_before
    return ended == summary.declared


def test_trials_are_added_while_a_run_goes_on_and_the_counts_always_add_up(store: Store) -> None:
    totals = []

    def watch(event: Event) -> None:
        view = growing.progress.view()
        assert view.done + view.diverged + view.running + view.failed <= view.total
        assert adds_up(store, STUDY.name)
        totals.append(view.total)

    growing = run(store, observe=watch)
    summary = growing.execute()
    assert (totals[0], totals[-1], totals) == (2, MADE, sorted(totals))
    assert (summary.declared, summary.finished, whole(summary)) == (MADE, MADE, True)
    assert growing.progress.view().left == 0
    assert dict(store.query("select reason, count(*) from study_trials group by reason").rows) == {
        "seed": 2,
        "expanded": MADE - 2,
    }
    positions = store.query("select position from study_trials order by position").rows
    assert [place for (place,) in positions] == list(range(MADE))


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("before", ["claim", "record_many", "outcomes_of", "add_trials"])
@pytest.mark.parametrize("calls", range(1, MADE + 1, 2 if LONG else 4))
def test_a_run_that_is_killed_at_a_decision_ends_with_the_same_trials_and_results(
    store: Store, calm: list[Any], monkeypatch: pytest.MonkeyPatch, before: str, calls: int
) -> None:
    counted = 0
    real = getattr(Store, before)

    def dying(self: Store, *arguments: Any, **options: Any) -> Any:
        nonlocal counted
        counted += 1
        if counted > calls:
            raise Killed
        return real(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Store, before, dying)
        with contextlib.suppress(Killed):
            run(store).execute()
    assert counted
    assert not store.studies() or adds_up(store, STUDY.name)
    summary = run(store).execute()
    assert whole(summary)
    assert left_by(store) == calm
    assert run(store).execute().reused == MADE


@pytest.mark.parametrize("finished", range(0, MADE, 1 if LONG else 3))
def test_a_run_that_is_stopped_after_any_outcome_goes_on_with_the_same_decisions(
    store: Store, calm: list[Any], finished: int
) -> None:
    ended = store.record_many
    stopped = run(store)

    def record(entries: Any) -> list[bool]:
        verdicts = ended(entries)
        if len(stopped.progress.finished) >= finished:
            stopped.stop()
        return verdicts

    store.record_many = record  # type: ignore[method-assign]
    assert stopped.execute().finished < MADE or finished >= MADE - 1
    del store.record_many  # type: ignore[method-assign]
    run(store).execute()
    assert left_by(store) == calm


def test_proposals_that_were_stored_and_not_run_are_run(store: Store, calm: list[Any]) -> None:
    run(store)
    assert store.account(STUDY.name).pending == 2
    assert run(store).execute().finished == MADE
    assert left_by(store) == calm


def test_results_of_other_studies_are_proposals_that_need_no_run(store: Store) -> None:
    rates = [2.0**-power for power in range(8, 2, -1)]
    grid = planted("grid", sweep={"learning_rate": rates}, fixed=FIXED)
    Run(grid, store, executor="inline").execute()
    summary = run(store).execute()
    assert (summary.declared, summary.reused, summary.finished) == (MADE, MADE, 0)


def test_results_of_another_controller_are_told_too(store: Store, calm: list[Any]) -> None:
    growing = run(store)
    rows = store.query("select trial_key from study_trials").rows
    keys = [str(key) for (key,) in rows]
    other = Owner(id="other", host="another.machine", pid=7)
    claims = store.claim(keys, owner=other, lease_s=2)
    losses = {row[1]: float.fromhex(row[3]) for row in calm if row[2] == "completed"}
    outcomes = [
        Outcome(
            key=claim.key, attempt=1, kind="completed", metrics={"val_loss": losses[claim.key]}
        )
        for claim in claims
    ]
    store.record_many([(outcome, losses[outcome.key]) for outcome in outcomes])
    summary = growing.execute()
    assert (summary.declared, summary.finished, whole(summary)) == (MADE, MADE - 2, True)


def test_a_trial_that_fails_ends_its_branch_and_the_run(store: Store) -> None:
    study = planted(sweep={"learning_rate": [2.0**-8]}, fixed={"misbehave": "bug"})
    summary = run(store, study).execute()
    assert (summary.declared, summary.failed, whole(summary)) == (2, 2, True)
    assert run(store, study).execute().failed_before == 2


COST = float(32 * 32 * FIXED["steps"])
"""FLOPs of a trial at the smaller width; one at the larger costs four times that."""


@pytest.mark.parametrize(
    ("budget", "finished", "said"),
    [
        ({"trials": 5}, 5, "5 trials"),
        ({"flops": 10 * COST}, 4, "4.1e+04 FLOPs"),
        ({"flops": 11 * COST - 1}, 4, "4.51e+04 FLOPs"),
        ({"hours": 1e-9}, 0, "1e-09 hours"),
        ({"trials": MADE, "flops": 1e9}, MADE, None),
    ],
)
def test_a_budget_ends_the_growth_and_is_said_to(
    store: Store, budget: dict[str, float], finished: int, said: str | None
) -> None:
    study = Study.from_document({**STUDY.document, "budget": budget})
    summary = run(store, study).execute()
    assert (summary.finished, summary.ceiling) == (finished, said)
    again = run(store, study).execute()
    assert (again.finished, again.ceiling) == (0, said)
    assert adds_up(store, STUDY.name)
    account = store.account(STUDY.name)
    assert account.ceiling == (None if "hours" in budget else said)
    assert (account.pending > 0) == (said is not None)


def test_a_plan_lists_what_the_search_proposes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY.document), encoding="utf-8")
    monkeypatch.setattr("sweeper.search.grid.make", Doubling)
    place = ["--store", str(tmp_path / "store"), "--no-probe", "--json"]
    monkeypatch.setattr("sys.argv", ["sweeper", "plan", str(file), *place])

    with pytest.raises(SystemExit, match="0"):
        main()

    assert json.loads(capsys.readouterr().out)["trials"] == 2


@pytest.mark.ray
def test_trials_are_added_while_ray_runs(store: Store, calm: list[Any], ray_cluster: Any) -> None:
    options = {"executor": "ray", "address": ray_cluster.address}
    assert run(store, **options).execute().finished == MADE
    assert left_by(store) == calm


def test_what_a_search_began_with_is_known_to_the_next_run_too(store: Store) -> None:
    rates = [2.0**-8, 2.0**-6, 2.0**-4]
    grid = planted(sweep={"learning_rate": rates}, fixed=FIXED)
    Run(grid, store, executor="inline").execute()
    search = {"method": "optuna", "sampler": "tpe", "trials": 3}
    study = planted(sweep={"learning_rate": rates}, fixed=FIXED, search=search)
    for finished in (6, 0):
        summary = Run(study, store, executor="inline").execute()
        assert (summary.declared, summary.finished) == (12, finished)
    reasons = store.query("select reason, count(*) from study_trials group by reason").rows
    assert dict(reasons) == {"known": 6, "tpe": 6}
