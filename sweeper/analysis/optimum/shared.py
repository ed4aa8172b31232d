"""The optima of a group read together, for runs too few to be read scale by scale.

A model of the losses at all scales (:mod:`sweeper.analysis.optimum.basins`) is fitted for every
level of noise and every scatter of the optima that the runs allow; what is said of an optimum is
the mixture of these fits by their likelihood. So two runs at a scale locate an optimum whose
curve the other scales know, and the interval holds what they do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from sweeper.analysis.optimum.basins import (
    LEAP_PRICE,
    LEAPS,
    LEVELS,
    BasinPrior,
    BasinRuns,
    Basins,
    Layout,
    Replicates,
    fit_once,
    warp,
)
from sweeper.analysis.optimum.cliff import BlowUp, without_blow_ups
from sweeper.analysis.optimum.cloud import Cloud, measured_cloud
from sweeper.analysis.optimum.curve import Curve, Floats, measured_curves
from sweeper.analysis.optimum.estimators import DEFAULT, SHARED, Vertices
from sweeper.analysis.optimum.interval import interval_round, quantile_interval
from sweeper.analysis.optimum.locate import Located, locate
from sweeper.analysis.optimum.noise import LEAST_REPLICATE_DOF, Noise, NoiseSource
from sweeper.analysis.optimum.optimum import Flag, Optimum, Resamples
from sweeper.analysis.optimum.profile import profiled_over, with_others
from sweeper.errors import AnalysisRefusal

READING = BasinPrior(skew_tilt=0.3, skew_change=0.3, common=0.3, own=0.4, tilt=0.25, change=0.3)
"""What is believed when optima are read: wider than what a search believes, so that intervals
hold what they should (docs/statistics.md)."""

UNLIKELY = 4.0
"""Fits whose likelihood is lower than the best by this factor's exponential are left out."""

LEAST_RUNS = 3
"""Points with a loss that some scale has to have."""

OUTSIDE = 0.25
"""Octaves beyond the outermost finite point from which on an optimum is a bound."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedOptimum(Optimum):
    """The optimum of one scale, read together with those of the others.

    Attributes:
        layout: of theta.
        index: of the scale.
        theta: the basins of all scales.
        drawn: basins drawn by their likelihood, shape [R, parameters].
    """

    layout: Layout = field(repr=False)
    index: int = field(repr=False)
    theta: Floats = field(repr=False)
    drawn: Floats = field(repr=False)

    def curve(self, log2: Floats) -> Floats:
        """Returns losses of the basin at log2 positions of any shape, another hyperparameter
        tuned at each; NaN outside the range that runs span."""
        places = np.asarray(log2, dtype=np.float64)
        rise = _profile(self.layout, self.theta[None, :], self.index, places.reshape(1, -1))
        return self._known(places, (rise[0] + self.loss).reshape(places.shape))

    def regret_draws(self, log2: float) -> Floats:
        """Returns the loss at a place less that at the optimum in every draw, shape [R]."""
        places = np.full((len(self.drawn), 1), log2)
        rise = _profile(self.layout, self.drawn, self.index, places)[:, 0]
        return self._known(places[:, 0], rise)

    def least_regret_draws(self, log2: float) -> Floats:
        """Returns the same: what no run tells is open, the basin's own shape beyond it unknown."""
        return self.regret_draws(log2)

    def _known(self, places: Floats, losses: Floats) -> Floats:
        finite = self.grid[np.isfinite(self.losses)]
        low, high = min(finite[0], self.log2), max(finite[-1], self.log2)
        return np.where((places >= low - OUTSIDE) & (places <= high + OUTSIDE), losses, np.nan)


