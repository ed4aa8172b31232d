"""Compute multipliers: how much compute one frontier saves over another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sweeper.analysis.frontier import Frontier, FrontierPoint, read_compute, require_baseline
from sweeper.analysis.interval import quantile_interval
from sweeper.analysis.law import Law, fit_law
from sweeper.analysis.points import Floats
from sweeper.analysis.shared_seeds import SharedSeeds, shared_seeds


@dataclass(frozen=True, kw_only=True)
class Multiplier:
    """How much compute one point saves.

    Attributes:
        point: the point.
        value: the baseline's compute at the point's loss over the point's own.
        low, high: 95% interval from the noise of all losses; NaN where the noise is unknown, 0
            and infinity where noise could hide that the baseline's loss falls at all.
        extrapolated: True where the point's loss lies outside those of the baseline.
    """

    point: FrontierPoint
    value: float
    low: float
    high: float
    extrapolated: bool


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How a multiplier changes along a frontier: multiplier ~ compute^exponent.

    Attributes:
        exponent: slope of ln multiplier by ln compute over the points not extrapolated.
        low, high: 95% interval from the noise; NaN where it is unknown.
    """

    exponent: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A multiplier by the fitted laws of both frontiers instead of their points.

    Attributes:
        value: compute at which the baseline's law has the loss of the other's law, over the
            other's compute; infinite where the baseline's law never gets there.
        low, high: 95% interval; NaN where a law has none.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Saving:
    """The multipliers of one frontier over a baseline.

    Attributes:
        name: name of the frontier.
        multipliers: one a point, cheapest first.
        trend: None with fewer than two points that are not extrapolated.
        shared: what the seeds do to both sides alike; None where too few are shared to tell.
    """

    name: str
    multipliers: tuple[Multiplier, ...]
    trend: Trend | None
    shared: SharedSeeds | None


def saving(baseline: Frontier, other: Frontier, *, resamples: int = 1000, seed: int = 0) -> Saving:
    """Returns the compute multipliers of a frontier over a baseline.

    The losses of both sides are resampled with their noise. Where points of one label ran with
    the same seeds, what a seed was measured to do to both is drawn for both alike (common random
    numbers); all other noise is independent.

    Raises:
        AnalysisRefusal: the loss of the baseline does not fall with compute.
    """
    require_baseline(baseline)
    rng = np.random.default_rng(seed)
    own = np.log([point.compute for point in other.points])
    value = read_compute(baseline.ln_compute, baseline.ln_loss[None, :], other.ln_loss[None, :])
    ln = (value - own)[0]
    shared = shared_seeds(*({p.label: p.by_seed for p in f.points} for f in (baseline, other)))
    draws = None
    if baseline.noisy and other.noisy:
        base, drawn = _drawn(baseline, other, shared, resamples, rng)
        draws = read_compute(baseline.ln_compute, base, drawn) - own
    multipliers = tuple(
        _multiplier(baseline, point, float(ln[i]), None if draws is None else draws[:, i])
        for i, point in enumerate(other.points)
    )
    inside = np.array([not multiplier.extrapolated for multiplier in multipliers])
    return Saving(
        name=other.name,
        multipliers=multipliers,
        trend=_trend(own[inside], ln[inside], None if draws is None else draws[:, inside]),
        shared=shared,
    )


def _drawn(
    baseline: Frontier,
    other: Frontier,
    shared: SharedSeeds | None,
    count: int,
    rng: Generator,
) -> tuple[Floats, Floats]:
    """Returns ln losses of both sides with their noise, shapes [count, K] and [count, M]."""
    mine, theirs = (rng.standard_normal((count, len(f.points))) for f in (baseline, other))
    levels, others = rng.random(count), rng.random(count)
    if shared is not None and shared.correlation > 0:
        # Noise that is shared was measured on both sides by the same draws.
        theirs, others = shared.tie(mine, theirs), levels
    return baseline.drawn(mine, levels), other.drawn(theirs, others)


def frontier_law(frontier: Frontier, *, resamples: int = 1000, seed: int = 0) -> Law:
    """Returns the law L = E + A C^-alpha of the points of a frontier, dominated ones too.

    Raises:
        AnalysisRefusal: fewer than three points, or equal losses.
    """
    errors = np.array([point.error for point in frontier.points])
    known = bool(np.all(np.isfinite(errors) & (errors > 0)))
    return fit_law(
        {"compute": np.exp(frontier.ln_compute)},
        np.exp(frontier.ln_loss),
        errors=errors if known else None,
        resamples=resamples,
        seed=seed,
    )


def fitted_multipliers(baseline: Law, other: Law, compute: Floats) -> tuple[Fitted, ...]:
    """Returns the multipliers by two laws of compute at places [M].

    The laws are to come from different seeds, so that their draws are independent.
    """
    found = []
    for place in compute.tolist():
        value = baseline.scale_at(other.at(compute=place).loss) / place
        low = high = math.nan
        count = min(len(baseline.draws), len(other.draws))
        if count:
            losses = other.losses_at(compute=place)[:count]
            draws = baseline.scales_at(losses, baseline.draws[:count]) / place
            low, high = quantile_interval(draws, draws)
            low, high = min(low, value), max(high, value)
        found.append(Fitted(value=value, low=low, high=high))
    return tuple(found)


def _multiplier(
    baseline: Frontier, point: FrontierPoint, ln: float, draws: Floats | None
) -> Multiplier:
    low, high = _interval(ln, draws)
    with np.errstate(over="ignore"):
        # Far off a baseline that hardly falls, e to a power overflows to infinity, rightly.
        ends = np.exp([ln, low, high]).tolist()
    return Multiplier(
        point=point,
        value=ends[0],
        low=ends[1],
        high=ends[2],
        extrapolated=not baseline.holds(point.loss),
    )


def _interval(value: float, draws: Floats | None) -> tuple[float, float]:
    """Returns the 95% interval of draws with the value in it; NaN without draws.

    A draw that is NaN could be anything.
    """
    if draws is None:
        return math.nan, math.nan
    unknown = np.isnan(draws)
    low, high = quantile_interval(
        np.where(unknown, -np.inf, draws), np.where(unknown, np.inf, draws)
    )
    return min(low, value), max(high, value)


def _trend(own: Floats, ln: Floats, draws: Floats | None) -> Trend | None:
    if len(own) < 2:
        return None
    weights = own - own.mean()
    weights = weights / float(weights @ weights)
    value = float(weights @ ln)
    low, high = _interval(value, None if draws is None else draws @ weights)
    return Trend(exponent=value, low=low, high=high)
