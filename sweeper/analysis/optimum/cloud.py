"""Loss over two hyperparameters at one place: scattered points with their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.analysis.optimum.curve import SAME_LOG2_DECIMALS, Curve, Floats, measured_curves
from sweeper.analysis.optimum.window import Bools

if TYPE_CHECKING:
    from scipy.interpolate import LinearNDInterpolator

ON_GRID = 1.5
"""Points per distinct value of an axis from which on its values count as a grid."""

BESIDE = 1.5
"""Grid steps in the other hyperparameter within which points count as beside each other."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """Loss against log2 of two hyperparameters at one place; need be no complete grid.

    Attributes:
        label: how messages name the place.
        names: the two hyperparameters.
        log2: positions of the K points that have a result, shape [K, 2], ordered by the second,
            then the first hyperparameter.
        means: seed means of the loss, shape [K]; +inf where any seed diverged.
        runs: per point the losses of its seeds, in the order of ``seeds``.
        seeds: per point the seeds behind it, rising.
        holes: positions that were declared and have no result at all, shape [H, 2].
        answered: trials with a result.
        declared: trials declared, results or not.
        stated: standard deviation of one result at each point as it is stated, NaN where it is
            not, shape [K].
    """

    label: str
    names: tuple[str, str]
    log2: Floats
    means: Floats
    runs: tuple[Floats, ...]
    seeds: tuple[tuple[int, ...], ...]
    holes: Floats
    answered: int
    declared: int
    stated: Floats

    @property
    def counts(self) -> NDArray[np.int64]:
        """Seeds per point, shape [K]."""
        return np.array([len(run) for run in self.runs], dtype=np.int64)

    @cached_property
    def spacing(self) -> Floats:
        """Typical step of each hyperparameter in octaves, shape [2]."""
        return np.array([_spacing(column) for column in self.log2.T])

    @cached_property
    def brackets(self) -> Brackets:
        """What lies beside each point."""
        return _brackets(self)

    def between(self, log2: Floats) -> Floats:
        """Returns losses at positions [t, 2], interpolated linearly between the finite points;
        NaN outside of them, shape [t]."""
        if self._interpolator is None:
            return np.full(len(log2), np.nan)
        return np.asarray(self._interpolator(log2 / self.spacing), dtype=np.float64)

    @cached_property
    def _interpolator(self) -> LinearNDInterpolator | None:
        # Imported here: few ask for two hyperparameters, and it takes as long as all of NumPy.
        from scipy.interpolate import LinearNDInterpolator
        from scipy.spatial import QhullError

        finite = np.isfinite(self.means)
        try:
            return LinearNDInterpolator(self.log2[finite] / self.spacing, self.means[finite])
        except QhullError:  # points on one line span no triangle
            return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Brackets:
    """The neighbours of K points in each hyperparameter.

    Attributes:
        low, high: position of the neighbour below and above, shape [K, 2]; infinite without one.
        finite_low, finite_high: whether there is one that did not diverge, shape [K, 2].
    """

    low: Floats
    high: Floats
    finite_low: Bools
    finite_high: Bools

    @property
    def bounded(self) -> Bools:
        """True where a hyperparameter has finite neighbours on both sides, shape [K, 2]."""
        return self.finite_low & self.finite_high


def measured_cloud(frame: pd.DataFrame, *, names: tuple[str, str], label: str) -> Cloud:
    """Returns the cloud of the trials at one place.

    Args:
        frame: trials with the columns ``names``, ``seed``, ``loss`` and ``outcome``; the order
            of rows and columns does not matter, and a row that stands there twice counts once.
        names: the two hyperparameters.
        label: how messages name the place.

    Raises:
        AnalysisRefusal: as :func:`measured_curves` does.
    """
    curves = measured_curves(frame, scale=names[1], hyperparameter=names[0])
    return Cloud(
        label=label,
        names=names,
        log2=np.concatenate([_positions(curve, curve.log2) for curve in curves]),
        means=np.concatenate([curve.means for curve in curves]),
        runs=tuple(run for curve in curves for run in curve.runs),
        seeds=tuple(seeds for curve in curves for seeds in curve.seeds),
        holes=np.concatenate([_positions(curve, curve.holes) for curve in curves]),
        answered=sum(curve.answered for curve in curves),
        declared=sum(curve.declared for curve in curves),
        stated=np.concatenate([curve.stated for curve in curves]),
    )


def _positions(curve: Curve, first: Floats) -> Floats:
    second = np.full(len(first), np.round(np.log2(curve.scale), SAME_LOG2_DECIMALS))
    return np.stack([first, second], axis=1)


def _spacing(values: Floats) -> float:
    """Returns the median gap of a grid's values; of scattered ones, as if they were a grid as
    wide as the square root of their number."""
    distinct = np.unique(values)
    if len(distinct) < 2:
        return 1.0
    if len(values) >= ON_GRID * len(distinct):
        return float(np.median(np.diff(distinct)))
    return float(np.ptp(distinct)) / max(1.0, float(np.sqrt(len(values))) - 1)


def _brackets(cloud: Cloud) -> Brackets:
    finite = np.isfinite(cloud.means)
    away = (cloud.log2[None, :, :] - cloud.log2[:, None, :]) / cloud.spacing
    found = {}
    for side in (-1, 1):
        place = np.full(cloud.log2.shape, side * np.inf)
        good = np.zeros(cloud.log2.shape, dtype=bool)
        for axis in (0, 1):
            step = side * away[:, :, axis]
            beside = (step > 1e-6) & (np.abs(away[:, :, 1 - axis]) <= BESIDE)
            nearest = np.min(np.where(beside, step, np.inf), axis=1)
            # Points hardly farther than the nearest are its equals in the other hyperparameter.
            next_to = beside & (step <= nearest[:, None] + 0.5)
            good[:, axis] = np.any(next_to & finite, axis=1)
            some = np.isfinite(nearest)
            step_back = side * nearest[some] * cloud.spacing[axis]
            place[some, axis] = cloud.log2[some, axis] + step_back
        found[side] = (place, good)
    return Brackets(
        low=found[-1][0],
        high=found[1][0],
        finite_low=found[-1][1],
        finite_high=found[1][1],
    )


def holes_near(cloud: Cloud, reach: float) -> Floats:
    """Returns the holes within so many grid steps of the lowest point, shape [H, 2]."""
    lowest = cloud.log2[int(np.argmin(cloud.means))]
    near = np.all(np.abs(cloud.holes - lowest) <= (reach + 1e-6) * cloud.spacing, axis=1)
    return np.asarray(cloud.holes[near])


def named(places: Floats) -> Sequence[str]:
    """Returns positions as a reader would name them, for example ``(0.01, 64)``."""
    return [f"({2.0**first:.6g}, {2.0**second:.6g})" for first, second in places.tolist()]
