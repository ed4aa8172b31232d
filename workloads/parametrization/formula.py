"""A scaling rule as a formula: a product of powers of how a tensor grows from the base model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Numbers of a tensor over those of its counterpart in the base model.

    Attributes:
        gamma: gradient that arrives at the outputs, beyond its 1 / r_out under maximal updates:
            1 / N^alpha inside residual blocks whose branches are divided by N^alpha, and
            sqrt(m) under ``ntk``, whose readout is sqrt(m) larger.
        depth: N^(alpha - 1) inside residual blocks: each of N updates is to move its branch by
            that much, so that all of them together move the sum by order one.
        r_in: inputs.
        r_out: outputs.
        n_in: blocks of a blocked preconditioner along the inputs.
        n_out: blocks along the outputs.
        std: standard deviation of the initial values.
        longest: the larger side.
        m: width of the model.
    """

    gamma: float = 1.0
    depth: float = 1.0
    r_out: float = 1.0
    r_in: float = 1.0
    n_out: float = 1.0
    n_in: float = 1.0
    std: float = 1.0
    longest: float = 1.0
    m: float = 1.0


SYMBOLS = tuple(field.name for field in fields(Growth))
"""The numbers, in the order in which formulas show them."""

MEANINGS = {
    "gamma": "gradient at the outputs beyond 1 / r_out: 1 / N^alpha in residual blocks, N the "
    "depth; sqrt(m) under ntk, m the width",
    "depth": "N^(alpha - 1) in residual blocks",
    "r_out": "outputs",
    "r_in": "inputs",
    "n_out": "preconditioner blocks along the outputs",
    "n_in": "preconditioner blocks along the inputs",
    "std": "standard deviation of the initial values",
    "longest": "the larger side",
    "m": "width",
}
"""Each number in words; all are relative to the base model."""


@dataclass(frozen=True)
class Monomial:
    """A product of powers of the numbers of a :class:`Growth`; prints as a formula.

    Attributes:
        powers: symbols with their exponents, none of them 0, in the order of ``SYMBOLS``.
    """

    powers: tuple[tuple[str, float], ...] = ()

    def __mul__(self, other: Monomial) -> Monomial:
        exponents = dict(self.powers)
        for symbol, exponent in other.powers:
            exponents[symbol] = exponents.get(symbol, 0.0) + exponent
        return monomial(**exponents)

    def __truediv__(self, other: Monomial) -> Monomial:
        return self * other**-1

    def __pow__(self, exponent: float) -> Monomial:
        return monomial(**{symbol: power * exponent for symbol, power in self.powers})

    def only(self, *symbols: str) -> Monomial:
        """Returns the part made of some symbols alone."""
        return Monomial(tuple(each for each in self.powers if each[0] in symbols))

    def at(self, growth: Growth) -> float:
        """Returns the value for one tensor.

        Exponents of equal numbers are added first, so that sqrt(r_out / r_in) of a square matrix
        is 1 to the last bit.
        """
        exponents: dict[float, float] = {}
        for symbol, exponent in self.powers:
            number = getattr(growth, symbol)
            exponents[number] = exponents.get(number, 0.0) + exponent
        value = 1.0
        for number, exponent in exponents.items():
            value *= float(number**exponent)
        return value

    def __str__(self) -> str:
        above = [_power(symbol, power) for symbol, power in self.powers if power > 0]
        below = [_power(symbol, -power) for symbol, power in self.powers if power < 0]
        numerator = " ".join(above) or "1"
        if not below:
            return numerator
        return f"{numerator} / {below[0] if len(below) == 1 else '(' + ' '.join(below) + ')'}"


def monomial(**powers: float) -> Monomial:
    """Returns the product of the given powers, for example ``monomial(r_out=0.5, r_in=-0.5)``."""
    return Monomial(tuple((name, powers[name]) for name in SYMBOLS if powers.get(name, 0.0) != 0))


ONE = Monomial()
"""The rule that changes nothing."""


def _power(symbol: str, exponent: float) -> str:
    if exponent == 1:
        return symbol
    fraction = Fraction(exponent).limit_denominator(12)
    if float(fraction) == exponent and fraction.denominator > 1:
        return f"{symbol}^({fraction})"
    return f"{symbol}^{exponent:g}"
