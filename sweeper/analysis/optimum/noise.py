"""How noisy one run is, and resampled curves that are as noisy as the measured ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import chdtri

from sweeper.analysis.optimum.curve import Curve, Floats, over_same_points
from sweeper.analysis.optimum.estimators import (
    SKEW_REACH,
    TOLERANCE_SIGMAS,
    Reading,
    skewed_fit,
)
from sweeper.analysis.optimum.seed_shift import (
    STILL,
    SeededPoints,
    SeedShift,
    seed_effects,
    seed_shift,
    slopes,
)
from sweeper.analysis.optimum.window import WALL, find_fit_windows

NoiseSource = Literal["seeds", "seed replicates pooled", "stated", "fit residuals", "grid bracket"]
"""Where the noise of an interval comes from: the seeds of that scale (bootstrap), replicates of
all scales, the results themselves, the residuals of the fits of all scales, or nowhere: with one
seed and no spare point the noise is unknown, and the interval is the bracket of the lowest grid
point."""

REPLICATED = ("seeds", "seed replicates pooled", "stated")
"""Sources that measure noise between seeds; residuals cannot tell it from a wrong shape."""

BOOTSTRAP_SEEDS = 3
"""Seeds at every point of a window from which its own seeds are resampled."""

LEAST_REPLICATE_DOF = 3
"""With fewer degrees of freedom than this, replicates say less than the fit residuals."""

GROWTH_RATIO = 6.63
"""Twice the log likelihood ratio, chi2 of one degree of freedom at 1%, at which noise is said to
grow with the loss."""

GROWTHS = np.concatenate([[0.0], np.geomspace(0.1, 1000.0, 81)])
"""Ratios of the noise at the typical loss above the minimum to that at the minimum, tried."""

ROUNDS = 10
"""Of reading the effects of seeds and the noise, each with the other, at most."""

LEAST_SHARE = 1e-3
"""Weight in the fit from which on a point tells how noise grows with the loss."""

STATED_DOF = 1e6
"""Degrees of freedom of a noise that was stated: it is taken as known."""

LEAST_STATED = 0.1
"""Share of the typical stated noise that a point is taken to have at the least: one that states
next to none would decide a fit alone."""

LEAST_TRACE = 0.1
"""Weighted residual degrees of freedom, summed over scales, that can tell a noise level."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Noise of single runs near the minima of all scales.

    Attributes:
        level: standard deviation of the loss of one run at a minimum; 0 where it is unknown.
        dof: degrees of freedom behind the level; 0 where it is unknown.
        source: where the level comes from.
        growth: by how much the standard deviation of a run grows for each unit of loss above
            the minimum; 0 where nothing shows that it does.
        shift: how far seeds move whole curves.
    """

    level: float
    dof: float
    source: NoiseSource
    growth: float = 0.0
    shift: SeedShift = STILL

    def at(self, curve: SeededPoints) -> Floats:
        """Returns the standard deviation of the loss of a run at each point, shape [K]: what the
        point itself states, where it does."""
        modelled = np.asarray(np.hypot(self.level, self.growth * excess(curve)))
        if self.source != "stated":
            return modelled
        stated = np.maximum(curve.stated, LEAST_STATED * self.level)
        return np.where(np.isfinite(stated), stated, modelled)


def error_of(curve: SeededPoints, noise: Noise) -> float:
    """Returns the standard error of a typical seed mean of a curve near its minimum."""
    return noise.level / float(np.sqrt(np.median(curve.counts)))


def reading_of(curve: SeededPoints, noise: Noise) -> Reading:
    """Returns how the points of a curve are read under a noise."""
    if noise.level == 0 or (noise.growth == 0 and noise.source != "stated"):
        return Reading(error=error_of(curve, noise))
    return Reading(error=error_of(curve, noise), precision=(noise.level / noise.at(curve)) ** 2)


def excess(curve: SeededPoints) -> Floats:
    """Returns the losses of a curve above its lowest, shape [K]; 0 where runs diverged."""
    above = curve.means - np.min(curve.means)
    return np.where(np.isfinite(above), above, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Smooth:
    """The shrunk polynomial through one measured curve, around which resamples are drawn.

    Attributes:
        weights: weights of the points in the fit, shape [K].
        centre: fitted losses where the fit has weight, measured ones elsewhere, shape [K].
    """

    weights: Floats
    centre: Floats


def smoothed(curves: Sequence[Curve], readings: Sequence[Reading]) -> list[Smooth]:
    """Returns the smooth version of each curve."""
    found: dict[int, Smooth] = {}
    for rows, log2, means, reading in read_alike(curves, readings):
        window, fit = skewed_fit(log2, means, reading)
        inside = window.weights > 0
        moved = window.weights * (fit.at(log2) - np.where(inside, means, 0.0))
        centres = means + np.where(inside, moved, 0.0)
        found |= {
            row: Smooth(weights=weights, centre=centre)
            for row, weights, centre in zip(rows, window.weights, centres, strict=True)
        }
    return [found[row] for row in range(len(curves))]


def read_alike(
    curves: Sequence[Curve], readings: Sequence[Reading]
) -> Iterator[tuple[list[int], Floats, Floats, Reading]]:
    """Yields the indices of C curves over the same points that are read through windows of the
    same reach, with the points [K], the seed means [C, K] and how they are read."""
    for reach in sorted({reading.reach for reading in readings}):
        chosen = [row for row, reading in enumerate(readings) if reading.reach == reach]
        for rows, log2, means in over_same_points([curves[row] for row in chosen]):
            own = [chosen[row] for row in rows]
            every = [readings[row].precision for row in own]
            known = [each for each in every if each is not None]
            yield (
                own,
                log2,
                means,
                Reading(
                    error=np.array([readings[row].error for row in own]),
                    precision=np.stack(known) if known else None,
                    reach=reach,
                ),
            )


def pooled_noise(curves: Sequence[Curve]) -> Noise:
    """Returns the noise of single runs, pooled over scales.

    The windows are found twice: nine points first, then widened by the noise found there. What
    results state of their noise goes before what is measured.
    """
    noise = Noise(level=0.0, dof=0.0, source="grid bracket")
    known = stated_noise([curve.stated for curve in curves], _windows(curves, noise))
    if known is not None:
        return known
    for _ in range(2):
        windows = _windows(curves, noise)
        noise = replicate_noise(curves, windows) or _residuals(curves, windows)
    if noise.source not in REPLICATED:
        return noise
    noise = _by_level(curves, windows, noise)
    shift = seed_shift(curves, [noise.at(curve) for curve in curves], windows)
    if shift is STILL:
        return noise
    return _by_level(curves, windows, replace(noise, shift=shift, growth=0.0))


def _by_level(curves: Sequence[Curve], windows: Sequence[Floats], noise: Noise) -> Noise:
    """Returns a noise whose level is that at the minima where runs show that it grows with the
    loss: sd^2 = level^2 + (growth * loss above the minimum)^2, by maximum likelihood.

    Each point of a window has a variance between seeds that follows chi2, what a seed does to all
    points alike taken out. The model is kept where it is far likelier than one level for all.
    """
    shifted = noise.shift is not STILL
    found = noise
    for _ in range(ROUNDS):  # seeds' effects are read with the noise, the noise without them
        squares, dofs, above = [], [], []
        for curve, weights in zip(curves, windows, strict=True):
            inside = np.flatnonzero(weights > LEAST_SHARE).tolist()
            slope = slopes(curve) if shifted else None
            effects = seed_effects(curve, inside, slope, found.at(curve))
            squares.append(effects.squares)
            dofs.append(((curve.counts - 1) * (1 - effects.leverage))[inside])
            above.append(excess(curve)[inside])
        before = found
        found = _grown(np.concatenate(squares), np.concatenate(dofs), np.concatenate(above), noise)
        if abs(found.level - before.level) < 0.01 * found.level:
            break
    return found


def _grown(squares: Floats, dofs: Floats, above: Floats, noise: Noise) -> Noise:
    """Returns the likeliest noise of :func:`_by_level`.

    Args:
        squares: sum of squares between the seeds of each point, what a seed does to all points
            alike taken out, shape [n].
        dofs: degrees of freedom of each, shape [n].
        above: loss of each point above the minimum of its curve, shape [n].
        noise: the noise with one level for all.
    """
    total = float(dofs.sum())
    if total < LEAST_REPLICATE_DOF or not squares.any() or not above.any():
        return noise
    typical = float(np.median(above[above > 0]))
    ratios = 1 + (GROWTHS[:, None] * above / typical) ** 2
    levels = (squares / ratios).sum(axis=1) / total
    surprise = (dofs * np.log(levels[:, None] * ratios)).sum(axis=1)
    best = int(np.argmin(surprise))
    best = best if surprise[0] - surprise[best] > GROWTH_RATIO else 0
    level = float(np.sqrt(levels[best]))
    # A point far above the minimum says little of the level there.
    dof = max(float(np.sum(dofs / ratios[best] ** 2)), 1.0)
    return replace(noise, level=level, dof=dof, growth=level * float(GROWTHS[best]) / typical)


def stated_noise(errors: Sequence[Floats], windows: Sequence[Floats]) -> Noise | None:
    """Returns the noise of single results as they state it; None if none does.

    Args:
        errors: standard deviation of one result at the points of a curve, NaN where it is not
            stated, shape [K] each.
        windows: weights of the points, shape [K] each.
    """
    every, weights = np.concatenate(errors), np.concatenate(windows)
    known = np.isfinite(every) & (weights > 0)
    if not known.any():
        return None
    typical = float(np.sqrt(np.average(every[known] ** 2, weights=weights[known])))
    precise = np.maximum(every[known], LEAST_STATED * typical)
    if typical > 0:  # the level of the mean precision: points that state less noise say more
        typical = float(np.average(precise**-2, weights=weights[known]) ** -0.5)
    return Noise(level=typical, dof=STATED_DOF, source="stated")


def own_seeds(curve: SeededPoints, weights: Floats) -> bool:
    """Returns whether every point of the window has enough seeds to resample them."""
    return bool(np.all(curve.counts[weights > 0] >= BOOTSTRAP_SEEDS))


def interval_dof(curve: SeededPoints, weights: Floats, noise: Noise) -> float:
    """Returns the degrees of freedom behind the noise of one curve's interval: those of its own
    seeds where they are resampled, else the pooled ones; 0 where the noise is unknown."""
    if not _resamples_seeds(curve, weights, noise):
        return noise.dof
    return seed_effects(curve, np.flatnonzero(weights > 0).tolist(), None).dof


def _resamples_seeds(curve: SeededPoints, weights: Floats, noise: Noise) -> bool:
    """Returns whether the runs' own deviations are resampled: not where they follow a model."""
    modelled = noise.growth != 0 or noise.shift is not STILL or noise.source == "stated"
    return own_seeds(curve, weights) and not modelled


