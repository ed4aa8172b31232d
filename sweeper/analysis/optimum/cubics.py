"""Cubics from point to point through R curves at once: interpolation and splines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.analysis.optimum.curve import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cubics:
    """R curves over the same points, each a cubic between neighbours.

    Attributes:
        x: positions of the points, rising, two at least, shape [K].
        y: values there, finite, shape [R, K].
        slopes: derivatives there, shape [R, K].
    """

    x: Floats
    y: Floats
    slopes: Floats

    def powers(self, cell: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """Returns what stands before 1, t, t^2 and t^3 in cells, t counted from their left ends.

        Args:
            cell: one cell of each curve or more, from 0 on, shape [R, P].
        """
        rows = np.arange(len(self.y))[:, None]
        width = self.x[cell + 1] - self.x[cell]
        start, rise = self.y[rows, cell], (self.y[rows, cell + 1] - self.y[rows, cell]) / width
        first, last = self.slopes[rows, cell], self.slopes[rows, cell + 1]
        turn = (first + last - 2 * rise) / width
        return start, first, (rise - first) / width - turn, turn / width

    def at(self, places: Floats) -> Floats:
        """Returns the values at places of each curve within its points, shape [R, P] both."""
        cell = np.clip(np.searchsorted(self.x, places, side="right") - 1, 0, len(self.x) - 2)
        start, slope, bend, cubic = self.powers(cell)
        t = places - self.x[cell]
        return np.asarray(start + t * (slope + t * (bend + t * cubic)))


def interpolation(x: Floats, y: Floats) -> Cubics:
    """Returns curves that rise where their points rise and fall where they fall.

    The slope at a point is the harmonic mean of those beside it, weighted by their lengths, and
    0 at an extremum (Fritsch and Butland 1984); at the ends that of a parabola through three
    points, as far as it keeps the shape.
    """
    width, rise = np.diff(x), np.diff(y, axis=1) / np.diff(x)
    if len(x) == 2:
        return Cubics(x, y, np.repeat(rise, 2, axis=1))
    left, right = rise[:, :-1], rise[:, 1:]
    near, far = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    slopes = np.zeros_like(y)
    steady = left * right > 0
    total = near * right + far * left
    np.divide((near + far) * left * right, total, out=slopes[:, 1:-1], where=steady)
    slopes[:, 0] = _end_slopes(*width[:2], *rise[:, :2].T)
    slopes[:, -1] = _end_slopes(*width[:-3:-1], *rise[:, :-3:-1].T)
    return Cubics(x, y, slopes)


def _end_slopes(width: float, next_width: float, rise: Floats, next_rise: Floats) -> Floats:
    slope = ((2 * width + next_width) * rise - width * next_rise) / (width + next_width)
    slope = np.where(slope * rise > 0, slope, 0.0)
    turns = (rise * next_rise < 0) & (np.abs(slope) > 3 * np.abs(rise))
    return np.where(turns, 3 * rise, slope)


def spline(x: Floats, y: Floats) -> Cubics:
    """Returns the curves through three points or more whose second derivatives are continuous,
    and the third at the last points but one too; of three points, the parabola."""
    width, rise = np.diff(x), np.diff(y, axis=1) / np.diff(x)
    matrix, right = np.zeros((len(x), len(x))), np.zeros_like(y)
    inner = np.arange(1, len(x) - 1)
    matrix[inner, inner - 1], matrix[inner, inner + 1] = width[1:], width[:-1]
    matrix[inner, inner] = 2 * (width[:-1] + width[1:])
    right[:, 1:-1] = 3 * (width[1:] * rise[:, :-1] + width[:-1] * rise[:, 1:])
    for end, way in ((0, 1), (-1, -1)):
        wide, next_wide = width[::way][:2]
        steep, next_steep = rise[:, ::way][:, :2].T
        if len(x) == 3:
            matrix[end, [end, end + way]], right[:, end] = 1.0, 2 * steep
            continue
        both = wide + next_wide
        matrix[end, [end, end + way]] = next_wide, both
        right[:, end] = ((wide + 2 * both) * next_wide * steep + wide**2 * next_steep) / both
    return Cubics(x, y, np.asarray(np.linalg.solve(matrix, right.T).T, np.float64))
