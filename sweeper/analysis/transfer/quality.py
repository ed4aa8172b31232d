"""How well a hyperparameter transfers, in three numbers: E, kappa and R_inf.

The names are those of arXiv 2605.21486, which asks how well a scaling law fits the optima, how
robust transfer is to errors of extrapolation, and what loss a parametrization costs in the limit.
Its abstract gives no formula; here each is the plainest number that answers the question.

In every array of rows the first row is what was measured and the others are its resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.analysis.compute import Law
from sweeper.analysis.optimum import Floats, Optimum, interval_round


@dataclass(frozen=True, kw_only=True)
class MeasuredNumber:
    """A number with its 95% interval, infinite where it is open."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class TransferQuality:
    """E and kappa of one group.

    Attributes:
        fit_error: E, the root mean square distance of the optima from the power law through them,
            in octaves, over n - 2 degrees of freedom; None with fewer than three optima.
        by_noise: the E that the noise of the losses alone makes on average; None as E, and
            without resamples.
        kappa: the curvature at the optimum goes as scale^kappa: above 0, one and the same error
            in octaves costs the more loss the larger the model; None where a curvature is unknown.
    """

    fit_error: float | None
    by_noise: float | None
    kappa: MeasuredNumber | None


def transfer_quality(optima: Sequence[Optimum], *, name: str) -> TransferQuality:
    """Returns E and kappa of located optima as one estimator reads them.

    Args:
        optima: two or more, smallest scale first.
        name: the estimator, one that the optima were read with.
    """
    log2_scales = np.log2([optimum.scale for optimum in optima])
    measured = [optimum.measured[name] for optimum in optima]
    drawn = [optimum.draws[name] for optimum in optima]
    error, by_noise = None, None
    if len(optima) > 2:
        error = float(_off_line(log2_scales, np.array([[each.log2[0] for each in measured]]))[0])
        moves = np.stack([each.log2 - np.mean(each.log2) for each in drawn], axis=1)
        if len(moves) > 1:
            by_noise = float(np.sqrt(np.mean(_off_line(log2_scales, moves) ** 2)))
    curvatures = np.stack(
        [
            np.append(one.curvature, all_.curvature)
            for one, all_ in zip(measured, drawn, strict=True)
        ],
        axis=1,
    )
    return TransferQuality(
        fit_error=error, by_noise=by_noise, kappa=_kappa(log2_scales, curvatures)
    )


def _off_line(x: Floats, rows: Floats) -> Floats:
    """Returns the root mean square distance of each row [n] from its own least-squares line."""
    design = np.stack([np.ones_like(x), x], axis=1)
    residuals = rows.T - design @ np.linalg.lstsq(design, rows.T, rcond=None)[0]
    found: Floats = np.sqrt(np.sum(residuals**2, axis=0) / (len(x) - 2))
    return found


def _kappa(x: Floats, curvatures: Floats) -> MeasuredNumber | None:
    """Returns the slope of log2 curvature, shape [rows, n], by log2 scale."""
    if not np.all(curvatures[0] > 0):
        return None
    logs = np.log2(np.where(curvatures > 0, curvatures, np.nan))
    away = x - np.mean(x)
    slopes = logs @ away / np.sum(away**2)
    value = float(slopes[0])
    if len(slopes) == 1:
        return MeasuredNumber(value=value, low=-math.inf, high=math.inf)
    low, high = interval_round(value, slopes[1:])
    return MeasuredNumber(value=value, low=low, high=high)


def asymptotic_penalties(laws: Sequence[Law | None]) -> list[MeasuredNumber | None]:
    """Returns R_inf of each of several variants: the asymptote of its tuned loss less the lowest
    asymptote of all, with the error of both; None for that lowest one, where a variant has no
    law or does not fall, and where there is nothing to compare it to.

    Args:
        laws: of the tuned losses of variants that differ in nothing else.
    """
    laws = [None if law is None or "no_fall" in law.flags else law for law in laws]
    known = [law for law in laws if law is not None]
    lowest = min(known, key=lambda law: law.asymptote, default=None)
    return [
        None if law is None or lowest is None or law is lowest else _above(law, lowest)
        for law in laws
    ]


def _above(law: Law, lowest: Law) -> MeasuredNumber:
    value = law.asymptote - lowest.asymptote
    down = math.hypot(law.asymptote - law.low, lowest.high - lowest.asymptote)
    up = math.hypot(law.high - law.asymptote, lowest.asymptote - lowest.low)
    return MeasuredNumber(value=value, low=value - down, high=value + up)
