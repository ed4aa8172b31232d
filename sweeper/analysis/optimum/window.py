"""The window of a curve: its lowest point, the window that is fitted, and the bracket.

Everything is done for R curves at once, all of them over the same K points: the resamples of one,
or the measured ones of several scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.analysis.optimum.curve import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Level = float | Floats
"""One number for R curves, or one each, shape [R]."""

WALL = 4.0
"""Points this many times the window's median excess loss above the minimum weigh exp(-1).

In a regular five-point window the outer neighbours of a parabola lie at 4 times the median,
so they still count; a divergence wall lies at 10 times and more, and weighs nothing."""

LEAST_WEIGHT = 1e-8
"""Keeps three-point fits determined where one of the points is a wall."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FitWindow:
    """Where R curves have their minima, as indices into the K points.

    Attributes:
        lowest: index of the smallest loss, shape [R].
        first, last: the window that is fitted, inclusive, shape [R].
        weights: weight of each point in the fit, 0 outside the window, shape [R, K].
        low, high: neighbours of the lowest point in log2, which bracket the minimum of a curve
            with one basin, shape [R]; -inf or +inf where the grid ends, the position of the
            nearest diverged point where the neighbour diverged.
        bounded: True where the lowest point has a finite neighbour on both sides, shape [R].
        typical: median excess loss of the window above its minimum, shape [R]; NaN where all
            points of the window weigh 1, which need no such yardstick.
    """

    lowest: Ints
    first: Ints
    last: Ints
    weights: Floats
    low: Floats
    high: Floats
    bounded: Bools
    typical: Floats


def find_fit_windows(
    log2: Floats, losses: Floats, *, reach: int, tolerance: Level = 0.0, wall: float = WALL
) -> FitWindow:
    """Returns the windows of R curves.

    Args:
        log2: positions of the points, rising, shape [K].
        losses: losses, +inf where diverged, shape [R, K]; every curve has a finite one.
        reach: grid neighbours on each side of the minimum that belong to the window.
        tolerance: the window is widened to every point whose loss is within this much of the
            minimum, so that a grid finer than the noise is still read as a whole; one for all
            curves or one each, shape [R], all of them 0 or none.
        wall: multiple of the median excess loss at which weights have fallen to exp(-1); with
            infinity all points of the window weigh 1.
    """
    places = np.arange(len(log2))
    lowest = np.argmin(losses, axis=1)
    begins, ends = _segments(np.isfinite(losses), lowest)
    first, last = _window(losses, lowest, begins, ends, reach, tolerance)
    inside = (places >= first[:, None]) & (places <= last[:, None])
    near = slice(int(first.min()), int(last.max()) + 1)
    weights = np.zeros(losses.shape)
    weights[:, near], typical = fall_off(
        losses[:, near], lowest - near.start, inside[:, near], tolerance, wall
    )
    padded = np.concatenate([[-np.inf], log2, [np.inf]])
    return FitWindow(
        lowest=lowest,
        first=first,
        last=last,
        weights=weights,
        low=padded[lowest],
        high=padded[lowest + 2],
        bounded=(lowest > begins) & (lowest < ends),
        typical=typical,
    )


def _segments(finite: Bools, lowest: Ints) -> tuple[Ints, Ints]:
    """Returns for each curve the first and last index of the finite points round its lowest."""
    rows = np.arange(len(finite))
    if (finite == finite[0]).all():  # as resamples are
        finite, rows = finite[:1], np.zeros_like(rows)
    places = np.arange(finite.shape[1])
    begin = np.maximum.accumulate(np.where(finite, 0, places + 1), axis=1)
    end = np.where(finite, places[-1], places - 1)[:, ::-1]
    return begin[rows, lowest], np.minimum.accumulate(end, axis=1)[:, ::-1][rows, lowest]


def _window(
    losses: Floats, lowest: Ints, begins: Ints, ends: Ints, reach: int, tolerance: Level
) -> tuple[Ints, Ints]:
    points = losses.shape[1]
    first, last = lowest - reach, lowest + reach
    if np.any(tolerance):
        places = np.arange(points)
        near = losses <= np.min(losses, axis=1, keepdims=True) + np.reshape(tolerance, (-1, 1))
        near &= (places >= begins[:, None]) & (places <= ends[:, None])
        first = np.minimum(first, np.argmax(near, axis=1))
        last = np.maximum(last, points - 1 - np.argmax(near[:, ::-1], axis=1))
    first, last = np.maximum(first, begins), np.minimum(last, ends)
    # A parabola needs three points: beside an edge the window leans to the other side.
    return np.maximum(np.minimum(first, last - 2), begins), np.minimum(
        np.maximum(last, first + 2), ends
    )


def fall_off(
    losses: Floats, lowest: Ints, inside: Bools, tolerance: Level, wall: float
) -> tuple[Floats, Floats]:
    """Returns the weights exp(-(excess / (wall * median excess))^2) inside the window, 0 outside,
    shape [R, K], and the median excess loss of each window, shape [R]; NaN with an endless wall.

    Args:
        losses: losses, shape [R, K].
        lowest: index of the smallest loss, shape [R].
        inside: the points of the window, all of them finite, shape [R, K].
        tolerance, wall: as in :func:`find_fit_windows`.
    """
    if np.isinf(wall):
        return inside.astype(np.float64), np.full(len(losses), np.nan)
    least = np.take_along_axis(losses, lowest[:, None], axis=1)
    excess = np.where(inside, losses - least, np.inf)
    middle = np.sum(inside, axis=1, keepdims=True) // 2
    typical = np.take_along_axis(np.sort(excess, axis=1), middle, axis=1)
    width = np.maximum(wall * typical, np.reshape(tolerance, (-1, 1)))
    # Where half of the window ties with the minimum no excess is typical, and all weigh 1.
    ratio = np.divide(excess, width, out=np.zeros_like(excess), where=inside & (width > 0))
    weights = np.where(inside, np.maximum(np.exp(-(ratio**2)), LEAST_WEIGHT), 0.0)
    return weights, typical[:, 0]