def seeds_drawn(curve: SeededPoints, fit: Smooth, noise: Noise) -> tuple[int, ...]:
    """Returns how many seeds of its own are resampled at each point; 0 where the noise is."""
    bootstrap = _resamples_seeds(curve, fit.weights, noise)
    return tuple(n if bootstrap and n >= BOOTSTRAP_SEEDS else 0 for n in curve.counts.tolist())


def draw(rng: Generator, counts: Sequence[int], resamples: int) -> tuple[NDArray[Any], ...]:
    """Returns how often each resample takes each seed of a point, shape [R, count], and standard
    normals, shape [R], for the points where the count is 0."""
    rows = np.arange(resamples)[:, None]
    return tuple(
        np.bincount(
            (rng.integers(0, count, size=(resamples, count)) + count * rows).reshape(-1),
            minlength=resamples * count,
        )
        .astype(np.uint16)
        .reshape(resamples, count)
        if count
        else rng.standard_normal(resamples)
        for count in counts
    )


def level_spread(dof: float, chi2_quantiles: Floats) -> Floats:
    """Returns the noise level of each resample over the measured one, shape [R], 0 where that is
    unknown: drawn from what its degrees of freedom leave open, so that percentiles widen as
    Student's t does.

    Args:
        dof: degrees of freedom behind the level.
        chi2_quantiles: the quantile of chi2 that each resample takes, shape [R], the same for
            all scales of a group: they share a pooled level, and must not average its error away.
    """
    if dof <= 0:
        return np.zeros(len(chi2_quantiles))
    # chdtri inverts the upper tail.
    return np.asarray(np.sqrt(dof / chdtri(dof, 1 - chi2_quantiles)))


