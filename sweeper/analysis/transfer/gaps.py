"""The gaps of the fast-transfer theory: loss, hyperparameter, and suboptimality of transfer.

arXiv 2512.22768, definition 2, with log2 of the hyperparameter as coordinate: a is what the loss
of the best setting lacks to the reference's, b how far the best settings lie apart in octaves,
c what the scale's best setting costs at the reference. The reference is the largest scale, a
proxy of the limit, or the limit extrapolated from all scales.

In every array of rows the first row is what was measured and the others are its resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweeper.analysis.optimum import Floats, interval_round, robust_sd
from sweeper.analysis.transfer.rate import RateFit, fit_rate
from sweeper.analysis.transfer.reference import Family, Reference
from sweeper.analysis.transfer.regret import FLOOR_SIGMAS

GAPS = ("a", "b", "c")

LEAST_SCALES = 2
"""Gaps above the noise that a rate needs at the least."""

LEAST_USABLE = 0.975
"""Share of the resamples in which every gap must be open for them to tell a rate."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One gap at one scale.

    Attributes:
        value: the gap; 0 where it is below the noise floor, NaN where it was not measured,
            infinite beyond a divergence.
        measured: what was measured, the noise included.
        low, high: 95% interval of what was measured.
        floor: the noise floor.
    """

    value: float
    measured: float
    low: float
    high: float
    floor: float


@dataclass(frozen=True, kw_only=True)
class ScaleGaps:
    """The gaps of one scale.

    Attributes:
        scale: the scale.
        a: loss gap, in the unit of the loss.
        b: hyperparameter gap, in octaves.
        c: suboptimality of transfer, in the unit of the loss.
        expected: what c would be on a parabola, curvature b^2 / 2.
        ratio: c / a, which goes to 0 in fast transfer; 0 where c is below its floor, NaN where
            a is.
    """

    scale: float
    a: Gap
    b: Gap
    c: Gap
    expected: float
    ratio: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaps:
    """All gaps of a family, and how fast they close.

    Attributes:
        rows: one a scale, smallest first; without the reference's own scale.
        rates: rate by the name of the gap; a gap that cannot have one is missing.
        kept: scales above the noise floor by the name of the gap.
    """

    rows: tuple[ScaleGaps, ...]
    rates: dict[str, RateFit]
    kept: dict[str, tuple[float, ...]]


def measure_gaps(family: Family, reference: Reference) -> Gaps:
    """Returns the gaps of a family to a reference, and their rates.

    A gap below its noise floor is 0, and no rate is fitted through it: c below the standard
    error s of the reference's losses, b below sqrt(2 s / curvature), where c is s, and a below
    the standard error of a difference of two losses. Where an estimator reads optima off noisy
    points with a wider scatter than that, the scatter is the floor of b, and of c with it.
    """
    below = family.scales < reference.scale
    scales = family.scales[below]
    away = family.log2[:, below] - reference.log2[:, None]
    measured = {
        "a": family.losses[:, below] - reference.loss[:, None],
        "b": away,
        "c": _clipped(reference.rise(away)),
    }
    far = np.maximum(math.sqrt(2 * reference.error / reference.curvature), _scatter(away))
    floors = {
        "a": np.hypot(family.errors[below], reference.error),
        "b": far,
        "c": reference.curvature / 2 * far**2,
    }
    columns = {name: _gaps(name, measured[name], floors[name]) for name in GAPS}
    rates, kept = {}, {}
    for name in GAPS:
        above = np.array([0 < gap.value < np.inf for gap in columns[name]], dtype=bool)
        kept[name] = tuple(scales[above].tolist())
        fit = _rate(name, scales[above], np.abs(measured[name][:, above]), reference)
        if fit is not None:
            rates[name] = fit
    rows = tuple(
        ScaleGaps(
            scale=scale,
            a=a,
            b=b,
            c=c,
            expected=reference.curvature * b.measured**2 / 2,
            ratio=c.value / a.value if a.value > 0 else math.nan,
        )
        for scale, a, b, c in zip(scales.tolist(), *columns.values(), strict=True)
    )
    return Gaps(rows=rows, rates=rates, kept=kept)


def _rate(name: str, scales: Floats, gaps: Floats, reference: Reference) -> RateFit | None:
    """Returns the rate of a gap from the scales where it is above the noise."""
    if len(scales) < LEAST_SCALES:
        return None
    extrapolated = {"a": reference.loss_rate, "b": reference.log2_rate}.get(name)
    if extrapolated is not None:
        return extrapolated
    # A resample in which a gap closes, or leaves the measured range, says no rate.
    usable = np.all(np.isfinite(gaps) & (gaps > 0), axis=1)
    if np.mean(usable) < LEAST_USABLE:
        return None
    drawn = gaps[usable]
    sd = np.std(drawn[1:], axis=0) if len(drawn) > 2 else np.zeros(len(scales))
    power = 2.0 if name == "c" else 1.0
    fit = fit_rate(scales, drawn, sd, proxy=reference.scale, power=power)
    draws = np.full(len(gaps) - 1, fit.value)
    draws[usable[1:]] = fit.draws
    return RateFit(value=fit.value, draws=draws, extra=fit.extra)


def _scatter(away: Floats) -> Floats:
    """Returns 1.96 standard deviations of the resampled distances, shape [n]; 0 without any."""
    if len(away) < 3:
        return np.zeros(away.shape[1])
    return np.array([FLOOR_SIGMAS * robust_sd(column) for column in away[1:].T])


def _clipped(rise: Floats) -> Floats:
    """Returns losses above a minimum: never below 0, NaN where unknown."""
    return np.where(np.isnan(rise), np.nan, np.maximum(rise, 0.0))


def _gaps(name: str, rows: Floats, floors: Floats) -> list[Gap]:
    """Returns one gap a column of rows; rows of b carry the side that the optimum lies on."""
    found = []
    for column, floor in zip(rows.T, floors.tolist(), strict=True):
        measured, (low, high) = float(column[0]), _ends(column)
        if name == "b":
            far, near = max(abs(low), abs(high)), min(abs(low), abs(high))
            measured, low, high = abs(measured), 0.0 if low <= 0 <= high else near, far
        elif name == "c":
            low = max(low, 0.0)
        value = 0.0 if abs(measured) <= floor else measured
        found.append(Gap(value=value, measured=measured, low=low, high=high, floor=floor))
    return found


def _ends(column: Floats) -> tuple[float, float]:
    """Returns the 95% interval of a measured number from its resamples; what a resample reads
    beyond the measured range is unknown and opens it."""
    measured, drawn = float(column[0]), column[1:]
    if not len(drawn):
        return measured, measured
    return interval_round(measured, drawn)
