"""What every search promises to the run that executes its proposals."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from doubling_search import Doubling
from engine_studies import planted

import sweeper.search
from sweeper.outcome import Outcome
from sweeper.search.base import Proposal, Search, make_search
from sweeper.study.plan import expand
from sweeper.study.study import Study
from sweeper.study.values import search_methods

RATES = [2.0**-8, 2.0**-7]

Maker = Callable[[Study], Search]


def by_name(name: str) -> Maker:
    return lambda study: make_search(study.model_copy(update={"search": method(name)}))


def method(name: str) -> object:
    return planted().search.model_copy(update={"method": name})


def growing(study: Study) -> Search:
    options = planted(search={"expand_edges": 3, "refine": 0.2}).search
    return make_search(study.model_copy(update={"search": options}))


OTHERS: dict[str, Maker] = {"doubling": Doubling, "a grid that grows": growing}
"""A search of these tests, which no study can name, and one with options."""


@pytest.fixture(params=[*search_methods(), *OTHERS])
def make(request: pytest.FixtureRequest) -> Maker:
    """Returns what makes a search: every one that a study may name, and the others."""
    return OTHERS.get(request.param) or by_name(request.param)


@pytest.fixture
def study() -> Study:
    return planted(sweep={"learning_rate": RATES}, fixed={"cliff": 3.0})


def outcome_of(proposal: Proposal) -> Outcome:
    """The outcome of a proposed trial: a bowl with a cliff, and a failure at one width."""
    trial = proposal.trial.trial
    rate = float(trial.config["learning_rate"])  # type: ignore[arg-type]
    if rate > 0.25:
        return Outcome(key=trial.key, attempt=1, kind="diverged")
    if rate == RATES[0] and trial.config["width"] == 64:
        return Outcome(key=trial.key, attempt=1, kind="bug", error="RuntimeError: it broke")
    loss = 1.0 + (rate - 2.0**-5) ** 2
    return Outcome(key=trial.key, attempt=1, kind="completed", metrics={"val_loss": loss})


def places(proposals: Sequence[Proposal]) -> list[tuple[str, str, str]]:
    return sorted((p.trial.variant, p.trial.trial.key, p.reason) for p in proposals)


def in_waves(search: Search) -> list[Proposal]:
    """Runs a search to its end, telling all outcomes of a wave in the order of its proposals."""
    made: list[Proposal] = []
    while wave := list(search.ask()):
        made += wave
        search.tell([outcome_of(proposal) for proposal in wave])
    return made


def one_by_one(search: Search, draw: random.Random) -> list[Proposal]:
    """Runs a search to its end, telling one outcome after the other in any order."""
    made: list[Proposal] = []
    flying: list[Proposal] = []
    while new := [*search.ask(), *flying]:
        made += [proposal for proposal in new if proposal not in made]
        flying = new
        search.tell([outcome_of(flying.pop(draw.randrange(len(flying))))])
    return made


def test_a_search_ends_and_says_so(make: Maker, study: Study) -> None:
    search = make(study)
    assert not search.finished
    assert in_waves(search)
    assert search.finished
    assert not list(search.ask())


def test_nothing_is_proposed_twice_and_every_proposal_is_of_the_study(
    make: Maker, study: Study
) -> None:
    made = in_waves(make(study))
    assert len({(p.trial.variant, p.trial.trial.key) for p in made}) == len(made)
    assert {p.trial.variant for p in made} <= set(study.variants)
    assert all(p.reason for p in made)


def test_proposals_depend_on_outcomes_and_not_on_the_order_in_which_they_come(
    make: Maker, study: Study
) -> None:
    expected = places(in_waves(make(study)))
    for seed in range(5):
        assert places(one_by_one(make(study), random.Random(seed))) == expected


def test_a_search_waits_for_outcomes_without_an_end(make: Maker, study: Study) -> None:
    search = make(study)
    first = list(search.ask())
    assert first
    assert not list(search.ask())
    assert search.finished == (len(in_waves(make(study))) == len(first))


def test_a_search_loads_neither_ray_nor_torch_nor_the_database() -> None:
    modules = ", ".join(f"sweeper.search.{name}" for name in ("base", *search_methods()))
    code = f"import sys, {modules}\nprint({{n.split('.')[0] for n in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"ray", "torch", "sqlalchemy"} & eval(done.stdout)


def test_the_grid_proposes_what_a_study_declares_cheapest_first(study: Study) -> None:
    search = make_search(study)
    assert [proposal.trial for proposal in search.ask()] == expand(study)
    assert search.finished


def test_a_new_strategy_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "backwards.py").write_text(
        "from sweeper.search.grid import Grid\n"
        "class Backwards(Grid):\n"
        "    def ask(self):\n"
        "        return list(super().ask())[::-1]\n"
        "make = Backwards\n"
    )
    monkeypatch.setattr(sweeper.search, "__path__", [*sweeper.search.__path__, str(tmp_path)])
    monkeypatch.setattr(
        sweeper.search.__spec__, "submodule_search_locations", sweeper.search.__path__
    )
    monkeypatch.delitem(sys.modules, "sweeper.search.backwards", raising=False)
    study = planted(search={"method": "backwards"})
    assert [item.trial for item in make_search(study).ask()] == expand(study)[::-1]
    assert study.document["search"] == {"method": "backwards"}
