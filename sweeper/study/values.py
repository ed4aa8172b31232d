"""The kinds of value that the sections of a study hold.

Each kind is a check with a message of our own and, for editors, its JSON schema. Numbers may be
written as text ("1e-3", "2**-10"), as everywhere in a study.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from sweeper.errors import shown
from sweeper.study.axes import NUMBER_PATTERN, Axis, number, parse_axis, whole_number

_SLUG = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

NUMBER_TEXT = {"type": "string", "pattern": NUMBER_PATTERN}
"""JSON schema of a number written as text."""


def slug(raw: Any) -> str:
    """Returns a name: letters, digits, - _ and . only.

    Raises:
        ValueError: it is no such name.
    """
    value = text(raw)
    if not re.fullmatch(_SLUG, value):
        raise ValueError(
            f"{shown(value)} is not a name; use letters, digits, '-', '_' and '.', "
            "starting with a letter or digit, at most 100 in all"
        )
    return value


def text(raw: Any) -> str:
    """Returns text that is not blank.

    Raises:
        ValueError: it is something else.
    """
    if not line(raw).strip():
        raise ValueError("the text is empty")
    return str(raw)


def line(raw: Any) -> str:
    """Returns text that may be empty.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(raw, str):
        raise ValueError(f"{shown(raw)} is not text (quote it if it is meant to be)")
    return raw


def _number(raw: Any) -> float:
    return float(number(raw))


def _positive(raw: Any) -> float:
    value = _number(raw)
    if value <= 0:
        raise ValueError(f"{shown(raw)} is not above 0; give a positive number")
    return value


def _count(raw: Any) -> int:
    value = whole_number(raw)
    if value < 1:
        raise ValueError(f"{shown(raw)} is too small; give a whole number of at least 1")
    return value


def _pack(raw: Any) -> int | str:
    try:
        return "auto" if raw == "auto" else _count(raw)
    except ValueError:
        raise ValueError(
            f"{shown(raw)}: allowed are auto and whole numbers of at least 1"
        ) from None


def search_methods() -> tuple[str, ...]:
    """Returns the names of the strategies that propose trials: the modules of ``sweeper.search``
    beside its ``base``. They import the study, and so are not imported here."""
    package = find_spec("sweeper.search")
    assert package is not None
    names = {module.name for module in iter_modules(package.submodule_search_locations)}
    return tuple(sorted(names - {"base"}))


def _method(raw: Any) -> str:
    if raw not in (known := search_methods()):
        raise ValueError(f"{shown(raw)} is not available yet; known: {', '.join(known)}")
    return str(raw)


def _goal(raw: Any) -> str:
    if raw not in ("min", "max"):
        raise ValueError(f"{shown(raw)} is not a goal; allowed: min, max")
    return str(raw)


def _amount(raw: Any, *, zero: bool) -> float | dict[float, float]:
    if not isinstance(raw, Mapping):
        return _share(raw, zero=zero)
    if not raw:
        raise ValueError("the table is empty; give {scale value: number}, or one number")
    table = {_number(key): _share(value, zero=zero) for key, value in raw.items()}
    if len(table) < len(raw):
        raise ValueError("two keys of the table are the same number; remove one")
    return dict(sorted(table.items()))


def _share(raw: Any, *, zero: bool) -> float:
    value = _number(raw)
    if value < 0 or (value == 0 and not zero):
        raise ValueError(
            f"{shown(raw)} is too small; allowed: {'0 or more' if zero else 'above 0'}"
        )
    if value > 1 and value != int(value):
        raise ValueError(f"{shown(raw)} is not allowed: above 1 only whole numbers are")
    return value


def _cpus(raw: Any) -> float | dict[float, float]:
    return _amount(raw, zero=False)


def _gpus(raw: Any) -> float | dict[float, float]:
    return _amount(raw, zero=True)


def axis_schema(values: dict[str, Any], *, ranges: bool = True) -> dict[str, Any]:
    """Returns the JSON schema of an axis whose values have a given schema.

    Args:
        values: schema of one value.
        ranges: whether log2 and geometric ranges make sense for it.
    """
    listed = {"type": "array", "items": values, "minItems": 1, "uniqueItems": True}
    return {"anyOf": [listed, LOG2_RANGE, GEOMETRIC_RANGE]} if ranges else listed


def _schema(**bounds: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number", **bounds}, NUMBER_TEXT]})


def _table_schema(**bounds: Any) -> WithJsonSchema:
    one = {"anyOf": [{"type": "number", **bounds}, NUMBER_TEXT]}
    table = {"type": "object", "additionalProperties": one, "minProperties": 1}
    return WithJsonSchema({"anyOf": [*one["anyOf"], table]})


def _range(kind: str, companion: dict[str, Any], *, required: list[str]) -> dict[str, Any]:
    one = {"anyOf": [{"type": "number"}, NUMBER_TEXT]}
    pair = {"type": "array", "items": one, "minItems": 2, "maxItems": 2}
    return {
        "type": "object",
        "properties": {kind: pair, **companion},
        "required": required,
        "additionalProperties": False,
    }


LOG2_RANGE = _range(
    "log2",
    {"step": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, NUMBER_TEXT]}},
    required=["log2"],
)
"""JSON schema of powers of two."""

GEOMETRIC_RANGE = _range(
    "geometric",
    {"count": {"anyOf": [{"type": "integer", "minimum": 2}, NUMBER_TEXT]}},
    required=["geometric", "count"],
)
"""JSON schema of a geometric range."""

Name = Annotated[
    str,
    BeforeValidator(slug),
    WithJsonSchema({"type": "string", "pattern": f"^{_SLUG}$"}),
]
Text = Annotated[str, BeforeValidator(text), WithJsonSchema({"type": "string", "pattern": "\\S"})]
Line = Annotated[str, BeforeValidator(line)]
Number = Annotated[float, BeforeValidator(_number), _schema()]
Positive = Annotated[float, BeforeValidator(_positive), _schema(exclusiveMinimum=0)]
Count = Annotated[
    int,
    BeforeValidator(_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, NUMBER_TEXT]}),
]
Pack = Annotated[
    int | Literal["auto"],
    BeforeValidator(_pack),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}, NUMBER_TEXT]}),
]
_METHODS = list(search_methods())
Method = Annotated[
    str,
    BeforeValidator(_method),
    WithJsonSchema(
        ({"enum": _METHODS} if len(_METHODS) > 1 else {"const": _METHODS[0]}) | {"type": "string"}
    ),
]
Goal = Annotated[Literal["min", "max"], BeforeValidator(_goal)]
Cpus = Annotated[
    float | dict[float, float], BeforeValidator(_cpus), _table_schema(exclusiveMinimum=0)
]
Gpus = Annotated[float | dict[float, float], BeforeValidator(_gpus), _table_schema(minimum=0)]
AxisField = Annotated[Axis, BeforeValidator(parse_axis), WithJsonSchema(axis_schema({}))]
