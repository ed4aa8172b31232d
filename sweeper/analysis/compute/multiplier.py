"""Compute multipliers: how much compute one frontier saves over another, and the seeds that both
share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sweeper.analysis.compute.frontier import (
    Frontier,
    FrontierPoint,
    read_compute,
    require_baseline,
)
from sweeper.analysis.compute.law import Law, fit_law
from sweeper.analysis.optimum import Floats, interval_round

LEAST_DOF = 4
"""Fewer degrees of freedom than this tell no correlation."""

NEARLY = 1 - 1e-12
"""Largest correlation whose Fisher's z is finite."""


@dataclass(frozen=True, kw_only=True)
class SharedSeeds:
    """What seeds do to two frontiers alike.

    Attributes:
        pairs: places (baseline, other) of the points that ran with the same seeds.
        dof: degrees of freedom behind the correlation: seeds less one, summed over the pairs.
        measured: correlation of the losses of the same seed, pooled over the pairs.
        correlation: what intervals may count on: one standard error below the measured one in
            Fisher's z, and no less than 0.
    """

    pairs: tuple[tuple[int, int], ...]
    dof: int
    measured: float
    correlation: float

    def tie(self, baseline: Floats, other: Floats) -> Floats:
        """Returns standard normal draws of the other side tied to those of the baseline.

        Args:
            baseline: draws, shape [R, K].
            other: draws independent of them, shape [R, M].
        """
        tied = other.copy()
        own = math.sqrt(1 - self.correlation**2)
        for i, j in self.pairs:
            tied[:, j] = self.correlation * baseline[:, i] + own * other[:, j]
        return tied


def shared_seeds(
    baseline: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]]
) -> SharedSeeds | None:
    """Returns what seeds do to two sides alike; None where too few are shared to tell.

    Args:
        baseline: loss by seed, by label of the point, in the order of the frontier; empty where
            a point has no loss by seed.
        other: the same of the other side; points pair up by their labels.
    """
    places = {label: index for index, label in enumerate(baseline)}
    pairs, left, right = [], [], []
    for index, (label, losses) in enumerate(other.items()):
        mine = baseline.get(label, {})
        if len(losses) > 1 and set(losses) == set(mine):
            pairs.append((places[label], index))
            left.append(_deviations(mine))
            right.append(_deviations(losses))
    dof = sum(len(part) - 1 for part in left)
    if dof < LEAST_DOF:
        return None
    one, two = np.concatenate(left), np.concatenate(right)
    spread = math.sqrt(float(one @ one) * float(two @ two))
    measured = float(one @ two) / spread if spread > 0 else 0.0
    # n values about a known mean have n degrees of freedom; Fisher's z then has variance
    # 1 / (dof - 2).
    bounded = math.atanh(float(np.clip(measured, -NEARLY, NEARLY))) - 1 / math.sqrt(dof - 2)
    return SharedSeeds(
        pairs=tuple(pairs),
        dof=dof,
        measured=measured,
        correlation=max(0.0, math.tanh(bounded)),
    )


def _deviations(losses: Mapping[int, float]) -> Floats:
    values: Sequence[float] = [losses[seed] for seed in sorted(losses)]
    return np.asarray(values, dtype=np.float64) - float(np.mean(values))


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
class FittedMultiplier:
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


def fitted_multipliers(baseline: Law, other: Law, compute: Floats) -> tuple[FittedMultiplier, ...]:
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
            low, high = interval_round(value, draws)
        found.append(FittedMultiplier(value=value, low=low, high=high))
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
    """Returns the 95% interval of a number; NaN without draws."""
    return (math.nan, math.nan) if draws is None else interval_round(value, draws)


def _trend(own: Floats, ln: Floats, draws: Floats | None) -> Trend | None:
    if len(own) < 2:
        return None
    weights = own - own.mean()
    weights = weights / float(weights @ weights)
    value = float(weights @ ln)
    low, high = _interval(value, None if draws is None else draws @ weights)
    return Trend(exponent=value, low=low, high=high)
