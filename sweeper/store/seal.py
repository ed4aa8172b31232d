"""JSON documents that carry the digest of their own content, so that damage is noticed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

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
    except ValueError as fault:
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
