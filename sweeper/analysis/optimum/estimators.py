"""Estimators of the optimum by name: each reads R curves at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sweeper.analysis.optimum import cubics
from sweeper.analysis.optimum.curve import Floats
from sweeper.analysis.optimum.polynomial import Polynomials, Unseen, fit_parabolas, fit_shrunk
from sweeper.analysis.optimum.window import FitWindow, Level, find_fit_windows
from sweeper.errors import UnknownNameError

REACH = 2
"""Grid neighbours on each side of the minimum in the default window: five points."""

SKEW_REACH = 4
"""Neighbours on each side in the window of the shrunk polynomials: nine points."""

SKEW_PRIORS = (0.3, 0.06, 0.01)
"""Typical ratios of the cubic, quartic and quintic coefficients to the quadratic one, in octaves:
those of exp(b t) - b t, a line to the left and an exponential wall to the right, at b near
0.85."""

USUAL_WALL = 0.85
"""That b, per octave."""

SKEW_MISFIT = 0.1
"""What no such polynomial follows, as a share of the window's typical excess loss; it shrinks
the higher terms like noise, so that they do not chase one point on a wall.

Chosen with the ratios and the window on curves of that form with b from 0.5 to 1.2, a parabola, a
quartic, log cosh, a kink and a wall at the last point, over grids of one and half an octave, 5
to 9 points, and noise of 0.001 and 0.01: the error was 0.024 and 0.105 octaves in the geometric
mean, against 0.051 and 0.122 of a shrunk cubic and 0.094 and 0.161 of a parabola."""

FEW_POINTS = 5
"""Points in a fit below which its shape is guessed rather than seen."""

TOLERANCE_SIGMAS = 3.0
"""Points within this many standard errors of the minimum belong to its window."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """The polynomials that were fitted near the minima of R curves.

    Attributes:
        weights: weights of the points in the fits, 0 outside their windows, shape [R, K].
        fit: R polynomials.
    """

    weights: Floats
    fit: Polynomials

    def part(self, rows: slice) -> Shape:
        """Returns some of the fits."""
        return Shape(weights=self.weights[rows], fit=self.fit.part(rows))


@dataclass(frozen=True, kw_only=True, eq=False)
class Vertices:
    """What an estimator says about R curves, or about R clouds of two hyperparameters.

    Attributes:
        log2: the estimate, shape [R], or [R, 2] of two hyperparameters; the lowest point where
            the optimum is only bounded.
        low, high: the set that the losses allow, shaped like ``log2``: the estimate itself, or
            its bounds where the minimum lies at an edge, beside a divergence or in a window
            without a minimum.
        loss: fitted loss at the estimate, shape [R].
        curvature: second derivatives there in loss / octave^2, shape [R], or [R, 2, 2] of two
            hyperparameters; NaN if unknown.
        shape: the fits of ``quadratic`` and ``skewed`` that it was read from, else None.
    """

    log2: Floats
    low: Floats
    high: Floats
    loss: Floats
    curvature: Floats
    shape: Shape | None = None

    def moved(self, octaves: Floats) -> Vertices:
        """Returns the vertices of the same curves, moved, by octaves of shape [R]."""
        return replace(
            self, log2=self.log2 + octaves, low=self.low + octaves, high=self.high + octaves
        )

    def moved_to(self, measured: Vertices, centre: Vertices) -> Vertices:
        """Returns resamples moved by the distance from the centre's optimum to the measured one.

        Resamples are drawn round a smooth centre, where the estimator may read another optimum
        than on the measured curve; that difference is no error and is taken out.

        Args:
            measured, centre: the optima of the measured points and of the smooth centre that
                resamples are drawn round; where one is only bounded, nothing is moved.
        """
        if any(np.any(one.low != one.high) for one in (measured, centre)):
            return self
        return replace(
            self.moved(measured.log2 - centre.log2), loss=self.loss + measured.loss - centre.loss
        )

    def within(self, low: float, high: float) -> Vertices:
        """Returns the vertices, those beyond either end of a range of log2 put there."""
        places = {
            name: np.clip(getattr(self, name), low, high) for name in ("log2", "low", "high")
        }
        return replace(self, **places)

    def part(self, rows: slice) -> Vertices:
        """Returns what was said about some of the curves."""
        return Vertices(
            log2=self.log2[rows],
            low=self.low[rows],
            high=self.high[rows],
            loss=self.loss[rows],
            curvature=self.curvature[rows],
            shape=None if self.shape is None else self.shape.part(rows),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """How the points of one curve and of its resamples are read, or those of R curves.

    Attributes:
        error: standard error of a seed mean near the minimum, of all curves or of each, [R].
        precision: variance of a run there over that at each point, shape [K] or [R, K]; None
            where the noise is the same at all points.
        reach: grid neighbours on each side in the window of the shrunk polynomials.
        unseen: what each curve takes its terms beyond the parabola to be where its points do not
            say, see :class:`Unseen`, shape [R, 3]; None for 0.
    """

    error: Level
    precision: Floats | None = None
    reach: int = SKEW_REACH
    unseen: Floats | None = None

    def weighted(self, window: FitWindow) -> Floats:
        """Returns the weights of the points in a fit, shape [R, K]."""
        return window.weights if self.precision is None else window.weights * self.precision


Estimator = Callable[[Floats, Floats, Reading], Vertices]
"""(log2 [K], losses [R, K], how they are read) -> vertices of R curves."""


def quadratic(log2: Floats, losses: Floats, reading: Reading) -> Vertices:
    """Vertex of the weighted parabola through the window (see :mod:`window`)."""
    window = default_windows(log2, losses, reading)
    fit = fit_parabolas(log2, losses, reading.weighted(window), log2[window.lowest])
    return _parabola(log2, losses, window, fit)


def skewed(log2: Floats, losses: Floats, reading: Reading) -> Vertices:
    """Minimum of the weighted quintic through nine points, its higher terms shrunk by the noise.

    Follows asymmetric curves, whose steep side pushes the vertex of a parabola away.
    """
    window, fit = skewed_fit(log2, losses, reading)
    place, curvature = fit.minima(log2[window.first], log2[window.last])
    return _fitted(log2, losses, window, fit, place, curvature)


def default_windows(log2: Floats, losses: Floats, reading: Reading) -> FitWindow:
    """Returns the windows that ``quadratic`` fits: five points, more if noise blurs them."""
    return find_fit_windows(log2, losses, reach=REACH, tolerance=TOLERANCE_SIGMAS * reading.error)


def skewed_fit(
    log2: Floats, losses: Floats, reading: Reading, *, stiff: bool = False
) -> tuple[FitWindow, Polynomials]:
    """Returns the windows that ``skewed`` fits, and its polynomials; ``stiff`` shrinks their
    higher terms as if all points were as precise."""
    tolerance = TOLERANCE_SIGMAS * reading.error
    window = find_fit_windows(log2, losses, reach=reading.reach, tolerance=tolerance)
    weights = reading.weighted(window)
    typical = window.typical if stiff else _typical(losses, window, weights)
    noise = np.hypot(reading.error, SKEW_MISFIT * typical)
    unseen = None
    if reading.unseen is not None:
        few = np.sum(weights, axis=1) < FEW_POINTS
        unseen = Unseen(error=np.where(few, noise, reading.error), terms=reading.unseen)
    fit = fit_shrunk(
        log2,
        losses,
        weights,
        log2[window.lowest],
        noise=noise,
        priors=SKEW_PRIORS,
        unseen=unseen,
    )
    return window, fit


def _typical(losses: Floats, window: FitWindow, weights: Floats) -> Floats:
    """Returns the typical excess loss of each window, shape [R]; where points are not all as
    precise, as much less of it as the mean excess is with their weights in the fit, [R, K]."""
    if weights is window.weights:
        return window.typical
    above = np.where(window.weights > 0, losses - np.min(losses, axis=1, keepdims=True), 0.0)
    alike, weighed = (
        np.sum(each * above, axis=1) / np.sum(each, axis=1) for each in (window.weights, weights)
    )
    smaller = np.divide(weighed, alike, out=np.ones_like(alike), where=alike > weighed)
    return np.asarray(window.typical * smaller)


def alias_size(log2: Floats, place: float) -> float:
    """Returns the octaves by which a term that no point of a fit sees moves its minimum.

    The K points at ``log2`` do not see a multiple of prod_k (t - t_k). In exp(b t) - b t the term
    of order K is 2 b^(K - 2) / K! of the quadratic one. Terms up to the order of ``skewed``
    are drawn with its fits, see :class:`Unseen`; 0 with so few points.

    Args:
        log2: the points, shape [K].
        place: log2 of the minimum.
    """
    order = len(log2)
    if order < 3 + len(SKEW_PRIORS):
        return 0.0
    away = np.abs(log2 - place)
    apart = np.delete(away, np.argmin(away))  # the slope at a point is the product of the others
    return float(USUAL_WALL ** (order - 2) / math.factorial(order) * np.prod(apart))


def quadratic3(log2: Floats, losses: Floats, reading: Reading) -> Vertices:
    """Vertex of the parabola through the lowest point and its two neighbours.

    The estimator of arXiv 2512.05620; noise plays no part.
    """
    window = find_fit_windows(log2, losses, reach=1, wall=np.inf)
    fit = fit_parabolas(log2, losses, window.weights, log2[window.lowest])
    return replace(_parabola(log2, losses, window, fit), shape=None)


def argmin(log2: Floats, losses: Floats, reading: Reading) -> Vertices:
    """The lowest grid point; noise plays no part."""
    window = find_fit_windows(log2, losses, reach=1, wall=np.inf)
    place = log2[window.lowest]
    exact = Vertices(
        log2=place,
        low=place,
        high=place,
        loss=np.min(losses, axis=1),
        curvature=np.full(len(losses), np.nan),
    )
    return _bounded(log2, losses, window, exact)


def spline(log2: Floats, losses: Floats, reading: Reading) -> Vertices:
    """Minimum of the cubic spline through the finite points round the lowest.

    The estimator that reproduces the fits of arXiv 2512.22768; noise plays no part.
    """
    window = find_fit_windows(log2, losses, reach=len(log2), wall=np.inf)
    place, loss = log2[window.lowest].copy(), np.min(losses, axis=1)
    curvature = np.full(len(losses), np.nan)
    for first, last in set(zip(window.first.tolist(), window.last.tolist(), strict=True)):
        if last - first < 2:
            continue
        rows = np.flatnonzero((window.first == first) & (window.last == last))
        part = slice(first, last + 1)
        curve = cubics.spline(log2[part], losses[rows, part])
        lowest = window.lowest[rows] - first
        place[rows], loss[rows], curvature[rows] = _spline_minimum(curve, lowest)
    exact = Vertices(log2=place, low=place, high=place, loss=loss, curvature=curvature)
    return _bounded(log2, losses, window, exact)


ESTIMATORS: dict[str, Estimator] = {
    "quadratic": quadratic,
    "skewed": skewed,
    "quadratic3": quadratic3,
    "spline": spline,
    "argmin": argmin,
}

DEFAULT = "skewed"
"""The estimator where none is asked for. On basins with one steep side a parabola over a grid of
octaves is 0.2 to 0.4 octaves off (docs/statistics.md), and measured basins have one."""

SHARED = "shared"
"""The estimator that reads all scales together (:mod:`sweeper.analysis.optimum.shared`)."""

COMPARED = ("quadratic", "skewed", "quadratic3", "spline")
"""Estimators whose disagreement is part of every interval. The grid argmin is left out: its
error is the grid spacing, which says nothing about the others."""


def require_estimator(name: str) -> None:
    """Checks that there is an estimator of that name, of single scales or of all together.

    Raises:
        UnknownNameError: there is none.
    """
    if name != SHARED:
        estimator_named(name)


def estimator_named(name: str) -> Estimator:
    """Returns an estimator of single scales.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in ESTIMATORS:
        raise UnknownNameError("estimator", name, (*ESTIMATORS, SHARED))
    return ESTIMATORS[name]


