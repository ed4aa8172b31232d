"""What gaps are measured from: the largest scale, or the limit extrapolated from all scales.

In every array of rows the first row is what was measured and the others are its resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from sweeper.analysis.optimum import Floats, Optimum, robust_sd
from sweeper.analysis.transfer.rate import RateFit, fit_approach
from sweeper.analysis.transfer.regret import FLOOR_SIGMAS
from sweeper.errors import AnalysisRefusal, UnknownNameError

ReferenceName = Literal["largest", "limit"]

Rise = Callable[[Floats], Floats]
"""Loss above the reference's minimum by octaves from its optimum; NaN where it is not measured,
+inf where it diverges."""

LIMIT_SCALES = 4
"""Scales that an extrapolated limit needs: it has three parameters."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """The best settings of a family of scales, in the coordinate of the transfer rule.

    Attributes:
        scales: rising, shape [n].
        log2: log2 of the best setting less what the rule predicts, shape [rows, n].
        losses: losses there, shape [rows, n].
        errors: standard errors of a seed mean at each scale, shape [n]; 0 where unknown.
    """

    scales: Floats
    log2: Floats
    losses: Floats
    errors: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What the gaps are measured from.

    Attributes:
        scale: its scale; infinite for the limit.
        log2, loss: its optimum and the loss there, shape [rows].
        curvature: second derivative of its loss there, per octave^2.
        error: standard error of its losses.
        rise: its curve.
        log2_rate, loss_rate: rates of the fits that extrapolated it; None if it was measured, or
            if the optimum does not move beyond the noise.
    """

    scale: float
    log2: Floats
    loss: Floats
    curvature: float
    error: float
    rise: Rise
    log2_rate: RateFit | None = None
    loss_rate: RateFit | None = None


def family_of(optima: Sequence[Optimum], *, name: str, exponent: float = 0.0) -> Family:
    """Returns the family of a group's optima as one estimator reads them.

    Args:
        optima: located optima, smallest scale first.
        name: the estimator, one that the optima were read with.
        exponent: the transfer rule, in octaves per doubling of the scale.
    """
    scales = np.array([optimum.scale for optimum in optima])
    log2, losses = [], []
    for optimum in optima:
        measured, drawn = optimum.measured[name], optimum.draws[name]
        # Resamples are drawn round a smooth curve, whose minimum is not quite the measured one.
        shift = float(measured.loss[0] - np.median(drawn.loss))
        log2.append(np.concatenate([measured.log2, drawn.log2]))
        losses.append(np.concatenate([measured.loss, drawn.loss + shift]))
    return Family(
        scales=scales,
        log2=np.stack(log2, axis=1) - exponent * np.log2(scales),
        losses=np.stack(losses, axis=1),
        errors=np.array([o.noise / math.sqrt(o.seeds) for o in optima]),
    )


def reference_of(kind: str, family: Family, largest: Optimum) -> Reference:
    """Returns a reference by its name.

    Args:
        kind: ``largest``, or ``limit`` for an extrapolation by optimum + B scale^-beta and
            loss + A scale^-alpha, whose curve is that of the largest scale, moved.
        family: the optima as one estimator reads them.
        largest: the optimum of the largest scale.

    Raises:
        AnalysisRefusal: too few scales for a limit, or no limit in sight.
        UnknownNameError: there is no such reference.
    """
    if kind not in get_args(ReferenceName):
        raise UnknownNameError("reference", kind, get_args(ReferenceName))
    proxy = Reference(
        scale=float(family.scales[-1]),
        log2=family.log2[:, -1],
        loss=family.losses[:, -1],
        curvature=largest.curvature,
        error=float(family.errors[-1]),
        rise=_rise_of(largest),
    )
    _require_curvature(proxy)
    return proxy if kind == "largest" else _limit(family, proxy)


def _rise_of(optimum: Optimum) -> Rise:
    """Returns the curve of an optimum, relative to its minimum."""
    least = float(optimum.curve(np.array([optimum.log2]))[0])

    def rise(octaves: Floats) -> Floats:
        return optimum.curve(optimum.log2 + octaves) - least

    return rise


def _require_curvature(reference: Reference) -> None:
    if not reference.curvature > 0:
        raise AnalysisRefusal(
            f"the loss at scale {reference.scale:g} has no curvature at its optimum that a fit "
            "can be believed on, so nothing tells what a gap costs; use the estimator spline, "
            "quadratic or skewed, or, where the fit there is poor, a finer grid"
        )


def _limit(family: Family, proxy: Reference) -> Reference:
    """Returns the limit that a family goes to."""
    count = len(family.scales)
    if count < LIMIT_SCALES:
        raise AnalysisRefusal(
            f"{count} scales with an optimum inside the grid, and an extrapolated limit needs "
            f"{LIMIT_SCALES}; add scales, or measure from the largest"
        )
    loss = fit_approach(family.scales, family.losses, family.errors)
    if not (loss.found and loss.size[0] > 0):
        raise AnalysisRefusal(
            "the tuned losses do not fall to a limit as a power of the scale; add scales, or "
            "measure from the largest"
        )
    far = math.sqrt(2 * proxy.error / proxy.curvature)
    moves = float(np.ptp(family.log2[0]))
    if moves <= far:
        return Reference(
            scale=np.inf,
            log2=proxy.log2,
            loss=loss.limit,
            curvature=proxy.curvature,
            error=proxy.error,
            rise=proxy.rise,
            loss_rate=loss.fit,
        )
    spread = np.std(family.log2[1:], axis=0) if len(family.log2) > 1 else np.zeros(count)
    log2 = fit_approach(family.scales, family.log2, spread)
    if not log2.found:
        raise AnalysisRefusal(
            f"the optimum moves by {moves:.2g} octaves and comes to no limit within these "
            "scales; add scales, or measure from the largest"
        )
    blur = FLOOR_SIGMAS * robust_sd(log2.limit[1:]) if len(log2.limit) > 2 else 0.0
    if blur > moves:
        raise AnalysisRefusal(
            f"the optimum moves by {moves:.2g} octaves over these scales, and its limit is known "
            f"to {blur:.2g} octaves only; add scales or seeds, or measure from the largest"
        )
    return Reference(
        scale=np.inf,
        log2=log2.limit,
        loss=loss.limit,
        curvature=proxy.curvature,
        error=proxy.error,
        rise=proxy.rise,
        log2_rate=log2.fit,
        loss_rate=loss.fit,
    )
