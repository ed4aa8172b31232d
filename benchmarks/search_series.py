"""The series of learning rate against width that the benchmark of searches replays: published ones
(tests/fixtures/published), and those of our own width studies (docs/results)."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

TABLES = Path(__file__).resolve().parents[1] / "tests/fixtures/published"
RESULTS = Path(__file__).resolve().parents[1] / "docs/results"

READING = 0.0005
"""Nats: how exactly losses were read off a figure; the noise where the source states none."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One published series: loss against learning rate at several widths.

    Attributes:
        name: the variant, as its source has it.
        noise: standard deviation of a loss, nats.
        losses: by width and rate; infinite where the source has no loss: curves are cut where
            they leave the figure.
    """

    name: str
    noise: float
    losses: Mapping[tuple[int, float], float]

    @property
    def widths(self) -> list[int]:
        """All widths, ascending."""
        return sorted({width for width, _ in self.losses})


def series_in(folder: Path) -> Iterator[Series]:
    """Yields the series of the two tables with learning rates.

    Raises:
        FileNotFoundError: the folder lacks one.
    """
    rows = _rows(folder / "openwebtext_width.csv")
    for name, part in _by(rows, "optimizer", "parametrization"):
        yield _series(name, part, READING)
    rows = [row for row in _rows(folder / "llama_wikitext103_width.csv") if row["curve"] == "ema"]
    for name, part in _by(rows, "setting"):
        stated = [bar for row in part if (bar := float(row["error_bar"])) > 0]
        yield _series(name, part, float(np.median(stated)) if stated else READING)


def own_series(folder: Path = RESULTS) -> Iterator[Series]:
    """Yields the series of our own width studies: means of seeds, and the noise of a single run
    that the analysis found in them.

    Raises:
        FileNotFoundError: the folder lacks one.
    """
    for study, name in (("adamw_width", "our AdamW"), ("muon_width", "our Muon")):
        optima = _rows(folder / f"{study}-optima-learning_rate.csv")
        columns = {"scale": "width", "value": "learning_rate", "loss": "loss", "group": "group"}
        rows = [
            {columns[key]: value for key, value in row.items() if key in columns}
            for row in _rows(folder / f"{study}-means-learning_rate.csv")
        ]
        for group, part in _by(rows, "group"):
            noise = [float(row["noise"]) for row in optima if row["group"] == group]
            yield _series(f"{name}/{group}", part, float(np.median(noise)))


def known_series(folder: Path) -> list[Series]:
    """Returns the published series of a folder, and our own."""
    return list(chain(series_in(folder), own_series()))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _by(
    rows: Sequence[dict[str, str]], *columns: str
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    names = dict.fromkeys("/".join(row[column] for column in columns) for row in rows)
    for name in names:
        yield name, [row for row in rows if "/".join(row[c] for c in columns) == name]


def _series(name: str, rows: Sequence[dict[str, str]], noise: float) -> Series:
    known = {
        (round(float(row["width"])), float(row["learning_rate"])): float(row["loss"])
        for row in rows
    }
    widths, rates = ({key[i] for key in known} for i in range(2))
    widths = sorted({width for width, _ in known})
    rates = sorted({rate for _, rate in known})
    losses = {(w, r): known.get((w, r), math.inf) for w in widths for r in rates}
    return Series(name=name, noise=noise, losses=losses)


def write_table(series: Series, folder: Path) -> None:
    """Writes the table that a series is replayed from."""
    lines = [
        f"{width},{rate},{loss if math.isfinite(loss) else 'diverged'}"
        for (width, rate), loss in series.losses.items()
    ]
    text = "\n".join(["width,learning_rate,loss", *lines])
    table_of(series, folder).write_text(text, encoding="utf-8")


def table_of(series: Series, folder: Path) -> Path:
    """Returns where the table of a series is in a folder."""
    return folder / f"{series.name.replace('/', '-')}.csv"
