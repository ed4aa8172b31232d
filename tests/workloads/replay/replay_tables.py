"""A small recorded table, and studies that replay it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.study.study import Study

RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

HEADING = "optimizer,width,learning_rate,loss,cost\n"


def bowl(width: float, rate_log2: float) -> float:
    """The loss of the table: the best rate is 1 at width 64 and halves with every doubling."""
    import math

    return 2.0 + 0.1 * (rate_log2 + math.log2(width / 64)) ** 2


def write_table(folder: Path, *, diverged: float = 8.0, more: str = "") -> Path:
    """Writes losses of two widths; rates from ``diverged`` on have none."""
    import math

    lines = [
        f"adam,{width},{rate},{'' if rate >= diverged else bowl(width, math.log2(rate))},"
        f"{width * 3.0}\n"
        for width in (64, 256)
        for rate in RATES
    ]
    path = folder / "table.csv"
    path.write_text(HEADING + "".join(lines) + more, encoding="utf-8")
    return path


def replayed(
    table: Path,
    *,
    fixed: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Study:
    """Returns a study that replays a table."""
    return Study.from_document(
        {
            "name": "replayed",
            "workload": "replay",
            "scale": "width",
            "fixed": {"table": str(table)} | dict(fixed or {}),
            "sweep": {"width": [64, 256], "learning_rate": [0.5, 1.0]} | dict(sweep or {}),
            **sections,
        }
    )
