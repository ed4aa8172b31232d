"""A model of the losses at all scales together: one basin a scale, of one shape.

With x = log2 of the hyperparameter and d = x - m the octaves from the optimum m of a scale,

    loss(x) = L + exp(k) h(d),   h(d) = (exp(c d) - c d - 1) / c^2

L, m and the log curvature k belong to the scale, the skew c to all. Beforehand m lies on a line in
log2(scale) with some scatter, k on a line with little, and so the larger scales borrow from the
smaller ones what they share. What no such basin can follow grows with the height above the
minimum; a part of it is the same at every scale, and learned from the small ones.

The fit is the mode of the posterior, the covariance that of its linearization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

STEPS = 16
"""Most steps of the fit; the later half of them go half as far, in case the others swing."""

LEAPS = (1.0, 4.0, 16.0)
"""Multiples of the prior's scatter that are tried."""

LEAP_PRICE = 1.0
"""What the log of the likelihood has to gain for each further multiple."""

CLOSE = 0.01
"""Octaves, and shares of other units, by which the last step of a fit moves at most."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is believed before the first run.

    The numbers are those with which ladders over published series of other people's models came
    out best (benchmarks/search.py); none is of one series.

    Attributes:
        place: standard deviation of the optimum at the smallest scale, octaves.
        slope: of its drift, octaves per doubling.
        wander: of the change of the drift from one doubling to the next, octaves.
        scatter: of an optimum round the drift, octaves.
        tilt: of the log curvature, per doubling.
        change: of the log curvature round that.
        skew: of c, per octave.
        common: what a basin cannot follow at any scale, as a share of the height.
        own: the same at one scale.
        reach: octaves over which such misfits are alike.
    """

    place: float = 3.0
    slope: float = 0.5
    wander: float = 0.1
    scatter: float = 0.1
    tilt: float = 0.15
    change: float = 0.2
    skew: float = 0.7
    common: float = 0.2
    own: float = 0.2
    reach: float = 1.0


@dataclass(frozen=True)
class Runs:
    """Completed runs.

    Attributes:
        scale: index of the scale of each.
        x: log2 of the hyperparameter.
        loss: the loss.
    """

    scale: Ints
    x: Floats
    loss: Floats


@dataclass(frozen=True)
class Fit:
    """The basins of all scales.

    Attributes:
        theta: m of every scale, then L, then k, then c.
        covariance: of theta.
        noise: standard deviation of a run's loss.
        evidence: log of the likelihood of the runs, all basins by the prior considered.
    """

    theta: Floats
    covariance: Floats
    noise: float
    evidence: float
    _prior: Prior
    _runs: Runs
    _inverse: Floats
    _slopes: Floats

    @property
    def num_scales(self) -> int:
        """The number of scales."""
        return (len(self.theta) - 1) // 3

    @property
    def optima(self) -> Floats:
        """The optimum of every scale, log2."""
        return self.theta[: self.num_scales]

    @property
    def spread(self) -> Floats:
        """The standard deviation of each optimum, octaves."""
        return np.sqrt(np.diag(self.covariance)[: self.num_scales])

    @property
    def scatter(self) -> float:
        """The standard deviation of optima round the drift that the fit allows, octaves."""
        return self._prior.scatter

    @property
    def curvature(self) -> Floats:
        """The curvature of the loss at every optimum, per octave squared."""
        return np.exp(self.theta[2 * self.num_scales : 3 * self.num_scales])

    def variance(self, toward: Floats) -> float:
        """Returns the variance of a weighted sum of the optima, with a weight a scale."""
        part = self.covariance[: self.num_scales, : self.num_scales]
        return float(toward @ part @ toward)

    def cut(self, scale: Ints, x: Floats, toward: Floats) -> Floats:
        """Returns what one further run would take off the variance of a weighted sum of optima.

        Args:
            scale: index of the scale of each run thought of.
            x: its place.
            toward: a weight for the optimum of each scale.
        """
        spread, carried = self.joint(scale, x, toward)
        return carried**2 / np.diag(spread)

    def joint(self, scale: Ints, x: Floats, toward: Floats) -> tuple[Floats, Floats]:
        """Returns the covariance of the losses of further runs with each other, and with a
        weighted sum of the optima; arguments as for :meth:`cut`."""
        slopes = _surface(self.theta, scale, x)[1]
        here = _misfit(self.theta, self._prior, scale, x, self._runs)
        gain = slopes - here @ self._inverse @ self._slopes
        spread = _misfit(self.theta, self._prior, scale, x) - here @ self._inverse @ here.T
        spread += gain @ self.covariance @ gain.T + self.noise**2 * np.eye(len(x))
        return spread, gain @ self.covariance[:, : self.num_scales] @ toward


