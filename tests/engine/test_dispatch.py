"""The dispatcher: claims, losses, budgets and ends, with a claimer of plain Python."""

from __future__ import annotations

import threading

import pytest
from dispatch_desk import SHAPE, Desk, dispatcher, finish, keys
from engine_studies import packs_of, planted, trials_of

from sweeper.engine.messages import Advanced, Died, Ended, Event, Lost, Shape, Started
from sweeper.engine.policy import MAX_DEATHS, Limits
from sweeper.outcome import Outcome
from sweeper.study.sections import Budget


def test_trials_are_claimed_only_when_they_are_handed_out() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted()))
    assert desk.claims == []
    first = office.take(SHAPE)
    assert desk.claims == [(first[0].tasks[0].key,)]
    assert first[0].tasks[0].attempt == 1
    assert office.demand() == {SHAPE: 6}, "one in flight and five that wait"


def test_several_packs_are_claimed_in_one_transaction_and_in_order() -> None:
    desk = Desk()
    packs = packs_of(planted(), size=2)
    office = dispatcher(desk, packs)
    orders = office.take(SHAPE, 2)
    assert len(desk.claims) == 1
    assert keys(orders) == [trial.key for pack in packs[:2] for trial in pack.trials]
    assert [order.number for order in orders] == [1, 2]
    assert desk.ordered == orders


def test_a_task_carries_what_the_plan_knows() -> None:
    desk = Desk()
    packs = packs_of(planted())
    trial = packs[0].trials[0]
    task = dispatcher(desk, packs).take(SHAPE)[0].tasks[0]
    assert (task.config, task.seed, task.data) == (trial.config, trial.seed, trial.data)
    assert (task.flops, task.steps) == (trial.derived["flops"], trial.derived["steps"])


def test_members_claimed_elsewhere_are_left_out_and_remembered() -> None:
    packs = packs_of(planted(), size=3)
    desk = Desk(taken={packs[0].trials[1].key})
    office = dispatcher(desk, packs)
    orders = office.take(SHAPE)
    assert keys(orders) == [packs[0].trials[0].key, packs[0].trials[2].key]
    assert office.refused == desk.taken


def test_a_pack_claimed_elsewhere_as_a_whole_gives_no_order_and_ends_the_run() -> None:
    packs = packs_of(planted(), size=6)
    desk = Desk(taken={trial.key for trial in packs[0].trials})
    office = dispatcher(desk, packs)
    assert office.take(SHAPE) == []
    assert office.finished
    assert office.refused == desk.taken


def test_an_order_is_in_flight_until_its_last_member_ends() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted(), size=6))
    order = office.take(SHAPE)[0]
    for number, task in enumerate(order.tasks, start=1):
        assert not office.finished
        outcome = Outcome(key=task.key, attempt=1, kind="completed")
        office.handle(Ended(order=order.number, outcome=outcome))
        assert len(desk.recorded) == number
    assert office.finished
    assert office.demand() == {}


def test_shapes_are_served_apart() -> None:
    small, large = Shape(cpus=1), Shape(cpus=2)
    packs = [*packs_of(planted(), small)[:2], *packs_of(planted("b", sweep={"seed": [7]}), large)]
    office = dispatcher(Desk(), packs)
    assert office.shapes() == [small, large]
    office.take(small, 2)
    assert office.shapes() == [large]
    assert list(office.demand().items()) == [(large, 6), (small, 2)]
    assert office.take(small) == []


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (4, 4), (6, 6), (100, 6)])
def test_no_more_trials_are_started_than_the_budget_has(limit: int, expected: int) -> None:
    office = dispatcher(Desk(), packs_of(planted(), size=4), budget=Budget(trials=limit))
    orders = office.take(SHAPE, 10)
    assert len(keys(orders)) == expected
    assert office.ceiling_reached == (None if limit >= 6 else f"{limit} trials")
    for order in orders:
        finish(office, order)
    assert office.finished


def test_what_earlier_runs_spent_counts_against_the_budget() -> None:
    office = dispatcher(Desk(), packs_of(planted()), budget=Budget(trials=5))
    office.spend(trials_of(planted("earlier", sweep={"width": [16]})))
    assert len(office.take(SHAPE, 10)) == 2
    assert office.ceiling_reached == "5 trials"


