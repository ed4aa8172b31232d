"""Formulas of settings, for what a trial costs: ``12 * depth * width**2``.

They are read as Python's expressions of numbers and names, and nothing else of Python is there.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "log": math.log,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": round,
    "sqrt": math.sqrt,
}
"""What a formula may call."""

_OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

LONGEST = 1000
"""Characters of a formula."""


class Formula:
    """An expression of numbers, names, ``+ - * / // % **``, comparisons, ``a if b else c`` and
    :data:`FUNCTIONS`.

    Args:
        text: the expression.

    Attributes:
        names: what it refers to.

    Raises:
        ValueError: it is none; says why.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        if len(text) > LONGEST:
            raise ValueError(f"has {len(text)} characters, and at most {LONGEST} are allowed")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
            self._check(self._tree)
        except (SyntaxError, RecursionError, MemoryError) as fault:
            said = getattr(fault, "msg", "it is nested too deeply")
            raise ValueError(f"{text!r} is no formula: {said}") from None

    def value(self, names: Mapping[str, Any]) -> float:
        """Returns its value.

        Args:
            names: the value of every name.

        Raises:
            ValueError: it has none that is a finite number; says why.
        """
        try:
            found = float(self._value(self._tree, names))
        except (ArithmeticError, TypeError, ValueError) as fault:
            why = fault.args[-1] if fault.args else type(fault).__name__
            raise ValueError(f"{self.text!r} has no value: {why}") from None
        if not math.isfinite(found):
            raise ValueError(f"{self.text!r} is {found}, no finite number")
        return found

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=int() | float() | str()):
                return
            case ast.Name(id=name):
                self.names.add(name)
                return
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
                below = [left, right]
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                below = [operand]
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                below = [left, right]
            case ast.IfExp(test=test, body=body, orelse=orelse):
                below = [test, body, orelse]
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                below = args
            case _:
                raise ValueError(
                    f"{self.text!r} is no formula: {ast.unparse(node)[:60]!r} is not allowed; use "
                    f"settings, numbers, + - * / // % **, and {', '.join(FUNCTIONS)}"
                )
        for each in below:
            self._check(each)

    def _value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return names[name]
            case ast.BinOp(op=op, left=left, right=right):
                # of floats, since a power of whole numbers might never end
                sides = (float(self._value(each, names)) for each in (left, right))
                return _OPERATORS[type(op)](*sides)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return _OPERATORS[type(op)](self._value(left, names), self._value(right, names))
            case ast.UnaryOp(op=op, operand=operand):
                return _OPERATORS[type(op)](self._value(operand, names))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._value(body if self._value(test, names) else orelse, names)
            case ast.Call(func=ast.Name(id=name), args=args):
                return FUNCTIONS[name](*(self._value(each, names) for each in args))
        raise AssertionError("checked when it was read")


QUANTITIES = ("params", "tokens", "steps", "flops")
"""What a study may give a formula for."""


class Costs:
    """What a trial costs, by formulas of its settings and of each other.

    Args:
        formulas: by quantity; those missing are assumed: one step, a token a step, as many
            parameters as the square of the scale, and 6 FLOPs a parameter and token, or the
            square of the scale where one of these two is assumed.
        settings: names of all settings; of one that is called as a quantity is, the setting is
            meant.
        scale: the setting that stands in for the size.

    Raises:
        ValueError: formulas refer to each other in a circle.
    """

    def __init__(
        self, formulas: Mapping[str, Formula], settings: Collection[str], scale: str
    ) -> None:
        self._scale = scale
        self._formulas: dict[str, Formula] = {}
        left = dict(formulas)
        while ready := [
            q for q, each in left.items() if not each.names - {*settings} & left.keys()
        ]:
            self._formulas |= {quantity: left.pop(quantity) for quantity in ready}
        if left:
            raise ValueError(f"{' and '.join(left)} refer to each other in a circle")
        named = (each.names for each in formulas.values())
        self.settings = set[str]().union(*named) & {*settings}

    @property
    def assumed(self) -> list[str]:
        """Quantities that are not given and do not follow from those given."""
        given = self._formulas.keys()
        known = given | ({"flops"} if {"params", "tokens"} <= given else set())
        return [each for each in QUANTITIES if each not in known]

    def of(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Returns every quantity of a config, params, tokens and steps as whole numbers.

        Raises:
            ValueError: a formula has no value above 0; says which.
        """
        found: dict[str, float] = {}
        for quantity, formula in self._formulas.items():
            value = formula.value({**found, **config})
            if value <= 0:
                raise ValueError(f"{formula.text!r} is {value:g}, and has to be above 0")
            found[quantity] = value if quantity == "flops" else max(1, round(value))
        size = config.get(self._scale)
        square = float(size) * float(size) if isinstance(size, int | float) else 1.0
        if math.isinf(square):
            raise ValueError(f"{self._scale} {size:g} is too large to be squared")
        steps = found.setdefault("steps", 1)
        found.setdefault("tokens", steps)
        if "flops" in self.assumed:
            found["flops"] = square
        elif "flops" not in found:
            found["flops"] = 6.0 * found["params"] * found["tokens"]
        found.setdefault("params", max(1, round(square)))
        return found
