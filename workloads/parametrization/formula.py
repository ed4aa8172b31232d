"""A scaling rule as a formula: a product of powers of sizes relative to the base model."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from workloads.parametrization.growth import SYMBOLS, Growth


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
