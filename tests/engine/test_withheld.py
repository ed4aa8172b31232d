"""What people want of a run, and how the dispatcher heeds it."""

from __future__ import annotations

from datetime import UTC, datetime

from dispatch_desk import SHAPE, Desk, begin, dispatcher, keys
from engine_studies import packs_of, planted

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.messages import Ended, Order
from sweeper.engine.packing import Pack
from sweeper.engine.policy import MAX_ACCIDENTS
from sweeper.outcome import Outcome
from sweeper.store.records import Wish, WishKind


def wish(kind: WishKind) -> Wish:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Wish(kind=kind, study="s", variant=None, key=None, made_at=made, made_by="ann")


class Scene:
    """A dispatcher, and what is wanted of its trials, by key."""

    def __init__(self, packs: list[Pack]) -> None:
        self.wanted: dict[str, Wish] = {}
        self.keys = [trial.key for pack in packs for trial in pack.trials]
        self.office = dispatcher(Desk(), packs, wish_of=lambda key: self.wanted.get(key))

    def want(self, kind: WishKind, *keys: str) -> None:
        self.wanted |= {key: wish(kind) for key in keys}
        self.office.heed()

    def lift(self) -> None:
        self.wanted.clear()
        self.office.heed()


def stopped(office: Dispatcher, order: Order, key: str) -> None:
    (task,) = (task for task in order.tasks if task.key == key)
    outcome = Outcome(key=key, attempt=task.attempt, kind="stopped")
    office.handle(Ended(order=order.number, outcome=outcome))


def test_what_waits_is_not_handed_out_and_the_rest_of_its_pack_is() -> None:
    scene = Scene(packs_of(planted(), size=3))
    scene.want("stop", scene.keys[1])
    orders = scene.office.take(SHAPE, 2)
    assert keys(orders) == [scene.keys[0], *scene.keys[2:]]
    assert scene.office.withheld.keys == {scene.keys[1]}


def test_a_run_ends_without_what_is_stopped_and_waits_for_what_is_paused() -> None:
    scene = Scene(packs_of(planted()))
    scene.want("stop", *scene.keys)
    assert scene.office.finished
    assert not scene.office.withheld.paused
    scene.want("pause", scene.keys[0])
    assert scene.office.withheld.paused
    assert scene.office.finished, "slots may go home meanwhile"


def test_what_runs_is_halted_with_its_order_and_put_back_in_front() -> None:
    scene = Scene(packs_of(planted()))
    first, second = scene.office.take(SHAPE, 2)
    begin(scene.office, second, "here")
    scene.want("pause", *scene.keys)
    assert scene.office.halted.take() == {
        first.number: frozenset(keys([first])),
        second.number: frozenset(keys([second])),
    }
    assert scene.office.halted.take() == {}, "each is told once"
    for order in (second, first):
        stopped(scene.office, order, order.tasks[0].key)
    scene.wanted.clear()
    assert scene.office.lift()
    again = scene.office.take(SHAPE, 2)
    assert set(keys(again)) == set(scene.keys[:2]), "their checkpoints are there already"


def test_what_is_lifted_while_the_run_goes_on_waits_again() -> None:
    scene = Scene(packs_of(planted()))
    scene.want("stop", *scene.keys[1:])
    (order,) = scene.office.take(SHAPE, 6)
    assert order.tasks[0].key == scene.keys[0]
    scene.lift()
    assert keys(scene.office.take(SHAPE, 6)) == scene.keys[1:]


def test_what_is_lifted_after_the_last_slot_went_home_is_left_to_the_run() -> None:
    scene = Scene(packs_of(planted()))
    scene.want("pause", *scene.keys)
    scene.lift()
    assert scene.office.finished, "nobody is there to take it"
    assert scene.office.lift()
    assert not scene.office.finished


def test_pausing_a_trial_again_and_again_is_no_accident() -> None:
    scene = Scene(packs_of(planted())[:1])
    (key,) = scene.keys
    for _ in range(MAX_ACCIDENTS + 1):
        (order,) = scene.office.take(SHAPE)
        scene.want("pause", key)
        stopped(scene.office, order, key)
        scene.wanted.clear()
        assert scene.office.lift()


def test_a_run_that_is_being_ended_lifts_nothing() -> None:
    scene = Scene(packs_of(planted()))
    scene.want("pause", *scene.keys)
    scene.office.stop()
    scene.lift()
    assert not scene.office.lift()
    assert scene.office.finished and not scene.office.withheld.paused
