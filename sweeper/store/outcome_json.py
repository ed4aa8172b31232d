"""An outcome as JSON: what a curve file says about the attempt that it is of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, get_args

from sweeper.outcome import Mark, Outcome, OutcomeKind
from sweeper.store.seal import number, seal, unseal

VERSION = 1
"""Version of the document; a change of what it holds must raise this."""

_NAMES = {each.name for each in fields(Outcome)}


def outcome_text(outcome: Outcome) -> str:
    """Returns an outcome as one sealed JSON document; see :func:`sweeper.store.seal.seal`."""
    return seal({"version": VERSION} | vars(outcome) | {"marks": mark_rows(outcome.marks)})


def outcome_of(text: str | bytes) -> Outcome:
    """Returns the outcome in a text that :func:`outcome_text` made, bit for bit.

    Raises:
        ValueError: the text is damaged, or of a version that is not known here.
    """
    document = unseal(text)
    version = document.pop("version", None)
    if version != VERSION:
        raise ValueError(
            f"its outcome is of version {version!r}, and this sweeper knows version {VERSION}"
        )
    if document.keys() != _NAMES or document["kind"] not in get_args(OutcomeKind):
        raise ValueError("its outcome lacks fields or has unknown ones")
    document["metrics"] = {name: number(value) for name, value in document["metrics"].items()}
    for name in ("flops", "device_seconds", "wall_seconds"):
        document[name] = number(document[name])
    document["marks"] = marks_of(document["marks"])
    return Outcome(**document)


def mark_rows(marks: Iterable[Mark]) -> list[dict[str, Any]]:
    """Returns marks as rows for JSON."""
    return [dict(vars(mark)) for mark in marks]


def marks_of(rows: Iterable[dict[str, Any]]) -> tuple[Mark, ...]:
    """Returns the marks in rows that :func:`mark_rows` made.

    Raises:
        TypeError, KeyError, ValueError: the rows are none of that kind.
    """
    return tuple(Mark(**{**row, "value": number(row["value"])}) for row in rows)
