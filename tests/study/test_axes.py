"""Axes: the three forms, exact ends, canonical numbers, refusals."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.study.axes import GeometricAxis, ListAxis, Log2Axis, number, parse_axis


def test_a_log2_axis_holds_every_power_with_both_ends() -> None:
    assert parse_axis({"log2": [-9, -2]}).values() == tuple(2.0**k for k in range(-9, -1))


def test_half_octaves_meet_both_ends_and_keep_whole_powers_exact() -> None:
    values = Log2Axis(-2, 0, 0.5).values()
    assert values[::2] == (0.25, 0.5, 1.0)
    assert values[1] == pytest.approx(2**-1.5, rel=1e-11)
    assert len(values) == 5


def test_a_step_that_has_no_exact_binary_form_still_meets_the_end() -> None:
    values = Log2Axis(0, 1, 0.1).values()
    assert len(values) == 11
    assert values[-1] == 2.0


def test_a_geometric_axis_is_the_same_numbers_as_the_powers_it_spells() -> None:
    powers = parse_axis({"log2": [-30, -2]}).values()
    assert parse_axis({"geometric": [2**-30, 0.25], "count": 29}).values() == powers


def test_a_geometric_axis_ends_exactly_where_it_is_told() -> None:
    values = GeometricAxis(1e-4, 3e-2, 7).values()
    assert (values[0], values[-1], len(values)) == (1e-4, 3e-2, 7)


def test_decades_come_out_as_they_are_written() -> None:
    assert GeometricAxis(1e-4, 1e-1, 4).values() == (1e-4, 1e-3, 1e-2, 1e-1)


def test_a_list_keeps_its_order_and_its_items() -> None:
    assert parse_axis([3, "a", True]) == ListAxis((3, "a", True))


@pytest.mark.parametrize("text", ["1e-3", "0.001", ".001", "1.0E-03", " 0.001 ", "+1e-3"])
def test_all_spellings_of_a_number_are_one_value(text: str) -> None:
    assert number(text) == 0.001


def test_powers_in_text_are_the_float_they_denote() -> None:
    assert number("2**-4") == 0.0625
    assert number("2 ** -9") == 2.0**-9
    assert number("10**-3") == 0.001


def test_whole_numbers_stay_whole() -> None:
    assert [type(number(raw)) for raw in (64, "64", 64.0)] == [int, int, float]


@pytest.mark.parametrize(
    "raw",
    [
        True,
        None,
        [],
        "abc",
        "",
        "nan",
        "inf",
        math.nan,
        math.inf,
        -math.inf,
        "1e999",
        "2**5000",
        "0**-1",
        "-2**0.5",
        "1__2",
        10**400,
        "9" * 400,
        "1 2",
    ],
)
def test_what_is_no_finite_number_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match=r"number|digits"):
        number(raw)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ([], "empty"),
        (None, "empty"),
        (0.1, r"single value; write \[0.1\]"),
        ("0.1", "single value"),
        ("64,128", r"several values is written \[64, 128\]"),
        ("1e-3; 2e-3", r"several values is written \[1e-3, 2e-3\]"),
        ({}, "is not an axis"),
        ({"log2": [-2, -4]}, r"swap them: \[-4, -2\]"),
        ({"log2": [-4, -2], "step": 0}, "step 0 is not positive"),
        ({"log2": [-4, -2], "step": -1}, "step -1 is not positive"),
        ({"log2": [-4, -1], "step": 2}, "end at -2 or at 0"),
        ({"log2": [-4, -2], "count": 3}, "unknown key 'count'.*known: log2, step"),
        ({"log2": [-4]}, "not a pair"),
        ({"log2": -4}, "not a pair"),
        ({"log2": "ab"}, "not a pair"),
        ({"log2": [-4, "x"]}, "not a number"),
        ({"log2": [-4, math.inf]}, "not a finite number"),
        ({"log2": [-4, math.nan]}, "not a finite number"),
        ({"log2": [-4, 2000]}, "are exponents"),
        ({"log2": [0, 1000], "step": 1e-9}, "widen the step"),
        ({"log2": [-4, -2], "geometric": [1, 2]}, "is not an axis"),
        ({"geometric": [1, 2]}, "`count` is missing"),
        ({"geometric": [2, 1], "count": 3}, "low 2 is not below high 1"),
        ({"geometric": [1, 1], "count": 3}, "not below"),
        ({"geometric": [0, 1], "count": 3}, "not positive"),
        ({"geometric": [1, 2], "count": 1}, "count 1 is not within"),
        ({"geometric": [1, 2], "count": 2.5}, "not a whole number"),
        ({"geometric": [1, 2], "count": True}, "not a number"),
        (list(range(10_001)), "at most 10,000"),
    ],
)
def test_an_axis_that_is_none_says_why(raw: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_axis(raw)


@given(low=st.integers(-300, 300), octaves=st.integers(0, 40), parts=st.sampled_from([1, 2, 4, 8]))
def test_log2_values_rise_by_one_ratio_and_agree_with_exact_powers(
    low: int, octaves: int, parts: int
) -> None:
    values = Log2Axis(low, low + octaves, 1 / parts).values()
    assert len(values) == octaves * parts + 1
    whole = values[::parts]
    assert [Fraction(v) for v in whole] == [Fraction(2) ** (low + i) for i in range(octaves + 1)]
    assert all(a < b for a, b in pairwise(values))


@given(
    low=st.floats(1e-30, 1e30),
    ratio=st.floats(1.001, 1e6),
    count=st.integers(min_value=2, max_value=60),
)
def test_geometric_values_have_a_constant_ratio(low: float, ratio: float, count: int) -> None:
    values = GeometricAxis(low, low * ratio, count).values()
    assert (values[0], values[-1], len(values)) == (low, low * ratio, count)
    steps = [math.log(b / a) for a, b in pairwise(values)]
    assert steps == pytest.approx([math.log(ratio) / (count - 1)] * (count - 1), abs=1e-9)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_being_written_as_text(value: float) -> None:
    assert number(repr(value)) == value


@given(
    st.one_of(st.none(), st.text(), st.lists(st.floats()), st.dictionaries(st.text(), st.floats()))
)
def test_anything_is_an_axis_or_refused_with_a_reason(raw: Any) -> None:
    try:
        axis = parse_axis(raw)
    except ValueError as error:
        assert str(error)
    else:
        assert axis.values()


@given(
    st.one_of(
        st.builds(Log2Axis, st.integers(-20, -10), st.integers(-9, 0)),
        st.builds(GeometricAxis, st.floats(1e-6, 1e-3), st.floats(1e-2, 1), st.integers(2, 9)),
    )
)
def test_a_range_is_rebuilt_from_its_document(axis: Log2Axis | GeometricAxis) -> None:
    assert parse_axis(axis.document()).values() == axis.values()
