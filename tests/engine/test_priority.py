"""Studies above and below each other: what is left for those below."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sweeper.engine.messages import Shape
from sweeper.engine.priority import (
    KEEP_SECONDS,
    PRESS_SECONDS,
    STALE_SECONDS,
    Above,
    Entry,
    allotted,
    bundle_of,
)

ONE = bundle_of({"CPU": 1.0})


class Clock:
    """Tells the seconds that a test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def entry(**fields: Any) -> Entry:
    values = {"study": "high", "priority": 1, "uses": {ONE: 2}, "waiting": 0, "beat": 1}
    return Entry(**(values | fields))


def test_an_entry_survives_its_way_as_text() -> None:
    uses = {ONE: 2, bundle_of({"GPU": 0.5, "CPU": 1.0, "H100": 1.0}): 3}
    one = entry(uses=uses, priority=-4, waiting=5)
    assert Entry.of(json.loads(json.dumps(one.document()))) == one


@pytest.mark.parametrize("text", ["{}", '{"uses": 3}', '{"uses": [[{"CPU": "x"}, 1]]}'])
def test_what_another_version_has_written_is_no_entry(text: str) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        Entry.of(json.loads(text))


def test_only_studies_of_a_higher_priority_hold_back() -> None:
    above = Above(0, clock=Clock())
    above.see({"a": entry(priority=0), "b": entry(priority=-1), "c": entry(uses={})})
    assert above.uses == {}
    assert above.studies == []
    highest = entry(priority=2, study="highest", uses={ONE: 3})
    above.see({"d": entry(), "e": highest})
    assert above.uses == {ONE: 5}
    assert above.studies == ["high (priority 1)", "highest (priority 2)"]


def test_a_study_that_ends_holds_nothing_back() -> None:
    above = Above(0, clock=Clock())
    above.see({"a": entry()})
    above.see({})
    assert above.uses == {}


def test_a_controller_that_falls_silent_holds_nothing_back_and_is_named() -> None:
    clock = Clock()
    above = Above(0, clock=clock)
    assert above.see({"a": entry(beat=7), "b": entry(priority=-1, beat=1)}) == set()
    clock.now += STALE_SECONDS + 1
    assert above.see({"a": entry(beat=7), "b": entry(priority=-1, beat=2)}) == {"a"}
    assert above.uses == {}
    assert above.see({"a": entry(beat=8)}) == set()
    assert above.uses == {ONE: 2}, "it was only slow"


def test_what_a_search_does_not_need_between_two_proposals_is_kept_for_it_a_while() -> None:
    clock = Clock()
    above = Above(0, clock=clock)
    above.see({"a": entry(beat=1)})
    clock.now += 1
    above.see({"a": entry(beat=2, uses={})})
    assert above.uses == {ONE: 2}
    clock.now += KEEP_SECONDS + 1
    above.see({"a": entry(beat=3, uses={})})
    assert above.uses == {}


def test_a_study_above_that_waits_on_gets_ever_more_room() -> None:
    clock = Clock()
    above = Above(0, clock=clock)
    shares = []
    for beat in range(4):
        above.see({"a": entry(beat=beat, waiting=1)})
        shares.append(above.share)
        clock.now += PRESS_SECONDS / 2
    assert shares == [1.0, 1.0, 0.5, 0.5]
    above.see({"a": entry(beat=9, waiting=0)})
    assert above.share == 1.0


def needs(shape: Shape, count: int) -> tuple[Shape, dict[str, float], int]:
    return shape, shape.bundle, count


def test_shapes_share_what_others_leave() -> None:
    nodes = [{"CPU": 4.0, "GPU": 2.0}, {"CPU": 4.0}]
    small, large = Shape(cpus=1), Shape(cpus=1, gpus=0.5)
    wanted = [needs(large, 9), needs(small, 9)]
    assert allotted(nodes, {}, wanted) == {large: 4, small: 4}
    assert allotted(nodes, {bundle_of({"CPU": 1.0, "GPU": 1.0}): 1}, wanted) == {
        large: 2,
        small: 5,
    }
    assert allotted(nodes, {ONE: 100}, wanted) == {large: 0, small: 0}


def test_what_fits_no_node_takes_nothing_from_those_below() -> None:
    shape = Shape(cpus=1)
    nodes = [{"CPU": 1.0}, {"CPU": 1.0}]
    assert allotted(nodes, {bundle_of({"CPU": 2.0}): 5}, [needs(shape, 5)]) == {shape: 2}


def test_a_custom_resource_is_shared_as_any_other() -> None:
    shape = replace(Shape(cpus=1), custom=(("H100", 1.0),))
    nodes = [{"CPU": 9.0, "H100": 3.0}]
    taken = {bundle_of({"CPU": 1.0, "H100": 1.0}): 1}
    assert allotted(nodes, taken, [needs(shape, 9)]) == {shape: 2}
