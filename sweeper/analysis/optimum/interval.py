"""Intervals from resamples, stretched by what other estimators say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.analysis.optimum.curve import Floats

TAIL = 0.025
"""Probability left outside a 95% interval on each side."""

DISAGREE_SIGMAS = 2.0
"""Standard deviations of their difference at which two estimators disagree beyond noise."""

ROUNDING = 1e-6
"""Share of its half width by which a rival differs from an estimate that it agrees with."""


@dataclass(frozen=True, kw_only=True)
class RivalEstimate:
    """Another estimator's answer to the same question.

    Attributes:
        value: its estimate.
        half: half width of its own 95% interval under the noise.
        scatter: standard deviation of its difference to the main estimator under the noise.
    """

    value: float
    half: float
    scatter: float


def quantile_interval(low: Floats, high: Floats) -> tuple[float, float]:
    """Returns the 95% interval of set-valued resamples; ends may be infinite.

    Args:
        low, high: ends of the set that each resample allows, shape [R].
    """
    first, last = math.floor(TAIL * (len(low) - 1)), math.ceil((1 - TAIL) * (len(high) - 1))
    return float(np.partition(low, first)[first]), float(np.partition(high, last)[last])


def interval_round(value: float, draws: Floats) -> tuple[float, float]:
    """Returns the 95% interval of resampled numbers, with the measured one in it.

    Args:
        value: the measured number.
        draws: the number in every resample, shape [R]; one that is NaN could be anything.
    """
    unknown = np.isnan(draws)
    low, high = quantile_interval(
        np.where(unknown, -np.inf, draws), np.where(unknown, np.inf, draws)
    )
    return min(low, value), max(high, value)


def rival_of(measured: float, draws: Floats, main: Floats) -> RivalEstimate:
    """Returns a rival from its estimate, its resamples, the first of them or all, and the main
    estimator's, shape [R]."""
    low, high = quantile_interval(draws, draws)
    scatter = robust_sd(draws - main[: len(draws)])
    return RivalEstimate(value=measured, half=(high - low) / 2, scatter=scatter)


def robust_sd(values: Floats) -> float:
    """Returns half the width of the central 68% of values: a standard deviation that a few
    resamples far out do not move."""
    places = np.array([0.15866, 0.84134]) * (len(values) - 1)
    below, above = np.floor(places).astype(int), np.ceil(places).astype(int)
    ranked = np.partition(values, [*below, *above])  # np.quantile takes ten times as long
    low, high = ranked[below] + (places - below) * (ranked[above] - ranked[below])
    return float(high - low) / 2


def stretch(
    value: float, low: float, high: float, rivals: Sequence[RivalEstimate], *, contain_all: bool
) -> tuple[float, float]:
    """Returns an interval stretched to what rivals say.

    Each end comes to hold sqrt(difference^2 - scatter^2), what noise does not explain of a
    rival's difference to the estimate, and grows towards the rival's own interval by the share
    sqrt(1 - (2 scatter / difference)^2) of the way. So pure noise rarely stretches it, while a
    fitted curve of the wrong shape, on which estimators disagree beyond their noise, brings in
    the whole interval of the rival.

    Args:
        value, low, high: the main estimate and its interval.
        rivals: what others say.
        contain_all: whether the interval must hold every rival's estimate in any case: for noise
            that was itself read from a fit and cannot be told from a wrong shape.
    """
    bottom, top = low, high
    for rival in rivals:
        difference = abs(rival.value - value)
        if difference <= ROUNDING * rival.half:
            continue
        share = np.sqrt(max(0.0, 1 - (DISAGREE_SIGMAS * rival.scatter / difference) ** 2))
        for end in (rival.value - rival.half, rival.value + rival.half):
            bottom = min(bottom, low + share * (end - low)) if np.isfinite(low) else bottom
            top = max(top, high + share * (end - high)) if np.isfinite(high) else top
        beyond = difference if contain_all else _beyond_noise(value, rival)
        bottom = min(bottom, value - beyond) if rival.value < value else bottom
        top = max(top, value + beyond) if rival.value > value else top
    return float(bottom), float(top)


def reflect(
    value: float, low: float, high: float, rivals: Sequence[RivalEstimate], *, above: bool
) -> tuple[float, float]:
    """Returns an interval grown to one side by what rivals say on the other.

    For estimates of which it is known to which side they err: each rival there, which follows
    the curve less, shows by its difference beyond noise how far the estimate itself may be off.

    Args:
        value, low, high: the main estimate and its interval.
        rivals: what others say.
        above: whether the upper end grows, by rivals below the estimate; else the lower end, by
            rivals above it.
    """
    sign = 1.0 if above else -1.0
    opposite = [rival for rival in rivals if sign * (rival.value - value) < 0]
    more = max((_beyond_noise(value, rival) for rival in opposite), default=0.0)
    return (low, high + more) if above else (low - more, high)


def _beyond_noise(value: float, rival: RivalEstimate) -> float:
    """Returns what noise does not explain of a rival's difference to the estimate."""
    return float(np.sqrt(max(0.0, (rival.value - value) ** 2 - rival.scatter**2)))
