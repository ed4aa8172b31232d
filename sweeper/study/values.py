"""The kinds of value in the sections of a study: each a check with a message of our own and, for
editors, its JSON schema. Numbers may be written as text ("1e-3", "2**-10"), as everywhere in a
study.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from sweeper.errors import shown
from sweeper.study.axes import (
    Axis,
    axis_schema,
    number,
    number_schema,
    parse_axis,
    whole_number,
)
from sweeper.study.settings import text

_SLUG = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def _slug(raw: Any) -> str:
    value = text(raw)
    if not re.fullmatch(_SLUG, value):
        raise ValueError(
            f"{shown(value)} is not a name; use letters, digits, '-', '_' and '.', "
            "starting with a letter or digit, at most 100 in all"
        )
    return value


def _filled(raw: Any) -> str:
    if not text(raw).strip():
        raise ValueError("the text is empty")
    return str(raw)


def _number(raw: Any) -> float:
    return float(number(raw))


def _positive(raw: Any) -> float:
    value = _number(raw)
    if value <= 0:
        raise ValueError(f"{shown(raw)} is not above 0; give a positive number")
    return value


def _shrink(raw: Any) -> float:
    value = _positive(raw)
    if value > 1:
        raise ValueError(f"{shown(raw)} is above 1; give how many times as wide steps become")
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
    beside its ``base``; packages there hold what strategies are made of. They import the study,
    and so are not imported here."""
    package = find_spec("sweeper.search")
    assert package is not None
    modules = iter_modules(package.submodule_search_locations)
    names = {module.name for module in modules if not module.ispkg}
    return tuple(sorted(names - {"base"}))


def _method(raw: Any) -> str:
    if raw not in (known := search_methods()):
        raise ValueError(f"{shown(raw)} is not available; known: {', '.join(known)}")
    return str(raw)


def _flag(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{shown(raw)} is neither true nor false")
    return raw


def _part(raw: Any) -> float:
    value = _number(raw)
    if not 0 < value < 1:
        raise ValueError(f"{shown(raw)} is no share of a run; give a number between 0 and 1")
    return value


def _one_of(raw: Any, *, allowed: Sequence[str]) -> str:
    if raw not in allowed:
        raise ValueError(f"{shown(raw)} is not known; allowed: {', '.join(allowed)}")
    return str(raw)


def _choice(*allowed: str) -> tuple[BeforeValidator, WithJsonSchema]:
    check = BeforeValidator(partial(_one_of, allowed=allowed))
    return check, WithJsonSchema({"type": "string", "enum": list(allowed)})


MOST_STEPS = 100
"""Values by which an axis may grow at an end, at most; more is a slip of the pen."""


def _steps(raw: Any) -> int:
    if isinstance(raw, bool):
        raise ValueError(f"{shown(raw)} is no cap; give the most values that an axis may grow by")
    if (value := _whole(raw)) > MOST_STEPS:
        raise ValueError(f"{shown(raw)} is too large; an axis grows by {MOST_STEPS} at most")
    return value


def _whole(raw: Any) -> int:
    if (value := whole_number(raw)) < 0:
        raise ValueError(f"{shown(raw)} is too small; give a whole number of at least 0")
    return value


def _goal(raw: Any) -> str:
    if raw not in ("min", "max"):
        raise ValueError(f"{shown(raw)} is not a goal; allowed: min, max")
    return str(raw)


SMALLEST_SHARE = 1e-4
"""Of a resource; Ray counts in such steps."""


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
    if 0 < value < SMALLEST_SHARE:
        raise ValueError(f"{shown(raw)} is too small; the least share is {SMALLEST_SHARE:g}")
    return value


def _processes(raw: Any) -> int | dict[float, int]:
    amount = _amount(raw, zero=False)
    if isinstance(amount, dict):
        return {key: _count(value) for key, value in amount.items()}
    return _count(amount)


def _amount_schema(**bounds: Any) -> WithJsonSchema:
    one = number_schema(**bounds)
    table = {"type": "object", "additionalProperties": one, "minProperties": 1}
    return WithJsonSchema({"anyOf": [*one["anyOf"], table]})


Name = Annotated[
    str, BeforeValidator(_slug), WithJsonSchema({"type": "string", "pattern": f"^{_SLUG}$"})
]
Text = Annotated[
    str, BeforeValidator(_filled), WithJsonSchema({"type": "string", "pattern": "\\S"})
]
Line = Annotated[str, BeforeValidator(text)]
Number = Annotated[float, BeforeValidator(_number), WithJsonSchema(number_schema())]
Positive = Annotated[
    float, BeforeValidator(_positive), WithJsonSchema(number_schema(exclusiveMinimum=0))
]
Shrink = Annotated[
    float,
    BeforeValidator(_shrink),
    WithJsonSchema(number_schema(exclusiveMinimum=0, maximum=1)),
]
_COUNT = number_schema(type="integer", minimum=1)
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema(_COUNT)]
_WHOLE = number_schema(type="integer", minimum=0)
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema(_WHOLE)]
Steps = Annotated[
    int,
    BeforeValidator(_steps),
    WithJsonSchema(number_schema(type="integer", minimum=0, maximum=MOST_STEPS)),
]
Seeds = Annotated[str, *_choice("all", "auto")]
Until = Annotated[str, *_choice("optimum", "verdict")]
Sampler = Annotated[str, *_choice("tpe", "gp", "cmaes", "grid", "qmc", "random")]
Pack = Annotated[
    int | Literal["auto"],
    BeforeValidator(_pack),
    WithJsonSchema({"anyOf": [{"const": "auto"}, *_COUNT["anyOf"]]}),
]
_METHODS = list(search_methods())
Method = Annotated[
    str,
    BeforeValidator(_method),
    WithJsonSchema(
        ({"enum": _METHODS} if len(_METHODS) > 1 else {"const": _METHODS[0]}) | {"type": "string"}
    ),
]
Flag = Annotated[bool, BeforeValidator(_flag)]
Part = Annotated[
    float,
    BeforeValidator(_part),
    WithJsonSchema(number_schema(exclusiveMinimum=0, exclusiveMaximum=1)),
]
Goal = Annotated[Literal["min", "max"], BeforeValidator(_goal)]
Cpus = Annotated[
    float | dict[float, float],
    BeforeValidator(partial(_amount, zero=False)),
    _amount_schema(exclusiveMinimum=0),
]
Gpus = Annotated[
    float | dict[float, float],
    BeforeValidator(partial(_amount, zero=True)),
    _amount_schema(minimum=0),
]
Custom = Annotated[
    float | dict[float, float],
    BeforeValidator(partial(_amount, zero=True)),
    WithJsonSchema(
        _amount_schema(minimum=0).json_schema
        | {"description": "A custom resource of a Ray cluster, or a table of it by scale."}
    ),
]
Processes = Annotated[
    int | dict[float, int],
    BeforeValidator(_processes),
    _amount_schema(type="integer", minimum=1),
]
AxisField = Annotated[Axis, BeforeValidator(parse_axis), WithJsonSchema(axis_schema({}))]
