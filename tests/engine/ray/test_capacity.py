"""How many slots a cluster holds, and what is said of trials that fit nowhere; Ray itself is not
started."""

from __future__ import annotations

import pytest

from sweeper.engine.messages import Shape
from sweeper.engine.ray.capacity import Capacity, check_shapes
from sweeper.errors import ClusterError

H100 = Shape(cpus=1, custom=(("H100", 1),))


def has(
    monkeypatch: pytest.MonkeyPatch, *nodes: dict[str, float], draining: tuple[int, ...] = ()
) -> None:
    """Makes a cluster of nodes that live, beside a dead one that was large."""
    told = [
        {"NodeID": str(number), "Alive": True, "Resources": node}
        for number, node in enumerate(nodes)
    ]
    told.append({"NodeID": "dead", "Alive": False, "Resources": {"CPU": 64.0}})
    monkeypatch.setattr("ray.nodes", lambda: told)
    monkeypatch.setattr(
        "sweeper.engine.ray.capacity.state.get_draining_nodes",
        lambda: {str(number): 0 for number in draining},
    )


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {"CPU": 2.0, "GPU": 1.0, "memory": 1e9})


@pytest.mark.parametrize(
    ("shape", "slots"),
    [
        (Shape(cpus=1), 2),
        (Shape(cpus=0.5), 4),
        (Shape(cpus=0.1), 20),
        (Shape(cpus=0.1, gpus=0.3), 3),
        (Shape(cpus=2), 1),
        (Shape(cpus=3), 0),
        (Shape(cpus=1, gpus=2), 0),
        (Shape(cpus=1, custom=(("H100", 1),)), 0),
    ],
    ids=str,
)
def test_slots_are_what_fits(shape: Shape, slots: int) -> None:
    assert Capacity().fitting(shape) == slots
    assert Capacity().slots(shape) == max(1, slots), "what does not fit waits for nodes"


def test_trials_that_fit_nowhere_are_refused_where_no_node_can_join() -> None:
    shapes = [Shape(cpus=1), Shape(cpus=1, gpus=2)]
    with pytest.raises(ClusterError, match=r"need 1 CPUs and 2 GPUs each.*2 CPUs and 1 GPUs"):
        check_shapes(shapes, may_grow=False, note=lambda text: None)


def test_trials_that_fit_nowhere_yet_are_told_where_nodes_can_join() -> None:
    notes: list[str] = []
    check_shapes([Shape(cpus=1), Shape(cpus=64)], may_grow=True, note=notes.append)
    assert len(notes) == 1
    assert "64 CPUs" in notes[0]
    assert "wait for nodes" in notes[0]


@pytest.mark.parametrize(
    ("shape", "bundle"),
    [
        (Shape(cpus=0.5), {"CPU": 0.5}),
        (Shape(cpus=1, gpus=0.3), {"CPU": 1, "GPU": 0.3}),
        (Shape(cpus=1, gpus=0.3, alone=True), {"CPU": 1, "GPU": 1.0}),
        (Shape(cpus=1, gpus=1.5, alone=True), {"CPU": 1, "GPU": 2.0}),
        (Shape(cpus=1, alone=True), {"CPU": 2.0}),
        (Shape(cpus=3, alone=True), {"CPU": 3}),
        (Shape(cpus=1, custom=(("H100", 0.5),)), {"CPU": 1, "H100": 0.5}),
    ],
)
def test_a_trial_that_wants_to_be_alone_asks_for_whole_devices(
    shape: Shape, bundle: dict[str, float]
) -> None:
    assert Capacity().bundle(shape) == bundle


def test_trials_that_want_to_be_alone_come_one_after_the_other() -> None:
    assert Capacity().fitting(Shape(cpus=0.5, alone=True)) == 1
    assert Capacity().fitting(Shape(cpus=3, alone=True)) == 0


def test_nodes_that_are_gone_are_not_counted() -> None:
    assert Capacity().places() == 1


def test_what_no_single_node_has_fits_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {"CPU": 2.0}, {"CPU": 3.0, "H100": 2.0})
    assert Capacity().fitting(Shape(cpus=4)) == 0
    assert Capacity().fitting(Shape(cpus=2)) == 2
    assert Capacity().fitting(H100) == 2


def test_a_share_of_a_gpu_lies_on_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {"CPU": 8.0, "GPU": 2.0})
    assert Capacity().fitting(Shape(cpus=1, gpus=0.6)) == 2
    assert Capacity().fitting(Shape(cpus=1, gpus=0.5)) == 4


def test_nodes_that_are_drained_hold_no_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {"CPU": 2.0}, {"CPU": 3.0}, draining=(1,))
    capacity = Capacity()
    assert capacity.fitting(Shape(cpus=1)) == 2
    assert capacity.nodes.draining == {"1"}


def test_a_custom_resource_that_this_machine_lacks_is_refused_with_what_it_is() -> None:
    with pytest.raises(ClusterError, match=r"1 CPUs, 0 GPUs and 1 H100 each.*ray start --res"):
        check_shapes([H100], may_grow=False, note=lambda text: None)


def test_a_custom_resource_that_no_node_has_yet_is_told_beside_those_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has(monkeypatch, {"CPU": 2.0, "A100": 1.0, "node:10.0.0.1": 1.0})
    notes: list[str] = []
    check_shapes([H100], may_grow=True, note=notes.append)
    assert len(notes) == 1
    assert "wait for nodes" in notes[0]
    assert "(it has A100)" in notes[0]


def test_slots_of_two_custom_resources_have_names_of_their_own() -> None:
    shapes = [Shape(custom=((name, 1),)) for name in ("accelerator_type:H100", "H100", "A100")]
    assert len({str(shape) for shape in shapes}) == 3
