"""Seeds that move a whole curve: how far, and whether they move the curves of all scales alike.

A seed that moves a curve by d octaves changes each of its losses by -d times the slope there, so
that the errors at the points of a curve are not independent, and more points do not average them
away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import chdtri, fdtrc

from sweeper.analysis.optimum.curve import Floats

SHIFT_LEVEL = 0.01
"""Probability under which noise alone may look like seeds that move curves."""

SHARED_LEVEL = 0.05
"""Probability under which shifts of each scale's own may look like shared ones."""


class SeededPoints(Protocol):
    """Points with their seeds, as curves and clouds hold them."""

    @property
    def means(self) -> Floats:
        """Seed means of the loss, shape [K]."""

    @property
    def runs(self) -> tuple[Floats, ...]:
        """Per point the losses of its seeds."""

    @property
    def seeds(self) -> tuple[tuple[int, ...], ...]:
        """Per point the seeds behind them."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """Seeds per point, shape [K]."""

    @property
    def stated(self) -> Floats:
        """Stated standard deviation of one result at each point, NaN without, shape [K]."""


class PlacedCurve(SeededPoints, Protocol):
    """Points of one hyperparameter."""

    @property
    def log2(self) -> Floats:
        """Their positions, rising, shape [K]."""


@dataclass(frozen=True, kw_only=True)
class SeedShift:
    """How far seeds move whole curves.

    Attributes:
        own: standard deviation in octaves of what a seed moves the curve of each scale by, apart
            from all others.
        own_dof: degrees of freedom behind it.
        shared: standard deviation in octaves of what a seed moves all curves by alike.
        shared_dof: degrees of freedom behind it.
    """

    own: float = 0.0
    own_dof: float = 0.0
    shared: float = 0.0
    shared_dof: float = 0.0

    @property
    def total(self) -> float:
        """Standard deviation in octaves of what a seed moves a curve by."""
        return float(np.hypot(self.own, self.shared))

    def drawn(self, kind: str, rng: Generator, resamples: int) -> Floats:
        """Returns what one seed moves a curve by in every resample, in octaves, shape [R].

        Each has its own standard deviation, drawn from what the degrees of freedom leave open.

        Args:
            kind: ``own`` or ``shared``.
            rng: draws.
            resamples: R.
        """
        level = self.own if kind == "own" else self.shared
        dof = self.own_dof if kind == "own" else self.shared_dof
        if level == 0:
            return np.zeros(resamples)
        spread = np.sqrt(dof / chdtri(dof, rng.uniform(size=resamples)))
        return np.asarray(level * spread * rng.standard_normal(resamples))


STILL = SeedShift()
"""Seeds that move no curve, as far as the runs show."""


def slopes(curve: PlacedCurve) -> Floats:
    """Returns the slope of a curve at its points in loss / octave, shape [K]; 0 where a point or
    its neighbours diverged."""
    found = np.zeros(len(curve.means))
    finite = np.flatnonzero(np.isfinite(curve.means))
    if len(finite) > 1:
        found[finite] = np.gradient(curve.means[finite], curve.log2[finite])
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedEffects:
    """What each seed does to all points of a curve alike.

    Attributes:
        points: the effect on every point, shape [K, S]; 0 where the points have different seeds,
            or are fewer than there are terms to tell from noise.
        tilts: what a seed adds in multiples of the slope of the curve, shape [S]; empty where
            nothing is known of it.
        leverage: share of each point in its own effect, shape [K]; 0 outside the points read.
        squares: sum of squares that the effects leave between the seeds of each point read.
        dof: degrees of freedom left among the runs of the points read.
    """

    points: Floats
    tilts: Floats
    leverage: Floats
    squares: Floats
    dof: float


def seed_effects(
    curve: SeededPoints, inside: Sequence[int], slope: Floats | None, noise: Floats | None = None
) -> SeedEffects:
    """Returns what each seed does to all points of a curve alike: a constant, and a shift.

    Args:
        curve: the points.
        inside: indices of the points that tell it.
        slope: slope of the curve at all points where seeds shift it, shape [K]; None where they
            do not.
        noise: standard deviation of a run at all points, shape [K]; None where all are alike or
            unknown.
    """
    part = list(inside)
    free = float(sum(len(curve.runs[k]) - 1 for k in part))
    none = np.zeros(len(curve.means))
    terms = 1 if slope is None else 2
    if len({curve.seeds[k] for k in part}) > 1 or len(part) < terms + 2:
        return SeedEffects(
            points=none[:, None],
            tilts=np.zeros(0),
            leverage=none,
            squares=np.array([np.sum((curve.runs[k] - curve.means[k]) ** 2) for k in part]),
            dof=free,
        )
    shares = np.ones(len(part)) if noise is None or not noise.all() else noise[part] ** -2.0
    shares /= shares.sum()
    left = np.stack([curve.runs[k] for k in part]) - curve.means[part, None]
    points = np.tile(shares @ left, (len(none), 1))
    leverage, tilts = none.copy(), np.zeros(0)
    leverage[part] = shares
    if slope is not None:
        # Less its mean, so that it has nothing in common with a constant.
        tilt = slope - shares @ slope[part]
        spread = shares @ tilt[part] ** 2
        pull = shares * tilt[part] / spread if spread else np.zeros(len(part))
        tilts = pull @ left
        leverage[part] += pull * tilt[part]
        points += tilt[:, None] * tilts
    return SeedEffects(
        points=points,
        tilts=tilts,
        leverage=leverage,
        squares=np.sum((left - points[part]) ** 2, axis=1),
        dof=free - terms * (left.shape[1] - 1),
    )


def seed_shift(
    curves: Sequence[PlacedCurve], noises: Sequence[Floats], windows: Sequence[Floats]
) -> SeedShift:
    """Returns how far seeds move the curves of a group: :data:`STILL` unless an F test of the
    slope's share in what a seed does to the points says otherwise.

    Args:
        curves: one a scale.
        noises: standard deviation of a run at each point, shape [K] each.
        windows: weights of the points near the minimum, 0 outside, shape [K] each.
    """
    moved, errors, seeds = [], [], []
    explained = terms = left = dof = 0.0
    for curve, noise, weights in zip(curves, noises, windows, strict=True):
        inside = np.flatnonzero(weights > 0).tolist()
        if not np.all(noise[inside] > 0):
            continue
        slope = slopes(curve)
        level = seed_effects(curve, inside, None, noise)
        both = seed_effects(curve, inside, slope, noise)
        if len(both.tilts) < 2:
            continue
        precision = 1 / noise[inside] ** 2
        less, more = (float(precision @ found.squares) for found in (level, both))
        explained, terms = explained + less - more, terms + len(both.tilts) - 1
        left, dof = left + more, dof + both.dof
        centred = slope[inside] - np.average(slope[inside], weights=precision)
        moved.append(-both.tilts)
        errors.append(1 / float(np.sum(precision * centred**2)))
        seeds.append(curve.seeds[inside[0]])
    if not moved or dof < 1 or left <= 0:
        return STILL
    if fdtrc(terms, dof, (explained / terms) / (left / dof)) > SHIFT_LEVEL:
        return STILL
    return _shares(moved, float(np.mean(errors)) * left / dof, seeds)


def _shares(moved: Sequence[Floats], error: float, seeds: Sequence[tuple[int, ...]]) -> SeedShift:
    """Returns the shares of a shift that are each scale's own and that all scales share.

    Args:
        moved: shift of every seed at every scale less the scale's mean, in octaves.
        error: variance of one of them by noise.
        seeds: the seeds of each.
    """
    dof = float(sum(len(shift) - 1 for shift in moved))
    pooled = sum(float(np.sum(shift**2)) for shift in moved) / dof
    alone = SeedShift(own=float(np.sqrt(max(pooled - error, 0.0))), own_dof=dof)
    if len(moved) < 2 or len(set(seeds)) > 1:
        return alone
    table = np.stack(moved)
    scales, number = table.shape
    means = table.mean(axis=0)
    between = scales * float(np.sum(means**2)) / (number - 1)
    within = float(np.sum((table - means) ** 2)) / ((number - 1) * (scales - 1))
    inner = float((number - 1) * (scales - 1))
    if within > 0 and fdtrc(number - 1, inner, between / within) > SHARED_LEVEL:
        return alone
    return SeedShift(
        own=float(np.sqrt(max(within - error, 0.0))),
        own_dof=inner,
        shared=float(np.sqrt(max(between - within, 0.0) / scales)),
        shared_dof=float(number - 1),
    )
