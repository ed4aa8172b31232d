"""Samplers of Optuna: what they find on planted surfaces, what they are told, how they resume."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pytest
from engine_studies import planted

from sweeper.errors import StudyError
from sweeper.outcome import Outcome
from sweeper.search.base import Proposal, Search, make_search, outlook_of, standings_of
from sweeper.study.plan import PlannedTrial, expand
from sweeper.study.study import Study
from workloads.planted import surface

RATES = [2.0**power for power in range(-12, 1)]
FIXED = {"noise": 0.001, "drift": -0.4, "curvature": 0.05, "optimum": -4.2}
needs_cmaes = pytest.mark.skipif(find_spec("cmaes") is None, reason="cmaes is not installed")
SAMPLERS = ["tpe", "gp", pytest.param("cmaes", marks=needs_cmaes), "grid", "qmc", "random"]


def study_of(
    sampler: str, sweep: dict[str, Any] | None = None, *, trials: int = 8, **sections: Any
) -> Study:
    axes = {"width": [32, 128], "learning_rate": RATES} | (sweep or {})
    options = {"method": "optuna", "sampler": sampler, "trials": trials}
    fixed = {"steps": 4} | FIXED | sections.pop("fixed", {})
    return planted(
        sweep=axes,
        fixed={name: value for name, value in fixed.items() if name not in axes},
        search=options | sections.pop("options", {}),
        **sections,
    )


def outcome_of(item: PlannedTrial, *, more: bool = False) -> Outcome:
    trial = item.trial
    loss = surface(trial.config, trial.seed)
    if math.isinf(loss):
        return Outcome(key=trial.key, attempt=1, kind="diverged")
    metrics = {"val_loss": -loss if more else loss}
    return Outcome(key=trial.key, attempt=1, kind="completed", metrics=metrics)


def searched(search: Search, *, more: bool = False) -> list[Proposal]:
    made: list[Proposal] = []
    while wave := list(search.ask()):
        made += wave
        search.tell([outcome_of(proposal.trial, more=more) for proposal in wave])
    assert search.finished
    return made


def rates(made: Sequence[Proposal], width: int) -> list[float]:
    """Returns log2 of the learning rates that were proposed at a width."""
    here = (p.trial.trial.config["learning_rate"] for p in made if p.trial.scale == width)
    return [math.log2(float(str(rate))) for rate in here]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_asks_for_so_many_points_of_every_scale_within_the_axis(sampler: str) -> None:
    study = study_of(sampler, trials=5)
    assert Study.from_document(study.document).document == study.document
    search = make_search(study)
    made = searched(search)
    assert [len(rates(made, width)) for width in (32, 128)] == [5, 5]
    assert all(-12 <= rate <= 0 for width in (32, 128) for rate in rates(made, width))
    assert {proposal.reason for proposal in made} == {sampler}
    assert [(s.scale, s.runs, s.stop) for s in standings_of(search)] == [
        (32.0, 5, "all 5 trials asked for"),
        (128.0, 5, "all 5 trials asked for"),
    ]
    expected = outlook_of(study)
    assert expected is not None and expected.expected[0] == len(made)
    assert expected.grid[0] == len(expand(study))


def test_an_optimum_of_more_is_found_and_diverged_trials_are_learned_from() -> None:
    goal = {"goal": "max"}
    study = study_of("gp", {"width": [32]}, trials=10, fixed={"cliff": 2.0}, objective=goal)
    made = searched(make_search(study), more=True)
    found = rates(made, 32)
    assert min(abs(rate + 4.2) for rate in found[4:]) < 0.3
    assert sum(rate > -2.2 for rate in found[6:]) <= 1


@pytest.mark.parametrize(
    "sampler", ["tpe", *([pytest.param("cmaes", marks=needs_cmaes)]), "gp", "qmc"]
)
def test_a_search_begun_anew_at_any_point_makes_the_same_decisions(sampler: str) -> None:
    sweep = {"curvature": [0.02, 0.05], "seed": [0, 1]}
    study = study_of(sampler, sweep, trials=5 if sampler == "gp" else 8, fixed={"cliff": 2.5})
    draw = random.Random(1)
    expected = searched(make_search(study))
    stored: dict[str, Outcome] = {}
    made: list[Proposal] = []
    search = make_search(study)
    while True:
        if draw.random() < 0.2:
            search, made = make_search(study), []
        new = list(search.ask())
        made += new
        told = [stored[p.trial.trial.key] for p in made if p.trial.trial.key in stored]
        left = [p for p in made if p.trial.trial.key not in stored]
        if not new and not left and search.finished:
            break
        if left:
            some = draw.sample(left, draw.randint(1, len(left)))
            stored |= {p.trial.trial.key: outcome_of(p.trial) for p in some}
            told += [stored[p.trial.trial.key] for p in some]
        search.tell(told)

    def places(proposals: Sequence[Proposal]) -> list[str]:
        return sorted(p.trial.trial.key for p in proposals)

    assert places(made) == places(expected)


def test_a_batch_is_asked_for_at_a_time() -> None:
    search = make_search(study_of("tpe", {"width": [32]}, options={"batch": 3}))
    waves = []
    while wave := list(search.ask()):
        waves.append(len(wave))
        search.tell([outcome_of(proposal.trial) for proposal in wave])
    assert waves == [4, 3, 1]


def test_words_whole_numbers_and_zeros_are_sampled_among_their_declared_values() -> None:
    sweep = {"momentum": [0.0, 0.9], "batch_size": [8, 16, 32], "optimizer": ["adamw", "muon"]}
    study = Study.from_document(
        {
            "name": "kinds",
            "workload": "mlp",
            "scale": "width",
            "fixed": {"depth": 2, "steps": 20},
            "sweep": {"width": [32], "learning_rate": [0.001, 0.1], **sweep},
            "search": {"method": "optuna", "sampler": "random", "trials": 30},
        }
    )
    made = list(make_search(study).ask())
    configs = [proposal.trial.trial.config for proposal in made]
    assert {config["batch_size"] for config in configs} == {8, 16, 32}
    assert {config["optimizer"] for config in configs} == {"adamw", "muon"}
    assert {config.get("momentum") for config in configs} == {None, 0.0, 0.9}
    assert all(("momentum" in config) == (config["optimizer"] == "muon") for config in configs)
    assert all(0.001 <= float(str(config["learning_rate"])) <= 0.1 for config in configs)


def test_points_that_come_out_the_same_are_run_once() -> None:
    study = study_of("random", {"width": [32], "learning_rate": [0.1], "steps": [4, 5]})
    assert len(searched(make_search(study))) == 2


def test_the_grid_of_a_sampler_ends_with_its_places() -> None:
    search = make_search(study_of("grid", {"learning_rate": RATES[:3]}))
    assert len(searched(search)) == 6
    assert {s.stop for s in standings_of(search)} == {"all 3 places of its grid asked for"}


def test_a_sampler_learns_from_what_was_known_and_proposes_none_of_it() -> None:
    study = study_of("gp", {"width": [32]}, trials=3)
    known = expand(study)
    search = make_search(study, known)
    assert not search.ask() and not search.finished
    search.tell([outcome_of(item) for item in known])
    made = searched(search)
    assert not {p.trial.trial.key for p in made} & {item.trial.key for item in known}
    assert max(abs(rate + 4.2) for rate in rates(made, 32)) < 1


def test_trials_that_all_fail_are_asked_for_all_the_same() -> None:
    search = make_search(study_of("tpe", {"width": [32]}))
    made: list[Proposal] = []
    while wave := list(search.ask()):
        made += wave
        keys = [proposal.trial.trial.key for proposal in wave]
        search.tell([Outcome(key=key, attempt=1, kind="bug", error="broke") for key in keys])
    assert len(made) == 8 and search.finished


@pytest.mark.parametrize(
    ("sampler", "sweep", "options", "says"),
    [
        ("tpe", {"learning_rate": [0.1]}, {}, "nothing to tune"),
        ("random", {}, {"startup": 3}, "startup has no effect on sampler random"),
        ("grid", {}, {"batch": 3}, "batch has no effect on sampler grid"),
        ("cmaes", {"misbehave": ["never", "bug"]}, {}, "cmaes tunes numbers alone, and misbehave"),
        ("smac", {}, {}, "smac.* is not known; allowed: tpe"),
    ],
)
def test_what_a_sampler_cannot_do_is_refused(
    sampler: str, sweep: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(StudyError, match=says):
        study_of(sampler, sweep, options=options)
