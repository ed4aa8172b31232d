"""How numbers, settings and plurals are said: one place for terminal, page and messages."""

from __future__ import annotations

import math
from typing import Any


def duration(seconds: float) -> str:
    """Returns seconds as ``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def quantity(number: float) -> str:
    """Returns a number with three digits and a letter, for example ``1.25 G``."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g} "


def power(value: float) -> str:
    """Returns a positive number as a power of two with two decimals, else as it is."""
    if value <= 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.log2(value)
    return f"2^{exponent:.0f}" if exponent == round(exponent) else f"2^{exponent:.2f}"


LONG = 1_000_000
"""From here on a whole number is shown as a power of ten where that loses no digit."""


def setting(value: Any) -> str:
    """Returns a setting's value as it would stand in a study file."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    brief = f"{value:g}" if isinstance(value, int | float) else str(value)
    if isinstance(value, int) and (abs(value) < LONG or int(float(brief)) != value):
        return str(value)
    return brief
