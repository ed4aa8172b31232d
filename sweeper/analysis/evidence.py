"""The evidence behind a group: which trials, how many seeds, what they differ in besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

RESULTS = ("completed", "diverged")

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
        document = {
            "trials": self.trials,
            "declared": self.declared,
            "diverged": self.diverged,
            "points": self.points,
            "seeds": self.seeds and list(self.seeds),
            "coverage": self.coverage,
            "versions": list(self.versions),
            "devices": list(self.devices),
            "warnings": list(self.warnings),
        }
        return document | {"keys": list(self.keys)} if keys else document


def gather(frame: pd.DataFrame, point: Sequence[str]) -> Evidence:
    """Returns the evidence of one group; a row that stands there twice counts once.

    Args:
        frame: trials of the group with ``seed``, ``outcome``, ``loss`` and, where the store
            knows them, ``key``, ``device`` and the columns of :data:`CODE`.
        point: columns that make a point: the scale and the hyperparameters.
    """
    cell = [*point, "seed"]
    # A result stands before the holes of its cell.
    first = frame.assign(_hole=~frame["outcome"].isin(RESULTS)).sort_values("_hole", kind="stable")
    cells = first.drop_duplicates(cell)
    results = cells[~cells["_hole"]]
    counts = results.groupby(list(point), dropna=False).size()
    sources = {name: _values(results, name) for name in (*CODE, "device")}
    return Evidence(
        trials=len(results),
        declared=len(cells),
        diverged=int((results["outcome"] == "diverged").sum()),
        points=len(counts),
        seeds=(int(counts.min()), int(counts.max())) if len(counts) else None,
        versions=tuple(f"{_words(name)} {v}" for name in CODE for v in sources[name]),
        devices=sources["device"],
        warnings=tuple(_warnings(results, sources)),
        keys=tuple(sorted(set(results["key"]))) if "key" in results.columns else (),
    )


def _words(column: str) -> str:
    return column.replace("_", " ")


def _values(results: pd.DataFrame, column: str) -> tuple[str, ...]:
    if column not in results.columns:
        return ()
    return tuple(sorted({str(value) for value in results[column].dropna().unique()}))


def _warnings(results: pd.DataFrame, sources: dict[str, tuple[str, ...]]) -> list[str]:
    found = [
        f"results of different code are compared: {_words(name)} {_counted(results, name)}"
        for name in CODE
        if len(sources[name]) > 1
    ]
    if len(sources["device"]) > 1:
        found.append(
            "results of different devices are compared, which round differently: "
            f"{_counted(results, 'device')}"
        )
    return found


def _counted(results: pd.DataFrame, column: str) -> str:
    counts = results[column].dropna().astype(str).value_counts().sort_index()
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