def test_the_flops_of_started_trials_never_exceed_the_budget() -> None:
    packs = packs_of(planted())
    costs = [float(pack.trials[0].derived["flops"]) for pack in packs]
    budget = Budget(flops=sum(costs[:4]) + 0.5 * costs[4])
    office = dispatcher(Desk(), packs, budget=budget)
    orders = office.take(SHAPE, 10)
    assert len(orders) == 4
    assert sum(task.flops for order in orders for task in order.tasks) <= (budget.flops or 0)
    assert office.ceiling_reached is not None
    assert "FLOPs" in office.ceiling_reached


def test_no_trial_is_started_after_the_budget_of_time() -> None:
    office = dispatcher(Desk(), packs_of(planted()), budget=Budget(hours=1e-9))
    assert office.take(SHAPE, 10) == []
    assert office.ceiling_reached == "1e-09 hours"
    assert office.finished


def test_a_spent_budget_leaves_nothing_waiting() -> None:
    study = planted(sweep={"seed": list(range(50))})
    office = dispatcher(Desk(), packs_of(study), budget=Budget(trials=1))
    (order,) = office.take(SHAPE, 2)
    assert office.shapes() == []
    finish(office, order)
    assert office.finished


def test_a_trial_that_runs_once_more_is_not_billed_twice() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted()), budget=Budget(trials=6))
    first, *others = office.take(SHAPE, 6)
    for order in others:
        finish(office, order)
    office.handle(Lost(order=first.number, reason="power"))
    again = office.take(SHAPE)
    assert keys(again) == keys([first])
    assert office.ceiling_reached is None


def test_a_trial_lost_after_the_budget_was_spent_still_runs_again() -> None:
    office = dispatcher(Desk(), packs_of(planted()), budget=Budget(trials=2))
    first, _ = office.take(SHAPE, 6)
    assert office.ceiling_reached == "2 trials"
    office.handle(Lost(order=first.number, reason="power"))
    assert keys(office.take(SHAPE, 6)) == keys([first])


def test_the_budget_of_a_study_pays_for_what_other_controllers_run_of_it() -> None:
    packs = packs_of(planted())
    desk = Desk(taken={packs[0].trials[0].key})
    office = dispatcher(desk, packs, budget=Budget(trials=2))
    assert len([order for _ in range(6) for order in office.take(SHAPE)]) == 1
    assert office.ceiling_reached == "2 trials"
    desk.taken.clear()
    office.come_back({packs[0].trials[0].key})
    assert len(office.take(SHAPE)) == 1, "it is paid for"


def test_the_members_of_a_lost_order_come_back_alone_and_first() -> None:
    desk = Desk()
    packs = packs_of(planted(), size=3)
    office = dispatcher(desk, packs)
    lost = office.take(SHAPE)[0]
    office.handle(Lost(order=lost.number, reason="the worker died"))
    assert [outcome.kind for outcome in desk.recorded] == ["lost_worker"] * 3
    assert {outcome.error for outcome in desk.recorded} == {"the worker died"}
    again = office.take(SHAPE, 4)
    assert [len(order.tasks) for order in again] == [1, 1, 1, 3]
    assert keys(again[:3]) == keys([lost])
    assert {task.attempt for order in again[:3] for task in order.tasks} == {2}


def test_members_that_had_ended_before_the_loss_do_not_come_back() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted(), size=6))
    order = office.take(SHAPE)[0]
    done = order.tasks[0]
    outcome = Outcome(key=done.key, attempt=1, kind="completed")
    office.handle(Ended(order=order.number, outcome=outcome))
    office.handle(Lost(order=order.number, reason="power"))
    assert done.key not in keys(office.take(SHAPE, 10))


def test_lost_attempts_are_in_the_store_before_they_are_claimed_again() -> None:
    desk, settled = Desk(), list[int]()
    office = dispatcher(
        desk, packs_of(planted()), flush=lambda: settled.append(len(desk.recorded))
    )
    order = office.take(SHAPE)[0]
    office.handle(Lost(order=order.number, reason="power"))
    assert settled == [1]


def test_a_trial_under_which_workers_keep_dying_is_given_up_as_failed() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted())[:1])
    for _ in range(MAX_DEATHS):
        (order,) = office.take(SHAPE)
        office.handle(Lost(order=order.number, reason="signal 9"))
    assert office.finished
    kinds = [outcome.kind for outcome in desk.recorded]
    assert kinds == ["lost_worker"] * (MAX_DEATHS - 1) + ["bug"]
    assert "given up" in (desk.recorded[-1].error or "")
    assert "signal 9" in (desk.recorded[-1].error or "")
    ends = [event.outcome.kind for event in desk.seen if isinstance(event, Ended)]
    assert ends == ["bug"]


