"""Plain values for strict JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def number(value: float) -> float | None:
    """Returns a number that strict JSON can hold: None for infinite and unknown ones."""
    return float(value) if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """Returns a setting's value as a plain Python value; None for a missing one."""
    found = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(found, float) and math.isnan(found) else found