def _parabola(log2: Floats, losses: Floats, window: FitWindow, fit: Polynomials) -> Vertices:
    vertex, curvature = fit.vertices()
    place = np.clip(vertex, log2[window.first], log2[window.last])
    return _fitted(log2, losses, window, fit, place, curvature)


def _fitted(
    log2: Floats,
    losses: Floats,
    window: FitWindow,
    fit: Polynomials,
    minimum: Floats,
    curvature: Floats,
) -> Vertices:
    """Returns vertices from the minima of fits inside their windows, NaN where there is none."""
    found = np.isfinite(minimum)
    left, right = log2[window.first], log2[window.last]
    place = np.where(found, minimum, log2[window.lowest])
    exact = Vertices(
        log2=place,
        # A window without a minimum says no more than that the minimum is somewhere in it.
        low=np.where(found, place, left),
        high=np.where(found, place, right),
        loss=np.where(found, fit.at(place[:, None])[:, 0], np.min(losses, axis=1)),
        curvature=curvature,
        shape=Shape(weights=window.weights, fit=fit),
    )
    return _bounded(log2, losses, window, exact)


def _bounded(log2: Floats, losses: Floats, window: FitWindow, exact: Vertices) -> Vertices:
    """Turns estimates into bounds where the minimum is at an edge or beside a divergence."""
    # An estimate on the very edge of the grid was clamped there; a divergence is a true bound.
    floor, ceiling = np.where(np.isfinite(losses[0, [0, -1]]), log2[[0, -1]], [-np.inf, np.inf])
    low = np.where(exact.low <= floor, -np.inf, exact.low)
    high = np.where(exact.high >= ceiling, np.inf, exact.high)
    return replace(
        exact,
        log2=np.where(window.bounded, exact.log2, log2[window.lowest]),
        low=np.where(window.bounded, low, window.low),
        high=np.where(window.bounded, high, window.high),
        loss=np.where(window.bounded, exact.loss, np.min(losses, axis=1)),
    )


