"""Records as plain values for strict JSON: one encoder for all answers.

The columns of a record are named in one string, ``"scale low trials=answered"``: attributes, each
under its own name or under the key before the ``=``; a dot reaches into an attribute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np


def jsonable(value: Any) -> Any:
    """Returns a value as strict JSON can hold it: infinite and unknown numbers are None, records
    and mappings are dictionaries, sequences and arrays are lists."""
    if isinstance(value, np.generic | np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    if is_dataclass(value):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    return value


def columns_of(record: object, columns: str) -> dict[str, Any]:
    """Returns the named columns of a record with the values as they are."""
    return {key: read(record) for key, read in _readers(columns)}


def encoded(record: object, columns: str) -> dict[str, Any]:
    """Returns the named columns of a record as strict JSON can hold them."""
    return {key: jsonable(value) for key, value in columns_of(record, columns).items()}


@cache
def _readers(columns: str) -> list[tuple[str, attrgetter[Any]]]:
    pairs = (column.partition("=") for column in columns.split())
    return [(key, attrgetter(attribute or key)) for key, _, attribute in pairs]


def setting_value(value: Any) -> Any:
    """Returns a setting's value as a plain Python value; None for a missing one."""
    found = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(found, float) and math.isnan(found) else found
