"""One axis of a sweep: a list of values, powers of two, or a geometric range.

    learning_rate: [1e-3, 2e-3]                        a list
    learning_rate: {log2: [-9, -2], step: 0.5}         2**k for k = -9, -8.5, ..., -2
    learning_rate: {geometric: [1e-4, 1e-2], count: 5} evenly spaced in the logarithm

Both ends of a range are part of it. What a range yields is the same number on every machine
(see :func:`portable`), because values enter the content hash of a trial.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.errors import shown, suggestion

MAX_VALUES = 10_000
"""Values that one axis may hold; a longer one is a slip of the pen."""

_FORMS = "a list of values, {log2: [from, to], step: 1} or {geometric: [low, high], count: n}"
_NUMBER = r"[-+]?(?:\.\d+|\d[\d_]*(?:\.\d*)?)(?:[eE][-+]?\d+)?"
_PLAIN = re.compile(rf"\s*({_NUMBER})\s*\Z")
_POWER = re.compile(rf"\s*({_NUMBER})\s*\*\*\s*({_NUMBER})\s*\Z")


@dataclass(frozen=True)
class ListAxis:
    """Values as they are written, one by one."""

    items: tuple[Any, ...]

    def values(self) -> tuple[Any, ...]:
        """Returns the values as written; their types are the setting's business."""
        return self.items

    def document(self) -> Any:
        """Returns the axis as plain data."""
        return list(self.items)


@dataclass(frozen=True)
class Log2Axis:
    """Powers of two: 2**low, 2**(low + step), ..., 2**high."""

    low: float
    high: float
    step: float = 1.0

    def __post_init__(self) -> None:
        if self.step <= 0:
            raise ValueError(f"log2: step {self.step:g} is not positive; use for example step: 1")
        if self.low > self.high:
            raise ValueError(
                f"log2: from {self.low:g} is above to {self.high:g}; swap them: "
                f"[{self.high:g}, {self.low:g}]"
            )
        if max(abs(self.low), abs(self.high)) > 1000:
            raise ValueError(
                f"log2: [{self.low:g}, {self.high:g}] reaches beyond 2**-1000 .. 2**1000; "
                "the two numbers are exponents, for example [-9, -2]"
            )
        steps = (self.high - self.low) / self.step
        if steps >= MAX_VALUES:
            raise ValueError(f"log2: more than {MAX_VALUES:,} values; widen the step")
        if abs(steps - round(steps)) > 1e-6:
            last = self.low + math.floor(steps) * self.step
            raise ValueError(
                f"log2: steps of {self.step:g} from {self.low:g} do not meet {self.high:g}; "
                f"end at {last:g} or at {last + self.step:g}"
            )

    def values(self) -> tuple[float, ...]:
        """Returns the powers, ascending, with both ends."""
        count = round((self.high - self.low) / self.step)
        span = self.high - self.low
        return tuple(_power_of_two(self.low + span * i / max(count, 1)) for i in range(count + 1))

    def document(self) -> Any:
        """Returns the axis as plain data."""
        return {"log2": [self.low, self.high], "step": self.step}


@dataclass(frozen=True)
class GeometricAxis:
    """``count`` values from low to high with a constant ratio between neighbours."""

    low: float
    high: float
    count: int

    def __post_init__(self) -> None:
        if self.low <= 0:
            raise ValueError(f"geometric: low {self.low:g} is not positive; ratios need that")
        if self.low >= self.high:
            raise ValueError(
                f"geometric: low {self.low:g} is not below high {self.high:g}; swap them or "
                "widen the range"
            )
        if not 2 <= self.count <= MAX_VALUES:
            raise ValueError(f"geometric: count {self.count} is not within 2 .. {MAX_VALUES}")

    def values(self) -> tuple[float, ...]:
        """Returns the values, ascending; the ends are exactly low and high."""
        low, high, last = math.log2(self.low), math.log2(self.high), self.count - 1
        inner = (portable(2.0 ** (low + (high - low) * i / last)) for i in range(1, last))
        return (self.low, *inner, self.high)

    def document(self) -> Any:
        """Returns the axis as plain data."""
        return {"geometric": [self.low, self.high], "count": self.count}


Axis = ListAxis | Log2Axis | GeometricAxis


def parse_axis(raw: Any) -> Axis:
    """Returns an axis from what a study says about it.

    Raises:
        ValueError: it is none of the three forms, empty, reversed, not finite or too long.
    """
    if isinstance(raw, ListAxis | Log2Axis | GeometricAxis):
        return raw
    if isinstance(raw, Mapping):
        return _parse_range(raw)
    if isinstance(raw, Sequence) and not isinstance(raw, str | bytes):
        return _parse_list(raw)
    if raw is None:
        raise ValueError(f"the axis is empty; give {_FORMS}, or remove it")
    if (listed := _listed(raw)) is not None:
        raise ValueError(f"{shown(raw)} is text; an axis of several values is written {listed}")
    raise ValueError(
        f"{shown(raw)} is a single value; write [{shown(raw)}] for an axis of one value, or "
        f"move it to `fixed` (an axis is {_FORMS})"
    )


def _parse_list(raw: Sequence[Any]) -> ListAxis:
    if not raw:
        raise ValueError("the axis is empty; give at least one value, or remove it")
    if len(raw) > MAX_VALUES:
        raise ValueError(f"the axis has {len(raw):,} values, at most {MAX_VALUES:,} are allowed")
    return ListAxis(tuple(raw))


