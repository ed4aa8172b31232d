"""Cost of a run: FLOPs as a power of the scale, read off the trials of a study."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweeper.analysis.optimum import require_columns
from sweeper.errors import AnalysisRefusal


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """FLOPs of one run = flops (scale / at)^exponent.

    Attributes:
        at: a scale, the geometric mean of those it was read from.
        flops: FLOPs of one run there.
        exponent: r.
    """

    at: float
    flops: float
    exponent: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise AnalysisRefusal(f"cost of a run: {name} = {value}; a positive number is due")

    def of(self, scale: float) -> float:
        """Returns the FLOPs of one run at a scale."""
        return float(self.flops * (scale / self.at) ** self.exponent)

    def scale_for(self, flops: float) -> float:
        """Returns the scale at which one run takes so many FLOPs."""
        return float(self.at * (flops / self.flops) ** (1 / self.exponent))


def run_cost(frame: pd.DataFrame, scale: str) -> RunCost | None:
    """Returns the cost of runs, by least squares of log FLOPs on log scale.

    Args:
        frame: trials with the columns ``flops`` (of the whole run) and the scale; the median of
            each scale counts, so that other settings matter little.
        scale: column of the scale.

    Returns:
        None where fewer than two scales know their FLOPs, or they do not grow with the scale.

    Raises:
        AnalysisRefusal: a column is missing.
    """
    require_columns(frame, [scale, "flops"])
    table = frame[[scale, "flops"]].apply(pd.to_numeric, errors="coerce")
    known = table[(table["flops"] > 0) & (table[scale] > 0) & np.isfinite(table["flops"])]
    medians = known.groupby(scale, sort=True)["flops"].median()
    if len(medians) < 2:
        return None
    u = np.log(medians.index.to_numpy(dtype=np.float64))
    slope, level = np.polyfit(u - u.mean(), np.log(medians.to_numpy(dtype=np.float64)), 1)
    if slope <= 0:
        return None
    return RunCost(at=float(np.exp(u.mean())), flops=float(np.exp(level)), exponent=float(slope))
