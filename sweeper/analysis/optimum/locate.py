"""The optima of a group: one a scale, or the reason why a scale has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sweeper.analysis.optimum.cliff import BlowUp, without_blow_ups
from sweeper.analysis.optimum.curve import Curve, Floats
from sweeper.analysis.optimum.doubt import believed, best_readings, doubts, unexplained
from sweeper.analysis.optimum.estimators import (
    COMPARED,
    DEFAULT,
    ESTIMATORS,
    FEW_POINTS,
    REACH,
    SKEW_PRIORS,
    SKEW_REACH,
    Reading,
    Vertices,
    alias_size,
    estimator_named,
)
from sweeper.analysis.optimum.interval import (
    RivalEstimate,
    quantile_interval,
    reflect,
    rival_of,
    stretch,
)
from sweeper.analysis.optimum.noise import (
    LEAST_SHARE,
    REPLICATED,
    Noise,
    NoiseSource,
    Smooth,
    draw,
    interval_dof,
    level_spread,
    own_seeds,
    pooled_noise,
    resampled,
    seeds_drawn,
    smoothed,
)
from sweeper.analysis.optimum.optimum import Flag, Optimum, Resamples
from sweeper.analysis.optimum.seed_shift import STILL
from sweeper.analysis.optimum.window import find_fit_windows
from sweeper.errors import AnalysisRefusal

BUMP_SIGMAS = 3.0
"""Height over both minima, in standard errors of a difference, that makes a bump real."""

TIE_SIGMAS = 2.0
"""Two minima closer than this many standard errors of a difference are a tie."""

WORSE_SIGMAS = 4.0
"""Standard errors of a difference by which a point is worse than the lowest beyond doubt."""

RIVAL_RESAMPLES = 250
"""Resamples that the estimators read which only tell how far the main one may be off: of theirs
no more than a standard deviation and a half width is used."""

ALIKE = 0.8
"""Correlation between the scales of a group in what their curves are taken to be where no point
shows it: they have much of their shape in common."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Located:
    """The optima of a group, and why some scales have none.

    Attributes:
        optima: one a scale that could be analysed, smallest scale first.
        refused: scale to the sentence that says why it has no optimum.
        noise: noise of single runs, pooled over the scales in ``optima``; None without any.
        blow_ups: runs that blew up without becoming infinite, or are left out as outliers.
    """

    optima: tuple[Optimum, ...]
    refused: Mapping[float, str]
    noise: Noise | None
    blow_ups: tuple[BlowUp, ...] = ()