def resampled(
    curve: SeededPoints,
    fit: Smooth,
    noise: Noise,
    drawn: Sequence[NDArray[Any]],
    spread: Floats,
) -> Floats:
    """Returns resampled seed means of a curve, shape [R, K]; +inf stays +inf.

    Args:
        curve: the measured curve.
        fit: its smooth version.
        noise: the pooled noise, for points without seeds of their own.
        drawn: the seeds and the noise of :func:`draw`.
        spread: noise level of each resample, see :func:`level_spread`, shape [R].
    """
    bootstrap = _resamples_seeds(curve, fit.weights, noise)
    deviations = _deviations(curve, fit.weights) if bootstrap else ()
    levels = noise.at(curve)
    losses = np.empty((len(spread), len(curve.runs)))
    for index, (run, each) in enumerate(zip(curve.runs, drawn, strict=True)):
        if each.ndim > 1:
            # Sorted, so that the names of the seeds do not decide which one is drawn.
            shift = each @ np.sort(deviations[index]) / len(run)
        else:
            shift = each * levels[index] / np.sqrt(len(run))
        losses[:, index] = fit.centre[index] + spread * shift
    return losses


def _deviations(curve: SeededPoints, weights: Floats) -> tuple[Floats, ...]:
    """Returns per point the deviations of its seeds, scaled to the runs' variance.

    Where all points of the window have the same seeds, what a seed adds to all of them alike
    moves no minimum and is taken out (common random numbers).
    """
    inside = np.flatnonzero(weights > 0).tolist()
    effects = seed_effects(curve, inside, None)
    known = dict(zip(curve.seeds[inside[0]], effects.points[0], strict=False))
    shared = 1 / len(inside) if effects.leverage.any() else 0.0
    deviations = []
    for run, mean, seeds in zip(curve.runs, curve.means, curve.seeds, strict=True):
        if not np.isfinite(mean) or len(run) < 2:
            deviations.append(np.zeros(len(run)))
            continue
        left = run - mean - np.array([known.get(seed, 0.0) for seed in seeds])
        left -= left.mean()
        lost = 1 / len(run)
        kept = (1 - lost) * (1 - shared)
        deviations.append(left / np.sqrt(kept))
    return tuple(deviations)