def _parse_range(raw: Mapping[Any, Any]) -> Axis:
    kinds = [kind for kind in ("log2", "geometric") if kind in raw]
    if len(kinds) != 1:
        raise ValueError(f"{shown(dict(raw))} is not an axis; give {_FORMS}")
    kind = kinds[0]
    companion = "step" if kind == "log2" else "count"
    for key in raw:
        if key not in (kind, companion):
            hint = suggestion(str(key), (kind, companion))
            raise ValueError(f"unknown key {shown(key)} in a {kind} axis; {hint}")
    low, high = _pair(kind, raw[kind])
    if kind == "log2":
        return Log2Axis(low, high, _named(companion, raw.get("step", 1)))
    if "count" not in raw:
        raise ValueError(
            "geometric: `count` is missing; say how many values, for example count: 5"
        )
    try:
        count = whole_number(raw["count"])
    except ValueError as error:
        raise ValueError(f"geometric: count: {error}") from None
    return GeometricAxis(low, high, count)


def _pair(kind: str, raw: Any) -> tuple[float, float]:
    if not isinstance(raw, Sequence) or isinstance(raw, str | bytes) or len(raw) != 2:
        raise ValueError(f"{kind}: {shown(raw)} is not a pair; give two numbers, [from, to]")
    return _named(kind, raw[0]), _named(kind, raw[1])


def _named(key: str, raw: Any) -> float:
    try:
        return float(number(raw))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{key}: {error}") from None


def number(raw: Any) -> int | float:
    """Returns a finite number from a number or its text: 0.001, "1e-3" and "2**-4" are numbers.

    Raises:
        ValueError: it is no number, or is NaN or infinite.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(f"{shown(raw)} is not a number")
    value: int | float = _number_of_text(raw) if isinstance(raw, str) else raw
    if isinstance(value, int) and abs(value) >= 10**308:
        raise ValueError("a whole number of more than 308 digits is too large")
    if not math.isfinite(value):
        raise ValueError(f"{shown(raw)} is not a finite number")
    return value


def whole_number(raw: Any) -> int:
    """Returns a whole number that a float can hold exactly, from any spelling of it.

    Raises:
        ValueError: it is no number, has a fraction, or is beyond 2**53.
    """
    value = number(raw)
    if value != int(value):
        raise ValueError(f"{shown(raw)} is not a whole number")
    if abs(value) > 2**53:
        raise ValueError(f"{shown(raw)} is too large; whole numbers go up to 2**53")
    return int(value)


def _number_of_text(text: str) -> int | float:
    if len(text) > 300:
        raise ValueError(f"{text[:20]!r}... is too long for a number")
    power = _POWER.match(text)
    try:
        if power:
            base, exponent = (float(part) for part in power.groups())
            return _power_of_two(exponent) if base == 2 else portable(math.pow(base, exponent))
        plain = _PLAIN.match(text)
        if plain:
            digits = plain[1]
            return int(digits) if re.fullmatch(r"[-+]?[\d_]+", digits) else float(digits)
    except (OverflowError, ValueError):
        raise ValueError(f"{shown(text)} is not a finite number") from None
    if (listed := _listed(text)) is not None:
        raise ValueError(
            f"{shown(text)} is not a number; a list is written {listed}, and a fraction 0.5"
        )
    raise ValueError(f"{shown(text)} is not a number; write it like 0.001, 1e-3 or 2**-10")


def _listed(raw: Any) -> str | None:
    """Returns numbers with commas, semicolons or spaces between them as a list, ``[64, 128]``."""
    parts = re.split(r"\s*[,;]\s*|\s+", raw.strip(" ,;")) if isinstance(raw, str) else []
    if len(parts) < 2 or not all(_PLAIN.match(part) for part in parts):
        return None
    return f"[{', '.join(parts)}]"


def _power_of_two(exponent: float) -> float:
    if exponent == int(exponent):
        return math.ldexp(1.0, int(exponent))
    return portable(2.0**exponent)


def portable(value: float) -> float:
    """Returns a computed value as the same number on every machine: mathematical libraries
    differ in the last bit, so powers of two are made exact and all else has twelve digits."""
    mantissa, exponent = math.frexp(value)
    for power, shift in ((0.5, 0), (1.0, 1)):
        if math.isclose(mantissa, power, rel_tol=1e-13):
            return math.ldexp(0.5, exponent + shift)
    return float(f"{value:.12g}")


# JSON schemas -----------------------------------------------------------------------------------


def number_schema(**bounds: Any) -> dict[str, Any]:
    """Returns the JSON schema of a number, which may be written as text.

    Args:
        bounds: keywords for one that is not text, such as ``minimum``.
    """
    text = {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*(\*\*\s*{_NUMBER}\s*)?$"}
    return {"anyOf": [{"type": "number", **bounds}, text]}


def _range_schema(kind: str, companion: str, **of_companion: Any) -> dict[str, Any]:
    pair = {"type": "array", "items": number_schema(), "minItems": 2, "maxItems": 2}
    return {
        "type": "object",
        "properties": {kind: pair, companion: number_schema(**of_companion)},
        "required": [kind, companion] if companion == "count" else [kind],
        "additionalProperties": False,
    }


LOG2_RANGE = _range_schema("log2", "step", exclusiveMinimum=0)
"""JSON schema of powers of two."""

GEOMETRIC_RANGE = _range_schema("geometric", "count", type="integer", minimum=2)
"""JSON schema of a geometric range."""


def axis_schema(values: dict[str, Any], *, ranges: bool = True) -> dict[str, Any]:
    """Returns the JSON schema of an axis whose values have a given schema.

    Args:
        values: schema of one value.
        ranges: whether log2 and geometric ranges make sense for it.
    """
    listed = {"type": "array", "items": values, "minItems": 1, "uniqueItems": True}
    return {"anyOf": [listed, LOG2_RANGE, GEOMETRIC_RANGE]} if ranges else listed
