"""Formulas of effective hyperparameters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.answers.formula import parse_formula
from sweeper.errors import RequestError

VALUES = {
    "learning_rate": np.array([0.5, 0.25]),
    "weight_decay": np.array([0.1, 0.0]),
    "width": np.array([64.0, 128.0]),
    "learning_rate.hidden": np.array([3.0, 5.0]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate", [0.5, 0.25]),
        ("learning_rate * weight_decay", [0.05, 0.0]),
        ("weight_decay*width", [6.4, 0.0]),
        ("learning_rate/width", [0.5 / 64, 0.25 / 128]),
        ("1/(learning_rate*width)", [1 / 32, 1 / 32]),
        ("learning_rate*width^0.5", [4.0, 0.25 * 128**0.5]),
        ("learning_rate*width^(1/2)", [4.0, 0.25 * 128**0.5]),
        ("width^-1", [1 / 64, 1 / 128]),
        ("width^(-3/2)", [1 / 512, 128**-1.5]),
        ("(learning_rate*width)^2", [1024.0, 1024.0]),
        ("2e-1*.5*learning_rate.hidden", [0.3, 0.5]),
        ("width/width^2", [1 / 64, 1 / 128]),
        ("width/(learning_rate/width)", [64 * 64 / 0.5, 128 * 128 / 0.25]),
    ],
)
def test_a_formula_is_what_its_arithmetic_says(text: str, expected: list[float]) -> None:
    assert parse_formula(text).of(VALUES) == pytest.approx(np.array(expected), rel=1e-15)


def test_zero_in_a_denominator_is_infinite_without_a_warning() -> None:
    assert parse_formula("1/weight_decay").of(VALUES).tolist() == [10.0, np.inf]


def test_names_are_those_that_do_not_cancel() -> None:
    formula = parse_formula("learning_rate * width / width")
    assert formula.names == ("learning_rate",)
    assert formula.text == "learning_rate*width/width"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ends where a name or a number"),
        ("learning_rate*", "ends where a name or a number"),
        ("learning_rate weight_decay", "'weight_decay' is not expected"),
        ("learning_rate+weight_decay", r"'\+' has no place"),
        ("__import__('os')", "has no place"),
        ("learning_rate^width", "'width' stands where an exponent"),
        ("(learning_rate", "a bracket is not closed"),
        ("learning_rate)", r"'\)' is not expected"),
        ("3*4", "names no column"),
        ("width/width", "names no column"),
        ("0*width", "must be positive"),
        ("width/0", "divides by 0"),
        ("width^(1/0)", "divides by 0"),
        ("0^-1*width", "raises 0"),
        ("width^65", "beyond 64"),
        ("(width^9)^9", "beyond 64"),
        ("*width", "stands where a name"),
        ("1e400*width", "must be positive"),
        ("1e300^60*width", "too large"),
    ],
)
def test_anything_else_is_refused_with_the_place_where_it_goes_wrong(text: str, why: str) -> None:
    with pytest.raises(RequestError, match=why) as refusal:
        parse_formula(text)
    assert "learning_rate*weight_decay" in str(refusal.value)


FACTORS = st.permutations([("learning_rate", 1.0), ("width", -0.5), ("learning_rate.hidden", 2.0)])


@given(FACTORS)
def test_the_order_of_factors_changes_no_bit(factors: list[tuple[str, float]]) -> None:
    text = "*".join(f"{name}^{power}" for name, power in factors)
    straight = parse_formula("learning_rate*width^-0.5*learning_rate.hidden^2").of(VALUES)
    assert parse_formula(text).of(VALUES).tolist() == straight.tolist()


@given(st.text(alphabet="ab.*/^()-+ 01e9", max_size=30))
def test_any_text_is_a_formula_or_a_refusal(text: str) -> None:
    try:
        formula = parse_formula(text)
    except RequestError:
        return
    values = {name: np.array([2.0]) for name in formula.names}
    assert (formula.of(values) >= 0).all()
