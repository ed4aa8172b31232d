"""The evidence behind a group: which trials, how many seeds, what they differ in besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeper.answers.jsonable import encoded
from sweeper.outcome import ACCEPTED

CODE = ("commit", "sweeper", "torch", "workload_version")
"""Columns that name the code behind a result."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a group rests on.

    Attributes:
        trials: trials with a result.
        declared: trials declared.
        diverged: those of the results that diverged.
        points: settings with a result, seeds not counted.
        seeds: smallest and largest number of seeds at a point with a result; None without one.
        versions: what code the results come from, for example ``torch 2.9``.
        devices: what they were computed on.
        warnings: a sentence for each thing that the compared results should share and do not.
        keys: keys of the trials with a result, sorted.
    """

    trials: int
    declared: int
    diverged: int
    points: int
    seeds: tuple[int, int] | None
    versions: tuple[str, ...]
    devices: tuple[str, ...]
    warnings: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def coverage(self) -> float:
        """Share of the declared trials that have a result; 1 if none is declared."""
        return self.trials / self.declared if self.declared else 1.0

    def to_json(self, *, keys: bool = False) -> dict[str, Any]:
        """Returns plain values under stable keys, the trials' own keys only if asked for."""
        columns = "trials declared diverged points seeds coverage versions devices warnings"
        return encoded(self, f"{columns} keys" if keys else columns)


def evidence_of(frame: pd.DataFrame, point: Sequence[str]) -> Evidence:
    """Returns the evidence of one group; a row that stands there twice counts once.

    Args:
        frame: trials of the group with ``seed``, ``outcome``, ``loss`` and, where the store
            knows them, ``key``, ``device`` and the columns of :data:`CODE`.
        point: columns that make a point: the scale and the hyperparameters.
    """
    kept = _one_row_a_cell(frame, point)
    done = frame["outcome"].isin(ACCEPTED).tolist()
    results = {cell: row for cell, row in kept.items() if done[row]}
    counts = Counter(cell[:-1] for cell in results)
    rows = list(results.values())
    sources = {name: _said(frame, name, rows) for name in (*CODE, "device")}
    return Evidence(
        trials=len(results),
        declared=len(kept),
        diverged=_said(frame, "outcome", rows)["diverged"],
        points=len(counts),
        seeds=(min(counts.values()), max(counts.values())) if counts else None,
        versions=tuple(f"{_words(name)} {v}" for name in CODE for v in sorted(sources[name])),
        devices=tuple(sorted(sources["device"])),
        warnings=tuple(_warnings(sources)),
        keys=tuple(sorted(_said(frame, "key", rows))),
    )


def _one_row_a_cell(frame: pd.DataFrame, point: Sequence[str]) -> dict[tuple[Any, ...], int]:
    """Returns the number of the row of every cell, a point with its seed; a result stands
    before the holes of its cell.

    Plain loops: a study may have a thousand small groups, on which pandas takes far longer.
    """
    done = frame["outcome"].isin(ACCEPTED).tolist()
    kept: dict[tuple[Any, ...], int] = {}
    columns = [frame[name].tolist() for name in (*point, "seed")]
    for row, cell in enumerate(zip(*columns, strict=True)):
        if cell not in kept or (done[row] and not done[kept[cell]]):
            kept[cell] = row
    return kept


def _words(column: str) -> str:
    return column.replace("_", " ")


def _said(frame: pd.DataFrame, column: str, rows: Sequence[int]) -> Counter[str]:
    """Returns how often some rows say what in a column, as text, where they say anything."""
    said: Counter[str] = Counter()
    if column in frame.columns:
        values = frame[column].tolist()
        for value, count in Counter(map(values.__getitem__, rows)).items():
            # NaN is the one value that differs from itself.
            if value is not None and value == value and value != "":
                said[str(value)] += count
    return said


def _warnings(sources: dict[str, Counter[str]]) -> list[str]:
    found = [
        f"results of different code are compared: {_words(name)} {_counted(sources[name])}"
        for name in CODE
        if len(sources[name]) > 1
    ]
    if len(sources["device"]) > 1:
        found.append(
            "results of different devices are compared, which round differently: "
            f"{_counted(sources['device'])}"
        )
    return found


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
