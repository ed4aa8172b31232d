"""Placeholders in the texts of a study: ``{name}``, ``{name:SPEC}``, and ``{{`` for a brace.

A number is written so that it reads back exactly, whole ones without a point; true and false as
``true`` and ``false``. SPEC is one of Python's format specifications, ``.3e``; of a truth value it
is the text that stands for true, ``{amp:--amp}``, or those for true and false,
``{amp:--amp|--no-amp}``; a text may be empty.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

RESERVED = {
    "seed": 0,
    "gpus": 1,
    "processes": 1,
    "cpus": 1,
    "threads": 1,
    "checkpoint": "checkpoint",
    "config": "config",
    "folder": "folder",
    "key": "key",
    "python": "python",
}
"""Names that every trial has beside its settings, each with a value of its kind."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""What a setting may be called, as a whole."""

_PART = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::([^{}]*))?\}|[{}]")


class Placeholder(NamedTuple):
    """A name that stands for a value, and how that is written; None is as it is."""

    name: str
    spec: str | None


def placeholders(text: str) -> Iterator[Placeholder]:
    """Yields the placeholders of a text.

    Raises:
        ValueError: a brace stands alone or around nothing.
    """
    for part in _PART.finditer(text):
        if part[0] in ("{", "}") or (part[1] is not None and not part[1].strip()):
            raise ValueError(
                f"{text!r} has a brace that is no part of a {{name}}; write it twice, {{{{ or }}}}"
            )
        if part[1] is not None:
            yield Placeholder(part[1], part[2])


def names_in(text: str) -> set[str]:
    """Returns the names of the placeholders of a text that has no fault."""
    return {each.name for each in placeholders(text)}


def filled(text: str, values: Mapping[str, Any]) -> str | None:
    """Returns a text with its placeholders filled in; None where one of them has no value, and
    where a truth value leaves nothing of it."""
    used = list(placeholders(text))
    if any(values[each.name] is None for each in used):
        return None

    def write(part: re.Match[str]) -> str:
        return part[0][0] if part[1] is None else written(values[part[1]], part[2])

    result = _PART.sub(write, text)
    emptied = not result and any(isinstance(values[each.name], bool) for each in used)
    return None if emptied else result


def written(value: Any, spec: str | None = None) -> str:
    """Returns a value as text.

    Raises:
        ValueError: the format specification is none for such a value.
    """
    if isinstance(value, bool):
        true, _, false = ("true|false" if spec is None else spec).partition("|")
        return true if value else false
    return format(value, spec) if spec else str(whole(value))


def whole(value: Any) -> Any:
    """Returns a number that is whole as an int, in which form it is written; all else as it is."""
    exact = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if exact else value


def unknown(name: str, known: Collection[str]) -> str:
    """Returns what to say of a name that is none of those known: the nearest ones."""
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {{{close[0]}}}? " if close else ""
    listed = ", ".join(sorted(known))
    return f"{{{name}}} names no setting that has a value; {hint}known: {listed}"
