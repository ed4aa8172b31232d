"""Intervals from resamples, stretched by what other estimators say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.analysis.points import Floats

TAIL = 0.025
"""Probability left outside a 95% interval on each side."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another estimator's answer to the same question.

    Attributes:
        value: its estimate.
        scatter: standard deviation of its difference to the main estimator under the noise.
    """

    value: float
    scatter: float


def quantile_interval(low: Floats, high: Floats) -> tuple[float, float]:
    """Returns the 95% interval of set-valued resamples; ends may be infinite.

    Args:
        low, high: ends of the set that each resample allows, shape [R].
    """
    return (
        float(np.quantile(low, TAIL, method="lower")),
        float(np.quantile(high, 1 - TAIL, method="higher")),
    )


def robust_sd(values: Floats) -> float:
    """Returns half the width of the central 68% of values: a standard deviation that a few
    resamples far out do not move."""
    low, high = np.quantile(values, [0.15866, 0.84134])
    return float(high - low) / 2


def stretch(value: float, low: float, high: float, rivals: Sequence[Rival]) -> tuple[float, float]:
    """Returns an interval stretched by rivals.

    It is made to hold every rival's estimate. Beyond that, a rival moves the nearer end by its
    distance to the estimate less one standard deviation of what noise alone would put between
    the two: pure noise hardly ever stretches, a wrong shape of the fitted curve always does.
    """
    down = up = 0.0
    for rival in rivals:
        beyond = max(0.0, abs(rival.value - value) - rival.scatter)
        down, up = (max(down, beyond), up) if rival.value < value else (down, max(up, beyond))
    values = [rival.value for rival in rivals]
    return min([low - down, *values]), max([high + up, *values])
