"""What a cell of somebody's table means: a number, a word, a measurement, a state."""

from __future__ import annotations

import hashlib
import math
import re
from decimal import Decimal
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

Plain = str | int | float | bool | None
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = 2.0**53
_LONGEST = 400
"""Characters of a cell that are read as a number; more hold none."""

_EMPTY = frozenset({"", "null", "none", "na", "n/a"})
"""How a missing measurement is written; anything else is a number or a mistake."""

STATES: dict[str, tuple[str, ...]] = {
    "completed": (
        *("completed", "complete", "finished", "done", "success", "succeeded", "ok"),
        "terminated",
    ),
    "diverged": ("diverged", "nan", "inf"),
    "failed": (
        *("failed", "fail", "failure", "crashed", "error", "errored", "killed", "preempted"),
        *("stopped", "pruned", "dominated", "cancelled", "canceled", "aborted", "interrupted"),
        *("timeout", "timedout", "oom", "outofmemory"),
    ),
    "missing": (
        *("missing", "running", "pending", "queued", "scheduled", "waiting", "paused"),
        *("preempting", "restoring", "created", "submitted"),
    ),
}
"""Words for how a run ended, by what they mean here: those of Ray, where a run that ended is
terminated, Optuna, MLflow, W&B and schedulers."""

STATE_WORDS = "; ".join(f"{meaning}: {', '.join(words)}" for meaning, words in STATES.items())
"""All of them, for a message."""

_MEANING = {word: meaning for meaning, words in STATES.items() for word in words}


def as_cell(value: Any) -> Plain:
    """Returns the one form of a cell, whatever file it stood in: ``1e-3``, ``"0.001"`` and 0.001
    are one number, 32.0 is 32, ``True`` and ``true`` are one word; an empty cell is None."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, str):
        value = _of_text(value.strip())
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() and abs(value) < _WHOLE else value
    return value if value is None or isinstance(value, str | int) else str(value)


def _of_text(text: str) -> Plain:
    if text in ("true", "True", "false", "False"):
        return text in ("true", "True")
    if not _NUMBER.fullmatch(text):
        return text or None
    number = float(text)
    if not math.isfinite(number):
        return text  # digits that are a name, for example 123e4567
    return int(text) if text.isdecimal() else number


def is_number(value: Plain) -> TypeGuard[int | float]:
    """Returns whether a cell of :func:`as_cell` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def word(value: Plain) -> str:
    """Returns a cell as a part of a variant's name."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def state(value: Plain) -> str | None:
    """Returns completed, diverged, failed or missing for a word on how a run ended, which may be
    that of an enumeration, as in ``TrialState.COMPLETE``; None if the word is not known."""
    if value is None:
        return "missing"
    return _MEANING.get(str(value).strip().rpartition(".")[2].lower().replace("_", ""))


def seed_of(text: str) -> int:
    """Returns a seed for the text by which somebody tells replicates apart, always the same."""
    return int(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) // 2


def coded(array: Any) -> tuple[Codes, list[Plain]]:
    """Returns a column as numbers into the list of its distinct cells, each in plain form.

    Args:
        array: pyarrow array [rows].

    Returns:
        Codes [rows], and the cells in the order of their first row.
    """
    import pyarrow

    if pyarrow.types.is_nested(array.type):
        array = pyarrow.array([None if x is None else str(x) for x in array.to_pylist()], "string")
    repeated = pyarrow.types.is_dictionary(array.type)
    encoded = (array.indices if repeated else array).dictionary_encode(null_encoding="encode")
    raw = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    items = encoded.dictionary.to_pylist()
    if repeated:  # each of its words once, however often it stands there
        items = [None if item is None else array.dictionary[item].as_py() for item in items]
    distinct: dict[tuple[type, Plain], int] = {}
    places = []
    for item in items:
        value = as_cell(item)
        places.append(distinct.setdefault((type(value), value), len(distinct)))
    return np.array(places, dtype=np.int64)[raw], [value for _, value in distinct]


def measured(array: Any) -> tuple[Floats, NDArray[np.bool_], int | None]:
    """Returns a column of measurements as numbers.

    Args:
        array: pyarrow array [rows].

    Returns:
        Values [rows], NaN and infinities as they stand there; which cells are empty [rows]; and
        the place of the first cell that is neither, None if there is none.
    """
    import pyarrow
    from pyarrow import compute

    if pyarrow.types.is_dictionary(array.type):
        words = array.dictionary
        if pyarrow.types.is_string(words.type):
            words = compute.utf8_slice_codeunits(words, 0, _LONGEST)
        array = pyarrow.DictionaryArray.from_arrays(array.indices, words).dictionary_decode()
    if pyarrow.types.is_string(array.type) or pyarrow.types.is_large_string(array.type):
        return _of_strings(compute.utf8_trim_whitespace(array))
    empty = array.is_null().to_numpy(zero_copy_only=False)
    kinds = (pyarrow.types.is_integer, pyarrow.types.is_floating, pyarrow.types.is_decimal)
    if any(kind(array.type) for kind in kinds):
        return compute.cast(array, "float64").to_numpy(zero_copy_only=False), empty, None
    wrong = None if empty.all() else int(np.argmin(empty))
    return np.full(len(array), np.nan), empty, wrong


def _of_strings(array: Any) -> tuple[Floats, NDArray[np.bool_], int | None]:
    import pyarrow
    from pyarrow import compute

    words = pyarrow.array(sorted(_EMPTY), array.type)
    absent = compute.is_in(compute.utf8_lower(array), value_set=words)
    empty = compute.or_(absent, array.is_null()).to_numpy(zero_copy_only=False)
    try:
        numbers = compute.cast(compute.if_else(pyarrow.array(~empty), array, None), "float64")
        return numbers.to_numpy(zero_copy_only=False), empty, None
    except pyarrow.ArrowInvalid:  # one cell at least is no number; find the first, one by one
        values = np.full(len(array), np.nan)
        for place in map(int, np.flatnonzero(~empty)):
            try:
                values[place] = float(array[place].as_py().replace("_", "?"))
            except ValueError:
                return values, empty, place
        return values, empty, None
