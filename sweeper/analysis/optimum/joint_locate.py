"""The joint optima of a group: one a place, or the reason why a place has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sweeper.analysis.optimum.cloud import Cloud, holes_near, named
from sweeper.analysis.optimum.curve import Floats
from sweeper.analysis.optimum.estimators import Vertices
from sweeper.analysis.optimum.interval import RivalEstimate, quantile_interval, rival_of, stretch
from sweeper.analysis.optimum.joint_estimators import (
    JOINT_ESTIMATORS,
    MAIN,
    REACH,
    cloud_noise,
    estimate_joint,
    quadratic2d,
    smooth_cloud,
)
from sweeper.analysis.optimum.joint_optimum import JointFlag, JointOptimum, PrincipalAxis
from sweeper.analysis.optimum.locate import BUMP_SIGMAS, TIE_SIGMAS, loss_interval
from sweeper.analysis.optimum.noise import (
    REPLICATED,
    Noise,
    Smooth,
    draw,
    error_of,
    interval_dof,
    level_spread,
    own_seeds,
    resampled,
    seeds_drawn,
)
from sweeper.analysis.optimum.surface import determined
from sweeper.errors import AnalysisRefusal

SEGMENT = 33
"""Places between two minima at which the losses between them are looked up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JointlyLocated:
    """The joint optima of a group.

    Attributes:
        optima: those of the places that have one, by index of the cloud.
        refused: index of the cloud to the sentence that says why it has none.
    """

    optima: Mapping[int, JointOptimum]
    refused: Mapping[int, str]


