"""Formulas of what a trial costs: numbers of settings, and nothing else of Python."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.command.formulas import Costs, Formula


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12 * depth * width**2", 12 * 4 * 64**2),
        ("-width + +2 * (width // 10) % 4", -64 + 12 % 4),
        ("max(width, 100) / min(2, 4)", 50),
        ("sqrt(width) + log2(width) + ceil(0.1) + floor(1.9) + round(2.6) + abs(-1)", 20),
        ("3 if mlp == 'swiglu' else 2", 3),
        ("width if width >= 65 else 0.5", 0.5),
        ("1e6", 1e6),
    ],
)
def test_a_formula_has_the_value_of_the_expression(text: str, value: float) -> None:
    names = {"depth": 4, "width": 64, "mlp": "swiglu"}
    assert Formula(text).value(names) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "width.real",
        "[1][0]",
        "(lambda: 1)()",
        "f'{width}'",
        "open('x')",
        "max(*[1])",
        "max(1, key=2)",
        "1 < width < 3",
        "True and 1",
        "width :=1",
        "1 +",
        "",
        "1; 2",
        "(" * 300,
        "+" * 2000 + "1",
        "x" * 2000,
    ],
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Formula(text)


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "1 / 0", "'a' * 3", "'a'", "log(-1)", "(-8) ** 0.5", "1e308 * 10"]
)
def test_a_formula_without_a_finite_number_says_so_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"no value|no finite number"):
        Formula(text).value({})


def costs(settings: str = "width", **formulas: str) -> Costs:
    read = {name: Formula(text) for name, text in formulas.items()}
    return Costs(read, settings.split(), "width")


@pytest.mark.parametrize(
    ("given", "found", "assumed"),
    [
        ({}, (4096, 1, 1, 4096.0), ["params", "tokens", "steps", "flops"]),
        ({"steps": "10"}, (4096, 10, 10, 4096.0), ["params", "tokens", "flops"]),
        ({"params": "12 * width", "tokens": "100"}, (768, 100, 1, 460800.0), ["steps"]),
        (
            {"flops": "2 * params * tokens", "tokens": "params * 20", "params": "width"},
            (64, 1280, 1, 163840.0),
            ["steps"],
        ),
    ],
)
def test_quantities_are_given_follow_from_each_other_or_are_assumed(
    given: dict[str, str], found: tuple[Any, ...], assumed: list[str]
) -> None:
    read = costs(**given)
    told = read.of({"width": 64})
    assert tuple(told[name] for name in ("params", "tokens", "steps", "flops")) == found
    assert read.assumed == assumed


def test_a_setting_that_is_called_as_a_quantity_is_meant_itself() -> None:
    read = costs("width steps", steps="steps", tokens="steps * 8")
    assert read.of({"width": 64, "steps": 7}) == {
        "params": 4096,
        "tokens": 56,
        "steps": 7,
        "flops": 4096.0,
    }
    assert read.settings == {"steps"}


def test_formulas_in_a_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="params and flops refer to each other in a circle"):
        costs(params="flops", flops="params * 2", tokens="3")


def test_what_costs_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="has to be above 0"):
        costs(tokens="width - 64").of({"width": 64})
