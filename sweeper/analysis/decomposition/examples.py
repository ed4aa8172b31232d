"""Easy and hard examples by the directions that change their losses (arXiv 2512.22768).

Legend: N examples, directions in octaves: 1, 2, 3 to 4, 5 to 8...
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

EASY, HARD = 0.25, 0.05
"""Shares of the examples with the lowest and with the highest index, as in the source."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subsets:
    """Examples by the mean index of the directions that change their losses.

    Attributes:
        index: MCI of each example, [N], from 1.
        easy: places of those with the lowest.
        hard: places of those with the highest.
    """

    index: Floats
    easy: Places
    hard: Places


def mean_index(psi: Floats) -> Floats:
    """Returns MCI of each example, [N]: the mean index of the directions, each by the share of
    the absolute change of the example's loss along it.

    Args:
        psi: changes by octave of the direction, [N, octaves]; an octave counts as its middle,
            and what directions of one octave do against each other is not seen.
    """
    sizes = np.abs(psi)
    total = sizes.sum(1, keepdims=True)
    shares = np.divide(sizes, total, out=np.zeros_like(sizes), where=total > 0)
    found: Floats = shares @ octave_middles(psi.shape[1])
    return found


def octave_middles(count: int) -> Floats:
    """Returns the middle of each octave of directions: 1, 2, 3.5, 6.5, 12.5..."""
    ends = 2.0 ** np.arange(count)
    return np.concatenate([[1.0], (ends[:-1] + 1 + ends[1:]) / 2])


def subsets(psi: Floats, *, easy: float = EASY, hard: float = HARD) -> Subsets:
    """Returns the easiest and the hardest examples, one of each at least.

    Args:
        psi: changes by octave of the direction, [N, octaves].
        easy, hard: shares of the examples.
    """
    index = mean_index(psi)
    order = np.argsort(index, kind="stable")
    first = max(1, round(easy * len(order)))
    last = max(1, round(hard * len(order)))
    return Subsets(index=index, easy=np.sort(order[:first]), hard=np.sort(order[-last:]))


@dataclass(frozen=True, kw_only=True)
class Lowest:
    """Where a curve of losses is lowest.

    Attributes:
        log2: of the hyperparameter, by a parabola through the lowest point and its neighbours.
        loss: there.
        edge: True if the lowest point is at an end, where the optimum is only a bound.
    """

    log2: float
    loss: float
    edge: bool


def lowest(x: Floats, y: Floats) -> Lowest:
    """Returns the minimum of a curve y over x = log2 of the hyperparameter, rising."""
    place = int(np.argmin(y))
    if place in (0, len(x) - 1):
        return Lowest(log2=float(x[place]), loss=float(y[place]), edge=True)
    near = slice(place - 1, place + 2)
    a, b, c = np.polyfit(x[near] - x[place], y[near], 2)
    shift = -b / (2 * a) if a > 0 else 0.0
    return Lowest(log2=float(x[place] + shift), loss=float(c + b * shift / 2), edge=False)


def slope(scales: Sequence[float], places: Sequence[float]) -> float:
    """Returns octaves by which an optimum moves when the scale doubles, by least squares; NaN
    of fewer than two scales."""
    if len(scales) < 2:
        return math.nan
    x = np.log2(scales)
    x = x - x.mean()
    return float(x @ np.asarray(places) / (x @ x))


def rank_correlation(x: Floats, y: Floats) -> float:
    """Returns Spearman's rank correlation, ties at their mean rank; NaN where one is constant."""
    first, second = _ranks(x), _ranks(y)
    spread = float(first.std() * second.std())
    if spread == 0:
        return math.nan
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    found: Floats = (ends - (counts - 1) / 2.0)[place]
    return found
