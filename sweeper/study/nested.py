"""Settings with a dot in their name, which a study may also write as nested mappings.

custom: {hidden: {learning_rate: -1}}       is       custom.hidden.learning_rate: -1
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from sweeper.study.source import Place


class Given(NamedTuple):
    """One setting as a study gives it.

    Attributes:
        name: the full name, with dots.
        place: where it stands below the mapping that holds it.
        value: as written.
    """

    name: str
    place: Place
    value: Any


def given_settings(raw: Mapping[str, Any], known: Collection[str]) -> Iterator[Given]:
    """Yields the settings of a mapping, those of nested mappings under their full names.

    A mapping is opened only where known settings lie below it, so that any other one is still
    told to be no value.

    Args:
        raw: settings as written.
        known: full names of all settings.
    """
    for key, value in raw.items():
        below = {name.removeprefix(f"{key}.") for name in known if name.startswith(f"{key}.")}
        if below and isinstance(value, Mapping):
            for inner in given_settings(value, below):
                yield Given(f"{key}.{inner.name}", (key, *inner.place), inner.value)
        else:
            yield Given(key, (key,), value)


def place_of(raw: Mapping[str, Any], name: str) -> Place:
    """Returns where a mapping holds a setting, itself or nested; empty where it does not."""
    if name in raw:
        return (name,)
    for key, value in raw.items():
        if isinstance(value, Mapping) and name.startswith(f"{key}."):
            inner = place_of(value, name.removeprefix(f"{key}."))
            if inner:
                return (key, *inner)
    return ()


def siblings(name: str, known: Collection[str]) -> list[str]:
    """Returns what may stand in place of an unknown name: of the known names that share most of
    its first parts, these and the part that follows; all known names where none does."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length]) + "."
        found = {
            each.removeprefix(prefix).partition(".")[0]: None
            for each in known
            if each.startswith(prefix)
        }
        if found:
            return [f"{prefix}{part}" for part in found]
    return list(known)


def nested_schema(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns JSON schemas by setting with those of dotted names also as nested objects."""
    inner: dict[str, dict[str, Any]] = {}
    for name, schema in values.items():
        first, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(first, {})[rest] = schema
    objects = {
        first: {
            "type": "object",
            "properties": nested_schema(below),
            "additionalProperties": False,
        }
        for first, below in inner.items()
    }
    return {**values, **objects}
