"""How many slots there are to be, and which have to go; Ray and the dispatcher are played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.messages import Shape, Started
from sweeper.engine.priority import Entry, bundle_of
from sweeper.engine.ray import roster as roster_module
from sweeper.engine.ray.capacity import Capacity, Nodes
from sweeper.engine.ray.roster import AHEAD, WITHDRAWN_SECONDS, Roster

ONE = Shape(cpus=1)


@dataclass
class Office:
    """What the roster asks a dispatcher."""

    work: dict[Shape, int] = field(default_factory=dict)
    parked: set[str] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    finished: bool = False
    stopping: bool = False

    def demand(self) -> dict[Shape, int]:
        return dict(self.work)

    def excuse(self, slots: set[str]) -> None:
        self.excused |= slots


class Cluster(Capacity):
    """Has the nodes that a test says."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        super().__init__()
        self.there = Nodes(nodes)

    def _look(self) -> None:
        self._nodes = self.there


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Yields the time in a list, which goes on by a second with every look at it."""
    now = [1000.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(roster_module.time, "monotonic", tick)
    return now


@pytest.fixture
def make(clock: list[float]) -> Callable[..., Roster]:
    def make(office: Office, *nodes: dict[str, float], **options: Any) -> Roster:
        return Roster(cast(Dispatcher, office), Cluster(*nodes), **options)

    return make


def fill(roster: Roster) -> list[str]:
    """Proposes slots as Tune does until there are enough."""
    names: list[str] = []
    while (shape := roster.lacking()) is not None:
        names.append(f"{shape}-{len(roster._live)}")
        roster.proposed(names[-1], shape)
    return names


def begin(roster: Roster, *names: str, place: str = "") -> None:
    roster.heard(
        [Started(order=1, slot=name, host="h", pid=1, place=place or name) for name in names]
    )


def above(roster: Roster, slots: int, *, beat: int = 1, waiting: int = 0) -> None:
    uses = {bundle_of(ONE.bundle): slots}
    one = Entry(study="high", priority=9, uses=uses, waiting=waiting, beat=beat)
    roster.above.see({"a": one} if slots else {})


def test_there_are_as_many_slots_as_fit_and_no_more_than_have_work(
    make: Callable[..., Roster],
) -> None:
    assert len(fill(make(Office({ONE: 9}), {"CPU": 2.0}, {"CPU": 1.0}))) == 3
    assert len(fill(make(Office({ONE: 2}), {"CPU": 4.0}))) == 2


def test_where_nodes_may_join_slots_wait_for_them_so_that_an_autoscaler_sees_a_demand(
    make: Callable[..., Roster],
) -> None:
    low, high = AHEAD
    assert len(fill(make(Office({ONE: 999}), {"CPU": 1.0}, may_grow=True))) == 1 + low
    assert len(fill(make(Office({ONE: 999}), {"CPU": 20.0}, may_grow=True))) == 40
    assert len(fill(make(Office({ONE: 999}), {"CPU": 200.0}, may_grow=True))) == 200 + high
    assert len(fill(make(Office({ONE: 999}), may_grow=True))) == 1 + low, "no node yet"
    alone = Shape(cpus=1, alone=True)
    assert len(fill(make(Office({alone: 9}), {"CPU": 1.0}, may_grow=True))) == 1


def test_slots_that_wait_for_nodes_are_taken_back_once_nothing_waits_for_them(
    make: Callable[..., Roster],
) -> None:
    office = Office({ONE: 9})
    roster = make(office, {"CPU": 2.0}, may_grow=True)
    names = fill(roster)
    begin(roster, *names[:2])
    assert roster.surplus(names[2:]) == []
    office.work = {ONE: 1}
    assert roster.surplus(names[2:]) == names[2:]


def test_a_study_above_takes_whole_places_and_only_as_many_as_it_can_use(
    make: Callable[..., Roster],
) -> None:
    notes: list[str] = []
    office = Office({ONE: 9})
    roster = make(office, {"CPU": 4.0}, note=notes.append)
    names = fill(roster)
    begin(roster, names[0], names[2], place="node a")
    begin(roster, names[1], names[3], place="node b")
    assert roster.leaving() == frozenset()
    above(roster, 2)
    assert roster.leaving() == {names[1], names[3]}, "both of node b"
    assert office.excused == {names[1], names[3]}
    assert roster.lacking() is None
    assert roster.slots(ONE) == 2
    assert len(notes) == 1
    assert "high (priority 9) comes first" in notes[0]


def test_slots_are_taken_back_when_the_study_above_has_ended(make: Callable[..., Roster]) -> None:
    notes: list[str] = []
    roster = make(Office({ONE: 9}), {"CPU": 2.0}, note=notes.append)
    names = fill(roster)
    begin(roster, *names)
    above(roster, 2)
    assert roster.leaving() == set(names)
    for name in names:
        roster.ended(name)
    assert roster.lacking() is None
    assert roster.slots(ONE) == 0
    above(roster, 0)
    assert roster.lacking() == ONE
    assert roster.slots(ONE) == 2
    assert "again" in notes[-1]


def test_slots_that_have_begun_nothing_go_first_and_are_waited_for_but_not_for_ever(
    make: Callable[..., Roster], clock: list[float]
) -> None:
    roster = make(Office({ONE: 9}), {"CPU": 2.0}, may_grow=True)
    names = fill(roster)
    begin(roster, *names[:2])
    above(roster, 2)
    assert roster.leaving() == set(names[2:]), "they would take what the others leave"
    assert roster.surplus(names[2:]) == names[2:]
    roster.ended(names[2])
    assert roster.leaving() == {names[3]}
    clock[0] += WITHDRAWN_SECONDS
    assert roster.leaving() == {*names[:2], names[3]}


def test_what_is_told_to_others_is_what_fits_and_how_much_of_it_waits(
    make: Callable[..., Roster],
) -> None:
    roster = make(Office({ONE: 9}), {"CPU": 3.0}, may_grow=True, priority=4)
    names = fill(roster)
    begin(roster, names[0])
    told = roster.entry("mine", 7)
    assert told == Entry(
        study="mine", priority=4, uses={bundle_of({"CPU": 1.0}): 3}, waiting=2, beat=7
    )


def test_a_study_between_two_others_tells_only_what_it_may_use(
    make: Callable[..., Roster],
) -> None:
    roster = make(Office({ONE: 9}), {"CPU": 3.0}, priority=4)
    above(roster, 2)
    assert roster.entry("mine", 1).uses == {bundle_of({"CPU": 1.0}): 1}


def test_slots_that_idle_at_their_place_hold_room_and_do_no_work(
    make: Callable[..., Roster],
) -> None:
    office = Office({ONE: 9})
    roster = make(office, {"CPU": 2.0}, {"CPU": 2.0})
    names = fill(roster)
    office.parked = {names[0]}
    assert roster.lacking() is None
    assert roster.entry("mine", 1).uses == {bundle_of({"CPU": 1.0}): 3}
