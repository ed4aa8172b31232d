"""Placeholders in arguments: how values are written, what is left out, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.command.placeholders import filled, names_in, placeholders, whole, written


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_exactly(value: float) -> None:
    assert float(written(value)) == value
    assert float(written(whole(value))) == value


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        ("--lr={lr}", {"lr": 2**-7}, "--lr=0.0078125"),
        ("{lr:.3e}", {"lr": 2**-7}, "7.812e-03"),
        ("{width}", {"width": 64.0}, "64"),
        ("{width:05d}", {"width": 64}, "00064"),
        ("{n}", {"n": 1e300}, "1e+300"),
        ("{amp}", {"amp": True}, "true"),
        ("{amp}", {"amp": False}, "false"),
        ("{amp:--amp}", {"amp": True}, "--amp"),
        ("{amp:--amp}", {"amp": False}, None),
        ("{amp:--amp|--no-amp}", {"amp": False}, "--no-amp"),
        ("{amp:|--no-amp}", {"amp": True}, None),
        ("amp={amp:1|0}", {"amp": False}, "amp=0"),
        ("--decay={decay}", {"decay": None}, None),
        ("{optimizer.lr}", {"optimizer.lr": 0.5}, "0.5"),
        ("{{{name}}}", {"name": "x"}, "{x}"),
        ('{{"lr": {lr}}}', {"lr": 0.5}, '{"lr": 0.5}'),
        ("{name}", {"name": "{lr} ; rm -rf"}, "{lr} ; rm -rf"),
        ("{name}", {"name": ""}, ""),
        ("plain", {}, "plain"),
        ("", {}, ""),
    ],
)
def test_a_text_is_filled_in(text: str, values: dict[str, Any], result: str | None) -> None:
    assert filled(text, values) == result


@pytest.mark.parametrize("text", ["{", "}", "{}", "{ }", "a{b", "a}b", "{a:{b}}", "{:.3e}"])
def test_a_lone_brace_is_refused_and_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write it twice"):
        list(placeholders(text))


def test_names_are_those_that_stand_for_values() -> None:
    assert names_in("{{a}} {b} {c:.3e} {d.e}") == {"b", "c", "d.e"}


@pytest.mark.parametrize(
    ("value", "result"),
    [(64.0, 64), (0.5, 0.5), (True, True), (None, None), (2.0**60, 2.0**60), ("64", "64")],
)
def test_whole_numbers_are_ints_as_far_as_floats_count_exactly(value: Any, result: Any) -> None:
    assert whole(value) == result and type(whole(value)) is type(result)


def test_a_format_that_does_not_fit_a_value_is_a_fault() -> None:
    with pytest.raises(ValueError):
        written("wsd", ".3e")
    assert written(math.pi, ".2f") == "3.14"
