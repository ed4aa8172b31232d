"""Trials that are stopped because others dominate them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dispatch_desk import SHAPE, Desk, dispatcher
from engine_studies import planted

from sweeper.answers.view import statements_of, view_study
from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.domination import Domination
from sweeper.engine.messages import Marked
from sweeper.engine.packing import Pack
from sweeper.engine.run import Run, RunSummary
from sweeper.errors import StudyError
from sweeper.outcome import Mark, Outcome
from sweeper.store.store import Store
from sweeper.study.plan import expand, unique_trials
from sweeper.study.study import Study
from sweeper.trial import Trial

PLACES = (-5, -4, -3, -2, -1, -6, 0, -7, 1, -8)
"""log2 of the rates: the best one and those above it first."""


def study(*, stop: Any = None, pack: int | str = 1, **sections: Any) -> Study:
    """A study of the planted workload that evaluates after every step; the best rate at width 32
    is 2^-5, and falls by half an octave per doubling."""
    sweep = {"width": [32, 64], "learning_rate": [2.0**place for place in PLACES]}
    return planted(
        fixed={"steps": 8, "noise": 0.001},
        stop={"dominated": True} if stop is None else stop,
        **{"workload": "marked_card:CARD", "resources": {"pack": pack}, "sweep": sweep} | sections,
    )


def ran(asked: Study, store: Store) -> RunSummary:
    return Run(asked, store, executor="inline").execute()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """All trials of the study, none stopped."""
    with Store.open(tmp_path_factory.mktemp("whole"), create=True) as store:
        assert ran(study(stop={}), store).dominated == 0
        yield store


@pytest.mark.parametrize("pack", [1, 5])
def test_an_optimum_is_the_same_with_and_without_stopping(
    whole: Store, tmp_path: Path, pack: int
) -> None:
    with Store.open(tmp_path, create=True) as store:
        summary = ran(study(pack=pack), store)
        account, cut = store.account("planted"), store.frame("planted")
        (ours,), (theirs,) = (statements_of(each, "planted") for each in (store, whole))
        again = ran(study(pack=pack), store)
    assert (summary.finished, summary.dominated, account.dominated) == (20, 4, 4)
    assert (account.done, account.pending) == (16, 0)
    assert (again.finished, again.reused) == (0, 20)
    completed = cut.outcome == "completed"
    assert set(cut.learning_rate[~completed]) == {1.0, 2.0}
    assert cut.loss[~completed].isna().all()
    assert cut.loss[completed].tolist() == whole.frame("planted").loss[completed].tolist()
    (mine,), (others,) = ours.groups, theirs.groups
    assert [each.log2 for each in mine.optima] == [each.log2 for each in others.optima]
    assert [each.flags for each in mine.optima] == [each.flags for each in others.optima]
    assert mine.drift is not None and others.drift is not None
    assert mine.drift.slope == others.drift.slope
    # One of the estimators that widen an interval reads all points, however far.
    assert mine.drift.low == pytest.approx(others.drift.low, abs=2e-3)
    assert mine.drift.high == pytest.approx(others.drift.high, abs=2e-3)
    assert any("4 trials stopped before the end, dominated" in note for note in ours.notes)


def test_what_was_stopped_is_kept_and_runs_to_its_end_when_asked_for(tmp_path: Path) -> None:
    small = {"width": [32], "learning_rate": [2.0**place for place in PLACES[:7]]}
    with Store.open(tmp_path, create=True) as store:
        assert ran(study(sweep=small), store).dominated == 1
        (key,) = store.frame("planted").query("outcome == 'dominated'").key
        found = store.outcomes_of([key])[key]
        assert (found.kind, found.step) == ("dominated", 4)
        assert found.metrics["val_loss"] > 1
        (row,) = store.query(f"select objective from results where trial_key = '{key}'").rows
        assert row == (None,)
        assert not store.verify(None).findings
        later = Run(study(sweep=small, stop={}), store, executor="inline")
        assert "--dominated has them run to it" in later.progress.view().notes[0]
        assert later.execute().finished == 0
        assert store.retry("planted", dominated=True).withdrawn == (key,)
        assert ran(study(sweep=small, stop={}), store).finished == 1
        assert store.account("planted").dominated == 0
        assert not view_study(store, "planted").notes


def test_a_later_run_judges_by_what_earlier_ones_finished(tmp_path: Path) -> None:
    near = {"width": [32], "learning_rate": [2.0**place for place in PLACES[:5]]}
    all_of_them = {"width": [32], "learning_rate": [2.0**place for place in PLACES]}
    with Store.open(tmp_path, create=True) as store:
        assert ran(study(sweep=near, stop={}), store).dominated == 0
        assert ran(study(sweep=all_of_them, pack=16), store).dominated == 2


LOSSES = {-9: 1.9, -8: 1.4, -7: 1.1, -6: 1.0, -5: 1.2, -4: 1.5, -3: 1.9, -2: 2.4}


def trial(asked: Study, place: int) -> Trial:
    found = unique_trials(expand(asked)).values()
    return next(each for each in found if each.config["learning_rate"] == 2.0**place)


def completed(of: Trial, loss: float, marks: tuple[Mark, ...]) -> Outcome:
    return Outcome(
        key=of.key, attempt=1, kind="completed", metrics={"val_loss": loss}, marks=marks
    )


def judged(place: int, value: float, *, step: int = 4, **losses: float) -> bool:
    """Whether a trial is dominated by those of LOSSES, others than itself, with some changed."""
    asked = planted(
        fixed={"steps": 8},
        sweep={"width": [32], "learning_rate": {"log2": [-11, 1]}},
        stop={"dominated": True},
    )
    rule = Domination(asked)
    rule.add(unique_trials(expand(asked)).values())
    ends = LOSSES | {int(name.replace("minus", "-")): loss for name, loss in losses.items()}
    for other, loss in ends.items():
        marks = tuple(Mark(step=at, tokens=at, metric="val_loss", value=loss + 1) for at in (4, 6))
        rule.ended(completed(trial(asked, other), loss, marks))
    return rule.dominated(trial(asked, place).key, step, value)


def test_the_rule() -> None:
    assert judged(-1, 4.0)
    assert judged(-1, 4.0, step=6)
    assert not judged(-1, 3.8)  # nearer to the outermost than that is to the one before it
    assert not judged(-1, 4.0, step=3)  # too early
    assert not judged(-1, 4.0, step=5)  # where the others were not measured
    assert not judged(-1, 4.0, step=8)  # at its end
    assert not judged(-10, 9.0)  # three between it and the best
    assert not judged(-1, 9.0, minus3=1.4)  # the losses do not rise all the way
    assert not judged(-1, 9.0, minus2=0.9)  # the last is the best


def test_other_seeds_and_scales_are_no_neighbours(tmp_path: Path) -> None:
    asked = study()
    rule = Domination(asked)
    trials = list(unique_trials(expand(asked)).values())
    rule.add(trials)
    for each in trials:
        rate = each.config["learning_rate"]
        if each.config["width"] == 32 and rate < 1:
            loss = abs(float(rate) - 2.0**-6)
            marks = (Mark(step=4, tokens=4, metric="val_loss", value=loss),)
            rule.ended(completed(each, loss, marks))
    stopped = [t for t in trials if rule.dominated(t.key, 4, 100.0)]
    assert {each.config["width"] for each in stopped} == {32}


def test_what_moves_the_compute_makes_no_line() -> None:
    sweep = {"width": [32], "learning_rate": [2.0**-5], "steps": list(range(8, 16))}
    asked = Study.from_document(
        {**planted(stop={"dominated": True}).document, "fixed": {}, "sweep": sweep}
    )
    rule = Domination(asked)
    trials = list(unique_trials(expand(asked)).values())
    rule.add(trials)
    for loss, each in enumerate(trials[:-1]):
        marks = (Mark(step=8, tokens=8, metric="val_loss", value=loss),)
        rule.ended(completed(each, loss, marks))
    assert not rule.dominated(trials[-1].key, 8, 100.0)


def test_more_of_a_metric_may_be_better() -> None:
    asked = planted(
        fixed={"steps": 8},
        sweep={"width": [32], "learning_rate": {"log2": [-6, 1]}},
        stop={"dominated": True},
        objective={"goal": "max"},
    )
    rule = Domination(asked)
    rule.add(unique_trials(expand(asked)).values())
    for place in range(-6, 0):
        score = -float((place + 6) ** 2)
        marks = (Mark(step=4, tokens=4, metric="val_loss", value=score),)
        rule.ended(completed(trial(asked, place), score, marks))
    assert rule.dominated(trial(asked, 1).key, 4, -49.0)
    assert not rule.dominated(trial(asked, 1).key, 4, 49.0)


def marked(office: Dispatcher, order: int, key: str) -> None:
    office.handle(Marked(order=order, key=key, step=4, value=9.0))


def test_the_dispatcher_says_once_whom_to_end() -> None:
    trials = tuple(unique_trials(expand(study())).values())[:2]
    office = dispatcher(
        Desk(), [Pack(shape=SHAPE, trials=trials)], is_dominated=lambda key, *_: key == one
    )
    one, other = (each.key for each in trials)
    (order,) = office.take(SHAPE)
    assert order.tell_marks
    marked(office, order.number, one)
    marked(office, order.number, other)
    marked(office, 99, one)
    assert office.dominated.take() == {order.number: frozenset({one})}
    assert office.dominated.take() == {}


@pytest.mark.parametrize(
    ("stop", "why"),
    [
        ({"dominated": "often"}, "stop.dominated: 'often' is neither true nor false"),
        ({"after": 1}, "stop.after: 1 is no share of a run; give a number between 0 and 1"),
        ({"after": 0}, "stop.after: 0 is no share"),
        ({"dominate": True}, "stop.dominate: unknown key 'dominate'; did you mean 'dominated'?"),
        (True, "stop: True is not a mapping"),
    ],
)
def test_a_rule_that_is_none_is_refused(stop: Any, why: str) -> None:
    with pytest.raises(StudyError) as caught:
        study(stop=stop)
    assert why in str(caught.value)
