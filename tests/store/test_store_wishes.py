"""What people want of studies, which controllers are at them, and what a study does now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sample_store import ELSEWHERE, members, outcome, save, study, trials

from sweeper.errors import RequestError, UnknownNameError
from sweeper.store.database import shared_clock
from sweeper.store.owner import Owner
from sweeper.store.records import IMPORTED, Stand, StudyRecord, Wish, WishKind
from sweeper.store.store import Store
from sweeper.store.wishes import held_back

ANN = "ann@lab"


def report(store: Store, owner: Owner, name: str = "widths", **said: Any) -> None:
    values: dict[str, Any] = {
        "doing": "running",
        "slots": 1,
        "trials": {},
        "left_seconds": None,
        **said,
    }
    store.report(owner, name, executor="ray", lease_s=60, **values)


def shift(store: Store, seconds: float) -> None:
    store.database.clock = lambda link: shared_clock(link) + timedelta(seconds=seconds)


def wish(kind: WishKind, variant: str | None = None, key: str | None = None) -> Wish:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Wish(kind=kind, study="s", variant=variant, key=key, made_at=made, made_by=ANN)


def test_of_two_wishes_for_one_target_the_last_counts_and_each_says_who_and_when(
    store: Store,
) -> None:
    save(store, 2)
    store.make_wish("widths", "stop", by=ANN)
    (now,) = store.make_wish("widths", "pause", by="bob@lab")
    assert (now.kind, now.made_by, now.of) == ("pause", "bob@lab", "study widths")
    assert now.said.startswith("study widths was paused by bob@lab at 20")
    assert now.lifted_by == "sweeper resume widths"


def test_wishes_about_variants_and_trials_stand_beside_those_about_the_study(store: Store) -> None:
    keys = save(store, 2)
    store.make_wish("widths", "stop", variants=["default"], by=ANN)
    wishes = store.make_wish("widths", "pause", keys=[keys[0][:8], keys[0]], by=ANN)
    assert [(w.variant, w.key) for w in wishes] == [("default", None), (None, keys[0])]
    assert wishes[1].lifted_by == f"sweeper resume widths --key {keys[0][:12]}"
    assert store.lift_wishes("widths", keys=[keys[0]]) == [wishes[1]]
    store.make_wish("widths", "stop", by=ANN)
    assert len(store.lift_wishes("widths")) == 2, "all of a study"
    assert store.wishes_of("widths") == [] == store.lift_wishes("widths")


def test_unknown_names_are_refused_and_change_nothing(store: Store) -> None:
    save(store, 2)
    with pytest.raises(UnknownNameError, match="no study named 'width'; did you mean 'widths'"):
        store.make_wish("width", "stop", by=ANN)
    with pytest.raises(UnknownNameError, match="variant of study widths named 'defualt'; did"):
        store.make_wish("widths", "stop", variants=["default", "defualt"], by=ANN)
    with pytest.raises(RequestError, match="no trial of study widths has a key that begins so"):
        store.make_wish("widths", "stop", keys=["000000"], by=ANN)
    with pytest.raises(RequestError, match="a key is 6 to 64 digits"):
        store.lift_wishes("widths", keys=["abc"])
    assert store.wishes_of("widths") == []


def test_an_imported_study_is_refused(store: Store) -> None:
    record = StudyRecord(**{**vars(study("made")), "workload": IMPORTED})
    store.save_study(record, members(trials(1)))
    with pytest.raises(RequestError, match="study made holds imported results"):
        store.make_wish("made", "stop", by=ANN)


def test_a_trial_of_two_variants_is_held_back_only_if_both_are() -> None:
    places = [("a", "k1"), ("b", "k1"), ("a", "k2")]
    assert set(held_back([wish("stop", "a")], places)) == {"k2"}
    both = held_back([wish("stop", "a"), wish("pause", "b")], places)
    assert {key: each.kind for key, each in both.items()} == {"k1": "pause", "k2": "stop"}
    assert set(held_back([wish("stop", key="k1")], places)) == {"k1"}
    assert held_back([], places) == {}


def test_a_trial_that_is_stopped_and_paused_is_stopped() -> None:
    found = held_back([wish("pause"), wish("stop", key="k1")], [("a", "k1"), ("a", "k2")])
    assert {key: each.kind for key, each in found.items()} == {"k1": "stop", "k2": "pause"}


def test_a_controller_says_what_it_does_until_it_leaves(store: Store) -> None:
    key, *_ = save(store, 2)
    report(store, ELSEWHERE)
    report(store, ELSEWHERE, slots=2, doing="paused", trials={key: Stand(step=3, loss=2.5)})
    (found,) = store.controllers_of("widths")
    assert (found.slots, found.doing, found.alive) == (2, "paused", True)
    assert (found.host, found.pid) == ("another.machine", 1)
    assert found.trials == {key: Stand(step=3, loss=2.5)}
    store.release(ELSEWHERE)
    assert store.controllers_of() == []


def test_a_controller_that_is_lost_is_not_alive_and_closed_by_the_next_one(store: Store) -> None:
    save(store, 1)
    report(store, ELSEWHERE)
    shift(store, 61)
    assert [each.alive for each in store.controllers_of("widths")] == [False]
    report(store, Owner.here())
    assert [each.alive for each in store.controllers_of("widths")] == [True]


def test_a_study_at_work_is_seen_from_the_store_alone(store: Store) -> None:
    keys = save(store, 4)
    store.claim(keys[:2], owner=ELSEWHERE, lease_s=600)
    shift(store, 10)
    store.record(outcome(keys[0]), objective=2.5)
    report(store, ELSEWHERE, trials={keys[1]: Stand(step=5, loss=3.0)})
    now = store.activity("widths")
    assert (now.account.done, now.account.running, now.account.pending) == (1, 1, 2)
    (running,) = now.running
    assert (running.key, running.steps, running.study) == (keys[1], 10, "widths")
    assert running.stand == Stand(step=5, loss=3.0)
    assert now.rate is not None
    assert now.rate.trials == pytest.approx(0.15, rel=0.2), "one and a half in ten seconds"
    assert now.rate.flops == pytest.approx(9.0e4, rel=0.2)
    assert now.flops_left == pytest.approx(2.5 * 6.0e5)
    assert now.left_seconds == pytest.approx(16.7, rel=0.2)
    assert not now.over


def test_the_time_left_is_what_controllers_say_who_share_the_rest(store: Store) -> None:
    save(store, 4)
    report(store, ELSEWHERE, left_seconds=60.0)
    assert store.activity("widths").left_seconds == pytest.approx(60.0)
    report(store, Owner.here(), left_seconds=30.0)
    assert store.activity("widths").left_seconds == pytest.approx(20.0)
    report(store, ELSEWHERE, left_seconds=None)
    assert store.activity("widths").left_seconds == pytest.approx(30.0)


def test_what_is_stopped_is_not_waited_for_and_what_is_paused_is(store: Store) -> None:
    keys = save(store, 3)
    store.make_wish("widths", "stop", keys=keys[:1], by=ANN)
    store.make_wish("widths", "pause", keys=keys[1:2], by=ANN)
    now = store.activity("widths")
    assert (now.stopped, now.paused) == (1, 1)
    assert now.flops_left == pytest.approx(2 * 6.0e5)
    assert not now.over
    store.make_wish("widths", "stop", by=ANN)
    assert store.activity("widths").over
    report(store, ELSEWHERE)
    assert not store.activity("widths").over, "somebody is still at it"


def test_a_trial_that_another_study_runs_says_so(store: Store) -> None:
    keys = save(store, 1)
    save(store, 1, "others")
    store.claim(keys, owner=ELSEWHERE, lease_s=60)
    report(store, ELSEWHERE, "others")
    now = store.activity("widths")
    assert [each.study for each in now.running] == ["others"]
    assert now.controllers == ()


def test_results_and_failures_are_not_held_back(store: Store) -> None:
    keys = save(store, 3)
    store.record(outcome(keys[0]), objective=2.5)
    store.record(outcome(keys[1], "bug", error="x"), objective=None)
    store.make_wish("widths", "stop", by=ANN)
    assert {key for _, key in store.held_places("widths")} == {keys[2]}
