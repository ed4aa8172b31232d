"""Formulas of effective hyperparameters: products, quotients and powers of named columns.

The whole grammar, in which nothing is ever evaluated as code::

    product = power (("*" | "/") power)*
    power   = (name | number | "(" product ")") ("^" exponent)?
    exponent = "-"? number | "(" "-"? number ("/" number)? ")"
    name    = letter or "_", then letters, digits, "_" and "."

So every formula is one monomial: a positive coefficient times powers of names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sweeper.analysis import Floats
from sweeper.errors import RequestError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_.]*)|(?P<mark>[*/^()\-]))"
)

_ALLOWED = (
    "a formula multiplies, divides and raises to a power, for example "
    "learning_rate*weight_decay, weight_decay*width or learning_rate/batch_size^0.5"
)

LARGEST_EXPONENT = 64.0
"""Beyond it a formula is a slip of the keyboard, and powers leave the range of floats."""

Powers = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Formula:
    """A monomial.

    Attributes:
        text: as it was written, without spaces.
        coefficient: a positive number.
        powers: the exponent of every name, in the order of the text; none is 0.
    """

    text: str
    coefficient: float
    powers: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that have to be known to evaluate it."""
        return tuple(self.powers)

    def of(self, values: Mapping[str, Floats]) -> Floats:
        """Returns the values of the formula, shape [N]; a value of 0 in a denominator gives
        infinity.

        Args:
            values: by name, shape [N]; not negative, NaN where unknown.
        """
        result: Floats = np.array([self.coefficient])
        with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
            # In sorted order, so that a*b and b*a are the same to the last bit.
            for name in sorted(self.powers):
                result = result * np.power(values[name], self.powers[name])
        return result


def parse_formula(text: str) -> Formula:
    """Returns the formula that a text spells.

    Raises:
        RequestError: the text is no formula; says where it goes wrong.
    """
    parser = _Parser(text)
    coefficient, powers = parser.product()
    parser.end()
    kept = {name: power for name, power in powers.items() if power}
    if not (np.isfinite(coefficient) and coefficient > 0):
        raise parser.wrong(f"its number is {coefficient:g}, which must be positive and finite")
    if not kept:
        raise parser.wrong("it names no column")
    if (largest := max(map(abs, kept.values()))) > LARGEST_EXPONENT:
        raise parser.wrong(f"exponent {largest:g} is beyond {LARGEST_EXPONENT:g}")
    return Formula(text="".join(text.split()), coefficient=coefficient, powers=kept)


class _Parser:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text)
        self._next = 0

    def product(self) -> tuple[float, Powers]:
        """Reads factors up to a closing bracket or the end."""
        coefficient, powers = self._power()
        while (sign := self._take("*", "/")) is not None:
            factor, more = self._power()
            side = 1.0 if sign == "*" else -1.0
            if side < 0 and factor == 0:
                raise self.wrong("divides by 0")
            coefficient *= factor**side
            for name, power in more.items():
                powers[name] = powers.get(name, 0.0) + side * power
        return coefficient, powers

    def end(self) -> None:
        """Checks that all is read."""
        if self._next < len(self._tokens):
            raise self.wrong(f"{self._tokens[self._next][1]!r} is not expected")

    def wrong(self, why: str) -> RequestError:
        """Returns the refusal of the text."""
        return RequestError(f"formula {self._text!r}: {why}; {_ALLOWED}")

    def _power(self) -> tuple[float, Powers]:
        coefficient, powers = self._atom()
        if self._take("^") is None:
            return coefficient, powers
        exponent = self._exponent()
        if coefficient == 0 and exponent <= 0:
            raise self.wrong("raises 0 to a power that is not positive")
        scaled = {name: power * exponent for name, power in powers.items()}
        try:
            return coefficient**exponent, scaled
        except OverflowError:
            raise self.wrong("a number in it is too large") from None

    def _atom(self) -> tuple[float, Powers]:
        if self._take("(") is not None:
            inside = self.product()
            self._close()
            return inside
        kind, word = self._word()
        if kind == "number":
            return float(word), {}
        if kind == "name":
            return 1.0, {word: 1.0}
        raise self.wrong(f"{word!r} stands where a name or a number is expected")

    def _exponent(self) -> float:
        bracket = self._take("(") is not None
        value = -self._number() if self._take("-") is not None else self._number()
        if bracket:
            if self._take("/") is not None:
                below = self._number()
                if below == 0:
                    raise self.wrong("divides by 0")
                value /= below
            self._close()
        if abs(value) > LARGEST_EXPONENT:
            raise self.wrong(f"exponent {value:g} is beyond {LARGEST_EXPONENT:g}")
        return value

    def _number(self) -> float:
        kind, word = self._word()
        if kind != "number":
            raise self.wrong(f"{word!r} stands where an exponent, a number, is expected")
        return float(word)

    def _close(self) -> None:
        if self._take(")") is None:
            raise self.wrong("a bracket is not closed")

    def _take(self, *marks: str) -> str | None:
        """Returns the next token if it is one of the marks, and goes past it."""
        if self._next < len(self._tokens) and self._tokens[self._next][1] in marks:
            self._next += 1
            return self._tokens[self._next - 1][1]
        return None

    def _word(self) -> tuple[str, str]:
        if self._next == len(self._tokens):
            raise self.wrong("it ends where a name or a number is expected")
        self._next += 1
        return self._tokens[self._next - 1]

    def _split(self, text: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        place, whole = 0, text.rstrip()
        while place < len(whole):
            match = _TOKEN.match(whole, place)
            if match is None:
                raise self.wrong(f"{whole[place:].strip()[:1]!r} has no place in it")
            found.append((str(match.lastgroup), match[match.lastgroup or 0]))
            place = match.end()
        return found