def locate(
    curves: Sequence[Curve],
    *,
    estimator: str = DEFAULT,
    allow_holes: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Located:
    """Returns the optimum of every scale, with an interval from resampling.

    Args:
        curves: one a scale, smallest scale first.
        estimator: a name in :data:`ESTIMATORS`.
        allow_holes: whether to go on where neighbours of a minimum have no result.
        resamples: number of resampled curves a scale.
        seed: seed of the resampling.

    Raises:
        UnknownNameError: there is no estimator of that name.
    """
    estimator_named(estimator)
    refused: dict[float, str] = {}
    kept: list[Curve] = []
    blow_ups: list[BlowUp] = []
    for measured in curves:
        curve, found = without_blow_ups(measured)
        try:
            require_minimum(curve, allow_holes=allow_holes)
        except AnalysisRefusal as refusal:
            refused[curve.scale] = str(refusal)
        else:
            kept.append(curve)
        blow_ups += found
    if not kept:
        return Located(optima=(), refused=refused, noise=None, blow_ups=tuple(blow_ups))
    noise = pooled_noise(kept)
    readings = best_readings(kept, noise)
    draws = _Draws(seed, resamples, noise)
    misfits = unexplained(kept, noise, readings)
    dips = doubts(kept, noise, readings)
    places = [place for place, curve in enumerate(curves) if curve.scale not in refused]
    optima = tuple(
        _optimum(curve, noise, reading, fit, dip, misfit, estimator, draws.of(place))
        for place, curve, reading, fit, dip, misfit in zip(
            places, kept, readings, smoothed(kept, readings), dips, misfits, strict=True
        )
    )
    return Located(optima=optima, refused=refused, noise=noise, blow_ups=tuple(blow_ups))


class _Draws:
    """What is drawn for the curves of a group: each draw from a generator of its own, named by
    what it is for and by the place of the curve in its group, so that the same curves get the
    same draws in every group, in every unit.

    Attributes:
        resamples: R.
    """

    def __init__(self, seed: int, resamples: int, noise: Noise) -> None:
        self._seed, self._noise, self._place = seed, noise, 0
        self.resamples, self._chi2 = resamples, self.words("chi2")
        self._shared = noise.shift.drawn("shared", self.rng("shared shift"), resamples)
        self._alias = self.rng("alias").standard_normal(resamples)
        self._higher = self.rng("higher").standard_normal((resamples, len(SKEW_PRIORS)))

    def of(self, place: int) -> _Draws:
        """Returns what is drawn for the curve at a place, from 0 on."""
        found = copy(self)
        found._place = place + 1
        return found

    def rng(self, what: str) -> Generator:
        """Returns the generator of what the curve draws, or all curves together."""
        return np.random.default_rng(self.words(what))

    def words(self, what: str) -> tuple[int, ...]:
        """Returns the seed of that generator."""
        return self._seed, crc32(what.encode()), self._place

    def spread(self, dof: float) -> Floats:
        """Returns the noise level of each resample, see :func:`level_spread`, shape [R]."""
        return _spread(self._chi2, dof, self.resamples)

    def moved(self, curve: Curve) -> Floats:
        """Returns the octaves by which the seeds of the curve move it, shape [R]."""
        if self._noise.shift is STILL:
            return np.zeros(self.resamples)
        own = self._noise.shift.drawn("own", self.rng("own shift"), self.resamples)
        return np.asarray((self._shared + own) / np.sqrt(np.median(curve.counts)))

    def misfit(self, sds: Floats) -> Floats:
        """Returns by how much the losses differ beyond noise from what fits follow, whose standard
        deviations [K] are given, shape [R, K]."""
        return sds * self.rng("misfit").standard_normal((self.resamples, len(sds)))

    def aliased(self, log2: Floats, place: float) -> Floats:
        """Returns the octaves by which what the points [K] of a fit cannot see moves its minimum,
        see :func:`alias_size`, shape [R]."""
        own = self.rng("own alias").standard_normal(self.resamples)
        drawn = np.sqrt(ALIKE) * self._alias + np.sqrt(1 - ALIKE) * own
        return np.asarray(alias_size(log2, place) * drawn)

    def higher(self) -> Floats:
        """Returns what the curve and its smooth version (0), then its resamples, take their terms
        beyond the parabola to be, shape [R + 2, 3]."""
        own = self.rng("own higher").standard_normal(self._higher.shape)
        drawn = np.sqrt(ALIKE) * self._higher + np.sqrt(1 - ALIKE) * own
        return np.concatenate([np.zeros((2, drawn.shape[1])), drawn])


@lru_cache(maxsize=32)
def _drawn_seeds(
    words: tuple[int, ...], counts: tuple[int, ...], resamples: int
) -> tuple[NDArray[Any], ...]:
    """Returns what :func:`draw` draws, kept for the same place in the groups to come."""
    return draw(np.random.default_rng(words), counts, resamples)


@lru_cache(maxsize=32)
def _spread(words: tuple[int, ...], dof: float, resamples: int) -> Floats:
    """Returns :func:`level_spread` of quantiles drawn by a generator, kept for other curves."""
    return level_spread(dof, np.random.default_rng(words).uniform(size=resamples))


def require_minimum(curve: Curve, *, allow_holes: bool) -> None:
    """Checks that a curve can have an optimum.

    Raises:
        AnalysisRefusal: no finite point, or one alone in its grid; two points that are the whole
            grid; all losses equal; or neighbours of the minimum without a result and holes not
            allowed. Points that end beside a divergence give a bound, however few.
    """
    finite = np.isfinite(curve.means)
    where = f"{curve.label} ({curve.answered} of {curve.declared} trials have a result)"
    if not finite.any():
        what = "every point diverged" if len(finite) else "no trial has a result yet"
        cure = "widen the grid to where it trains" if len(finite) else "run or retry the trials"
        raise AnalysisRefusal(f"{where}: {what}, so there is no optimum; {cure}")
    missing = _holes_near_minimum(curve)
    if len(missing) and not allow_holes:
        names = ", ".join(f"{2.0**place:.6g}" for place in missing)
        raise AnalysisRefusal(
            f"{where}: no result at {names}, next to the minimum; run or retry those trials, or "
            "allow holes to go on without them"
        )
    window = find_fit_windows(curve.log2, curve.means[None, :], reach=len(finite), wall=np.inf)
    together = int(window.last[0] - window.first[0]) + 1
    if together < 3 and not _bounded_by_divergence(curve):
        raise AnalysisRefusal(
            f"{where}: {together} finite point{'s' * (together != 1)} round the minimum, and an "
            "optimum needs at least 3; add grid points there"
        )
    if together > 1 and np.ptp(curve.means[finite]) == 0:
        raise AnalysisRefusal(
            f"{where}: all losses are equal ({curve.means[finite][0]:g}), so no setting is best; "
            "check that the swept setting takes effect"
        )


def _bounded_by_divergence(curve: Curve) -> bool:
    """Returns whether the lowest point lies beside a diverged one: its optimum is a bound, which
    needs no fit."""
    lowest = int(np.argmin(curve.means))
    return bool(np.isinf(curve.means[max(0, lowest - 1) : lowest + 2]).any())


def _holes_near_minimum(curve: Curve) -> Floats:
    """Returns the holes among the two declared neighbours on each side of the minimum."""
    lowest = curve.log2[int(np.argmin(curve.means))]
    grid = np.sort(np.concatenate([curve.log2, curve.holes]))
    at = int(np.searchsorted(grid, lowest))
    near = grid[max(0, at - REACH) : at + REACH + 1]
    return np.intersect1d(near, curve.holes)


def _optimum(
    curve: Curve,
    noise: Noise,
    reading: Reading,
    fit: Smooth,
    dip: float,
    misfit: Floats,
    estimator: str,
    draws: _Draws,
) -> Optimum:
    """Returns the optimum of a curve; ``dip`` as :func:`doubts` returns it, ``misfit`` as
    :func:`unexplained` does."""
    doubted = not np.isnan(dip)
    if doubted:
        fit = replace(fit, centre=curve.means)
    resamples, dof = draws.resamples, interval_dof(curve, fit.weights, noise)
    drawn_seeds = _drawn_seeds(draws.words("losses"), seeds_drawn(curve, fit, noise), resamples)
    losses = resampled(curve, fit, noise, drawn_seeds, draws.spread(dof))
    every = np.concatenate([curve.means[None, :], fit.centre[None, :], losses])
    losses = losses + draws.misfit(misfit)  # rivals show a wrong shape by what they say
    own = np.concatenate([every[:2], losses])
    unseen = draws.higher()
    seen = curve.log2[fit.weights > LEAST_SHARE]
    moved = draws.moved(curve) + draws.aliased(seen, float(curve.log2[np.argmin(curve.means)]))
    left, right = _basin_ends(curve, noise)
    measured, drawn, raw = {}, {}, {}
    for name in dict.fromkeys((*COMPARED, estimator)):
        asked = own if name == estimator else every[: 2 + RIVAL_RESAMPLES]
        rows = len(asked)
        read = ESTIMATORS["argmin" if doubted else name]
        raw[name] = read(curve.log2, asked, replace(reading, unseen=unseen[:rows]))
        found = replace(raw[name], shape=None)
        measured[name] = found.part(slice(0, 1))
        errors = found.part(slice(2, None)).moved_to(measured[name], found.part(slice(1, 2)))
        drawn[name] = errors.within(left, right).moved(moved[: rows - 2])
    if noise.source == "grid bracket" or doubted:
        bracket = _bracket_draws(curve, draws.rng("bracket"), resamples)
        if doubted:
            bracket = replace(bracket, loss=raw[estimator].loss[2:])
        drawn = {name: bracket.part(slice(0, len(each.log2))) for name, each in drawn.items()}
    main = measured[estimator]
    shapes = {name: raw[name].shape for name in COMPARED}
    heard = COMPARED if doubted else believed(curve, noise, dof, misfit, shapes)
    low, high, flags = _interval_and_flags(curve, noise, estimator, measured, drawn, heard)
    loss_low, loss_high = loss_interval(noise, estimator, measured, drawn, heard)
    if doubted:
        lowest = int(np.argmin(curve.means))
        low = min(low, float(curve.log2[lowest - 1]))
        high = max(high, float(curve.log2[lowest + 1]))
        loss_low -= dip
    inside = fit.weights > 0
    if not set(flags) & {"censored_low", "censored_high", "cliff"}:
        doubts: dict[Flag, bool] = {
            "poor_fit": reading.reach < SKEW_REACH or doubted,
            "few_points": int(np.sum(inside)) < FEW_POINTS,
        }
        flags += tuple(flag for flag, raised in doubts.items() if raised)
    source: NoiseSource = "seeds" if own_seeds(curve, fit.weights) else noise.source
    return Optimum(
        scale=curve.scale,
        log2=float(main.log2[0]),
        low=low,
        high=high,
        loss=float(main.loss[0]),
        loss_low=loss_low,
        loss_high=loss_high,
        curvature=float(main.curvature[0]),
        points=int(np.isfinite(curve.means).sum()),
        estimator=estimator,
        noise=noise.level,
        noise_source=source,
        noise_dof=dof,
        flags=flags,
        estimators={name: float(vertex.log2[0]) for name, vertex in measured.items()},
        answered=curve.answered,
        declared=curve.declared,
        seeds=int(curve.counts[inside].min()),
        grid=curve.log2,
        losses=curve.means,
        shape=raw[estimator].part(slice(0, 1)).shape,
        resamples=Resamples(
            losses=losses,
            vertices=raw[estimator].part(slice(2, None)),
        ),
        draws=drawn,
        measured=measured,
    )


def _basin_ends(curve: Curve, noise: Noise) -> tuple[float, float]:
    """Returns the log2 of the nearest points on each side of the lowest that are worse beyond
    doubt, between which the minimum of a curve with one basin lies; infinite where none is."""
    variance = noise.at(curve) ** 2 / curve.counts
    lowest = int(np.argmin(curve.means))
    worse = curve.means - curve.means[lowest] > WORSE_SIGMAS * np.sqrt(variance + variance[lowest])
    left, right = curve.log2[:lowest][worse[:lowest]], curve.log2[lowest:][worse[lowest:]]
    return (
        float(left[-1]) if len(left) and noise.level else -np.inf,
        float(right[0]) if len(right) and noise.level else np.inf,
    )


def loss_interval(
    noise: Noise,
    estimator: str,
    measured: Mapping[str, Vertices],
    draws: Mapping[str, Vertices],
    heard: Sequence[str],
) -> tuple[float, float]:
    """Returns the 95% interval of the tuned loss: that of the resamples, with what the estimators
    that are heard say in it; open where nothing tells the noise."""
    if noise.source == "grid bracket":
        return -np.inf, np.inf
    loss, spread = float(measured[estimator].loss[0]), draws[estimator].loss
    low, high = quantile_interval(spread, spread)
    others = [
        rival_of(float(measured[name].loss[0]), draws[name].loss, spread)
        for name in heard
        if name != estimator
    ]
    low, high = stretch(loss, low, high, others, contain_all=False)
    return min(low, loss), max(high, loss)


def _interval_and_flags(
    curve: Curve,
    noise: Noise,
    estimator: str,
    measured: Mapping[str, Vertices],
    draws: Mapping[str, Vertices],
    heard: Sequence[str],
) -> tuple[float, float, tuple[Flag, ...]]:
    main, spread = measured[estimator], draws[estimator]
    flags: list[Flag] = list(_edge_flags(curve))
    low, high = quantile_interval(spread.low, spread.high)
    if not flags:
        others = _rivals(estimator, measured, draws, heard)
        contain_all = noise.source not in REPLICATED
        value = float(main.log2[0])
        low, high = stretch(value, low, high, others, contain_all=contain_all)
        others = _rivals(estimator, measured, draws, COMPARED)
        for above in _cut_off(curve):
            low, high = reflect(value, low, high, others, above=above)
        diverged = curve.log2[np.isinf(curve.means)]  # an optimum lies before them
        low = max([low, *diverged[diverged < value][-1:].tolist()])
        high = min([high, *diverged[diverged > value][:1].tolist()])
    low, high = min(low, float(main.low[0])), max(high, float(main.high[0]))
    twin = _twin(curve, noise)
    if twin is not None:
        flags.append("bimodal")
        low, high = min(low, twin), max(high, twin)
    finite = curve.log2[np.isfinite(curve.means)]
    lost = not set(flags) & {"censored_low", "censored_high", "cliff"} and main.low < main.high
    if lost or (len(finite) > 2 and low <= finite[0] and high >= finite[-1]):
        flags.append("flat")
    if len(_holes_near_minimum(curve)):
        flags.append("sparse")
    return low, high, tuple(flags)


def _cut_off(curve: Curve) -> list[bool]:
    """Returns the sides of the minimum, True for above, that a divergence cuts off before the
    default window ends.

    There the curve rises steeply and too few points show it, so that estimates lie too far from
    the divergence, by half of their interval's half width (docs/statistics.md).
    """
    lowest = int(np.argmin(curve.means))
    below = curve.means[max(0, lowest - REACH - 1) : lowest]
    above = curve.means[lowest + 1 : lowest + REACH + 2]
    return [side for side, part in ((False, below), (True, above)) if np.isinf(part).any()]


def _rivals(
    estimator: str,
    measured: Mapping[str, Vertices],
    draws: Mapping[str, Vertices],
    heard: Sequence[str],
) -> list[RivalEstimate]:
    """Returns what other estimators say of the same curve."""
    main = draws[estimator].log2
    return [
        rival_of(float(measured[name].log2[0]), draws[name].log2, main)
        for name in heard
        if name != estimator
    ]


def _edge_flags(curve: Curve) -> tuple[Flag, ...]:
    lowest = int(np.argmin(curve.means))
    flags: list[Flag] = []
    if lowest == 0:
        flags.append("censored_low")
    if lowest == len(curve.means) - 1:
        flags.append("censored_high")
    if not np.isfinite(curve.means[max(0, lowest - 1) : lowest + 2]).all():
        flags.append("cliff")
    return tuple(flags)


def _twin(curve: Curve, noise: Noise) -> float | None:
    """Returns the place of a second minimum that noise cannot tell from the first, or None."""
    error = noise.level * np.sqrt(2 / np.median(curve.counts))
    lowest = int(np.argmin(curve.means))
    for other in np.argsort(curve.means, kind="stable").tolist():
        gap = curve.means[other] - curve.means[lowest]
        if gap > TIE_SIGMAS * error:
            return None
        between = curve.means[min(lowest, other) + 1 : max(lowest, other)]
        if len(between) and between.max() - curve.means[other] > BUMP_SIGMAS * error:
            return float(curve.log2[other])
    return None


def _bracket_draws(curve: Curve, rng: Generator, resamples: int) -> Vertices:
    """Returns draws that are uniform over the bracket of the lowest point: all that is known
    where nothing tells the noise. An open side stays open."""
    window = find_fit_windows(curve.log2, curve.means[None, :], reach=1, wall=np.inf)
    bottom = float(curve.log2[window.lowest[0]])
    low, high = float(window.low[0]), float(window.high[0])
    left = low if np.isfinite(low) else bottom
    right = high if np.isfinite(high) else bottom
    place = rng.uniform(left, right, resamples)
    bounded = bool(window.bounded[0])
    return Vertices(
        log2=place,
        low=place if bounded else np.full(resamples, low),
        high=place if bounded else np.full(resamples, high),
        loss=np.full(resamples, curve.means.min()),
        curvature=np.full(resamples, np.nan),
    )
