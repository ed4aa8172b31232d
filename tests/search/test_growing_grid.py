"""A grid that grows: at the ends of its axes, round its minima, and in seeds."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from engine_studies import planted
from long_form import LONG
from search_runs import answer, ended, log2_rates, run_to_end, run_with_stops

from sweeper.outcome import Outcome
from sweeper.search import Standing, make_search, outlook_of, standings_of
from sweeper.search.base import Proposal
from sweeper.study.plan import expand
from sweeper.study.study import Study

WIDTHS = [32, 64, 128]
FIXED = {"noise": 0.002, "drift": -0.5, "optimum": -4.2}
FLAT = {"hyperparameter": "learning_rate", "exponent": 0.0, "tolerance": 0.35}


def study_of(search: dict[str, Any], low: int = -8, high: int = -1, /, **sections: Any) -> Study:
    rates = [2.0**power for power in range(low, high + 1)]
    sweep = {"width": WIDTHS, "learning_rate": rates, **sections.pop("sweep", {})}
    fixed = FIXED | sections.pop("fixed", {})
    return planted(sweep=sweep, fixed=fixed, search=search, **sections)


def rate_of(proposal: Proposal) -> float:
    return float(str(proposal.trial.trial.config["learning_rate"]))


def stops_of(search: Any) -> dict[float, str | None]:
    found: dict[float, str | None] = {each.scale: each.stop for each in standings_of(search)}
    return found


@pytest.mark.parametrize(("low", "high"), [(-11, -6), (-3, 1)])
def test_an_axis_grows_by_its_step_until_the_lowest_loss_is_inside(low: int, high: int) -> None:
    study = study_of({"expand_edges": 9}, low, high)
    search = make_search(study)
    made = run_to_end(search)
    for index, width in enumerate(WIDTHS):
        best = round(-4.2 - 0.5 * index)
        first, last = min(low, best - 1), max(high, best + 1)
        assert log2_rates(made, width) == list(range(first, last + 1))
    assert set(stops_of(search).values()) == {"the lowest loss is inside the axes"}
    assert {p.reason for p in made} == {"declared", "expanded"}


def test_an_axis_grows_by_as_many_values_as_are_allowed_and_says_so() -> None:
    search = make_search(study_of({"expand_edges": 2}, -12, -10))
    made = run_to_end(search)
    assert log2_rates(made, 128, "expanded") == [-9, -8]
    assert stops_of(search)[128] == (
        "the lowest loss is at an end of learning_rate, which has grown by 2 values there"
    )


@pytest.mark.parametrize(("low", "high"), [(-6, 0), (-2, 3)])
def test_nothing_is_run_beyond_a_divergence(low: int, high: int) -> None:
    """Neither where the lowest loss is beside the cliff, nor where every run diverged."""
    study = study_of({"expand_edges": 5}, low, high, fixed={"cliff": 0.1, "drift": 0.0})
    made = run_to_end(make_search(study))
    for width in WIDTHS:
        assert max(log2_rates(made, width)) == high
        assert min(log2_rates(made, width)) <= -6


def test_growth_ends_where_the_setting_does() -> None:
    def fewer_steps_are_better(proposal: Proposal) -> Outcome:
        return ended(proposal, float(str(proposal.trial.trial.config["steps"])))

    sweep = {"width": [32], "learning_rate": [0.1], "steps": [2, 4, 8]}
    document = planted(sweep={"width": [32]}, search={"expand_edges": 3}).document
    study = Study.from_document(document | {"fixed": {}, "sweep": sweep})
    search = make_search(study)
    made = run_to_end(search, fewer_steps_are_better)
    assert {p.trial.trial.config["steps"] for p in made} == {1, 2, 4, 8}
    (stop,) = set(stops_of(search).values())
    assert stop and "cannot grow: steps 0.5: 0.5 is not a whole number" in stop


def test_two_hyperparameters_grow_round_the_lowest_loss() -> None:
    def bowl(proposal: Proposal) -> Outcome:
        config = proposal.trial.trial.config
        x, y = (math.log2(float(str(config[each]))) for each in ("learning_rate", "curvature"))
        return ended(proposal, (x + 4.0) ** 2 + (y - 1.0) ** 2)

    axes = {"learning_rate": [2.0**k for k in range(-8, -5)], "curvature": [0.25, 0.5, 1.0]}
    search = make_search(planted(sweep=axes, search={"expand_edges": 5}))
    made = run_to_end(search, bowl)
    assert log2_rates(made, 32) == [-8, -7, -6, -5, -4, -3]
    assert {p.trial.trial.config["curvature"] for p in made} == {0.25, 0.5, 1.0, 2.0, 4.0}
    assert len(made) < 2 * 6 * 5
    assert set(stops_of(search).values()) == {"the lowest loss is inside the axes"}


def test_an_axis_grows_no_further_than_numbers_go() -> None:
    axes = {"width": [32], "learning_rate": [1e100, 1e200]}
    search = make_search(planted(sweep=axes, search={"expand_edges": 9}))
    made = run_to_end(search, lambda each: ended(each, -math.log(rate_of(each))))
    assert max(map(rate_of, made)) == 1e300
    assert all(stops_of(search).values())


def test_half_steps_of_two_hyperparameters_make_a_finer_mesh_round_the_minimum() -> None:
    def bowl(proposal: Proposal) -> Outcome:
        trial = proposal.trial.trial
        x, y = (math.log2(float(str(trial.config[e]))) for e in ("learning_rate", "curvature"))
        scatter = 0.004 * random.Random(trial.key).gauss(0, 1)
        return ended(proposal, 2 + 0.05 * (x + 6.2) ** 2 + 0.03 * (y - 0.3) ** 2 + scatter)

    axes = {"learning_rate": [2.0**k for k in range(-9, -3)], "curvature": [0.5, 1.0, 2.0, 4.0]}
    search = make_search(planted(sweep={"width": [32], **axes}, search={"refine": 0.3}))
    made = run_to_end(search, bowl)
    added = [p for p in made if p.reason == "refined"]
    assert 0 < len(added) <= 2 * 2 * 2 * 3
    assert all(-7.2 < x < -4.8 for x in log2_rates(added, 32))


def test_half_steps_are_run_where_an_interval_is_too_wide() -> None:
    search = make_search(study_of({"refine": 0.15}, fixed={"noise": 0.006}))
    made = run_to_end(search)
    for index, width in enumerate(WIDTHS):
        added = log2_rates(made, width, "refined")
        assert len(added) <= 4
        assert all(abs(x + 4.2 + 0.5 * index) <= 1.3 and x * 4 == round(x * 4) for x in added)
    assert any(p.reason == "refined" for p in made)
    assert all(stop and "octaves" in stop for stop in stops_of(search).values())


def test_no_half_step_is_run_where_intervals_are_narrow_and_none_below_a_quarter() -> None:
    made = run_to_end(make_search(study_of({"refine": 2.0})))
    assert {p.reason for p in made} == {"declared"}
    search = make_search(study_of({"refine": 1e-6}))
    added = log2_rates(run_to_end(search), 64, "refined")
    assert {x * 4 == round(x * 4) for x in added} == {True}
    stop = stops_of(search)[64]
    assert stop and stop.endswith("octaves, and no half-step is left")


def test_seeds_are_added_until_a_claim_is_decided_round_the_minima_that_matter() -> None:
    study = study_of(
        {"seeds": "auto"}, fixed={"noise": 0.02}, sweep={"seed": list(range(9))}, claims=[FLAT]
    )
    search = make_search(study)
    made = run_to_end(search)
    more = [p for p in made if p.reason == "seed"]
    assert {p.trial.trial.seed for p in made if p.reason == "declared"} == {0}
    assert more and {p.trial.scale for p in more} == {32, 128}
    assert all(-8 <= x <= -1 for p in more for x in log2_rates([p], p.trial.scale))
    assert len(made) < study.num_cells / 2
    assert set(stops_of(search).values()) == {"claims on learning_rate are decided"}


def test_seeds_are_spent_where_a_claim_stays_open() -> None:
    claim = FLAT | {"exponent": -0.5, "tolerance": 0.001}
    study = study_of({"seeds": "auto"}, sweep={"seed": [0, 1]}, claims=[claim])
    search = make_search(study)
    run_to_end(search)
    says = "a verdict on learning_rate is inconclusive, and seeds are spent"
    assert set(stops_of(search).values()) == {says}


@pytest.mark.parametrize("seed", range(20 if LONG else 1))
def test_a_grid_begun_anew_at_any_point_makes_the_same_decisions(seed: int) -> None:
    study = study_of(
        {"expand_edges": 3, "refine": 0.3, "seeds": "auto"},
        -4,
        0,
        fixed={"noise": 0.02, "cliff": 2.0},
        sweep={"seed": [0, 1]},
        claims=[FLAT],
    )
    expected = run_to_end(make_search(study))
    assert {p.reason for p in expected} == {"declared", "expanded", "refined", "seed"}
    made = run_with_stops(lambda: make_search(study), random.Random(seed))
    assert {(p.trial.variant, p.trial.trial.key): p.reason for p in made} == {
        (p.trial.variant, p.trial.trial.key): p.reason for p in expected
    }
    assert len(made) == len(expected)


def test_a_trial_of_two_variants_is_told_once() -> None:
    wide = {"sweep": {"learning_rate": {"log2": [-12, -6]}}}
    study = study_of({"expand_edges": 9}, -12, -8, variants={"narrow": {}, "wide": wide})
    search, told = make_search(study), set[str]()
    made: list[Proposal] = []
    while wave := list(search.ask()):
        made += wave
        new = {p.trial.trial.key: answer(p) for p in wave}
        search.tell([outcome for key, outcome in new.items() if key not in told])
        told |= set(new)
    assert search.finished
    narrow, wide_ = ([p for p in made if p.trial.variant == name] for name in study.variants)
    assert all(log2_rates(narrow, width) == log2_rates(wide_, width) for width in WIDTHS)


def test_what_was_known_counts_and_is_not_proposed_again() -> None:
    study = study_of({"expand_edges": 3}, -9, -6)
    wider = [p for p in expand(study_of({}, -9, -2)) if p.scale == 32]
    search = make_search(study, wider)
    first = list(search.ask())
    assert {p.trial.scale for p in first} == {64, 128}
    search.tell([answer(p) for p in [*map(as_proposal, wider), *first]])
    rest = run_to_end(search)
    assert rest and 32 not in {p.trial.scale for p in rest}
    runs: dict[float, Standing] = {each.scale: each for each in standings_of(search)}
    assert runs[32].runs == 8


def as_proposal(item: Any) -> Proposal:
    return Proposal(trial=item)


@pytest.mark.parametrize("optimum", [-4.2, -12.0])
def test_the_outlook_holds_what_is_spent(optimum: float) -> None:
    options = {"expand_edges": 2, "refine": 0.2, "seeds": "auto"}
    study = study_of(options, fixed={"optimum": optimum}, sweep={"seed": [0, 1, 2]}, claims=[FLAT])
    spent = len(run_to_end(make_search(study)))
    outlook = outlook_of(study)
    assert outlook is not None and outlook_of(study_of({})) is None
    assert outlook.best[0] == 3 * 8 <= spent <= outlook.worst[0]
    assert outlook.best[1] < outlook.expected[1] < outlook.worst[1]
    assert outlook.grid[0] == study.num_cells


def test_trials_that_all_fail_end_a_grid() -> None:
    study = study_of({"expand_edges": 3, "refine": 0.1})
    search = make_search(study)
    made = run_to_end(search, lambda proposal: ended(proposal, math.nan))
    assert {p.reason for p in made} == {"declared"}
    assert all(stop and "no run of it gave a loss" in stop for stop in stops_of(search).values())


def test_a_value_of_0_that_the_axis_once_had_is_no_point_of_a_grid_that_grows() -> None:
    axes = {"width": [32, 64], "learning_rate": [0.01], "curvature": [0.25, 0.5, 1.0]}
    study = planted(sweep=axes, search={"expand_edges": 1})
    (first, *_) = known = expand(study)
    config = {**first.trial.config, "curvature": 0.0}
    once = replace(first, trial=replace(first.trial, config=config))
    assert {each.runs for each in standings_of(make_search(study, [once, *known]))} == {3}
