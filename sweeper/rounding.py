"""Numbers that are a rounding apart: one value, written by programs that keep other digits."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping

from sweeper.words import plural

CLOSE = 1e-6
"""Numbers that differ by this share of themselves are one: float32 keeps 6e-8."""

LEAST_DIGITS = 4
"""Digits that a rounded number has at least."""


def merged(values: Iterable[float], *, whole: bool = True) -> Mapping[float, float]:
    """Returns which values stand for another, by themselves; empty where none does.

    Two values are one where they differ by at most :data:`CLOSE` of themselves, or where one is
    the other rounded to the digits that it is written with, four at least. Of close ones that
    with the fewest digits stands for the others, of rounded ones that with the most.

    Args:
        values: finite numbers in any order; the same answer for any order of them.
        whole: whether two whole numbers may be one: not the numbers of runs.
    """
    found: dict[float, float] = {}
    ordered = sorted({float(value) for value in values})
    start = 0
    while start < len(ordered):
        stop = start + 1
        while stop < len(ordered) and all(
            _same(one, ordered[stop], whole=whole) for one in ordered[start:stop]
        ):
            stop += 1
        if stop > start + 1:
            same = ordered[start:stop]
            close = same[-1] - same[0] <= CLOSE * max(map(abs, same))
            best = min(same, key=_few_digits) if close else max(same, key=digits_of)
            found |= {value: best for value in same if value != best}
        start = stop
    return found


def merged_words(found: Mapping[float, float]) -> str:
    """Returns what the reader should know of some values that are one."""
    value, best = min(found.items())
    return (
        f"{plural(len(found), 'value')} a rounding apart from another count as one with it, for "
        f"example {value!r} and {best!r}"
    )


def _same(one: float, other: float, *, whole: bool) -> bool:
    if not whole and one.is_integer() and other.is_integer():
        return False
    if abs(one - other) <= CLOSE * max(abs(one), abs(other)):
        return True
    return any(
        digits_of(short) < digits_of(long) and rounded(long, digits_of(short)) == short
        for short, long in ((one, other), (other, one))
    )


def digits_of(value: float) -> int:
    """Returns the significant digits that a number is written with, at least four."""
    digits = repr(value).partition("e")[0].replace(".", "").strip("-0")
    return max(LEAST_DIGITS, len(digits))


def rounded(value: float, digits: int) -> float:
    """Returns a number of so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


def _few_digits(value: float) -> tuple[bool, int]:
    return _is_float32(value), digits_of(value)


def _is_float32(value: float) -> bool:
    """Returns whether a number comes from float32: its many digits are those of one."""
    if digits_of(value) <= 9 or not math.isfinite(value) or abs(value) > 3e38:
        return False
    return bool(struct.unpack("f", struct.pack("f", value))[0] == value)
