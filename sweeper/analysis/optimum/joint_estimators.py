"""Estimators of a joint optimum: each reads R clouds over the same points at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sweeper.analysis.optimum.cloud import Cloud
from sweeper.analysis.optimum.curve import Floats
from sweeper.analysis.optimum.estimators import TOLERANCE_SIGMAS, Vertices
from sweeper.analysis.optimum.noise import (
    Noise,
    Smooth,
    error_of,
    replicate_noise,
    residual_noise,
    stated_noise,
)
from sweeper.analysis.optimum.surface import (
    Surfaces,
    Windows,
    find_windows,
    fit_cubic_surfaces,
    fit_paraboloids,
    surface_terms,
)
from sweeper.analysis.optimum.window import WALL, Bools

MAIN = "quadratic2d"
"""The estimator behind an optimum."""

REACH = 2.0
"""Grid steps on each side of the lowest point in its window: up to 25 points."""

NARROW = 1.0
"""Grid steps in the narrow window: up to 9 points."""

WIDE = 3.0
"""Grid steps in the window of the cubic surfaces: up to 49 points."""

LEAST_POINTS = 9
"""Points of a window at the least, where a grid has holes: half as many again as terms."""

CUBIC_PRIOR = 0.3
"""Typical ratio of cubic to quadratic terms, per octave: that of basins of the learning rate
with a steep side (exp(b t) - b t, b near 1)."""


JointEstimator = Callable[[Cloud, Floats, float], tuple[Windows, Surfaces]]
"""(cloud, losses [R, K], standard error of a loss) -> windows and surfaces of R clouds."""


def quadratic2d(cloud: Cloud, losses: Floats, error: float) -> tuple[Windows, Surfaces]:
    """Paraboloid through the points within two grid steps of the lowest, and those as low as
    it within the noise; divergence walls weigh little."""
    windows = _windows(cloud, losses, REACH, TOLERANCE_SIGMAS * error, WALL)
    return windows, fit_paraboloids(cloud.log2, losses, windows.weights)


def narrow2d(cloud: Cloud, losses: Floats, error: float) -> tuple[Windows, Surfaces]:
    """Paraboloid through the lowest point and its neighbours; noise plays no part."""
    windows = _windows(cloud, losses, NARROW, 0.0, np.inf)
    return windows, fit_paraboloids(cloud.log2, losses, windows.weights)


def cubic2d(cloud: Cloud, losses: Floats, error: float) -> tuple[Windows, Surfaces]:
    """Cubic surface through the points within three grid steps, its cubic terms shrunk by the
    noise: follows basins with a steep side."""
    windows = _windows(cloud, losses, WIDE, TOLERANCE_SIGMAS * error, 2 * WALL)
    weights = windows.weights
    fit = fit_cubic_surfaces(cloud.log2, losses, weights, noise=error, prior=CUBIC_PRIOR)
    return windows, fit


JOINT_ESTIMATORS: dict[str, JointEstimator] = {
    MAIN: quadratic2d,
    "narrow2d": narrow2d,
    "cubic2d": cubic2d,
}
"""Estimators by name; their disagreement is part of every interval."""


def _windows(cloud: Cloud, losses: Floats, reach: float, tolerance: float, wall: float) -> Windows:
    return find_windows(
        cloud.log2,
        losses,
        cloud.spacing,
        reach=reach,
        least=LEAST_POINTS,
        tolerance=tolerance,
        wall=wall,
    )


def estimate_joint(name: str, cloud: Cloud, losses: Floats, error: float) -> Vertices:
    """Returns what an estimator says about R clouds.

    Args:
        name: a key of :data:`JOINT_ESTIMATORS`.
        cloud: the points.
        losses: losses there, shape [R, K]; +inf where the cloud's mean is.
        error: standard error of a loss.
    """
    windows, fit = JOINT_ESTIMATORS[name](cloud, losses, error)
    place, hessian, found = fit.minima()
    there = found[:, None]
    exact = np.where(there, _inside(place, hessian, found, windows), cloud.log2[windows.lowest])
    finite = cloud.log2[np.isfinite(cloud.means)]
    # An estimate on the very edge of the grid was clamped there, and a window without a minimum
    # says no more than that the minimum is somewhere in it.
    low = np.where(exact <= finite.min(axis=0), -np.inf, exact)
    high = np.where(exact >= finite.max(axis=0), np.inf, exact)
    vertices = Vertices(
        log2=exact,
        low=np.where(there, low, windows.low),
        high=np.where(there, high, windows.high),
        loss=np.where(found, fit.each_at(exact), np.min(losses, axis=1)),
        curvature=np.where(found[:, None, None], hessian, np.nan),
    )
    return _bounded(cloud, losses, windows, vertices)


def _inside(place: Floats, hessian: Floats, found: Bools, windows: Windows) -> Floats:
    """Returns minima within their windows: where one hyperparameter is clamped, the other takes
    its best value there."""
    clamped = np.clip(place, windows.low, windows.high)
    out = clamped.copy()
    for axis in (0, 1):
        other = 1 - axis
        moved = clamped[:, axis] - place[:, axis]
        beyond = found & (moved != 0)
        bend = np.where(found, hessian[:, other, other], 1.0)
        best = place[:, other] - hessian[:, other, axis] / bend * moved
        best = np.clip(best, windows.low[:, other], windows.high[:, other])
        out[:, other] = np.where(beyond, best, out[:, other])
    return out


def _bounded(cloud: Cloud, losses: Floats, windows: Windows, exact: Vertices) -> Vertices:
    """Turns estimates into bounds where the lowest point is at an edge or beside a divergence.

    The other hyperparameter is then the best one at that edge only, and says nothing.
    """
    brackets, lowest = cloud.brackets, windows.lowest
    bounded = brackets.bounded[lowest]
    every: Bools = np.all(bounded, axis=1, keepdims=True)
    return Vertices(
        log2=np.where(every, exact.log2, cloud.log2[lowest]),
        low=np.where(every, exact.low, np.where(bounded, -np.inf, brackets.low[lowest])),
        high=np.where(every, exact.high, np.where(bounded, np.inf, brackets.high[lowest])),
        loss=np.where(every[:, 0], exact.loss, np.min(losses, axis=1)),
        curvature=np.where(every[:, :, None], exact.curvature, np.nan),
    )


def smooth_cloud(cloud: Cloud, error: float) -> Smooth:
    """Returns the cubic surface through a measured cloud, round which resamples are drawn."""
    windows, fit = cubic2d(cloud, cloud.means[None, :], error)
    weights, fitted = windows.weights[0], fit.at(cloud.log2)[0]
    inside = weights > 0
    centre = cloud.means.copy()
    centre[inside] += weights[inside] * (fitted - cloud.means)[inside]
    return Smooth(weights=weights, centre=centre)


def cloud_noise(clouds: Sequence[Cloud]) -> Noise:
    """Returns the noise of single runs near the minima, pooled over places.

    The windows are found twice: within the wide reach first, then widened by the noise found
    there, with less weight far above the minimum, where surfaces leave the cubic.
    """
    noise = Noise(level=0.0, dof=0.0, source="grid bracket")
    for _ in range(2):
        windows = [
            _windows(
                cloud,
                cloud.means[None, :],
                WIDE,
                TOLERANCE_SIGMAS * error_of(cloud, noise),
                WALL / 2,
            ).weights[0]
            for cloud in clouds
        ]
        known = stated_noise([cloud.stated for cloud in clouds], windows)
        if known is not None:
            return known
        designs = [surface_terms(c.log2, w) for c, w in zip(clouds, windows, strict=True)]
        noise = replicate_noise(clouds, windows) or residual_noise(clouds, windows, designs)
    return noise
