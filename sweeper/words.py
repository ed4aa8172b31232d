"""How numbers, settings and plurals are said: one place for terminal, page and messages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any


def duration(seconds: float, digits: int = 1) -> str:
    """Returns seconds as ``4.5 s``, ``45 s``, ``12 min`` or ``3.5 h``; ``digits`` are decimals
    below 10 s."""
    if seconds < 100:
        return f"{seconds:.{digits if seconds < 10 else 0}f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def quantity(number: float, unit: str = "") -> str:
    """Returns a number with three digits and its unit: 1.25e9 of ``B`` is ``1.25 GB``."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}{unit}"
    return f"{number:.3g} {unit}".rstrip()


def power(value: float) -> str:
    """Returns a positive number as a power of two: 0.125 is ``2^-3``, 0.1 is ``2^-3.32``; any
    other as it is."""
    if value <= 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.log2(value)
    return f"2^{exponent:.0f}" if exponent == round(exponent) else f"2^{exponent:.2f}"


def with_power(value: float) -> str:
    """Returns a setting with its power of two, for example ``0.0156 = 2^-6``."""
    return f"{value:.3g} = {power(value)}"


def power_range(low: float, high: float) -> str:
    """Returns an interval given in log2, for example ``2^-5.10 to open``."""
    return " to ".join(f"2^{end:.2f}" if math.isfinite(end) else "open" for end in (low, high))


def percent(value: float) -> str:
    """Returns percent with two digits, 0.7 as ``0.70%`` and 33.3 as ``33%``; below a hundredth
    ``<0.01%``."""
    if value == 0 or not math.isfinite(value):
        return "0%" if value == 0 else "open"
    if abs(value) < 0.01:
        return "<0.01%" if value > 0 else ">-0.01%"
    return f"{value:.0f}%" if abs(value) >= 10 else f"{value:.{1 if abs(value) >= 1 else 2}f}%"


LONG = 1_000_000
"""From here on a whole number is shown as a power of ten where that loses no digit."""


def setting(value: Any) -> str:
    """Returns a setting's value as it would stand in a study file: ``true``, ``0.001``,
    ``1e+09``."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    brief = f"{value:g}" if isinstance(value, int | float) else str(value)
    if isinstance(value, int) and (abs(value) < LONG or int(float(brief)) != value):
        return str(value)
    return brief


_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that act on a terminal, or turn the text around, in place of being seen."""


def visible(text: str) -> str:
    """Returns text with characters that would act on a terminal written out, as ``\\x1b``."""
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def words_in(name: str) -> frozenset[str]:
    """Returns the words of a name in small letters: ``Val/loss`` has val and loss."""
    return frozenset(re.split(r"[^a-z0-9]+", name.lower()))


BATCH_WORDS = frozenset(("batch", "batchsize", "bs"))


def is_batch_size(name: str) -> bool:
    """Returns whether a setting is a batch size by its name: a loss may well rise with it, and
    runs of one length have other numbers of steps."""
    return bool(words_in(name) & BATCH_WORDS)


def plural(count: int, noun: str, several: str = "") -> str:
    """Returns ``1 trial`` or ``3 trials``; ``several`` is a plural that takes no s."""
    return f"{count} {noun if count == 1 else several or f'{noun}s'}"


def with_article(scale: str) -> str:
    """Returns ``the width``; a symbol such as ``w`` or ``N`` as it is."""
    return f"the {scale}" if len(scale) > 2 else scale


def minus(text: str) -> str:
    """Returns text with hyphens before digits set as minus signs."""
    return text.replace("-", "−")


def listed(parts: Sequence[str], comma: str = ", ") -> str:
    """Returns parts as one: ``a, b and c``; nothing where there are none."""
    return " and ".join(filter(None, (comma.join(parts[:-1]), *parts[-1:])))


def signed(value: float, digits: int = 2) -> str:
    """Returns a number with its sign, 0.5 as ``+0.50``; an infinite one as ``open``."""
    # Adding zero turns minus zero into zero.
    return minus(f"{round(value, digits) + 0.0:+.{digits}f}") if math.isfinite(value) else "open"


def signed_plain(value: float) -> str:
    """Returns a number with its sign and two decimals, with a hyphen for a minus sign, -0.004 as
    ``+0.00``; an infinite one as ``open``."""
    return f"{round(value, 2) + 0.0:+.2f}" if math.isfinite(value) else "open"


def signed_interval(low: float, high: float, digits: int = 2) -> str:
    """Returns an interval, for example ``[−0.41, +0.12]`` or ``(open, +0.12]``."""
    left = f"[{signed(low, digits)}" if math.isfinite(low) else "(open"
    right = f"{signed(high, digits)}]" if math.isfinite(high) else "open)"
    return f"{left}, {right}"


def decimals(value: float | None, digits: int = 4) -> str:
    """Returns a number with so many decimals, -0.5 as ``−0.5000``; a dash if it is unknown."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else minus(f"{value:.{digits}f}")


def loss_digits(losses: Iterable[float]) -> int:
    """Returns with how many decimals to show the losses of a table: 4, or where they differ by
    less than 0.01 so many that the differences have four digits; of a single one its own."""
    known = [loss for loss in losses if math.isfinite(loss)]
    spread = max(known, default=0.0) - min(known, default=0.0) or max(map(abs, known), default=0.0)
    return max(4, 3 - math.floor(math.log10(spread))) if 0 < spread < 0.01 else 4


def three_digits(value: float) -> str:
    """Returns a number with three significant digits, 0.08839 as ``0.0884``; an infinite one as
    ``open``."""
    return minus(f"{value:.3g}") if math.isfinite(value) else "open"


def interval_of_log2(low: float, high: float) -> str:
    """Returns the values of an interval given in log2: -3 and 2 are ``[0.125, 4]``."""
    left = f"[{three_digits(2.0**low)}" if math.isfinite(low) else "(open"
    right = f"{three_digits(2.0**high)}]" if math.isfinite(high) else "open)"
    return f"{left}, {right}"