def test_a_loss_reported_twice_counts_once() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted())[:1])
    order = office.take(SHAPE)[0]
    for _ in range(5):
        office.handle(Lost(order=order.number, reason="power"))
    assert len(desk.recorded) == 1
    assert office.demand() == {SHAPE: 1}


def test_a_late_word_of_a_worker_given_up_is_recorded_all_the_same() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted())[:1])
    order = office.take(SHAPE)[0]
    office.handle(Lost(order=order.number, reason="network"))
    finish(office, order)
    assert [outcome.kind for outcome in desk.recorded] == ["lost_worker", "completed"]
    assert office.demand() == {SHAPE: 1}, "the store will refuse it, which is not known here"


def test_a_withdrawn_order_ends_as_stopped() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted(), size=2))
    order = office.take(SHAPE)[0]
    office.withdraw(order.number)
    assert [outcome.kind for outcome in desk.recorded] == ["stopped", "stopped"]
    assert office.demand() == {SHAPE: 2}, "the packs that waited beside it"
    office.withdraw(order.number)
    assert len(desk.recorded) == 2


def test_after_a_stop_nothing_is_handed_out_and_nothing_lost_comes_back() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted()))
    order = office.take(SHAPE)[0]
    office.stop()
    assert office.stopping
    assert office.take(SHAPE, 10) == []
    office.handle(Lost(order=order.number, reason="power"))
    assert office.finished
    assert [outcome.kind for outcome in desk.recorded] == ["lost_worker"]


def test_a_worker_that_had_to_stop_ends_the_run_with_its_reason() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted()))
    order = office.take(SHAPE)[0]
    finish(office, order, kind="stopped", error="the disk is full")
    assert office.fault is not None
    assert office.fault.exit_code == 4
    assert "the disk is full" in str(office.fault)
    assert office.stopping
    assert desk.recorded[0].kind == "stopped"


def test_a_worker_that_was_told_to_stop_is_no_fault() -> None:
    office = dispatcher(Desk(), packs_of(planted()))
    finish(office, office.take(SHAPE)[0], kind="stopped")
    assert office.fault is None
    assert not office.stopping


def test_workers_that_die_idle_again_and_again_end_the_run() -> None:
    office = dispatcher(Desk(), packs_of(planted()), idle_deaths=3)
    for _ in range(3):
        assert office.fault is None
        office.handle(Died(slot="slot0", reason="no module named torch"))
    assert "no module named torch" in str(office.fault)


def test_slots_that_never_began_since_their_nodes_went_do_not_end_the_run() -> None:
    office = dispatcher(Desk(), packs_of(planted()), idle_deaths=3)
    for number in range(9):
        office.handle(Died(slot=f"slot{number}", reason="its node has died", node=True))
    assert office.fault is None


def test_deaths_with_work_in_between_do_not_end_the_run() -> None:
    office = dispatcher(Desk(), packs_of(planted()))
    order = office.take(SHAPE)[0]
    for _ in range(3 * Limits.idle_deaths):
        office.handle(Died(slot="slot0", reason="killed"))
        office.handle(Started(order=order.number, slot="slot0", host="here", pid=1))
    assert office.fault is None


def test_every_event_is_observed_after_it_was_dealt_with() -> None:
    desk = Desk()
    office = dispatcher(desk, packs_of(planted()))
    order = office.take(SHAPE)[0]
    events: list[Event] = [
        Started(order=order.number, slot="a", host="b", pid=1),
        Advanced(order=order.number, fraction=0.5),
    ]
    for event in events:
        office.handle(event)
    finish(office, order)
    assert desk.seen[:2] == events
    assert isinstance(desk.seen[2], Ended)


def test_threads_together_run_every_trial_exactly_once() -> None:
    desk = Desk()
    study = planted(sweep={"seed": list(range(40))})
    office = dispatcher(desk, packs_of(study, size=2))
    faults: list[BaseException] = []

    def work() -> None:
        try:
            while not office.finished:
                for order in office.take(SHAPE, 3):
                    finish(office, order)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert faults == []
    assert not any(thread.is_alive() for thread in threads)
    recorded = [outcome.key for outcome in desk.recorded]
    assert len(recorded) == len(set(recorded)) == study.num_cells
