"""The dispatcher: what it hands out once more, and what it gives up."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from dispatch_desk import SHAPE, Desk, begin, dispatcher, finish, keys
from engine_studies import packs_of, planted

from sweeper.engine.messages import Ended, Event, Leaving, Lost, Order, Shape
from sweeper.engine.policy import MAX_ACCIDENTS
from sweeper.outcome import Outcome
from sweeper.store.files.local import LocalFiles


def test_a_place_that_fails_many_trials_at_once_does_not_end_the_run_before_it_is_judged() -> None:
    desk, excused = Desk(), list[str]()
    study = planted(sweep={"width": [32], "seed": list(range(10))})
    office = dispatcher(desk, packs_of(study), forgive=excused.extend)
    orders = office.take(SHAPE, 30)
    begin(office, orders[0], "good")
    for order in orders[1:]:
        begin(office, order, "sick")
    for order in orders[1:]:
        finish(office, order, kind="bug", error="no driver")
    assert office.fault is None, "29 failures, all of them at one place"
    assert office.health.quarantined == {"sick"}
    (asked,) = office.take(SHAPE, 40)
    assert asked.avoid == {"sick"}
    begin(office, asked, "good")
    finish(office, asked)
    assert sorted(excused) == sorted(set(keys(orders[1:])) - set(keys([asked])))
    again = office.take(SHAPE, 60)
    assert sorted(keys(again)) == sorted(excused)


def test_failures_at_every_place_end_the_run() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted(sweep={"seed": list(range(10))})))
    for number in range(60):
        for order in office.take(SHAPE, 1):
            begin(office, order, "a" if number % 2 else "b")
            finish(office, order, kind="bug", error="no module named torch")
    assert office.fault is not None
    assert "x bug: no module named torch" in str(office.fault)


def test_a_trial_that_ran_out_of_memory_comes_back_once_with_a_device_of_its_own() -> None:
    desk, owed = Desk(), list[str]()
    office = dispatcher(desk, packs_of(planted())[:1], allow_retry=owed.extend)
    (order,) = office.take(SHAPE)
    finish(office, order, kind="out_of_memory", error="x")
    assert owed == keys([order])
    alone = Shape(alone=True)
    assert office.shapes() == [alone]
    (again,) = office.take(alone)
    finish(office, again, kind="out_of_memory", error="x")
    assert office.finished


def test_a_slot_that_is_taken_away_gives_its_trial_back() -> None:
    office = dispatcher(Desk(), packs_of(planted())[:1])
    (order,) = office.take(SHAPE)
    finish(office, order, kind="stopped")
    assert keys(office.take(SHAPE)) == keys([order])


def test_what_is_stopped_with_its_slot_goes_on_as_the_pack_that_it_was() -> None:
    office = dispatcher(Desk(), packs_of(planted(), size=3)[:1])
    (order,) = office.take(SHAPE)
    finish(office, replace(order, tasks=order.tasks[:1]))
    finish(office, replace(order, tasks=order.tasks[1:]), kind="stopped")
    (again,) = office.take(SHAPE, 9)
    assert keys([again]) == keys([order])[1:]


def test_slots_that_are_asked_to_stop_cost_their_trials_nothing_however_often() -> None:
    office = dispatcher(Desk(), packs_of(planted())[:1])
    for number in range(3 * MAX_ACCIDENTS):
        (order,) = office.take(SHAPE)
        begin(office, order, "here", slot=f"slot{number}")
        office.excuse([f"slot{number}"])
        finish(office, order, kind="stopped")
    assert office.take(SHAPE)


def test_a_slot_whose_node_will_be_taken_away_is_told_of_once_a_place_and_costs_nothing() -> None:
    notes: list[str] = []
    office = dispatcher(Desk(), packs_of(planted())[:1], note=notes.append)
    for number in range(3 * MAX_ACCIDENTS):
        (order,) = office.take(SHAPE)
        begin(office, order, "here", slot=f"slot{number}")
        office.handle(Leaving(slot=f"slot{number}", place="here", reason="a file has appeared"))
        finish(office, order, kind="stopped")
    assert office.take(SHAPE)
    assert len(notes) == 1
    assert "here will be taken away: a file has appeared" in notes[0]


def test_a_slot_that_is_always_taken_away_without_a_word_gives_its_trial_up() -> None:
    office = dispatcher(Desk(), packs_of(planted())[:1])
    for number in range(MAX_ACCIDENTS):
        (order,) = office.take(SHAPE)
        begin(office, order, "here", slot=f"slot{number}")
        finish(office, order, kind="stopped")
    assert office.finished


def test_what_another_controller_has_taken_over_is_dropped_and_comes_back_if_it_lets_go() -> None:
    office = dispatcher(Desk(), packs_of(planted(), size=3))
    (order,) = office.take(SHAPE)
    lost, *kept = keys([order])
    assert office.held() == {lost, *kept}
    office.drop({lost})
    assert office.dropped.take() == {order.number: frozenset({lost})}
    assert office.dropped.take() == {}
    assert office.held() == set(kept)
    assert office.leased_by_others.keys == {lost}
    office.come_back([lost])
    assert lost in keys(office.take(SHAPE, 10))


class FarFiles(LocalFiles):
    """A bucket that answers no listing before it is told to."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.asked, self.answers = threading.Event(), threading.Event()

    def names(self, folder: str) -> list[str]:
        self.asked.set()
        assert self.answers.wait(30)
        return super().names(folder)


def stopped(order: Order) -> Event:
    task = order.tasks[0]
    outcome = Outcome(key=task.key, attempt=task.attempt, kind="stopped")
    return Ended(order=order.number, outcome=outcome)


def lost(order: Order) -> Event:
    return Lost(order=order.number, reason="its node is gone", node=True)


@pytest.mark.parametrize("end", [stopped, lost])
def test_leases_are_kept_while_the_checkpoints_of_what_ended_are_asked_for(end) -> None:
    files = FarFiles()
    office = dispatcher(Desk(), packs_of(planted()), files=files)
    first, second = office.take(SHAPE, 2)
    ending = threading.Thread(target=office.handle, args=[end(first)], daemon=True)
    ending.start()
    assert files.asked.wait(30)
    held = list[set[str]]()
    keeper = threading.Thread(target=lambda: held.append(office.held()), daemon=True)
    keeper.start()
    keeper.join(5)
    waited = keeper.is_alive()
    files.answers.set()
    ending.join(30)
    assert not waited
    assert held[0] >= {*keys([second])}
    assert keys(office.take(SHAPE)) == keys([first]), "it waits again"
