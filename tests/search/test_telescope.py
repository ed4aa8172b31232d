"""The telescope: meshes that narrow from scale to scale, and move on where the optimum did."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from engine_studies import planted
from search_runs import answer, ended, log2_rates, run_to_end, run_with_stops

from sweeper.outcome import Outcome
from sweeper.search import make_search, outlook_of, standings_of
from sweeper.search.base import Proposal
from sweeper.study.plan import expand
from sweeper.study.study import Study

WIDTHS = [32, 64, 128, 256]


def study_of(fixed: dict[str, Any] | None = None, **sections: Any) -> Study:
    rates = [2.0**power for power in range(-9, 0)]
    search = {"method": "telescope", **sections.pop("search", {})}
    sweep = {"width": WIDTHS, "learning_rate": rates, **sections.pop("sweep", {})}
    still = {"noise": 0.0, "drift": 0.0, "optimum": -4.1}
    return planted(sweep=sweep, fixed=still | (fixed or {}), search=search, **sections)


def test_every_scale_has_a_narrower_mesh_round_the_optimum_of_the_one_before() -> None:
    search = make_search(study_of())
    made = run_to_end(search)
    assert log2_rates(made, 32) == list(range(-9, 0))
    assert log2_rates(made, 64) == [-4.5, -4, -3.5]
    assert log2_rates(made, 128) == [-4.25, -4, -3.75]
    assert log2_rates(made, 256) == [-4.25, -4, -3.75]
    says = "the lowest loss is inside steps of {} octaves"
    assert [each.stop for each in standings_of(search)] == [
        *(says.format(step) for step in ("1.00", "0.50", "0.25", "0.25"))
    ]


def test_a_mesh_moves_on_until_the_loss_rises() -> None:
    made = run_to_end(make_search(study_of({"drift": -1.0})))
    assert log2_rates(made, 64) == [-5.5, -5, -4.5, -4, -3.5]
    assert log2_rates(made, 64, "expanded") == [-5.5, -5]
    for index, width in enumerate(WIDTHS):
        rates = log2_rates(made, width)
        assert rates[0] < -4.1 - index < rates[-1]


@pytest.mark.parametrize(("more", "lowest"), [(0, -9), (2, -11)])
def test_an_axis_ends_where_the_study_says(more: int, lowest: int) -> None:
    study = study_of({"optimum": -12.0}, search={"expand_edges": more})
    search = make_search(study)
    made = run_to_end(search)
    assert all(log2_rates(made, width)[0] == lowest for width in WIDTHS)
    assert len(log2_rates(made, 256)) == 3
    stops = {each.stop for each in standings_of(search)}
    assert stops == {"the lowest loss is at an end of learning_rate"}


def test_two_hyperparameters_are_tuned_on_a_mesh_that_thins_out() -> None:
    def bowl(proposal: Proposal) -> Outcome:
        config = proposal.trial.trial.config
        x, y = (math.log2(float(str(config[each]))) for each in ("learning_rate", "curvature"))
        return ended(proposal, (x + 4.1) ** 2 + (y + 3.1) ** 2)

    curvature = [2.0**power for power in range(-7, 1)]
    search = make_search(study_of(sweep={"curvature": curvature}))
    made = run_to_end(search, bowl)
    counts = [sum(p.trial.scale == width for p in made) for width in WIDTHS]
    assert counts == [72, 25, 9, 9]
    assert {p.trial.trial.config["curvature"] for p in made if p.trial.scale == 256} == {
        float(f"{2.0**x:.12g}") for x in (-3.25, -3.0, -2.75)
    }


def test_where_every_run_diverges_the_mesh_moves_down() -> None:
    made = run_to_end(make_search(study_of({"cliff": 0.4, "drift": -2.0})))
    for index, width in enumerate(WIDTHS[:3]):
        assert log2_rates(made, width)[0] <= -4.1 - 2 * index + 0.4


def test_options_set_the_points_and_how_fast_steps_narrow() -> None:
    made = run_to_end(make_search(study_of(search={"points": 5, "shrink": 1.0})))
    assert log2_rates(made, 256) == [-6, -5, -4, -3, -2]


def test_what_is_known_is_used_where_it_lies_on_a_mesh() -> None:
    study = study_of(sweep={"seed": [0, 1]}, search={"shrink": 1.0})
    grid = [item for item in expand(study) if item.scale in (32, 64)]
    search = make_search(study, grid)
    assert not list(search.ask()) and not search.finished
    search.tell([answer(Proposal(trial=item)) for item in grid])
    made = run_to_end(search)
    assert {p.trial.scale for p in made} == {128, 256}
    assert {p.trial.trial.seed for p in made} == {0, 1}
    whole = run_to_end(make_search(study))
    assert [p.trial for p in made] == [p.trial for p in whole if p.trial.scale > 64]


def test_a_scale_without_a_loss_ends_the_telescope() -> None:
    search = make_search(study_of())
    made = run_to_end(search, lambda proposal: ended(proposal, math.nan))
    assert {p.trial.scale for p in made} == {32}
    stops = [each.stop for each in standings_of(search)]
    assert stops == ["no run gave a loss", *["nothing is run: no loss at a smaller scale"] * 3]


@pytest.mark.parametrize("seed", range(3))
def test_a_telescope_begun_anew_at_any_point_makes_the_same_decisions(seed: int) -> None:
    study = study_of(
        {"noise": 0.02, "cliff": 1.5},
        variants={"still": {}, "moving": {"optimum": -8.5}},
        search={"expand_edges": 3},
    )
    expected = {(p.trial.variant, p.trial.trial.key) for p in run_to_end(make_search(study))}
    made = run_with_stops(lambda: make_search(study), random.Random(seed))
    assert {(p.trial.variant, p.trial.trial.key) for p in made} == expected
    assert len(made) == len(expected)


def test_the_outlook_holds_what_is_spent() -> None:
    for drift in (0.0, -1.0):
        study = study_of({"drift": drift})
        spent = sum(float(p.trial.trial.derived["flops"]) for p in run_to_end(make_search(study)))
        outlook = outlook_of(study)
        assert outlook is not None
        assert outlook.best[1] <= spent <= outlook.worst[1]
        assert outlook.best[1] <= outlook.expected[1] <= outlook.worst[1] < outlook.grid[1] * 4
        assert outlook.best[0] == 9 + 3 * 3 and outlook.grid[0] == 4 * 9
    known = outlook_of(study, expand(study))
    assert known is not None and known.best[0] == 9
