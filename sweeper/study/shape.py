"""The shape of a study: what pydantic found, in the words of a study file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sweeper.errors import shown, suggestion
from sweeper.study.source import Complaint, Place

_WITH_DEFAULTS = ("search", "objective", "budget", "resources")
_MAPPING = "is not a mapping; write `key: value` lines below it"
_WORDS = {
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "tuple_type": "is not a list; write `- ` items below it",
    "too_short": "is empty; give at least one entry, or remove it",
}


def shape_complaints(error: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    """Returns a complaint for every error that pydantic found in a study."""
    return [Complaint(_place(item), _message(item, model)) for item in error.errors()]


def readable_rest(data: Any, error: ValidationError) -> tuple[Any, frozenset[str]]:
    """Returns a study without what pydantic refused, and the names of settings lost by that, so
    that the rest can be checked all the same."""
    rest, lost = data, set()
    for item in error.errors():
        place = _place(item)
        match place:
            case ():
                return data, frozenset()
            case ("sweep", name, *_) | ("variants", _, "sweep", name, *_):
                lost.add(str(name))
                rest = _edited(rest, place[: place.index(name) + 1])
            case ("claims", _, "exponent" | "tolerance"):
                rest = _edited(rest, place, 1.0)
            case _ if item["type"] == "extra_forbidden" or place[0] in _WITH_DEFAULTS:
                rest = _edited(rest, place)
            case ("fixed" | "variants" | "sweep", *_):
                rest = _edited(rest, ("workload",))  # nothing can be said about its settings
            case _:
                rest = _edited(rest, place[:1])
    return ({"name": "unnamed", **rest} if isinstance(rest, Mapping) else rest), frozenset(lost)


def _edited(data: Any, place: Place, value: Any = None) -> Any:
    """Returns a copy with another value at a place, or with nothing there for None."""
    if not isinstance(data, Mapping | list):
        return data
    head, *tail = place
    copy: dict[Any, Any] = dict(enumerate(data)) if isinstance(data, list) else dict(data)
    if tail and head in copy:
        copy[head] = _edited(copy[head], tuple(tail), value)
    elif not tail and value is not None:
        copy[head] = value
    elif not tail:
        copy.pop(head, None)
    return list(copy.values()) if isinstance(data, list) else copy


def _place(item: ErrorDetails) -> Place:
    return tuple(step for step in item["loc"] if step != "[key]")


def _message(item: ErrorDetails, model: type[BaseModel]) -> str:
    place, kind = _place(item), item["type"]
    if not place:
        return f"{shown(item['input'])} {_MAPPING}"
    owner = _owner(model, place[:-1])
    if kind == "extra_forbidden":
        return (
            f"unknown key {shown(place[-1])}; "
            f"{suggestion(str(place[-1]), tuple(owner.model_fields))}"
        )
    if kind == "missing":
        field = owner.model_fields[str(place[-1])]
        return f"is missing; add it: {field.description}"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    return f"{shown(item['input'])} {_WORDS[kind]}" if kind in _WORDS else item["msg"]


def _owner(model: type[BaseModel], place: Place) -> type[BaseModel]:
    for step in place:
        if isinstance(step, str) and step in model.model_fields:
            annotation = model.model_fields[step].annotation
            for candidate in (annotation, *get_args(annotation)):
                if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                    model = candidate
    return model
