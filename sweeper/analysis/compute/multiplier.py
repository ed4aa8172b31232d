"""Compute multipliers: how much compute one frontier saves over another, and the seeds that both
share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sweeper.analysis.compute.frontier import (
    REACH,
    Frontier,
    FrontierPoint,
    require_baseline,
)
from sweeper.analysis.compute.law import Law, fit_law
from sweeper.analysis.compute.reading import Readings, read_along
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
        value: the baseline's compute at the point's loss over the point's own; NaN where it is
            beyond what was measured.
        low, high: 95% interval from the noise of all losses and from what another reading of the
            baseline says; NaN where the noise is unknown, 0 and infinity where an end is beyond
            what was measured, or noise could hide that the baseline's loss falls at all.
        extrapolated: True where the point's loss lies outside those of the baseline.
        beyond: what was measured of it, as ``more than 64``, where the baseline would need more
            than :data:`REACH` times its measured compute, or never gets there by its law; else
            empty.
    """

    point: FrontierPoint
    value: float
    low: float
    high: float
    extrapolated: bool
    beyond: str = ""

    @property
    def refused(self) -> str | None:
        """Why there is no value; None where there is one."""
        return f"{self.beyond} times: beyond what was measured" if self.beyond else None


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
            other's compute; infinite, or 0, where the baseline's law gets there beyond
            :data:`REACH` times what was measured, or never.
        low, high: 95% interval, its ends likewise; NaN where a law has none.
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


def saving(
    baseline: Frontier,
    other: Frontier,
    *,
    law: Law | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Saving:
    """Returns the compute multipliers of a frontier over a baseline.

    The losses of both sides are resampled with their noise. Where points of one label ran with
    the same seeds, what a seed was measured to do to both is drawn for both alike (common random
    numbers); all other noise is independent. Every draw of the baseline has its own law.

    Args:
        baseline, other: the two frontiers.
        law: the law of the baseline, by which its points are read between and beyond; None where
            it has none.
        resamples: draws behind the intervals.
        seed: seed of the draws.

    Raises:
        AnalysisRefusal: the loss of the baseline does not fall with compute.
    """
    require_baseline(baseline)
    rng = np.random.default_rng(seed)
    own = other.ln_compute
    inside = np.array([baseline.holds(point.loss) for point in other.points])
    measured = read_along(baseline, law, baseline.ln_loss[None, :], other.ln_loss[None, :], inside)
    shared = shared_seeds(*({p.label: p.by_seed for p in f.points} for f in (baseline, other)))
    draws = None
    if baseline.noisy and other.noisy:
        base, drawn = _drawn(baseline, other, shared, resamples, rng)
        draws = read_along(baseline, law, base, drawn, inside)
    multipliers = tuple(
        _multiplier(baseline, point, measured.at(i), None if draws is None else draws.at(i))
        for i, point in enumerate(other.points)
    )
    told = inside & np.array([not multiplier.beyond for multiplier in multipliers])
    drawn_ln = None if draws is None else (draws.value - own)[:, told]
    return Saving(
        name=other.name,
        multipliers=multipliers,
        trend=_trend(own[told], (measured.value[0] - own)[told], drawn_ln),
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
    first, last = baseline.span[:, 0] * (1 / REACH, REACH)
    found = []
    for place in compute.tolist():
        needed = [baseline.scale_at(other.at(compute=place).loss)]
        low = high = math.nan
        count = min(len(baseline.draws), len(other.draws))
        if count:
            losses = other.losses_at(compute=place)[:count]
            draws = baseline.scales_at(losses, baseline.draws[:count])
            needed += interval_round(needed[0], draws)
        told = [math.inf if n > last else 0.0 if n < first else n / place for n in needed]
        value, low, high = told if count else (*told, low, high)
        found.append(FittedMultiplier(value=value, low=low, high=high))
    return tuple(found)


def _multiplier(
    baseline: Frontier, point: FrontierPoint, read: Readings, draws: Readings | None
) -> Multiplier:
    """Returns a multiplier from ln compute at the point's loss, and draws of it, shape [R]."""
    own = float(np.log(point.compute))
    inside = baseline.holds(point.loss)
    value, rival = float(read.value[0]), float(read.rival[0])
    low = high = math.nan
    if draws is not None:
        low, high = interval_round(value, draws.value)
        if not math.isnan(rival):
            # Where the two readings disagree, either may be right.
            least, most = interval_round(rival, draws.rival)
            low, high = min(low, least), max(high, most)
    first, last = baseline.ln_compute[[0, -1]].tolist()
    floor, ceiling = first - math.log(REACH), last + math.log(REACH)
    beyond = ""
    if value > ceiling or (rival == math.inf and not inside):
        beyond = f"more than {math.exp(last - own):.4g}"
        value, low, high = math.nan, min(low, last), high + math.inf
    elif value < floor:
        beyond = f"less than {math.exp(first - own):.4g}"
        value, low, high = math.nan, low - math.inf, max(high, first)
    low, high = (-math.inf if low < floor else low), (math.inf if high > ceiling else high)
    return Multiplier(
        point=point,
        value=math.exp(value - own),
        low=math.exp(low - own),
        high=math.exp(high - own),
        extrapolated=not inside,
        beyond=beyond,
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