def locate_together(
    frame: pd.DataFrame,
    *,
    scale: str,
    hyperparameter: str,
    others: Sequence[str] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> Located:
    """Returns the optimum of every scale that has a run with a loss, read together.

    Args:
        frame: trials of one group, with the scale, the hyperparameters, ``seed``, ``loss`` and
            ``outcome``.
        scale: column of the scale.
        hyperparameter: whose optima are returned.
        others: at most one other, tuned with it.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        AnalysisRefusal: two others are to be tuned, a column is missing, or too few runs have a
            loss.
    """
    if len(others) > 1:
        raise AnalysisRefusal(
            f"estimator {SHARED} reads one or two hyperparameters, and {hyperparameter}, "
            f"{', '.join(others)} are {1 + len(others)}; answer for the values of some one by one"
        )
    clouds, blow_ups = _clouds(frame, scale, (hyperparameter, *others))
    finite = {value: np.isfinite(cloud.means) for value, cloud in clouds.items()}
    refused = {
        value: f"{cloud.label} ({cloud.answered} of {cloud.declared} trials have a result): "
        "no run has a loss, so there is no optimum"
        for value, cloud in clouds.items()
        if not finite[value].any()
    }
    kept = {value: cloud for value, cloud in clouds.items() if value not in refused}
    if max((int(finite[value].sum()) for value in kept), default=0) < LEAST_RUNS:
        why = f"no scale has {LEAST_RUNS} points with a loss yet"
        refused = {value: refused.get(value, f"{c.label}: {why}") for value, c in clouds.items()}
        return Located(optima=(), refused=refused, noise=None, blow_ups=blow_ups)
    runs, replicates = _runs(kept, finite)
    doublings = np.log2(np.array(list(kept)) / min(kept)).tolist()
    first = runs.scale == 0
    centre = runs.x[first][np.argmin(runs.loss[first])]
    mixture = _Mixture.of(runs, doublings, centre, replicates, resamples, seed)
    source: NoiseSource = "fit residuals"
    if replicates.dof >= LEAST_REPLICATE_DOF:
        source = "seed replicates pooled"
    dof = replicates.dof or max(1.0, len(runs.loss) - 2.0 * len(kept))
    noise = Noise(level=mixture.noise, dof=dof, source=source)
    optima = tuple(
        _optimum(index, value, cloud, mixture, noise)
        for index, (value, cloud) in enumerate(kept.items())
    )
    return Located(optima=optima, refused=refused, noise=noise, blow_ups=blow_ups)


def optima_of(
    frame: pd.DataFrame,
    *,
    scale: str,
    hyperparameter: str,
    others: Sequence[str] = (),
    estimator: str = DEFAULT,
    allow_holes: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Located:
    """Returns the optimum of every scale, others tuned at every value of the hyperparameter.

    Args:
        frame, scale, hyperparameter, resamples, seed: as in :func:`locate_together`.
        others: other hyperparameters that are tuned.
        estimator: :data:`SHARED`, or a name that :func:`locate` knows.
        allow_holes: whether to go on where neighbours of a minimum have no result.

    Raises:
        AnalysisRefusal: the trials cannot be read as curves.
        UnknownNameError: there is no such estimator.
    """
    if estimator == SHARED:
        return locate_together(
            frame,
            scale=scale,
            hyperparameter=hyperparameter,
            others=[name for name in others if frame[name].notna().any()],
            resamples=resamples,
            seed=seed,
        )
    profile = profiled_over(
        frame, others, scales=[scale], hyperparameter=hyperparameter, allow_holes=allow_holes
    )
    located = locate(
        measured_curves(profile, scale=scale, hyperparameter=hyperparameter),
        estimator=estimator,
        allow_holes=allow_holes,
        resamples=resamples,
        seed=seed,
    )
    optima = (
        with_others(each, profile[profile[scale] == each.scale], others, hyperparameter)
        for each in located.optima
    )
    return replace(located, optima=tuple(optima))


def _clouds(
    frame: pd.DataFrame, scale: str, names: tuple[str, ...]
) -> tuple[dict[float, Curve | Cloud], tuple[BlowUp, ...]]:
    """Returns the points of every scale, smallest first, those that blew up as diverged."""
    found: dict[float, Curve | Cloud] = {}
    blow_ups: list[BlowUp] = []
    if len(names) == 1:
        for measured in measured_curves(frame, scale=scale, hyperparameter=names[0]):
            curve, blown = without_blow_ups(measured)
            found[curve.scale] = curve
            blow_ups += blown
        return found, tuple(blow_ups)
    for value in sorted(frame[scale].unique().tolist()):
        label, part = f"{scale} {value:g}", frame[frame[scale] == value]
        found[float(value)] = measured_cloud(part, names=(names[0], names[1]), label=label)
    return found, ()


def _runs(
    clouds: Mapping[float, Curve | Cloud], finite: Mapping[float, Floats]
) -> tuple[BasinRuns, Replicates]:
    """Returns the points that have a loss, and what seeds say of the noise."""
    scale, places, losses, counts = [], [], [], []
    square, dof = 0.0, 0.0
    for index, (value, cloud) in enumerate(clouds.items()):
        for row in np.flatnonzero(finite[value]).tolist():
            run = cloud.runs[row]
            scale.append(index)
            places.append(np.atleast_1d(cloud.log2[row]))
            losses.append(cloud.means[row])
            counts.append(len(run))
            square += float(np.sum((run - run.mean()) ** 2))
            dof += len(run) - 1
    runs = BasinRuns(
        np.array(scale, dtype=np.intp),
        np.array(places, dtype=float),
        np.array(losses, dtype=float),
        np.array(counts, dtype=float),
    )
    return runs, Replicates(square / dof, dof) if dof and square else Replicates()


@dataclass(frozen=True, eq=False)
class _Mixture:
    """Fits by their likelihood.

    Attributes:
        layout: of theta.
        theta: the mean of the fits.
        drawn: basins drawn from them, shape [R, parameters].
        noise: standard deviation of a run, that of the likeliest fit.
    """

    layout: Layout
    theta: Floats
    drawn: Floats
    noise: float

    @classmethod
    def of(
        cls,
        runs: BasinRuns,
        doublings: Sequence[float],
        centre: Floats,
        replicates: Replicates,
        resamples: int,
        seed: int,
    ) -> _Mixture:
        """Returns the fits that runs allow."""
        unit = float(np.ptp(runs.loss)) or 1.0
        fits: list[tuple[Basins, float]] = []
        for index, times in enumerate(LEAPS):
            prior = replace(READING, scatter=READING.scatter * times)
            guess = fit_once(runs, doublings, centre.tolist(), prior, replicates=replicates)
            fits.append((guess, guess.evidence - LEAP_PRICE * index))
            near = int(np.argmin(np.abs(LEVELS * unit - guess.noise)))
            for level in _beside(near):
                found = fit_once(
                    runs,
                    doublings,
                    centre.tolist(),
                    prior,
                    replicates=replicates,
                    noise=float(LEVELS[level] * unit),
                )
                fits.append((found, found.evidence - LEAP_PRICE * index))
        best = max(evidence for _, evidence in fits)
        likely = [(found, evidence) for found, evidence in fits if evidence > best - UNLIKELY]
        weights = np.exp([evidence - best for _, evidence in likely])
        weights /= weights.sum()
        rng = np.random.default_rng(seed)
        drawn = [
            rng.multivariate_normal(found.theta, found.covariance, size=count, method="eigh")
            for (found, _), count in zip(likely, rng.multinomial(resamples, weights), strict=True)
        ]
        mixed = rng.permutation(np.concatenate(drawn))
        theta = np.sum([w * found.theta for (found, _), w in zip(likely, weights, strict=True)], 0)
        noise = likely[int(np.argmax(weights))][0].noise
        return cls(likely[0][0].layout, np.asarray(theta), mixed, noise)


def _beside(near: int) -> list[int]:
    """Returns the levels of noise that are tried besides the likeliest one."""
    tried = range(near - 8, near + 9, 2)
    return [level for level in tried if 0 <= level < len(LEVELS) and level != near]


def _optimum(
    index: int, scale: float, cloud: Curve | Cloud, mixture: _Mixture, noise: Noise
) -> SharedOptimum:
    layout = mixture.layout
    grid, losses = _along_first(cloud)
    finite = grid[np.isfinite(losses)]
    measured = _vertices(layout, mixture.theta[None, :], index)
    drawn = _vertices(layout, mixture.drawn, index)
    place = float(measured.log2[0])
    flags: list[Flag] = []
    if place > finite[-1] + OUTSIDE:
        beyond = grid[grid > finite[-1]]
        flags.append("cliff" if len(beyond) else "censored_high")
        end = float(beyond[0]) if len(beyond) else np.inf
        measured, drawn = (_bound(v, float(finite[-1]), end) for v in (measured, drawn))
    elif place < finite[0] - OUTSIDE:
        below = grid[grid < finite[0]]
        flags.append("cliff" if len(below) else "censored_low")
        end = float(below[-1]) if len(below) else -np.inf
        measured, drawn = (_bound(v, end, float(finite[0])) for v in (measured, drawn))
    low, high = quantile_interval(drawn.low, drawn.high)
    low, high = min(low, float(measured.low[0])), max(high, float(measured.high[0]))
    if not flags and high - low > max(2.0, float(np.ptp(grid))):
        flags.append("flat")
    loss = float(measured.loss[0])
    loss_low, loss_high = interval_round(loss, drawn.loss)
    second = {}
    if layout.num_axes == 2:
        assert isinstance(cloud, Cloud)
        second = {cloud.names[1]: float(2.0 ** layout.optima(mixture.theta)[1, index])}
    counts = np.asarray(cloud.counts)[np.isfinite(cloud.means)]
    return SharedOptimum(
        scale=scale,
        log2=float(measured.log2[0]),
        low=low,
        high=high,
        loss=loss,
        loss_low=loss_low,
        loss_high=loss_high,
        curvature=float(measured.curvature[0]),
        points=int(np.isfinite(cloud.means).sum()),
        estimator=SHARED,
        noise=noise.level,
        noise_source=noise.source,
        noise_dof=noise.dof,
        flags=tuple(flags),
        estimators={SHARED: float(measured.log2[0])},
        answered=cloud.answered,
        declared=cloud.declared,
        seeds=int(counts.min()),
        grid=grid,
        losses=losses,
        shape=None,
        resamples=Resamples(
            losses=np.broadcast_to(losses, (len(mixture.drawn), len(losses))), vertices=drawn
        ),
        draws={SHARED: drawn},
        measured={SHARED: measured},
        tuned=second,
        layout=layout,
        index=index,
        theta=mixture.theta,
        drawn=mixture.drawn,
    )


def _along_first(cloud: Curve | Cloud) -> tuple[Floats, Floats]:
    """Returns the values of the first hyperparameter, log2, and the lowest loss at each."""
    if isinstance(cloud, Curve):
        return cloud.log2, cloud.means
    places = np.unique(cloud.log2[:, 0])
    lowest = [float(np.min(cloud.means[cloud.log2[:, 0] == place])) for place in places]
    return places, np.array(lowest)


def _vertices(layout: Layout, theta: Floats, index: int) -> Vertices:
    """Returns what basins, [R, parameters], say of the first hyperparameter at a scale."""
    places = layout.optima(theta)[:, 0, index]
    curvature = np.exp(layout.curves(theta)[:, 0, index]) * (1 - layout.valley(theta) ** 2)
    return Vertices(
        log2=places,
        low=places,
        high=places,
        loss=layout.levels(theta)[:, index],
        curvature=curvature,
    )


def _bound(vertex: Vertices, low: float, high: float) -> Vertices:
    """Returns a vertex of which only one bound is known."""
    edge = low if np.isinf(high) else high
    same = np.full(len(vertex.log2), 1.0)
    return replace(vertex, log2=edge * same, low=low * same, high=high * same)


def _profile(layout: Layout, theta: Floats, index: int, places: Floats) -> Floats:
    """Returns by how much the loss at a scale rises from its optimum to places of the first
    hyperparameter, another one tuned at each.

    Args:
        layout, theta: basins, shape [R, parameters].
        index: of the scale.
        places: log2, shape [R, P].
    """
    d = places - layout.optima(theta)[:, 0, index][:, None]
    skews = np.broadcast_to(layout.skews(theta)[:, 0, index][:, None], d.shape)
    u, _, _ = warp(d, skews)
    curve = np.exp(layout.curves(theta)[:, 0, index]) * (1 - layout.valley(theta) ** 2)
    return np.asarray(curve[:, None] * u**2 / 2)