def fit(runs: Runs, doublings: Sequence[float], centre: float, prior: Prior) -> Fit:
    """Returns the basins that runs and prior say together.

    Fits with more scatter of the optima round the drift are made, too, and the one by which the
    runs are likeliest counts: an optimum that leaps is followed, and noise is not.

    Args:
        runs: at least three, of one scale at least.
        doublings: log2 of every scale over the smallest.
        centre: where the optimum of the smallest scale is looked for.
        prior: what is believed before.
    """
    steps = np.asarray(doublings, dtype=float)
    priors = [replace(prior, scatter=prior.scatter * times) for times in LEAPS]
    fits = [_fit(runs, steps, centre, each) for each in priors]
    believed = [each.evidence - LEAP_PRICE * index for index, each in enumerate(fits)]
    return fits[int(np.argmax(believed))]


def _fit(runs: Runs, steps: Floats, centre: float, prior: Prior) -> Fit:
    low = float(np.min(runs.loss))
    unit = max(float(np.max(runs.loss)) - low, 1e-9 * max(1.0, abs(low)))
    mean, covariance = _beliefs(runs, steps, centre, unit, prior)
    precision = np.linalg.inv(covariance)
    theta, count = _start(runs, mean), len(steps)
    far = np.concatenate([np.ones(count), np.full(count, unit), np.ones(count), [0.3]])
    for step in range(STEPS):
        value, slopes = _surface(theta, runs.scale, runs.x)
        misfit = _misfit(theta, prior, runs.scale, runs.x)
        off = runs.loss - value
        back = theta - mean
        prediction = slopes @ covariance @ slopes.T + misfit
        noise, likelihood = _noise(off + slopes @ back, prediction, unit)
        inverse: Floats = _inverted(misfit + noise**2 * np.eye(len(runs.x)))
        hessian = slopes.T @ inverse @ slopes + precision
        move = np.linalg.solve(hessian, slopes.T @ inverse @ off - precision @ back)
        move *= min(1.0, float(np.min(far / np.maximum(np.abs(move), 1e-12))))
        theta = theta + move * (1.0 if step < STEPS // 2 else 0.5)
        if np.all(np.abs(move) < CLOSE * far):
            break
    return Fit(theta, _inverted(hessian), noise, likelihood, prior, runs, inverse, slopes)


def _inverted(matrix: Floats) -> Floats:
    inverse: Floats = np.linalg.inv(matrix).astype(np.float64)
    return inverse


def _beliefs(
    runs: Runs, steps: Floats, centre: float, unit: float, prior: Prior
) -> tuple[Floats, Floats]:
    """Returns mean and covariance of theta before the runs."""
    count = len(steps)
    shared = np.minimum.outer(steps, steps)
    far = np.maximum.outer(steps, steps)
    bends = shared**2 * (3 * far - shared) / 6  # a drift that wanders
    place = (
        prior.place**2
        + prior.slope**2 * np.outer(steps, steps)
        + prior.wander**2 * bends
        + prior.scatter**2 * np.eye(count)
    )
    level = (3 * unit) ** 2 * np.eye(count)
    curve = 2.0**2 + prior.tilt**2 * np.outer(steps, steps) + prior.change**2 * np.eye(count)
    covariance = np.zeros((3 * count + 1, 3 * count + 1))
    for index, block in enumerate((place, level, curve)):
        part = slice(index * count, (index + 1) * count)
        covariance[part, part] = block
    covariance[-1, -1] = prior.skew**2
    mean = np.concatenate(
        [
            np.full(count, centre),
            np.full(count, float(np.min(runs.loss))),
            np.full(count, np.log(0.1 * unit)),
            [0.0],
        ]
    )
    return mean, covariance


def _start(runs: Runs, mean: Floats) -> Floats:
    """Returns where the fit starts: at the lowest run of every scale, or of the nearest one."""
    theta = mean.copy()
    count = (len(mean) - 1) // 3
    known = sorted(set(runs.scale.tolist()))
    for scale in range(count):
        near = min(known, key=lambda each: (abs(each - scale), each))
        here = runs.scale == near
        best = int(np.argmin(runs.loss[here]))
        theta[scale] = runs.x[here][best]
        theta[count + scale] = runs.loss[here][best]
    return theta


def _surface(theta: Floats, scale: Ints, x: Floats) -> tuple[Floats, Floats]:
    """Returns the loss of every run and its derivatives by theta, [runs, parameters]."""
    count = (len(theta) - 1) // 3
    d = x - theta[scale]
    curve, skew = np.exp(theta[2 * count + scale]), theta[-1]
    height, slope, bent = _linex(d, skew)
    slopes = np.zeros((len(x), len(theta)))
    rows = np.arange(len(x))
    slopes[rows, scale] = -curve * slope
    slopes[rows, count + scale] = 1.0
    slopes[rows, 2 * count + scale] = curve * height
    slopes[:, -1] = curve * bent
    return theta[count + scale] + curve * height, slopes


def _linex(d: Floats, c: float) -> tuple[Floats, Floats, Floats]:
    """Returns h, its derivative by d and its derivative by c."""
    if abs(c) < 1e-3:
        return d**2 / 2 + c * d**3 / 6, d + c * d**2 / 2, d**3 / 6 + c * d**4 / 12
    u = np.clip(c * d, -40.0, 12.0)
    grown = np.expm1(u)
    height = (grown - u) / c**2
    return height, grown / c, d * grown / c**2 - 2 * height / c


def _misfit(
    theta: Floats, prior: Prior, scale: Ints, x: Floats, runs: Runs | None = None
) -> Floats:
    """Returns the covariance of what the basins cannot follow, between places and runs."""
    count = (len(theta) - 1) // 3

    def height(scale: Ints, x: Floats) -> Floats:
        raised, _, _ = _linex(x - theta[scale], theta[-1])
        return np.exp(theta[2 * count + scale]) * np.maximum(raised, 0.0)

    other = Runs(scale, x, x) if runs is None else runs
    d, e = x - theta[scale], other.x - theta[other.scale]
    alike = np.exp(-0.5 * (np.subtract.outer(d, e) / prior.reach) ** 2)
    share = prior.common**2 + prior.own**2 * np.equal.outer(scale, other.scale)
    return share * alike * np.outer(height(scale, x), height(other.scale, other.x))


def _noise(off: Floats, covariance: Floats, unit: float) -> tuple[float, float]:
    """Returns the likeliest noise of a run, and the log of that likelihood.

    Args:
        off: what runs are off the mean of the prior.
        covariance: of that without noise.
        unit: range of the losses.
    """
    values, vectors = np.linalg.eigh(covariance)
    turned = (vectors.T @ off) ** 2
    levels = unit * 2.0 ** np.arange(-14.0, -1.0, 0.5)
    spread = np.maximum(values, 0.0)[None, :] + levels[:, None] ** 2
    likely = -0.5 * (np.log(spread) + turned[None, :] / spread).sum(axis=1)
    likely -= 0.5 * ((np.log2(levels / unit) + 7.5) / 2.5) ** 2
    best = int(np.argmax(likely))
    return float(levels[best]), float(likely[best])
