"""What optima that are only bounded need, told once for all that need the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sweeper.analysis.optimum import Estimate
from sweeper.words import listed, power_range, with_power

NEEDS = {
    "cliff": "next to a diverged point: refine the grid there",
    "censored_low": "the lower edge: extend the grid there",
    "censored_high": "the upper edge: extend the grid there",
    "conditional": "but the other hyperparameter is at an edge: extend its grid there",
}
"""What is wrong where the lowest loss lies, and what to do, by the flag of an optimum."""


def remedies(bounded: Iterable[tuple[str, Estimate]]) -> list[str]:
    """Returns a clause on each thing that optima which are only bounded need.

    Args:
        bounded: their places, such as ``width 128``, and what is known of them.
    """
    alike: dict[str | None, list[tuple[str, Estimate]]] = {}
    for place, estimate in bounded:
        flag = next((flag for flag in NEEDS if flag in estimate.flags), None)
        alike.setdefault(flag, []).append((place, estimate))
    said = []
    for flag, pairs in alike.items():
        where = f"at {_together([place for place, _ in pairs])}"
        if flag is None:
            said.append(f"{where} the losses have no clear minimum: add seeds there")
            continue
        found = dict.fromkeys(
            f"{with_power(2.0**one.log2)} ({_bounds(one.low, one.high)})" for _, one in pairs
        )
        said.append(f"{where} the lowest loss is at {', '.join(found)}, {NEEDS[flag]}")
    return said


def to_do(bounded: Sequence[tuple[str, Estimate]], *, few: bool) -> str:
    """Returns what is to be done where too few optima are located.

    Args:
        bounded: as of :func:`remedies`.
        few: whether there would be too few if all were located.
    """
    first = ["add values of the scale"] * (few or not bounded)
    first += ["extend or refine the grid, or add seeds"] * bool(bounded)
    return "; ".join((*first, *remedies(bounded)))


def _bounds(low: float, high: float) -> str:
    return "no bounds" if low == -high == -math.inf else f"bounds {power_range(low, high)}"


def _together(places: Sequence[str]) -> str:
    """Returns places as one: ``width 128, 256 and 512``."""
    name = places[0].rpartition(" ")[0]
    short = all(place.rpartition(" ")[0] == name for place in places) and "," not in name
    parts = [places[0], *(p.rpartition(" ")[2] if short else p for p in places[1:])]
    return listed(parts, ", " if short else "; ")
