"""What a search has proposed is found again, and what was known before it is built on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_studies import planted

from sweeper.engine.proposals import KNOWN, Proposals
from sweeper.engine.run import Run
from sweeper.search import standings_of
from sweeper.store import Store
from sweeper.study import Study, expand

FIXED = {"steps": 1, "noise": 0.002, "drift": -0.4, "curvature": 0.05, "optimum": -4.2}


def study_of(method: str, **sections: Any) -> Study:
    return planted(
        sweep={"width": [32, 64, 128, 256], "learning_rate": {"log2": [-8, 0]}},
        fixed=FIXED,
        search={"method": method, **sections.pop("options", {})},
        **sections,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def reasons(store: Store, name: str, *, hidden: bool = False) -> Counter[str]:
    rows = store.query(f"select reason, hidden from study_trials where study = '{name}'").rows
    return Counter(str(reason) for reason, off in rows if bool(off) == hidden)


def run(study: Study, store: Store, **options: Any) -> Run:
    made = Run(study, store, executor="inline", **options)
    made.execute()
    return made


def test_a_ladder_after_a_grid_of_the_small_scales_runs_the_large_ones_alone(store: Store) -> None:
    small = planted(
        sweep={"width": [32, 64], "learning_rate": {"log2": [-8, 0]}}, fixed=FIXED, name="small"
    )
    run(small, store)
    study = study_of("ladder")
    summary = Run(study, store, executor="inline").execute()
    assert summary.reused == 18
    assert 4 <= summary.finished <= 8
    assert reasons(store, study.name)[KNOWN] == 18


def test_a_grid_after_a_ladder_keeps_the_half_steps_and_repeats_nothing(store: Store) -> None:
    summary = Run(study_of("ladder"), store, executor="inline").execute()
    declared = {item.trial.key for item in expand(study_of("grid"))}
    planned = {item.trial.key for item in Proposals(study_of("ladder"), store, keep=False).planned}
    extra = len(planned - declared)
    again = Run(study_of("grid"), store, executor="inline").execute()
    assert again.reused == summary.finished
    assert again.finished == len(declared - planned)
    assert again.declared == len(declared) + extra
    assert reasons(store, "planted") == Counter({"declared": len(declared), KNOWN: extra})


def test_a_ladder_that_goes_on_is_given_its_own_trials_and_decides_as_before(store: Store) -> None:
    study = study_of("ladder")
    whole = run(study, store)
    before = reasons(store, study.name)
    proposals = Proposals(study, store)
    assert proposals.finished
    assert reasons(store, study.name) == before and KNOWN not in before
    assert {item.trial.key for item in proposals.planned} == {
        item.trial.key for item in whole.proposals.planned
    }
    assert standings_of(proposals.search) == whole.standings


def test_trials_that_a_ladder_would_not_choose_today_are_not_lost(store: Store) -> None:
    """Another release may decide otherwise; what has a result stays in the answer."""
    study = study_of("ladder")
    run(study, store)
    narrower = study_of("ladder", options={"within": 0.1})
    counted = sum(reasons(store, study.name).values())
    more = Run(narrower, store, executor="inline").execute()
    assert more.reused == counted
    assert not reasons(store, study.name, hidden=True)


@pytest.mark.parametrize("method", ["grid", "ladder", "telescope", "optuna"])
def test_scales_and_seeds_that_the_file_no_longer_has_are_hidden(
    store: Store, method: str
) -> None:
    def swept(widths: list[int], seeds: list[int], by: str) -> Study:
        rates = {"log2": [-8, 0]}
        axes = {"width": widths, "learning_rate": rates, "seed": seeds}
        return planted(sweep=axes, fixed=FIXED, search={"method": by})

    run(swept([32, 64, 128], [0, 1], "ladder"), store)
    run(swept([64, 128], [1], method), store)
    rows = store.query(
        "select distinct s.width, s.seed from trials s join study_trials t on s.key = t.trial_key "
        "where not t.hidden"
    ).rows
    assert set(map(tuple, rows)) == {(64, 1), (128, 1)}


def test_a_plan_writes_nothing(store: Store) -> None:
    assert Proposals(study_of("ladder"), store, keep=False).planned
    assert not store.studies()


def test_seeds_that_a_file_gains_are_run_where_the_ladder_was(store: Store) -> None:
    run(study_of("ladder"), store)
    points = sum(reasons(store, "planted").values())
    more = planted(
        sweep={"width": [32, 64, 128, 256], "learning_rate": {"log2": [-8, 0]}, "seed": [0, 1]},
        fixed=FIXED,
        search={"method": "ladder"},
    )
    summary = Run(more, store, executor="inline").execute()
    assert summary.reused == points and summary.finished >= points


def test_a_ladder_that_may_have_more_points_takes_them_where_noise_asks_for_them(
    store: Store,
) -> None:
    noisy = FIXED | {"noise": 0.02}
    counts = []
    for most in (2, 6):
        study = planted(
            sweep={"width": [32, 64, 128], "learning_rate": {"log2": [-8, 0]}},
            fixed=noisy,
            search={"method": "ladder", "within": 0.05, "most": most},
            name=f"most{most}",
        )
        counts.append(run(study, store).standings[-1].runs)
    assert counts[0] == 2 and counts[1] > 3
