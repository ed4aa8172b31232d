"""The mailbox, as the asyncio object that the actor wraps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_studies import order_of
from virtual_time import now, run

from sweeper.engine.messages import (
    Advanced,
    Died,
    Ended,
    Event,
    Leaving,
    Lost,
    Order,
    Parked,
    Shape,
    Started,
)
from sweeper.engine.ray.mailbox import (
    LONGEST_QUIET,
    PARK,
    POSTS_PER_SECOND,
    Mailbox,
    Reply,
    WorkerProcess,
)

SHAPE = Shape()


def orders(count: int, first: int = 1) -> list[Order]:
    one = order_of(Path("/nowhere"), [{"width": 32, "learning_rate": 0.01}])
    return [replace(one, number=first + i) for i in range(count)]


def began(order: int, slot: str = "a") -> Started:
    return Started(order=order, slot=slot, host="here", pid=7)


async def pull(
    box: Mailbox,
    slot: str = "a",
    process: str = "1",
    events: Sequence[Event] = (),
    patience: float = 0.0,
    shape: Shape = SHAPE,
    place: str = "",
    node: str = "",
    notice: str | None = None,
) -> int | None:
    process = WorkerProcess(id=process, host="here", pid=7, place=place, node=node)
    order = await box.pull(slot, process, shape, events, patience, notice)
    if order == PARK:
        return -1
    assert order is None or isinstance(order, Order)
    return None if order is None else order.number


def test_orders_come_out_in_the_order_in_which_they_went_in() -> None:
    async def scene() -> list[int | None]:
        box = Mailbox()
        await box.exchange(orders(3), 0.0)
        await box.exchange(orders(2, first=4), 0.0)
        return [await pull(box) for _ in range(6)]

    assert run(scene()) == [1, 2, 3, 4, 5, None]


def test_a_slot_is_given_orders_of_its_shape_only() -> None:
    async def scene() -> tuple[int | None, int | None]:
        box = Mailbox()
        await box.exchange(orders(1), 0.0)
        return await pull(box, shape=Shape(cpus=2)), await pull(box, slot="b")

    assert run(scene()) == (None, 1)


def test_a_slot_waits_as_long_as_it_has_patience() -> None:
    async def scene() -> tuple[int | None, float]:
        return await pull(Mailbox(), patience=0.3), now()

    order, waited = run(scene())
    assert order is None
    assert waited == pytest.approx(0.3)


def test_a_slot_that_has_to_leave_is_stopped_and_given_nothing_more() -> None:
    async def scene() -> tuple[bool, bool, int | None, int | None]:
        box = Mailbox()
        await box.exchange(orders(3), 0.0)
        await pull(box, "a"), await pull(box, "b")
        await box.exchange([], 0.0, leave=frozenset({"a"}))
        stopped, goes_on = await box.post("a", []), await box.post("b", [])
        given = await pull(box, "a", patience=9), await pull(box, "b")
        return stopped.stop, goes_on.stop, *given

    assert run(scene()) == (True, False, None, 3)


def test_slots_on_a_node_that_ray_drains_are_stopped_without_blame() -> None:
    async def scene() -> tuple[Reply, int | None, tuple[Event, ...]]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        await pull(box, "a", node="x", place="there")
        await box.exchange([], 0.0, draining=frozenset({"x"}))
        reply = await box.post("a", [])
        after = await pull(box, "a", node="x", place="there", patience=9)
        return reply, after, (await box.exchange([], 0.0)).events

    reply, after, events = run(scene())
    assert (reply.stop, after) == (True, None)
    assert events == (Leaving(slot="a", place="there", reason="Ray drains this node"),)


def test_a_slot_whose_node_will_be_taken_away_idles_until_that_is_taken_back() -> None:
    async def scene() -> tuple[list[int | None], tuple[Event, ...]]:
        box = Mailbox()
        await box.exchange(orders(1), 0.0)
        given = [await pull(box, notice="a file"), await pull(box, notice="a file")]
        given.append(await pull(box))
        return given, (await box.exchange([], 0.0)).events

    given, events = run(scene())
    assert given == [-1, -1, 1]
    assert events == (Parked(slot="a"), began(1))


def test_an_order_wakes_one_waiting_slot_at_once_and_the_others_wait_on() -> None:
    async def scene() -> list[int | None]:
        box = Mailbox()
        slots = [asyncio.create_task(pull(box, slot=str(i), patience=10)) for i in range(3)]
        await asyncio.sleep(0.05)
        await box.exchange(orders(1), 0.0)
        await asyncio.wait(slots, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.1)
        assert sum(slot.done() for slot in slots) == 1
        await box.exchange(orders(2, first=2), 0.0)
        return [await slot for slot in slots]

    assert sorted(number or 0 for number in run(scene(), limit=5)) == [1, 2, 3]


def test_an_order_of_another_shape_does_not_swallow_the_wakeup() -> None:
    async def scene() -> int | None:
        box = Mailbox()
        other = asyncio.create_task(pull(box, "b", shape=Shape(cpus=2), patience=10))
        mine = asyncio.create_task(pull(box, "a", patience=10))
        await asyncio.sleep(0.05)
        await box.exchange(orders(1), 0.0)
        number = await asyncio.wait_for(mine, 2)
        await box.close()
        assert await other is None
        return number

    assert run(scene()) == 1


def test_events_come_out_once_and_in_order() -> None:
    events = [Advanced(order=1, fraction=f / 10) for f in range(5)]

    async def scene() -> tuple[list[Event], list[Event]]:
        box = Mailbox()
        await box.post("a", events[:2])
        await pull(box, events=events[2:])
        return list((await box.exchange([], 0.0)).events), list(
            (await box.exchange([], 0.0)).events
        )

    assert run(scene()) == (events, [])


def test_the_start_of_an_order_is_told_before_its_first_step() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(1), 0.0)
        await pull(box)
        return list((await box.exchange([], 10)).events)

    assert run(scene()) == [began(1)]


def test_the_controller_hears_of_an_event_while_it_waits() -> None:
    async def scene() -> tuple[int, float]:
        box = Mailbox()
        waiting = asyncio.create_task(box.exchange([], 10))
        await asyncio.sleep(0.05)
        await box.post("a", [Advanced(order=1, fraction=1.0)])
        return len((await waiting).events), now()

    count, waited = run(scene())
    assert count == 1
    assert waited == pytest.approx(0.05)


def test_an_order_taken_between_two_exchanges_wakes_the_controller() -> None:
    async def scene() -> tuple[dict[Shape, int], float]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        await pull(box)
        exchanged = await box.exchange([], 10)
        return dict(exchanged.ready), now()

    ready, waited = run(scene())
    assert ready == {SHAPE: 1}
    assert waited == 0


def test_an_exchange_without_news_ends_with_its_patience() -> None:
    async def scene() -> float:
        await Mailbox().exchange([], 0.3)
        return now()

    assert run(scene()) == pytest.approx(0.3)


def test_another_life_of_a_slot_buries_the_order_of_the_one_before() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        assert await pull(box, process="first") == 1
        assert await pull(box, process="second") == 2
        return list((await box.exchange([], 0.0)).events)

    first, lost, second = run(scene())
    assert (first, second) == (began(1), began(2))
    assert isinstance(lost, Lost)
    assert lost.order == 1


def test_a_slot_that_pulls_again_in_one_life_has_done_its_order() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        assert [await pull(box), await pull(box)] == [1, 2]
        return list((await box.exchange([], 0.0)).events)

    assert run(scene()) == [began(1), began(2)]


def test_a_dead_slot_is_buried_once() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(1), 0.0)
        await pull(box, process="first")
        await box.report_death("a", "signal 9")
        await pull(box, process="second")
        return list((await box.exchange([], 0.0)).events)

    begun, event = run(scene())
    assert begun == began(1)
    assert isinstance(event, Lost)
    assert event.order == 1


def test_a_slot_that_died_with_nothing_in_hand_is_reported_with_its_reason() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.report_death("a", "no module named torch")
        return list((await box.exchange([], 0.0)).events)

    assert run(scene()) == [Died(slot="a", reason="no module named torch")]


def test_closing_returns_the_untaken_orders_and_stops_every_slot() -> None:
    async def scene() -> tuple[list[int], list[int | None], bool]:
        box = Mailbox()
        await box.exchange(orders(3), 0.0)
        await pull(box, slot="busy")
        waiting = asyncio.create_task(pull(box, "idle", shape=Shape(cpus=2), patience=10))
        await asyncio.sleep(0.05)
        untaken = await box.close()
        idle = await asyncio.wait_for(waiting, 2)
        return untaken, [idle, await pull(box, slot="late")], (await box.post("a", [])).stop

    assert run(scene()) == ([2, 3], [None, None], True)


def test_a_slot_is_told_to_stop_only_after_the_close() -> None:
    async def scene() -> bool:
        return (await Mailbox().post("a", [Advanced(order=1, fraction=0.5)])).stop

    assert run(scene()) is False


@pytest.mark.parametrize("slots", [1, 3])
def test_a_crowd_gets_every_order_exactly_once(slots: int) -> None:
    async def work(box: Mailbox, slot: str) -> list[int]:
        got = []
        while (number := await pull(box, slot, patience=1.0)) is not None:
            got.append(number)
            await asyncio.sleep(0)
        return got

    async def scene() -> list[int]:
        box = Mailbox()
        crowd = [asyncio.create_task(work(box, str(i))) for i in range(slots)]
        every = orders(200)
        for start in range(0, 200, 2):
            await box.exchange(every[start : start + 2], 0.0)
        parts = await asyncio.gather(*crowd)
        return sorted(number for part in parts for number in part)

    assert run(scene()) == list(range(1, 201))


def test_an_order_is_left_to_places_that_it_does_not_avoid() -> None:
    async def scene() -> list[int | None]:
        box = Mailbox()
        first, second = orders(2)
        await box.exchange([replace(first, avoid=frozenset({"bad"})), second], 0.0)
        return [
            await pull(box, "a", place="bad", patience=5),
            await pull(box, "b", place="good", patience=5),
        ]

    assert run(scene()) == [2, 1]


def test_an_order_that_nobody_else_takes_runs_where_it_would_rather_not() -> None:
    async def scene() -> int | None:
        box = Mailbox()
        await box.exchange([replace(orders(1)[0], avoid=frozenset({"bad"}))], 0.0)
        return await pull(box, place="bad", patience=0.2)

    assert run(scene()) == 1


def test_a_slot_at_a_quarantined_place_idles_until_the_end_or_its_release() -> None:
    async def scene() -> tuple[list[int | None], list[Event]]:
        box = Mailbox()
        bad = frozenset({"bad"})
        await box.exchange(orders(2), 0.0, quarantined=bad)
        got = [await pull(box, place="bad", patience=0.1) for _ in range(2)]
        got.append(await pull(box, "b", place="good"))
        events = (await box.exchange([], 0.0, quarantined=bad)).events
        await box.exchange([], 0.0)
        got.append(await pull(box, place="bad"))
        await box.exchange(orders(1, first=3), 0.0, quarantined=bad)
        await box.close()
        got.append(await pull(box, place="bad", patience=5))
        return got, list(events)

    got, events = run(scene())
    assert got == [-1, -1, 1, 2, None]
    assert [event for event in events if isinstance(event, Parked)] == [Parked(slot="a")]


def test_members_that_are_dropped_are_cut_out_or_told_with_the_next_word() -> None:
    configs = [{"width": 32, "learning_rate": rate} for rate in (0.01, 0.02)]

    async def scene() -> tuple[Reply, Reply, list[Any], int | None]:
        box = Mailbox()
        held, waits, whole = (order_of(Path("/nowhere"), configs, number=n) for n in (1, 2, 3))
        keys = [task.key for task in held.tasks]
        await box.exchange([held, waits, whole], 0.0)
        await pull(box)
        before = await box.post("a", [])
        drop = {1: frozenset(keys[:1]), 2: frozenset(keys[1:]), 3: frozenset(keys)}
        await box.exchange([], 0.0, drop=drop, dominated={1: frozenset(keys[1:])})
        after = await box.post("a", [])
        process = WorkerProcess(id="1", host="here", pid=7)
        cut = await box.pull("b", process, SHAPE, [], 0.0)
        assert isinstance(cut, Order)
        left = [task.key for task in cut.tasks]
        return before, after, [left == keys[:1], after.drop == {keys[0]}], await pull(box, "c")

    before, after, truths, third = run(scene())
    assert before == Reply(quiet=1 / POSTS_PER_SECOND)
    assert not after.stop
    assert len(after.dominated - after.drop) == 1
    assert truths == [True, True]
    assert third is None, "an order without members is nobody's"


def test_a_process_that_says_nothing_for_too_long_is_named_once() -> None:
    async def scene() -> tuple[list[int], list[Event]]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        await pull(box, "a", process="hung")
        await asyncio.sleep(0.15)
        await pull(box, "b", process="busy")
        counts = [
            len((await box.exchange([], 0.0, silence=limit)).silent) for limit in (9, 0.1, 0.1)
        ]
        await box.report_death("a", "signal 9")
        return counts, list((await box.exchange([], 0.0)).events)

    counts, events = run(scene())
    assert counts == [0, 1, 0]
    lost = [event for event in events if isinstance(event, Lost)]
    assert [event.order for event in lost] == [1]
    assert "said nothing for 0.1 seconds" in lost[0].reason


def test_a_slot_that_never_began_since_its_node_went_is_reported_as_such() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.report_death("a", "its node has died", True)
        return list((await box.exchange([], 0.0)).events)

    assert run(scene()) == [Died(slot="a", reason="its node has died", node=True)]


def test_the_loss_of_a_node_is_told_from_that_of_a_worker() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        await pull(box, "a")
        await pull(box, "b")
        await box.exchange([], 0.0)
        await box.report_death("a", "its node has died", True)
        await box.report_death("b", "signal 9")
        return list((await box.exchange([], 0.0)).events)

    assert [(e.order, e.node) for e in run(scene()) if isinstance(e, Lost)] == [
        (1, True),
        (2, False),
    ]


def test_what_is_halted_while_it_waits_ends_as_stopped_and_who_holds_the_rest_is_told() -> None:
    one = order_of(Path("/nowhere"), [{"width": 32, "learning_rate": r} for r in (0.1, 0.2)])
    held, waits = replace(one, number=1), replace(one, number=2)
    keys = [task.key for task in one.tasks]

    async def scene() -> tuple[Reply, list[Event], int | None, Reply]:
        box = Mailbox()
        await box.exchange([held], 0.0)
        assert await pull(box) == 1
        halt = {1: frozenset(keys[:1]), 2: frozenset(keys[1:])}
        told = await box.exchange([waits], 0.0, halt=halt)
        reply = await box.post("a", [])
        order = await box.pull("b", WorkerProcess(id="2", host="h", pid=8), SHAPE, [], 0.0)
        assert isinstance(order, Order)
        assert [task.key for task in order.tasks] == keys[:1]
        return reply, list(told.events), order.number, await box.post("b", [])

    reply, events, number, other = run(scene())
    assert (reply.halt, reply.drop) == (frozenset(keys[:1]), frozenset())
    stopped = [event for event in events if isinstance(event, Ended)]
    assert [(e.order, e.outcome.key, e.outcome.kind) for e in stopped] == [(2, keys[1], "stopped")]
    assert (number, other.halt) == (2, frozenset())


def test_a_process_that_was_reported_dead_is_given_nothing_more_and_its_successor_is() -> None:
    """A machine that was cut off goes on when it is back, until it hears that it is dead."""

    async def scene() -> tuple[int | None, ...]:
        box = Mailbox()
        await box.exchange(orders(3), 0.0)
        first = await pull(box, "a", "1")
        await box.report_death("a", "its node has died", True)
        late = await pull(box, "a", "1")
        waits = asyncio.ensure_future(pull(box, "b", "2", shape=Shape(cpus=2), patience=9))
        await asyncio.sleep(0)
        await box.report_death("b", "its node has died", True)
        await box.exchange([replace(order, shape=Shape(cpus=2)) for order in orders(1)], 0.0)
        return first, late, await waits, await pull(box, "a", "3")

    assert run(scene()) == (1, None, None, 2)


@pytest.mark.parametrize(
    ("slots", "silence", "quiet"),
    [
        (1, 1800.0, 1 / POSTS_PER_SECOND),
        (400, 1800.0, 400 / POSTS_PER_SECOND),
        (5000, 1800.0, LONGEST_QUIET),
        (400, 4.0, 1.0),
    ],
)
def test_slots_post_the_more_seldom_the_more_there_are(
    slots: int, silence: float, quiet: float
) -> None:
    """Yet often enough not to be taken for silent."""

    async def scene() -> Reply:
        box = Mailbox()
        await box.exchange(orders(slots), 0.0, silence=silence)
        for number in range(slots):
            await pull(box, str(number))
        return await box.post("0", [])

    assert run(scene()).quiet == quiet
