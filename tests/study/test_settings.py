"""Settings: canonical types, bounds, and which ones apply."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.study.axes import parse_axis
from sweeper.study.settings import SEED, allowed, applying, axis_values, canonical_value, condition
from workloads.workload import Kind, Setting


def _setting(kind: Kind, **more: Any) -> Setting:
    return Setting(name="x", kind=kind, doc="A setting.", **more)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("int", 64, 64),
        ("int", 64.0, 64),
        ("int", "64", 64),
        ("int", "2**6", 64),
        ("float", 1, 1.0),
        ("float", "1e-3", 0.001),
        ("bool", True, True),
        ("text", "sotu", "sotu"),
    ],
)
def test_a_value_takes_the_declared_type(kind: Kind, raw: Any, value: Any) -> None:
    found = canonical_value(_setting(kind), raw)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("setting", "raw", "why"),
    [
        (_setting("int"), 1.5, "1.5 is not a whole number; allowed: a whole number"),
        (_setting("int"), True, "True is not a number"),
        (_setting("int", low=1), 0, "0 is out of bounds; allowed: a whole number, at least 1"),
        (_setting("float", low=0, low_open=True), 0, "allowed: a number, above 0"),
        (_setting("float", low=0, high=1), 1.1, "at least 0 and at most 1"),
        (_setting("bool"), "yes", "'yes' is not true or false"),
        (_setting("bool"), 1, "1 is not true or false"),
        (_setting("text"), 3, "3 is not text"),
        (_setting("choice", choices=("sp", "mup")), "mp", "did you mean 'mup'; allowed: sp, mup"),
        (_setting("int"), None, "has no value; allowed: a whole number"),
        (SEED, -1, "-1 is out of bounds"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(
    setting: Setting, raw: Any, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        canonical_value(setting, raw)


def test_minus_zero_is_zero() -> None:
    assert repr(canonical_value(_setting("float"), -0.0)) == "0.0"


def test_null_is_a_value_where_the_setting_says_so() -> None:
    setting = _setting("int", optional=True)
    assert canonical_value(setting, None) is None
    assert allowed(setting) == "a whole number, or null"


def test_a_range_over_whole_numbers_is_rounded_to_them() -> None:
    axis = parse_axis({"geometric": [100, 1000], "count": 4})
    assert axis_values(_setting("int"), axis) == [100, 215, 464, 1000]


def _chain() -> dict[str, Setting]:
    first = Setting(name="a", kind="choice", doc="A.", default="x", choices=("x", "y"))
    second = Setting(name="b", kind="bool", doc="B.", default=True, when={"a": ("y",)})
    third = Setting(name="c", kind="int", doc="C.", default=1, when={"b": (True,)})
    return {setting.name: setting for setting in (first, second, third)}


def test_a_condition_counts_defaults_and_needs_to_apply_itself() -> None:
    assert applying(_chain(), {}) == {"a"}
    assert applying(_chain(), {"b": True}) == {"a"}
    assert applying(_chain(), {"a": "y"}) == {"a", "b", "c"}
    assert applying(_chain(), {"a": "y", "b": False}) == {"a", "b"}


def test_a_condition_reads_as_words() -> None:
    setting = _setting("int", when={"optimizer": ("muon", "shampoo"), "nesterov": (True,)})
    assert condition(setting) == "optimizer is muon or shampoo and nesterov is True"
