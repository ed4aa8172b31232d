"""JSON documents that carry the digest of their own content, so that damage is noticed; an
outcome as such a document."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, get_args

from sweeper.outcome import Mark, Outcome, OutcomeKind

_DIGEST = "sha256"


def seal(document: Mapping[str, Any]) -> str:
    """Returns a document as strict JSON, with the SHA-256 of its canonical form inside.

    Numbers keep their bits. One that is not finite, for which JSON has no word, becomes the
    text ``nan``, ``inf`` or ``-inf``; :func:`number` turns it back.

    Args:
        document: mappings, sequences, texts, numbers and nulls; no key named ``sha256``.

    Raises:
        TypeError: the document holds something that JSON cannot.
    """
    plain = _plain(document)
    return json.dumps(plain | {_DIGEST: _digest(plain)}, allow_nan=False)


def unseal(text: str | bytes) -> dict[str, Any]:
    """Returns the document in a text that :func:`seal` made.

    Raises:
        ValueError: the text is no JSON, has no digest, or was altered since.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"it is not JSON ({fault})") from fault
    if not isinstance(document, dict) or _DIGEST not in document:
        raise ValueError(f"it has no {_DIGEST}")
    stated = document.pop(_DIGEST)
    if stated != _digest(document):
        raise ValueError(f"its content does not have the {_DIGEST} that it states")
    return document


def number(value: float | str) -> float:
    """Returns a number of a sealed document: finite ones are numbers there, others texts.

    Raises:
        ValueError: the text is no number.
    """
    return float(value) if isinstance(value, str) else value


def _digest(plain: Any) -> str:
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


VERSION = 1
"""Version of the document. A change of what it holds must raise this, but for a new field of an
outcome that has a default, which older documents then mean."""

_FIELDS = {each.name: each for each in fields(Outcome)}
_NEEDED = {"key", "attempt", "kind"}


def outcome_text(outcome: Outcome) -> str:
    """Returns an outcome as one sealed JSON document; see :func:`seal`."""
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
    known = document.keys() <= _FIELDS.keys() and document.keys() >= _NEEDED
    if not known or document["kind"] not in get_args(OutcomeKind):
        raise ValueError("its outcome lacks fields or has unknown ones")
    try:
        for name, value in document.items():
            if _FIELDS[name].type == "float":
                document[name] = number(value)
        metrics, marks = document.pop("metrics", {}), document.pop("marks", ())
        found = Outcome(
            **document,
            metrics={name: number(value) for name, value in metrics.items()},
            marks=marks_of(marks),
        )
    except (LookupError, TypeError, AttributeError) as fault:
        raise ValueError(f"its outcome holds values of another kind ({fault})") from fault
    for name, each in _FIELDS.items():
        if not isinstance(getattr(found, name), _KINDS.get(str(each.type), object)):
            raise ValueError(f"its outcome holds a {name} of another kind")
    return found


_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "str | None": (str, type(None)),
    "Mapping[str, Any]": dict,
}
"""What a field of an outcome may hold, by its annotation."""


def mark_rows(marks: Iterable[Mark]) -> list[dict[str, Any]]:
    """Returns marks as rows for JSON."""
    return [dict(vars(mark)) for mark in marks]


def marks_of(rows: Iterable[dict[str, Any]]) -> tuple[Mark, ...]:
    """Returns the marks in rows that :func:`mark_rows` made.

    Raises:
        TypeError, KeyError, ValueError: the rows are none of that kind.
    """
    marks = tuple(Mark(**{**row, "value": number(row["value"])}) for row in rows)
    for mark in marks:
        if not (type(mark.step) is type(mark.tokens) is int and isinstance(mark.metric, str)):
            raise ValueError(f"the mark {mark} holds values of another kind")
    return marks
