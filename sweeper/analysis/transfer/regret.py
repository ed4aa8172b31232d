"""Regret: what a transferred setting costs against tuning each scale, in loss and in compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from sweeper.analysis.compute import Frontier, FrontierPoint, compute_lost, frontier_of
from sweeper.analysis.optimum import Optimum, interval_round
from sweeper.errors import AnalysisRefusal

Certainty = Literal["measured", "at_least", "infinite", "unknown"]
"""How a transferred loss is known:

- ``measured``: read from the fitted curve, within the measured points.
- ``at_least``: the setting lies outside the grid, or between the last point that trained and the
  first that diverged; the loss of the nearest point is a lower bound.
- ``infinite``: the setting lies at or beyond a divergence.
- ``unknown``: the setting lies outside the grid on the side where the loss still falls."""

USEFUL_SHARE = 0.002
"""Share of the tuned loss below which a regret is of no practical use: about 4% of the compute
where loss falls as compute^-0.05 (arXiv 2001.08361, equation 1.3)."""

FLOOR_SIGMAS = 1.96
"""Standard errors of a difference of two seed means below which it is noise."""


@dataclass(frozen=True, kw_only=True)
class Regret:
    """What transfer costs at one scale.

    Attributes:
        scale: the scale.
        log2: log2 of the transferred setting.
        tuned: loss at the scale's own optimum.
        transferred: loss at the transferred setting; NaN if unknown.
        regret: transferred minus tuned, in the unit of the loss (nats); NaN if unknown.
        percent: regret in percent of the tuned loss; NaN if unknown or the loss is 0.
        low, high: 95% interval of the regret; from 0 on where the transferred setting lies inside
            the interval of the optimum, NaN if unknown, infinite where nothing bounds it.
        useful: regret of useful size, in the unit of the loss.
        floor: smallest difference of two seed means that noise does not explain.
        certainty: how the transferred loss is known.
        note: one clause for the reader where the certainty is not ``measured``, else empty.
        compute: factor of compute that the regret throws away: a tuned run reaches the loss of
            the transferred one with 1 / factor of its compute; NaN if unknown.
        compute_note: ``extrapolated`` where the factor was read beyond the tuned losses, why it
            is unknown where it is, else empty.
    """

    scale: float
    log2: float
    tuned: float
    transferred: float
    regret: float
    percent: float
    low: float
    high: float
    useful: float
    floor: float
    certainty: Certainty
    note: str
    compute: float = math.nan
    compute_note: str = "no compute was given"

    @property
    def harmless(self) -> bool:
        """True where the whole interval of the regret lies below the useful size."""
        return self.certainty == "measured" and self.high <= self.useful

    @property
    def resolved(self) -> bool:
        """True where the interval of the regret excludes 0."""
        return self.low > 0


def transfer_base(optima: Sequence[Optimum]) -> Optimum:
    """Returns the smallest scale whose optimum is located rather than bounded.

    Raises:
        AnalysisRefusal: no optimum is located.
    """
    for optimum in optima:
        if optimum.located:
            return optimum
    raise AnalysisRefusal(
        "no scale has its minimum inside the grid, so there is no setting to transfer; extend "
        "the grid at the edges where the minima lie"
    )


def transfer_regret(
    optima: Sequence[Optimum], *, exponent: float = 0.0, useful: float = USEFUL_SHARE
) -> tuple[Regret, ...]:
    """Returns what transfer from the base scale costs at every scale.

    The base is the smallest scale whose optimum is located rather than bounded; its optimum
    moves by ``exponent`` octaves per doubling of the scale. No loss is extrapolated.

    Args:
        optima: one a scale, smallest scale first.
        exponent: the rule by which the setting is transferred.
        useful: regret of useful size, as a share of the tuned loss.

    Raises:
        AnalysisRefusal: no optimum is located.
    """
    base = transfer_base(optima)
    return tuple(
        regret_at(o, base.log2 + exponent * float(np.log2(o.scale / base.scale)), useful)
        for o in optima
    )


def regret_at(optimum: Optimum, place: float, useful: float = USEFUL_SHARE) -> Regret:
    """Returns what a setting, given in log2, costs at the scale of an optimum."""
    loss, tuned = optimum.curve(np.array([place, optimum.log2])).tolist()
    transferred, certainty, note = _transferred(optimum, place, loss)
    regret = transferred - tuned
    low, high = _interval(optimum, place, (tuned, regret), certainty)
    return Regret(
        scale=optimum.scale,
        log2=place,
        tuned=tuned,
        transferred=transferred,
        regret=regret,
        percent=100 * regret / abs(tuned) if tuned else math.nan,
        low=low,
        high=high,
        useful=useful * abs(tuned),
        floor=_floor(optimum),
        certainty=certainty,
        note=note,
    )


def _interval(
    optimum: Optimum, place: float, found: tuple[float, float], certainty: Certainty
) -> tuple[float, float]:
    """Returns the 95% interval of a regret, found with the tuned loss.

    It holds the regrets of the resamples, and those of the measured curve moved so that its
    optimum lies at either end of its own interval, which knows of other estimators too. Where the
    interval is open, the lowest measured point tells what is lost at least.
    """
    tuned, regret = found
    if certainty in ("infinite", "unknown"):
        return regret, regret
    if certainty == "at_least":
        place = _last_trained(optimum, place)
    low, high = interval_round(regret, optimum.regret_draws(place))
    if not optimum.censored:  # beyond the points round the optimum no less is lost than at them
        low, _ = interval_round(regret, optimum.least_regret_draws(place))
    ends = np.array([optimum.low, optimum.high])
    moved = optimum.curve(place + optimum.log2 - ends) - tuned if np.isfinite(ends).all() else ends
    moved = np.where(np.isfinite(moved), np.maximum(moved, 0.0), np.inf)
    inside = optimum.low <= place <= optimum.high
    low = 0.0 if inside else max(0.0, min(low, float(moved.min())))
    if not np.isfinite(ends).all() and optimum.noise > 0:
        least = regret + tuned - float(np.min(optimum.losses)) - _floor(optimum)
        low = min(regret, max(low, least))
    if certainty == "at_least" or optimum.censored:
        return low, math.inf
    return low, max(high, float(moved.max()))


def _floor(optimum: Optimum) -> float:
    return FLOOR_SIGMAS * optimum.noise * math.sqrt(2 / optimum.seeds)


def _last_trained(optimum: Optimum, place: float) -> float:
    """Returns the measured place on the way from a setting to the optimum, nearest to it, whose
    loss is the least that the setting can have."""
    trained = optimum.grid[np.isfinite(optimum.losses)]
    return float(trained[np.argmin(np.abs(trained - place))])


def _transferred(optimum: Optimum, place: float, loss: float) -> tuple[float, Certainty, str]:
    """Returns what is known of the loss at a place, from the curve's loss there."""
    grid, losses = optimum.grid, optimum.losses
    if place < grid[0] or place > grid[-1]:
        return _outside(optimum, place)
    if math.isinf(loss):
        return math.inf, "infinite", "the transferred setting diverges"
    if math.isfinite(loss):
        return loss, "measured", ""
    above = int(np.searchsorted(grid, place))
    last = float(min(losses[above - 1], losses[above]))
    note = "the transferred setting lies between the last point that trained and a divergence"
    return last, "at_least", note