def _windows(curves: Sequence[Curve], noise: Noise) -> list[Floats]:
    """Returns the weights of the points of each curve that tell the noise, shape [K] each.

    The window of the shrunk polynomials, with less weight far above the minimum: there the curve
    leaves the cubic that stands for it here, which is not noise.
    """
    found: dict[int, Floats] = {}
    errors = np.array([error_of(curve, noise) for curve in curves])
    for rows, log2, means in over_same_points(curves):
        window = find_fit_windows(
            log2,
            means,
            reach=SKEW_REACH,
            tolerance=TOLERANCE_SIGMAS * errors[rows],
            wall=WALL / 2,
        )
        found |= dict(zip(rows, window.weights, strict=True))
    return [found[row] for row in range(len(curves))]


def replicate_noise(curves: Sequence[SeededPoints], windows: Sequence[Floats]) -> Noise | None:
    """Returns the noise between seeds, pooled over all windows; None if too little."""
    squares = dof = 0.0
    for curve, weights in zip(curves, windows, strict=True):
        effects = seed_effects(curve, np.flatnonzero(weights > 0).tolist(), None)
        squares += float(effects.squares.sum())
        dof += effects.dof
    if dof < LEAST_REPLICATE_DOF:
        return None
    return Noise(level=float(np.sqrt(squares / dof)), dof=dof, source="seed replicates pooled")


def _residuals(curves: Sequence[Curve], windows: Sequence[Floats]) -> Noise:
    """Returns the noise that the residuals of cubics through all windows show."""
    designs = []
    for curve, weights in zip(curves, windows, strict=True):
        inside = weights > 0
        t = curve.log2 - curve.log2[inside].mean()
        designs.append(np.stack([t**power for power in range(min(4, inside.sum()))], axis=1))
    return residual_noise(curves, windows, designs)


def residual_noise(
    measured: Sequence[SeededPoints], windows: Sequence[Floats], designs: Sequence[Floats]
) -> Noise:
    """Returns the noise that the weighted residuals of fits through all windows show.

    With residuals r = (I - H) y of a weighted fit, E[r' W r] = sigma^2 tr(A), A = (I - H)' W
    (I - H), and the matching chi2 has tr(A)^2 / tr(A^2) degrees of freedom (Satterthwaite).

    Args:
        measured: points with their seeds, K of them each.
        windows: weights of the points, 0 outside the window, shape [K] each.
        designs: terms of the fit at the points, of full rank inside the window, [K, p] each.
    """
    squares = trace = trace2 = 0.0
    for points, every, terms in zip(measured, windows, designs, strict=True):
        inside = every > 0
        weights, powers = every[inside], terms[inside]
        weighted = powers * weights[:, None]
        leftover = np.eye(len(weights)) - powers @ np.linalg.solve(powers.T @ weighted, weighted.T)
        form = leftover.T @ (weights[:, None] * leftover)
        residual = leftover @ points.means[inside]
        # A mean of n seeds has 1/n of the variance of a run.
        count = float(np.median(points.counts[inside]))
        squares += count * float(residual @ (weights * residual))
        trace += float(np.trace(form))
        trace2 += float(np.sum(form * form))
    if trace < LEAST_TRACE:
        return Noise(level=0.0, dof=0.0, source="grid bracket")
    level = float(np.sqrt(squares / trace))
    return Noise(level=level, dof=trace**2 / trace2, source="fit residuals")
