"""The ladder: what it finds on planted surfaces, what it spends, and how it decides."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_studies import planted

from sweeper.outcome import Outcome
from sweeper.search.base import Proposal
from sweeper.search.basins.climb import ENOUGH, FULL, OUTSIDE, Aim, Axis, Made, Rung, next_runs
from sweeper.search.ladder import Ladder, outlook
from sweeper.study.plan import expand
from sweeper.study.study import Study, load_study
from workloads.planted import surface

STUDIES = Path(__file__).resolve().parents[2] / "studies"
WIDTHS = [32, 64, 128, 256, 512]
RATES = [2.0**power for power in range(-12, 1)]
FIXED = {"noise": 0.001, "drift": -0.4, "curvature": 0.05, "optimum": -4.2}


def study_of(fixed: dict[str, Any] | None = None, **sections: Any) -> Study:
    return planted(
        sweep={"width": WIDTHS, "learning_rate": RATES, **sections.pop("sweep", {})},
        fixed=FIXED | (fixed or {}),
        **sections,
    )


def outcome_of(proposal: Proposal) -> Outcome:
    trial = proposal.trial.trial
    loss = surface(trial.config, trial.seed)
    if math.isinf(loss):
        return Outcome(key=trial.key, attempt=1, kind="diverged")
    return Outcome(key=trial.key, attempt=1, kind="completed", metrics={"val_loss": loss})


def climbed(
    study: Study,
    outcome: Callable[[Proposal], Outcome] = outcome_of,
    aim: Aim | None = None,
) -> tuple[Ladder, list[Proposal]]:
    ladder, made = Ladder(study, aim=aim), []
    while wave := list(ladder.ask()):
        made += wave
        ladder.tell([outcome(proposal) for proposal in wave])
    assert ladder.finished
    return ladder, made


def rate_of(proposal: Proposal) -> float:
    return float(str(proposal.trial.trial.config["learning_rate"]))


def flops(proposals: Sequence[Proposal]) -> float:
    return sum(float(p.trial.trial.derived["flops"]) for p in proposals)


def share(study: Study, made: Sequence[Proposal]) -> float:
    return flops(made) / sum(float(item.trial.derived["flops"]) for item in expand(study))


def errors(ladder: Ladder, drift: float = -0.4) -> np.ndarray:
    """Returns by how many octaves the optima of the first group are off."""
    (standing, *_) = ladder.climbs
    basins = standing.state.basins
    assert basins is not None
    return np.asarray(basins.optima[0] - (-4.2 + drift * np.log2(np.array(standing.scales) / 32)))


@pytest.mark.parametrize("drift", [-0.8, 0.3])
def test_planted_optima_are_found_for_a_fifth_of_the_grid(drift: float) -> None:
    study = study_of({"drift": drift})
    ladder, made = climbed(study)
    assert share(study, made) < 0.2
    assert np.abs(errors(ladder, drift)).max() < 0.15
    assert set(ladder.climbs[0].state.stops) == {ENOUGH}


def test_an_optimum_that_leaps_is_found_all_the_same() -> None:
    def leaping(proposal: Proposal) -> Outcome:
        trial = proposal.trial.trial
        x, width = math.log2(trial.config["learning_rate"]), trial.config["width"]  # type: ignore[arg-type]
        best = -4.2 if width < 256 else -6.7  # type: ignore[operator]
        loss = 1 + 0.025 * (x - best) ** 2
        return Outcome(key=trial.key, attempt=1, kind="completed", metrics={"val_loss": loss})

    ladder, _ = climbed(study_of(), leaping)
    basins = ladder.climbs[0].state.basins
    assert basins is not None
    assert np.abs(basins.optima[0] - np.array([-4.2, -4.2, -4.2, -6.7, -6.7])).max() < 0.6


def test_nothing_is_run_where_a_smaller_scale_diverged() -> None:
    study = study_of({"cliff": 1.6})
    ladder, made = climbed(study)
    lost = [p for p in made if outcome_of(p).kind == "diverged" and p.trial.scale > 32]
    assert len(lost) <= 2
    assert np.abs(errors(ladder)).max() < 0.2


@pytest.mark.parametrize(("optimum", "drift"), [(1.4, 0.0), (-10.5, -0.5)])
def test_an_axis_grows_where_the_optimum_lies_beyond_it(optimum: float, drift: float) -> None:
    study = study_of({"optimum": optimum, "drift": drift})
    ladder, made = climbed(study)
    assert np.abs(errors(ladder, drift) + (-4.2 - optimum)).max() < 0.3
    rates = [math.log2(p.trial.trial.config["learning_rate"]) for p in made]  # type: ignore[arg-type]
    assert max(rates) <= 4 and min(rates) >= -16


def test_an_axis_does_not_grow_where_the_optimum_lies_inside() -> None:
    _, made = climbed(study_of())
    rates = [p.trial.trial.config["learning_rate"] for p in made]
    assert RATES[0] <= min(rates) and max(rates) <= RATES[-1]  # type: ignore[type-var, operator]


def test_an_optimum_far_beyond_the_axis_is_not_made_up() -> None:
    ladder, _ = climbed(study_of({"optimum": 9.0, "drift": 0.0}))
    assert set(ladder.climbs[0].state.stops[:-1]) == {OUTSIDE}
    assert ladder.climbs[0].state.stops[-1] != ENOUGH


def test_losses_in_another_unit_and_from_another_zero_change_no_decision() -> None:
    def turned(proposal: Proposal) -> Outcome:
        told = outcome_of(proposal)
        loss = 1000 * told.metrics["val_loss"] - 300
        return Outcome(key=told.key, attempt=1, kind="completed", metrics={"val_loss": loss})

    study = study_of()
    assert [p.trial for p in climbed(study, turned)[1]] == [p.trial for p in climbed(study)[1]]


def test_variants_climb_by_themselves_and_seeds_count_with_their_mean() -> None:
    variants = {"still": {"drift": 0.0}, "moving": {"drift": -0.8}}
    fixed = {name: value for name, value in FIXED.items() if name != "drift"}
    study = planted(
        sweep={"width": WIDTHS, "learning_rate": RATES, "seed": [0, 1]},
        fixed=fixed,
        variants=variants,
    )
    ladder, made = climbed(study)
    assert {s.variant for s in ladder.climbs} == set(variants)
    for standing, drift in zip(ladder.climbs, (0.0, -0.8), strict=True):
        basins = standing.state.basins
        assert basins is not None
        slope = np.polyfit(np.log2(WIDTHS), basins.optima[0], 1)[0]
        assert slope == pytest.approx(drift, abs=0.1)
    places = {
        (p.trial.variant, p.trial.scale, p.trial.trial.config["learning_rate"]) for p in made
    }
    assert len(made) == 2 * len(places)


def test_a_claim_is_decided_and_then_nothing_more_is_run() -> None:
    study = study_of()
    for exponent, holds in ((-0.4, True), (0.0, False)):
        judged, made = climbed(study, aim=Aim(claims=((0, exponent, 0.15),)))
        basins = judged.climbs[0].state.basins
        assert basins is not None
        slope = float(np.polyfit(np.log2(WIDTHS), basins.optima[0], 1)[0])
        assert (abs(slope - exponent) < 0.15) == holds
        assert share(study, made) < 0.2


@pytest.mark.parametrize("seed", range(2))
def test_a_search_begun_anew_at_any_point_makes_the_same_decisions(seed: int) -> None:
    """As a run does after an interruption: the outcomes of the store are told, in any portions."""
    study, draw = study_of({"noise": 0.01, "cliff": 2.5}), random.Random(seed)
    _, expected = climbed(study)
    stored: dict[str, Outcome] = {}
    made: list[Proposal] = []
    ladder = Ladder(study)
    while True:
        if draw.random() < 0.3:
            ladder, made = Ladder(study), []
        new = list(ladder.ask())
        made += new
        known = [stored[p.trial.trial.key] for p in made if p.trial.trial.key in stored]
        if not new and ladder.finished:
            break
        left = [p for p in made if p.trial.trial.key not in stored]
        if left:
            some = draw.sample(left, draw.randint(1, len(left)))
            stored |= {p.trial.trial.key: outcome_of(p) for p in some}
            known += [stored[p.trial.trial.key] for p in some]
        ladder.tell(known)
    assert [(p.trial, p.reason) for p in made] == [(p.trial, p.reason) for p in expected]


def test_decisions_do_not_depend_on_the_order_of_the_runs() -> None:
    places = tuple(float(x) for x in range(-8, 1))
    rungs = [
        Rung(doublings=float(i), price=4.0**i, axes=(Axis(places=places, declared=places),))
        for i in range(3)
    ]
    made = [Made(rung=0, place=(x,), losses=(2 + 0.1 * (x + 3.3) ** 2,)) for x in places]
    one = next_runs(rungs, made, Aim())
    assert one.wanted == next_runs(rungs, made[::-1], Aim()).wanted
    assert [w.rung for w in one.wanted] == [1, 1]


def test_what_a_grid_found_before_counts_as_known() -> None:
    study = study_of({"noise": 0.005})
    small = [item for item in expand(study) if item.scale <= 64]
    ladder = Ladder(study, small)
    assert not ladder.ask() and not ladder.finished
    ladder.tell([outcome_of(Proposal(trial=item)) for item in small])
    made: list[Proposal] = []
    while wave := list(ladder.ask()):
        made += wave
        ladder.tell([outcome_of(proposal) for proposal in wave])
    assert not {p.trial.trial.key for p in made} & {item.trial.key for item in small}
    assert flops(made) < flops(climbed(study)[1])
    assert np.abs(errors(ladder)).max() < 0.3


def test_a_value_of_0_that_the_axis_once_had_is_no_place() -> None:
    axes = {"width": [32, 64], "learning_rate": [0.01], "curvature": [0.25, 0.5, 1.0]}
    study = planted(sweep=axes)
    known = expand(study)
    config = {**known[0].trial.config, "curvature": 0.0}
    once = replace(known[0], trial=replace(known[0].trial, config=config))
    assert Ladder(study, [once, *known]).climbs[0].runs == (3, 3)


def test_half_steps_are_the_trials_of_a_grid_with_half_the_step() -> None:
    made = climbed(study_of({"noise": 0.0}))[1]
    half = study_of({"noise": 0.0}, sweep={"learning_rate": {"log2": [-16, 4], "step": 0.5}})
    keys = {p.trial.trial.key for p in made}
    assert any(math.log2(rate_of(p)) % 1 for p in made)
    assert keys <= {item.trial.key for item in expand(half)}


def test_a_ladder_finds_the_places_again_that_it_made() -> None:
    """A value has fewer digits than its place: read from the trial it is the same place."""
    study = study_of({"noise": 0.0})
    made = climbed(study)[1]
    again = Ladder(study, [p.trial for p in made])
    again.tell([outcome_of(p) for p in made])
    assert again.finished
    places = [axis.places for rung in again.courses[0].rungs for axis in rung.axes]
    assert places == [axis.places for rung in Ladder(study).courses[0].rungs for axis in rung.axes]


def test_an_axis_grows_no_further_than_numbers_go() -> None:
    rates = [10.0**power for power in range(-20, 21, 10)]
    search = {"method": "ladder", "expand_edges": 100}
    ladder = Ladder(study_of(sweep={"learning_rate": rates}, search=search))
    places = ladder.courses[0].rungs[0].axes[0].places
    assert -1075 < places[0] < places[-1] < 1024


def test_what_is_known_is_taken_off_what_a_ladder_will_cost() -> None:
    study = study_of({"noise": 0.005})
    small = [item for item in expand(study) if item.scale <= 64]
    whole, rest = outlook(study), outlook(study, small)
    assert rest.expected[0] < whole.expected[0] and rest.best[0] < whole.best[0]
    assert 2 * 3 <= rest.best[0] <= rest.expected[0] <= rest.worst[0]
    assert rest.grid == whole.grid
    _, made = climbed(study)
    assert outlook(study, [p.trial for p in made]).best[0] == 0


def test_the_outlook_of_few_runs_is_in_order() -> None:
    told = outlook(study_of(search={"method": "ladder", "most": 1}))
    assert told.best[0] <= told.expected[0] <= told.worst[0]
    assert told.best[1] <= told.expected[1] <= told.worst[1]


def test_a_trial_that_two_variants_share_is_told_to_both() -> None:
    """At the base width sp and mup are one model. As in a run an outcome is told once, and here
    before the group that asks for it later."""
    study = load_study(STUDIES / "quickstart.yaml", search="ladder")
    ladder = Ladder(study)
    early = [Proposal(trial=item) for item in expand(study) if item.scale == 64]
    ladder.tell([learned(proposal) for proposal in early])
    told = {proposal.trial.trial.key for proposal in early}
    for _ in range(200):
        wave = list(ladder.ask())
        fresh = {p.trial.trial.key: p for p in wave if p.trial.trial.key not in told}
        told |= fresh.keys()
        ladder.tell([learned(proposal) for proposal in fresh.values()])
        if ladder.finished:
            break
    assert ladder.finished
    assert all(standing.stop for standing in ladder.standings)


def learned(proposal: Proposal) -> Outcome:
    trial = proposal.trial.trial
    steps = math.log2(float(str(trial.config["width"])) / 64)
    drift = 0.0 if trial.config["parametrization"] == "mup" else -1.0
    away = math.log2(float(str(trial.config["learning_rate"]))) + 6 - drift * steps
    loss = 1 + 0.02 * away**2
    return Outcome(key=trial.key, attempt=1, kind="completed", metrics={"val_loss": loss})


def test_trials_that_all_fail_end_a_ladder() -> None:
    def failed(proposal: Proposal) -> Outcome:
        key = proposal.trial.trial.key
        return Outcome(key=key, attempt=1, kind="bug", error="RuntimeError: it broke")

    ladder, made = climbed(study_of(), failed)
    assert {p.trial.scale for p in made} == {32.0}
    assert set(ladder.climbs[0].state.stops) == {FULL}


def test_two_hyperparameters_are_found_together_for_a_twentieth_of_the_grid() -> None:
    """The second one stands in a setting that the planted surface would use otherwise."""
    study = planted(
        sweep={"width": WIDTHS, "learning_rate": {"log2": [-8, 0]}, "floor": {"log2": [-6, 2]}},
        search={"method": "ladder"},
    )

    def tilted(proposal: Proposal) -> Outcome:
        trial = proposal.trial.trial
        step = math.log2(float(str(trial.config["width"])) / 32)
        d = math.log2(float(str(trial.config["learning_rate"]))) + 4.2 + 0.4 * step
        e = math.log2(float(str(trial.config["floor"]))) + 2.0 - 0.3 * step
        if d > 2.6:
            return Outcome(key=trial.key, attempt=1, kind="diverged")
        loss = 1 + 0.025 * d**2 + 0.0075 * e**2 + 0.011 * d * e
        return Outcome(key=trial.key, attempt=1, kind="completed", metrics={"val_loss": loss})

    ladder, made = climbed(study, tilted)
    assert share(study, made) < 0.06
    (climb,) = ladder.climbs
    assert climb.state.basins is not None
    steps = np.log2(np.array(WIDTHS) / 32)
    assert climb.state.basins.optima == pytest.approx(
        np.array([-4.2 - 0.4 * steps, -2.0 + 0.3 * steps]), abs=0.1
    )