def _outside(optimum: Optimum, place: float) -> tuple[float, Certainty, str]:
    low_side = place < optimum.grid[0]
    edge = float(optimum.losses[0 if low_side else -1])
    side = "below" if low_side else "above"
    if math.isinf(edge):
        return math.inf, "infinite", f"the transferred setting lies {side} a diverged grid edge"
    if ("censored_low" if low_side else "censored_high") in optimum.flags:
        note = f"the transferred setting lies {side} the grid, where the loss still falls"
        return math.nan, "unknown", note
    return edge, "at_least", f"the transferred setting lies {side} the grid"


def run_flops(trials: pd.DataFrame, scale: str) -> dict[float, float]:
    """Returns the mean FLOPs of one trial by scale; scales without any are left out.

    Args:
        trials: trials of one group, with or without the column ``flops``.
        scale: column of the scale.
    """
    if "flops" not in trials.columns:
        return {}
    flops = pd.to_numeric(trials["flops"], errors="coerce").astype("float64")
    means = flops[flops > 0].groupby(pd.to_numeric(trials[scale])).mean()
    return dict(zip(means.index.astype("float64").tolist(), means.tolist(), strict=True))


def in_compute(regrets: Sequence[Regret], flops: Mapping[float, float]) -> tuple[Regret, ...]:
    """Returns regrets with the factor of compute that each throws away.

    The factor is read off the frontier of the group's own tuned losses.

    Args:
        regrets: of one group, one a scale.
        flops: FLOPs of one run by scale.
    """
    try:
        frontier = _frontier(regrets, flops)
        return tuple(_priced(regret, frontier) for regret in regrets)
    except AnalysisRefusal as refusal:
        return tuple(replace(regret, compute_note=str(refusal)) for regret in regrets)


def _frontier(regrets: Sequence[Regret], flops: Mapping[float, float]) -> Frontier:
    without = [regret.scale for regret in regrets if regret.scale not in flops]
    if without:
        listing = ", ".join(f"{scale:g}" for scale in without)
        raise AnalysisRefusal(f"the FLOPs of a run are not known at scale {listing}")
    points = [
        FrontierPoint(label=f"{regret.scale:g}", compute=flops[regret.scale], loss=regret.tuned)
        for regret in regrets
    ]
    return frontier_of("the tuned loss", points)


def _priced(regret: Regret, frontier: Frontier) -> Regret:
    if math.isnan(regret.regret):
        return replace(regret, compute_note="the regret is unknown")
    factor, extrapolated = compute_lost(frontier, loss=regret.tuned, regret=regret.regret)
    note = "beyond what was measured" if math.isnan(factor) else "extrapolated"
    return replace(regret, compute=factor, compute_note=note if extrapolated else "")
