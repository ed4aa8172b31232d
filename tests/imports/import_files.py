"""Tables as other people write them, and an import of one."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from sweeper.imports.importing import Imported, import_results
from sweeper.imports.request import ImportRequest
from sweeper.store.store import Store

Row = Mapping[str, Any]


def sweep_rows(seeds: Sequence[int] = (0, 1)) -> list[dict[str, Any]]:
    """Returns a small clean sweep: the best rate is 2^-4 at every width, adam above muon."""
    return [
        {
            "optimizer": optimizer,
            "width": width,
            "lr": 2.0**exponent,
            "seed": seed,
            "loss": 3.0 + 0.1 * (exponent + 4) ** 2 - 0.01 * width**0.5 + 0.001 * seed + offset,
        }
        for optimizer, offset in (("adam", 0.0), ("muon", -0.1))
        for width in (64, 128)
        for exponent in (-6, -5, -4, -3, -2)
        for seed in seeds
    ]


def grid_rows() -> Iterator[dict[str, Any]]:
    """Yields about 2,000 rows of a long table: learning rate and batch size over two scales.

    The optima follow lr = 1.79 N^-0.713 D^0.307 and bs = 0.58 D^0.571.
    """
    for n in (6e7, 1.2e8, 2.7e8, 5.4e8):
        for d in (2e9, 4e9, 8e9, 1.6e10):
            best_lr = math.log2(1.79 * n**-0.713 * d**0.307)
            best_bs = math.log2(0.58 * d**0.571)
            for i in range(11):
                for j in range(11):
                    log_lr, log_bs = -14.0 + i, 15.0 + 0.5 * j
                    away = 0.02 * (log_lr - best_lr) ** 2 + 0.03 * (log_bs - best_bs) ** 2
                    loss = 1.7 + 400 / n**0.34 + 410 / d**0.28 + away
                    yield {"N": int(n), "D": int(d), "lr": 2.0**log_lr, "bs": 2.0**log_bs} | {
                        "loss": loss
                    }


def write_csv(path: Path, rows: Sequence[Row], *, delimiter: str = ",") -> Path:
    """Writes rows as other programs do, their cells as Python prints them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[Row]) -> Path:
    """Writes rows with their own types."""
    parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path


def write_json_lines(path: Path, rows: Sequence[Row]) -> Path:
    """Writes rows as one object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def take(store: Store, file: Path, **parts: Any) -> Imported:
    """Imports a file whose columns are named as in :func:`sweep_rows` unless told otherwise."""
    usual: dict[str, Any] = {
        "study": "theirs",
        "scales": ("width",),
        "hyperparameters": ("lr",),
        "objective": "loss",
        "variant": ("optimizer",),
        "seed": "seed",
    }
    return import_results(store, ImportRequest(file=file, **(usual | parts)))
