"""Whether the fit of a curve is believed: the widest window that its points do not contradict,
and curves that no fit through their lowest points follows.

Beside runs that blew up by little, less than a steep basin might rise there, the minimum of every
fit lies too deep and too far from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtrc, fdtrc

from sweeper.analysis.optimum.cliff import STEEPEST
from sweeper.analysis.optimum.curve import Curve, Floats
from sweeper.analysis.optimum.estimators import (
    REACH,
    SKEW_MISFIT,
    SKEW_REACH,
    Reading,
    Shape,
    skewed_fit,
)
from sweeper.analysis.optimum.noise import REPLICATED, Noise, excess, read_alike, reading_of
from sweeper.analysis.optimum.window import find_fit_windows

MISFIT_LEVEL = 0.01
"""Probability under which the residuals of a fit are no noise."""

TINY = np.finfo(float).tiny
"""Variance of a seed mean at the least, so that it divides."""

DOUBT_SIGMAS = 2.5
"""Standard errors from which on a curvature is beyond what a steep basin allows."""

SHARED_SIGMAS = 1.0
"""The same where that of another curve of the group is."""


def best_readings(curves: Sequence[Curve], noise: Noise) -> list[Reading]:
    """Returns how each curve of a group is read: with the widest window whose fit neither its own
    points contradict nor those of all its curves together.

    A residual counts against the standard error of its point and the share ``SKEW_MISFIT`` of its
    loss above the minimum, which no such polynomial follows.
    """
    readings = [replace(reading_of(curve, noise), reach=1) for curve in curves]
    if noise.level == 0:
        return [replace(reading, reach=SKEW_REACH) for reading in readings]
    for reach in range(2, SKEW_REACH + 1):
        tried = [replace(reading, reach=reach) for reading in readings]
        misfits = _misfits(curves, tried)
        alone = chdtrc(misfits[:, 1], misfits[:, 0]) > MISFIT_LEVEL
        squares, dof = misfits[alone].sum(axis=0)
        if alone.any() and chdtrc(dof, squares) > MISFIT_LEVEL:
            readings = [tried[i] if alone[i] else readings[i] for i in range(len(curves))]
    return readings


def _misfits(curves: Sequence[Curve], readings: Sequence[Reading]) -> Floats:
    """Returns for each of C curves the weighted squares of the residuals of its fit in units of
    what they may be, and their degrees of freedom, shape [C, 2]."""
    found = np.empty((len(curves), 2))
    for rows, log2, means, reading in read_alike(curves, readings):
        typical = find_fit_windows(log2, means, reach=REACH).typical
        above = np.stack([excess(curves[row]) for row in rows])
        error = np.reshape(reading.error, (-1, 1))
        if reading.precision is not None:
            error = error / np.sqrt(reading.precision)
        error = np.hypot(error, SKEW_MISFIT * np.maximum(above, typical[:, None]))
        window, fit = skewed_fit(log2, means, reading, stiff=True)
        inside = window.weights > 0
        residual = np.where(inside, means - fit.at(log2), 0.0)
        found[rows, 0] = np.sum(window.weights * (residual / error) ** 2, axis=1)
        found[rows, 1] = np.maximum(window.weights.sum(axis=1) - 3, 1.0)
    return found


def doubts(curves: Sequence[Curve], noise: Noise, readings: Sequence[Reading]) -> list[float]:
    """Returns for each curve of a group how far below its lowest seed mean the loss may fall
    where its points contradict any fit through the lowest of them; NaN where they do not.

    They do where even the narrowest window misfits, and where the curvature at the lowest point is
    beyond what the points on either side allow: the curvature there, grown on the way to the
    lowest point as in a basin with a steep wall (``STEEPEST``). Where one curve is steeper than
    that beyond doubt, ``DOUBT_SIGMAS``, the others of the group need ``SHARED_SIGMAS`` only.
    Where fewer than two points lie on both sides nothing is known of that.
    """
    found = [math.nan] * len(curves)
    if noise.source == "grid bracket":
        return found
    bends = [_bends(curve, noise) for curve in curves]
    sigmas = DOUBT_SIGMAS
    if any(bend is not None and bend.steep(DOUBT_SIGMAS) for bend in bends):
        sigmas = SHARED_SIGMAS
    for index, (curve, reading, bend) in enumerate(zip(curves, readings, bends, strict=True)):
        if bend is not None and (bend.steep(sigmas) or _is_misfit(curve, reading)):
            found[index] = bend.dip
    return found


@dataclass(frozen=True, kw_only=True)
class _Bends:
    """Second derivatives of a curve per octave^2, each with its standard error.

    Attributes:
        here: at the lowest point.
        allowed: the most that the points on each side allow there.
        apart: distance of the lowest point from its farther neighbour, in octaves.
    """

    here: tuple[float, float]
    allowed: tuple[tuple[float, float], ...]
    apart: float

    def steep(self, sigmas: float) -> bool:
        """Returns whether the curvature is beyond what a side allows."""
        here, error = self.here
        return any(here - most > sigmas * math.hypot(error, blur) for most, blur in self.allowed)

    @property
    def dip(self) -> float:
        """How far a parabola falls below the lowest point, half of the way to its neighbour."""
        most = [value for value, _ in (self.here, *self.allowed) if value > 0]
        return min(most, default=0.0) * self.apart**2 / 8


def _bends(curve: Curve, noise: Noise) -> _Bends | None:
    """Returns the curvatures of a curve; None where its lowest point is not inside."""
    lowest, last = int(np.argmin(curve.means)), len(curve.means) - 1
    if not (0 < lowest < last and np.isfinite(curve.means[lowest - 1 : lowest + 2]).all()):
        return None
    errors = noise.at(curve) / np.sqrt(curve.counts)
    apart = np.diff(curve.log2)[lowest - 1 : lowest + 1].tolist()
    allowed = []
    for side, way in zip((-1, 1), apart, strict=True):
        middle = lowest + side
        if 0 < middle < last and np.isfinite(curve.means[middle + side]):
            bend, error = _curvature(curve, errors, middle)
            growth = math.exp(STEEPEST * way)
            allowed.append((growth * max(bend, 0.0), growth * error))
    here = _curvature(curve, errors, lowest)
    return _Bends(here=here, allowed=tuple(allowed), apart=max(apart))


def unexplained(
    curves: Sequence[Curve], noise: Noise, readings: Sequence[Reading]
) -> list[Floats]:
    """Returns by how much (standard deviation) the seed means of each curve may lie off its own
    fit beyond noise, shape [K]: what its shape does that no such polynomial follows.

    A share of the loss above the minimum, or of what is typical in the window, that all curves
    of a group have in common; 0 where noise explains the residuals (at ``MISFIT_LEVEL``), and
    where it was itself read from residuals.
    """
    found = [np.zeros(len(curve.means)) for curve in curves]
    if noise.source not in REPLICATED:
        return found
    squares, variances, sizes, spare = [], [], [], 0.0
    for rows, log2, means, reading in read_alike(curves, readings):
        typical = find_fit_windows(log2, means, reach=REACH).typical[:, None]
        above = np.maximum(np.stack([excess(curves[row]) for row in rows]), typical)
        error = np.stack([noise.at(curves[row]) ** 2 / curves[row].counts for row in rows])
        window, fit = skewed_fit(log2, means, reading)
        inside, weights = window.weights > 0, window.weights
        squares.append(weights * np.where(inside, means - fit.at(log2), 0.0) ** 2)
        variances.append(np.maximum(error, TINY))
        sizes.append(above)
        spare += float(np.maximum(weights.sum(axis=1) - 3, 1.0).sum())
        for row, size in zip(rows, np.where(inside, above, 0.0), strict=True):
            found[row] = size
    flat = [np.concatenate([x.ravel() for x in part]) for part in (squares, variances, sizes)]
    share = _share(flat[0], flat[1], flat[2], spare)
    return [share * size for size in found]


def believed(
    curve: Curve,
    noise: Noise,
    dof: float,
    misfit: Floats,
    shapes: Mapping[str, Shape | None],
) -> list[str]:
    """Returns the estimators whose fits the points of a curve do not contradict.

    They do where residuals are beyond noise and what the points lie off the main fit (at
    ``MISFIT_LEVEL``). Only noise between seeds can tell.

    Args:
        curve: the curve.
        noise, dof: its noise, and the degrees of freedom behind that.
        misfit: what :func:`unexplained` returns of the curve.
        shapes: what was fitted, by name of the estimator; None where it has no residuals.
    """
    if noise.source not in REPLICATED:
        return list(shapes)
    variance = np.maximum(noise.at(curve) ** 2 / curve.counts + misfit**2, TINY)
    found = []
    for name, shape in shapes.items():
        if shape is not None:
            weights = shape.weights[0]
            residual = np.where(weights > 0, curve.means - shape.fit.at(curve.log2)[0], 0.0)
            spare = max(float(weights.sum()) - 3, 1.0)
            ratio = float(np.sum(weights * residual**2 / variance)) / spare
            if fdtrc(spare, dof, ratio) <= MISFIT_LEVEL:
                continue
        found.append(name)
    return found


def _share(squares: Floats, variances: Floats, sizes: Floats, spare: float) -> float:
    """Returns the share of their sizes by which residuals lie off fits beyond noise, with
    which the sum of their squares over their variances is what their degrees of freedom make
    expect (Paule and Mandel 1982); 0 where noise explains it (at ``MISFIT_LEVEL``)."""

    def surprise(share: float) -> float:
        return float(np.sum(squares / (variances + (share * sizes) ** 2)))

    if chdtrc(spare, surprise(0.0)) > MISFIT_LEVEL:
        return 0.0
    low, high = 0.0, 1.0
    while surprise(high) > spare:
        high *= 2
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if surprise(middle) > spare else (low, middle)
    return high


def _is_misfit(curve: Curve, reading: Reading) -> bool:
    """Returns whether the points of the narrowest window contradict their own fit."""
    if reading.reach > 1:
        return False
    squares, dof = _misfits([curve], [reading])[0]
    return bool(chdtrc(dof, squares) <= MISFIT_LEVEL)


def _curvature(curve: Curve, errors: Floats, middle: int) -> tuple[float, float]:
    """Returns the second derivative of the parabola through a point and its two neighbours, per
    octave^2, and its standard error, from the standard errors of the points."""
    x, near = curve.log2, slice(middle - 1, middle + 2)
    before, after = x[middle] - x[middle - 1], x[middle + 1] - x[middle]
    weights = 2 / (before + after) * np.array([1 / before, -1 / before - 1 / after, 1 / after])
    return float(weights @ curve.means[near]), float(np.linalg.norm(weights * errors[near]))
