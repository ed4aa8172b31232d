"""Units to stacks of one shape, and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from workloads.optimizers.layout import Bucket, Unit, buckets, by_member

SHAPES = {
    "query": (6, 4),
    "key": (6, 4),
    "value": (6, 4),
    "table": (4, 6),
    "fused": (12, 4),
    "up": (8, 4),
    "gate": (8, 4),
    "down": (4, 8),
}
UNITS = (
    Unit(names=("query", "key", "value")),  # one matrix of 18 outputs
    Unit(names=("table",), turned=True),  # 6 outputs
    Unit(names=("fused",), parts=2),  # two of 6
    Unit(names=("up", "gate"), parts=4),  # four of 4
    Unit(names=("down",)),
)


def tensors(members: int = 3) -> dict[str, Tensor]:
    """Returns tensors in which no two numbers are equal."""
    found, first = {}, 0
    for name, shape in SHAPES.items():
        size = members * shape[0] * shape[1]
        found[name] = torch.arange(first, first + size, dtype=torch.float64).view(members, *shape)
        first += size
    return found


def layout(units: tuple[Unit, ...] = UNITS) -> dict[str, Bucket]:
    return {bucket.key: bucket for bucket in buckets(units, tensors(), elementwise=False)}


def test_units_of_one_shape_share_a_bucket() -> None:
    found = {key: bucket.gather(tensors()).shape for key, bucket in layout().items()}
    assert found == {
        "query+key+value": (3 * 1, 18, 4),
        "table+fused": (3 * 3, 6, 4),
        "up+gate": (3 * 4, 4, 4),
        "down": (3 * 1, 4, 8),
    }


def test_matrices_are_in_the_order_of_members_then_units_then_parts() -> None:
    given_tensors = tensors()
    bucket = layout()["table+fused"]
    assert bucket.matrices == 3
    stack = by_member(bucket.gather(given_tensors), 3)
    for member in range(3):
        table, fused = given_tensors["table"][member], given_tensors["fused"][member]
        assert torch.equal(stack[member], torch.stack((table.T, fused[:6], fused[6:])))


def test_tensors_of_one_unit_lie_on_top_of_each_other() -> None:
    given_tensors = tensors()
    stack = layout()["query+key+value"].gather(given_tensors)
    joined = torch.cat([given_tensors[name] for name in ("query", "key", "value")], 1)
    assert torch.equal(stack, joined)
    halves = layout()["up+gate"].gather(given_tensors).view(3, 4, 4, 4)
    assert torch.equal(halves[:, 1], given_tensors["up"][:, 4:])
    assert torch.equal(halves[:, 2], given_tensors["gate"][:, :4])


def test_scatter_undoes_gather() -> None:
    given_tensors = tensors()
    found: dict[str, Tensor] = {}
    for bucket in layout().values():
        found |= bucket.scatter(bucket.gather(given_tensors), 3)
    assert found.keys() == given_tensors.keys()
    assert all(torch.equal(found[name], value) for name, value in given_tensors.items())


def test_scatter_takes_a_stack_that_is_stored_transposed() -> None:
    given_tensors = tensors()
    for bucket in layout().values():
        stack = bucket.gather(given_tensors)
        stored = stack.mT.contiguous().mT
        for name, value in bucket.scatter(stored, 3).items():
            assert torch.equal(value, given_tensors[name])


def test_a_single_plain_tensor_is_not_copied() -> None:
    given_tensors = tensors()
    bucket = layout()["down"]
    assert bucket.gather(given_tensors) is given_tensors["down"]
    update = torch.ones(3, 4, 8)
    assert bucket.scatter(update, 3)["down"] is update


@pytest.mark.parametrize(
    "unit", [Unit(names=("table",), turned=True), Unit(names=("fused",), parts=2)]
)
def test_a_single_turned_or_divided_tensor_is_its_matrices(unit: Unit) -> None:
    (bucket,) = buckets([unit], tensors(), elementwise=False)
    stack = bucket.gather(tensors())
    assert stack.shape == (3 * unit.parts, 6, 4)
    (found,) = bucket.scatter(stack, 3).values()
    assert torch.equal(found, tensors()[unit.names[0]])


def test_elementwise_buckets_are_the_tensors_as_they_are() -> None:
    given_tensors = tensors() | {"gain": torch.ones(3, 5)}
    units = (*UNITS, Unit(names=("gain",)))
    found = buckets(units, given_tensors, elementwise=True)
    assert [bucket.key for bucket in found] == [name for unit in units for name in unit.names]
    for bucket in found:
        assert bucket.matrices == 1
        assert bucket.gather(given_tensors) is given_tensors[bucket.key]


@given(
    members=st.integers(1, 3),
    sides=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=5),
    parts=st.integers(1, 3),
    turned=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_layout_goes_there_and_back(
    members: int, sides: list[tuple[int, int]], parts: int, turned: bool
) -> None:
    units, given_tensors = [], {}
    for i, (rows, columns) in enumerate(sides):
        shape = (columns, rows * parts) if turned else (rows * parts, columns)
        names = (f"{i}.a", f"{i}.b")[: 1 + i % 2]
        for name in names:
            generator = torch.Generator().manual_seed(len(given_tensors))
            given_tensors[name] = torch.randn(members, *shape, generator=generator)
        units.append(Unit(names=names, parts=parts, turned=turned))
    found: dict[str, Tensor] = {}
    layed_out = buckets(units, given_tensors, elementwise=False)
    for bucket in layed_out:
        stack = bucket.gather(given_tensors)
        assert stack.shape[0] == members * bucket.matrices
        found |= bucket.scatter(stack, members)
    assert all(torch.equal(found[name], value) for name, value in given_tensors.items())
    assert len({bucket.key for bucket in layed_out}) == len(layed_out)


def refused(units: list[Unit], message: str, *, elementwise: bool = False) -> None:
    with pytest.raises(ValueError, match=message):
        buckets(units, tensors() | {"gain": torch.ones(3, 5)}, elementwise=elementwise)


@pytest.mark.parametrize("elementwise", [True, False])
def test_a_tensor_in_two_units_is_refused(elementwise: bool) -> None:
    units = [Unit(names=("query", "key")), Unit(names=("value", "key"))]
    refused(units, "^key would be updated twice; name a tensor in one", elementwise=elementwise)
    refused([Unit(names=("up", "up"))], "up would be updated twice", elementwise=elementwise)


def test_a_vector_in_a_matrix_bucket_is_refused() -> None:
    refused([Unit(names=("gain",))], r"gain has shape \[3, 5\]; the optimizer takes matrices")


def test_tensors_of_different_shapes_in_one_unit_are_refused() -> None:
    refused([Unit(names=("query", "up"))], r"one unit have to be of one shape, not .*'up': \[3, 8")


def test_rows_that_do_not_divide_are_refused() -> None:
    refused([Unit(names=("query",), parts=4)], "6 rows of query are no 4 equal parts")