def locate_jointly(
    clouds: Sequence[Cloud],
    *,
    allow_holes: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> JointlyLocated:
    """Returns the joint optimum of every cloud, with intervals from resampling.

    Args:
        clouds: one a place.
        allow_holes: whether to go on where neighbours of a minimum have no result.
        resamples: number of resampled clouds a place.
        seed: seed of the resampling.
    """
    refused: dict[int, str] = {}
    for index, cloud in enumerate(clouds):
        try:
            require_joint_minimum(cloud, allow_holes=allow_holes)
        except AnalysisRefusal as refusal:
            refused[index] = str(refusal)
    kept = {i: cloud for i, cloud in enumerate(clouds) if i not in refused}
    if not kept:
        return JointlyLocated(optima={}, refused=refused)
    noise = cloud_noise(list(kept.values()))
    rng = np.random.default_rng(seed)
    # One share of what the noise level leaves open for all places: they share the level.
    chi2_quantiles = rng.uniform(size=resamples)
    optima = {i: _optimum(cloud, noise, rng, chi2_quantiles) for i, cloud in kept.items()}
    return JointlyLocated(optima=optima, refused=refused)


def require_joint_minimum(cloud: Cloud, *, allow_holes: bool) -> None:
    """Checks that a cloud can have a joint optimum.

    Raises:
        AnalysisRefusal: too few finite points to determine a paraboloid, all losses equal, or
            neighbours of the minimum without a result and holes not allowed.
    """
    finite = np.isfinite(cloud.means)
    where = f"{cloud.label} ({cloud.answered} of {cloud.declared} trials have a result)"
    if not finite.any():
        what = "every point diverged" if len(finite) else "no trial has a result yet"
        cure = "widen the grid to where it trains" if len(finite) else "run or retry the trials"
        raise AnalysisRefusal(f"{where}: {what}, so there is no joint optimum; {cure}")
    missing = holes_near(cloud, REACH)
    if len(missing) and not allow_holes:
        raise AnalysisRefusal(
            f"{where}: no result at {' × '.join(cloud.names)} = {', '.join(named(missing))}, "
            "next to the minimum; run or retry those trials, or allow holes to go on without them"
        )
    if not determined(cloud.log2, finite.astype(np.float64)):
        raise AnalysisRefusal(
            f"{where}: {int(finite.sum())} finite points do not determine a joint optimum of "
            f"{' and '.join(cloud.names)}, which needs at least 6, three values of each and "
            "points off the cross; add grid points there"
        )
    if np.ptp(cloud.means[finite]) == 0:
        raise AnalysisRefusal(
            f"{where}: all losses are equal ({cloud.means[finite][0]:g}), so no setting is best; "
            "check that the swept settings take effect"
        )


def _optimum(cloud: Cloud, noise: Noise, rng: Generator, chi2_quantiles: Floats) -> JointOptimum:
    error = error_of(cloud, noise)
    means = cloud.means[None, :]
    smooth = smooth_cloud(cloud, error)
    measured = {name: estimate_joint(name, cloud, means, error) for name in JOINT_ESTIMATORS}
    draws = _draws(cloud, smooth, noise, measured, rng, chi2_quantiles)
    windows, fit = quadratic2d(cloud, means, error)
    main = measured[MAIN]
    axes = _principal_axes(main, draws[MAIN])
    low, high, flags = _intervals(cloud, noise, measured, draws, axes)
    own = own_seeds(cloud, smooth.weights)
    loss_low, loss_high = loss_interval(noise, MAIN, measured, draws, tuple(measured))
    return JointOptimum(
        label=cloud.label,
        names=cloud.names,
        log2=main.log2[0],
        low=low,
        high=high,
        loss=float(main.loss[0]),
        loss_low=loss_low,
        loss_high=loss_high,
        hessian=main.curvature[0],
        axes=axes,
        points=int(np.isfinite(cloud.means).sum()),
        noise=noise.level,
        noise_source="seeds" if own else noise.source,
        noise_dof=interval_dof(cloud, smooth.weights, noise),
        flags=flags,
        answered=cloud.answered,
        declared=cloud.declared,
        seeds=int(cloud.counts[smooth.weights > 0].min()),
        cloud=cloud,
        fit=fit,
        windows=windows,
        measured=measured,
        draws=draws,
    )


def _draws(
    cloud: Cloud,
    smooth: Smooth,
    noise: Noise,
    measured: Mapping[str, Vertices],
    rng: Generator,
    chi2_quantiles: Floats,
) -> dict[str, Vertices]:
    """Returns the estimators' errors on resamples, put on top of their estimates."""
    if noise.source == "grid bracket":
        return dict.fromkeys(measured, _bracket_draws(cloud, rng, len(chi2_quantiles)))
    error = error_of(cloud, noise)
    seeds = draw(rng, seeds_drawn(cloud, smooth, noise), len(chi2_quantiles))
    spread = level_spread(interval_dof(cloud, smooth.weights, noise), chi2_quantiles)
    losses = resampled(cloud, smooth, noise, seeds, spread)
    found = {}
    for name, vertex in measured.items():
        drawn = estimate_joint(name, cloud, losses, error)
        truth = estimate_joint(name, cloud, smooth.centre[None, :], error)
        found[name] = drawn.moved_to(vertex, truth)
    return found


def _bracket_draws(cloud: Cloud, rng: Generator, resamples: int) -> Vertices:
    """Returns draws that are uniform between the neighbours of the lowest point: all that is
    known where nothing tells the noise. An open side stays open."""
    lowest = int(np.argmin(cloud.means))
    bottom, brackets = cloud.log2[lowest], cloud.brackets
    low, high = brackets.low[lowest], brackets.high[lowest]
    left = np.where(np.isfinite(low), low, bottom)
    right = np.where(np.isfinite(high), high, bottom)
    place = rng.uniform(left, right, (resamples, 2))
    bounded = brackets.bounded[lowest]
    return Vertices(
        log2=place,
        low=np.where(bounded, place, low),
        high=np.where(bounded, place, high),
        loss=np.full(resamples, cloud.means.min()),
        curvature=np.full((resamples, 2, 2), np.nan),
    )


def _principal_axes(main: Vertices, draws: Vertices) -> tuple[PrincipalAxis, ...]:
    """Returns the principal axes, the most curved first; none without a located optimum."""
    if np.any(main.low != main.high) or not np.isfinite(main.curvature).all():
        return ()
    curvatures, vectors = np.linalg.eigh(main.curvature[0])
    axes = []
    for k in (1, 0):
        vector = vectors[:, k] * np.sign(vectors[np.argmax(np.abs(vectors[:, k])), k])
        ends = [(part - main.log2) * vector for part in (draws.low, draws.high)]
        low = np.sum(np.minimum(*ends), axis=1)
        high = np.sum(np.maximum(*ends), axis=1)
        left, right = quantile_interval(low, high)
        direction = (float(vector[0]), float(vector[1]))
        axes.append(
            PrincipalAxis(
                direction=direction, curvature=float(curvatures[k]), low=left, high=right
            )
        )
    return tuple(axes)


def _intervals(
    cloud: Cloud,
    noise: Noise,
    measured: Mapping[str, Vertices],
    draws: Mapping[str, Vertices],
    axes: Sequence[PrincipalAxis],
) -> tuple[Floats, Floats, tuple[tuple[JointFlag, ...], tuple[JointFlag, ...]]]:
    main, spread = measured[MAIN], draws[MAIN]
    finite = cloud.log2[np.isfinite(cloud.means)]
    edges = _edge_flags(cloud)
    ridge = any(_is_ridge(axis, finite) for axis in axes)
    # Along a ridge that runs across the grid, points on it and beside it alternate.
    twin = None if ridge else _twin(cloud, noise)
    low, high, flags = np.zeros(2), np.zeros(2), []
    for k in (0, 1):
        said: list[JointFlag] = list(edges[k])
        bottom, top = quantile_interval(spread.low[:, k], spread.high[:, k])
        if not said:
            contain_all = noise.source not in REPLICATED
            others = _rivals(measured, draws, k)
            bottom, top = stretch(
                float(main.log2[0, k]), bottom, top, others, contain_all=contain_all
            )
        low[k] = min(bottom, float(main.low[0, k]))
        high[k] = max(top, float(main.high[0, k]))
        if twin is not None:
            said.append("bimodal")
            low[k], high[k] = min(low[k], twin[k]), max(high[k], twin[k])
        lost = main.low[0, k] < main.high[0, k]
        wide = low[k] <= finite[:, k].min() and high[k] >= finite[:, k].max()
        if not edges[k] and (lost or wide):
            said.append("flat")
        if ridge:
            said.append("ridge")
        if len(holes_near(cloud, REACH)):
            said.append("sparse")
        flags.append(tuple(said))
    return low, high, (flags[0], flags[1])


def _rivals(
    measured: Mapping[str, Vertices], draws: Mapping[str, Vertices], axis: int
) -> list[RivalEstimate]:
    main = draws[MAIN].log2[:, axis]
    return [
        rival_of(float(measured[name].log2[0, axis]), draws[name].log2[:, axis], main)
        for name in measured
        if name != MAIN
    ]


def _is_ridge(axis: PrincipalAxis, finite: Floats) -> bool:
    """Returns whether the interval along an axis is longer than the finite points [K, 2]."""
    along = finite @ np.array(axis.direction)
    return axis.high - axis.low >= float(np.ptp(along))


def _edge_flags(cloud: Cloud) -> tuple[tuple[JointFlag, ...], tuple[JointFlag, ...]]:
    lowest = int(np.argmin(cloud.means))
    brackets = cloud.brackets
    bounded = brackets.bounded[lowest]
    flags: list[tuple[JointFlag, ...]] = []
    for axis in (0, 1):
        table: dict[JointFlag, bool] = {
            "censored_low": bool(np.isinf(brackets.low[lowest, axis])),
            "censored_high": bool(np.isinf(brackets.high[lowest, axis])),
            "cliff": bool(
                (np.isfinite(brackets.low[lowest, axis]) and not brackets.finite_low[lowest, axis])
                or (
                    np.isfinite(brackets.high[lowest, axis])
                    and not brackets.finite_high[lowest, axis]
                )
            ),
            "conditional": bool(bounded[axis] and not bounded[1 - axis]),
        }
        flags.append(tuple(flag for flag, raised in table.items() if raised))
    return flags[0], flags[1]


def _twin(cloud: Cloud, noise: Noise) -> Floats | None:
    """Returns the place of a second minimum that noise cannot tell from the first, or None."""
    error = noise.level * float(np.sqrt(2 / np.median(cloud.counts)))
    least = float(cloud.means.min())
    lowest = cloud.log2[int(np.argmin(cloud.means))]
    tied = np.flatnonzero(cloud.means <= least + TIE_SIGMAS * error)
    share = np.linspace(0, 1, SEGMENT)[1:-1, None]
    for other in tied[np.argsort(cloud.means[tied], kind="stable")].tolist():
        place = cloud.log2[other]
        if np.max(np.abs(place - lowest) / cloud.spacing) < 2 - 1e-6:
            continue
        between = cloud.between(lowest + share * (place - lowest))
        height = between[np.isfinite(between)].max(initial=-np.inf) - cloud.means[other]
        if height > BUMP_SIGMAS * error:
            return np.asarray(place)
    return None
