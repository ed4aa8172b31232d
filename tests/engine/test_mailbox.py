"""The mailbox, as the asyncio object that the actor wraps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from engine_studies import order_of

from sweeper.engine.mailbox import Life, Mailbox
from sweeper.engine.order import Died, Event, Lost, Order, Progress, Shape, Started

SHAPE = Shape()
T = TypeVar("T")


def run(scene: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(scene, 20))


def orders(count: int, first: int = 1) -> list[Order]:
    config = {"width": 32, "learning_rate": 0.01}
    return [order_of(Path("/nowhere"), [config], number=first + i) for i in range(count)]


def began(order: int, slot: str = "a") -> Started:
    return Started(order=order, slot=slot, host="here", pid=7)


async def pull(
    box: Mailbox,
    slot: str = "a",
    life: str = "1",
    events: Sequence[Event] = (),
    patience: float = 0.0,
    shape: Shape = SHAPE,
) -> int | None:
    process = Life(id=life, host="here", pid=7)
    order = await box.pull(slot, process, shape, events, patience)
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
        box, since = Mailbox(), time.monotonic()
        return await pull(box, patience=0.3), time.monotonic() - since

    order, waited = run(scene())
    assert order is None
    assert 0.25 < waited < 3


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

    since = time.monotonic()
    assert sorted(number or 0 for number in run(scene())) == [1, 2, 3]
    assert time.monotonic() - since < 5


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
    events = [Progress(order=1, fraction=f / 10) for f in range(5)]

    async def scene() -> tuple[list[Event], list[Event]]:
        box = Mailbox()
        await box.post(events[:2])
        await pull(box, events=events[2:])
        return (await box.exchange([], 0.0))[0], (await box.exchange([], 0.0))[0]

    assert run(scene()) == (events, [])


def test_the_start_of_an_order_is_told_before_its_first_step() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(1), 0.0)
        await pull(box)
        return (await box.exchange([], 10))[0]

    assert run(scene()) == [began(1)]


def test_the_controller_hears_of_an_event_while_it_waits() -> None:
    async def scene() -> tuple[int, float]:
        box, since = Mailbox(), time.monotonic()
        waiting = asyncio.create_task(box.exchange([], 10))
        await asyncio.sleep(0.05)
        await box.post([Progress(order=1, fraction=1.0)])
        return len((await waiting)[0]), time.monotonic() - since

    count, waited = run(scene())
    assert count == 1
    assert waited < 5


def test_an_order_taken_between_two_exchanges_wakes_the_controller() -> None:
    async def scene() -> tuple[dict[Shape, int], float]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        await pull(box)
        since = time.monotonic()
        _, ready = await box.exchange([], 10)
        return ready, time.monotonic() - since

    ready, waited = run(scene())
    assert ready == {SHAPE: 1}
    assert waited < 5


def test_an_exchange_without_news_ends_with_its_patience() -> None:
    async def scene() -> float:
        box, since = Mailbox(), time.monotonic()
        await box.exchange([], 0.3)
        return time.monotonic() - since

    assert 0.25 < run(scene()) < 3


def test_another_life_of_a_slot_buries_the_order_of_the_one_before() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        assert await pull(box, life="first") == 1
        assert await pull(box, life="second") == 2
        return (await box.exchange([], 0.0))[0]

    first, lost, second = run(scene())
    assert (first, second) == (began(1), began(2))
    assert isinstance(lost, Lost)
    assert lost.order == 1


def test_a_slot_that_pulls_again_in_one_life_has_done_its_order() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(2), 0.0)
        assert [await pull(box), await pull(box)] == [1, 2]
        return (await box.exchange([], 0.0))[0]

    assert run(scene()) == [began(1), began(2)]


def test_a_dead_slot_is_buried_once() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.exchange(orders(1), 0.0)
        await pull(box, life="first")
        await box.bury("a", "signal 9")
        await pull(box, life="second")
        return (await box.exchange([], 0.0))[0]

    begun, event = run(scene())
    assert begun == began(1)
    assert isinstance(event, Lost)
    assert event.order == 1


def test_a_slot_that_died_with_nothing_in_hand_is_reported_with_its_reason() -> None:
    async def scene() -> list[Event]:
        box = Mailbox()
        await box.bury("a", "no module named torch")
        return (await box.exchange([], 0.0))[0]

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
        return untaken, [idle, await pull(box, slot="late")], await box.post([])

    assert run(scene()) == ([2, 3], [None, None], True)


def test_a_slot_is_told_to_stop_only_after_the_close() -> None:
    async def scene() -> bool:
        return await Mailbox().post([Progress(order=1, fraction=0.5)])

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
        for start in range(1, 200, 2):
            await box.exchange(orders(2, first=start), 0.0)
        parts = await asyncio.gather(*crowd)
        return sorted(number for part in parts for number in part)

    assert run(scene()) == list(range(1, 201))