def _spline_minimum(curve: cubics.Cubics, lowest: cubics.Ints) -> tuple[Floats, Floats, Floats]:
    """Returns place, loss and curvature of the minimum in the two cells beside ``lowest``."""
    rows, knots = np.arange(len(lowest)), curve.x
    place, loss = knots[lowest], curve.y[rows, lowest]
    for side in (0, -1):
        cell = np.clip(lowest + side, 0, len(knots) - 2)
        constant, slope, bend, cubic = (each[:, 0] for each in curve.powers(cell[:, None]))
        if side == 0:
            curvature = 2 * bend + 6 * cubic * (place - knots[cell])
        inner = bend * bend - 3 * cubic * slope
        with np.errstate(divide="ignore", invalid="ignore"):
            # The root of the derivative with positive second derivative, free of cancellation.
            t = -slope / (bend + np.sqrt(inner))
            at = constant + t * (slope + t * (bend + t * cubic))
        better = (t > 0) & (t < knots[cell + 1] - knots[cell]) & (at < loss)
        t = np.where(better, t, 0.0)  # elsewhere it may be infinite
        place = np.where(better, knots[cell] + t, place)
        curvature = np.where(better, 2 * bend + 6 * cubic * t, curvature)
        loss = np.where(better, at, loss)
    return place, loss, curvature
