"""A model of the losses at all scales together: one basin a scale, of much the same shape.

With x = log2 of the hyperparameters, D of them, and d = x - m the octaves from the optimum m of a
scale, along every axis

    u = sign(d) sqrt(2 h(d)),   h(d) = (exp(c d) - c d - 1) / c^2

is how far a run lies from the optimum, the skew c taken out, and

    loss(x) = L + sum_i exp(k_i) u_i^2 / 2 + tanh(r) exp((k_1 + k_2) / 2) u_1 u_2,

the last term for two hyperparameters alone. L, m, the log curvatures k and the skews c belong to
the scale, the tilt r of the valley to all. Beforehand m lies on a line in log2(scale) with some
scatter, k and c on lines with little, and so scales borrow from each other what they share. What
no such basin can follow grows with the height above the minimum; a part of it is the same at every
scale.

The fit is the mode of the posterior, the covariance that of its linearization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweeper.analysis.optimum.curve import Floats, Ints

STEPS = 16
"""Most steps of the fit; the later half of them go half as far, in case the others swing."""

LEAPS = (1.0, 4.0, 16.0)
"""Multiples of the prior's scatter that are tried."""

LEAP_PRICE = 1.0
"""What the log of the likelihood has to gain for each further multiple."""

CLOSE = 0.01
"""Octaves, and shares of other units, by which the last step of a fit moves at most."""

LEVELS = 2.0 ** np.arange(-14.0, -1.0, 0.5)
"""Noise that is thought of, as shares of the range of the losses."""


@dataclass(frozen=True, kw_only=True)
class BasinPrior:
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
        skew_tilt: of its change, per doubling.
        skew_change: of c round that.
        valley: of r.
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
    skew_tilt: float = 0.0
    skew_change: float = 0.05
    valley: float = 0.5
    common: float = 0.2
    own: float = 0.2
    reach: float = 1.0


@dataclass(frozen=True)
class BasinRuns:
    """Completed runs, or means of runs that differ in the seed alone.

    Attributes:
        scale: index of the scale of each, shape [N].
        x: log2 of the hyperparameters, shape [N, D].
        loss: the loss, shape [N].
        counts: how many runs each is the mean of, shape [N].
    """

    scale: Ints
    x: Floats
    loss: Floats
    counts: Floats

    @property
    def num_axes(self) -> int:
        """D, the number of hyperparameters."""
        return int(self.x.shape[1])


@dataclass(frozen=True)
class Replicates:
    """What runs that differ in the seed alone say of the noise.

    Attributes:
        variance: of a run, pooled.
        dof: degrees of freedom behind it.
    """

    variance: float = 0.0
    dof: float = 0.0


@dataclass(frozen=True)
class Basins:
    """The basins of all scales.

    Attributes:
        theta: m of every axis and scale, [D, S] in a row; then L [S], k [D, S], c [D, S], and r
            for two axes.
        covariance: of theta.
        noise: standard deviation of a run's loss.
        evidence: log of the likelihood of the runs, all basins by the prior considered.
    """

    theta: Floats
    covariance: Floats
    noise: float
    evidence: float
    layout: Layout
    _prior: BasinPrior
    _runs: BasinRuns
    _inverse: Floats
    _slopes: Floats

    @property
    def optima(self) -> Floats:
        """The optimum of every scale, log2, shape [D, S]."""
        return self.layout.optima(self.theta)

    @property
    def spread(self) -> Floats:
        """The standard deviation of each optimum, octaves, shape [D, S]."""
        return self.layout.optima(np.sqrt(np.diag(self.covariance)))

    @property
    def scatter(self) -> float:
        """The standard deviation of optima round the drift that the fit allows, octaves."""
        return self._prior.scatter

    def variance(self, toward: Floats) -> Floats:
        """Returns the variance of weighted sums of the optima, weights of shape [..., D * S]."""
        size = self.layout.num_optima
        part = self.covariance[:size, :size]
        found: Floats = np.einsum("...i,ij,...j->...", toward, part, toward)
        return found

    def joint(self, scale: Ints, x: Floats) -> tuple[Floats, Floats]:
        """Returns the covariance of the losses of further runs with each other, [M, M], and with
        the optima, [M, D * S].

        Args:
            scale: index of the scale of each, shape [M].
            x: their places, shape [M, D].
        """
        new, here, gain = self._thought(scale, x)
        spread = misfit(self.layout, self.theta, self._prior, new, new)
        spread -= here @ self._inverse @ here.T
        spread += gain @ self.covariance @ gain.T + self.noise**2 * np.eye(len(x))
        return spread, gain @ self.covariance[:, : self.layout.num_optima]

    def singly(self, scale: Ints, x: Floats) -> tuple[Floats, Floats]:
        """Returns the variance of the loss of each of further runs, [M], and its covariance with
        the optima, [M, D * S]; arguments as for :meth:`joint`."""
        _, here, gain = self._thought(scale, x)
        rise = surface(self.layout, self.theta, scale, x)[0] - self._levels(scale)
        share = self._prior.common**2 + self._prior.own**2
        variance = share * np.maximum(rise, 0.0) ** 2 + self.noise**2
        variance -= np.einsum("ij,jk,ik->i", here, self._inverse, here)
        carried = gain @ self.covariance
        variance += np.einsum("ij,ij->i", carried, gain)
        return variance, carried[:, : self.layout.num_optima]

    def _levels(self, scale: Ints) -> Floats:
        return self.layout.levels(self.theta)[scale]

    def _thought(self, scale: Ints, x: Floats) -> tuple[BasinRuns, Floats, Floats]:
        slopes = surface(self.layout, self.theta, scale, x)[1]
        new = BasinRuns(scale, x, np.zeros(len(x)), np.ones(len(x)))
        here = misfit(self.layout, self.theta, self._prior, new, self._runs)
        return new, here, slopes - here @ self._inverse @ self._slopes


@dataclass(frozen=True)
class Layout:
    """Where the parameters stand in theta.

    Attributes:
        num_scales: S.
        num_axes: D.
    """

    num_scales: int
    num_axes: int

    @property
    def num_optima(self) -> int:
        """D * S."""
        return self.num_axes * self.num_scales

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.num_scales * (3 * self.num_axes + 1) + (self.num_axes == 2)

    def optima(self, theta: Floats) -> Floats:
        """Returns m, shape [..., D, S]."""
        return self._block(theta, 0, self.num_axes)

    def levels(self, theta: Floats) -> Floats:
        """Returns L, shape [..., S]."""
        return self._block(theta, self.num_axes, 1)[..., 0, :]

    def curves(self, theta: Floats) -> Floats:
        """Returns k, shape [..., D, S]."""
        return self._block(theta, self.num_axes + 1, self.num_axes)

    def skews(self, theta: Floats) -> Floats:
        """Returns c, shape [..., D, S]."""
        return self._block(theta, 2 * self.num_axes + 1, self.num_axes)

    def valley(self, theta: Floats) -> Floats:
        """Returns tanh(r), shape [...]; zeros for one axis."""
        if self.num_axes == 1:
            return np.zeros(theta.shape[:-1])
        return np.tanh(theta[..., -1])

    def _block(self, theta: Floats, first: int, count: int) -> Floats:
        part = theta[..., first * self.num_scales : (first + count) * self.num_scales]
        return part.reshape(*theta.shape[:-1], count, self.num_scales)


def fit_basins(
    runs: BasinRuns,
    doublings: Sequence[float],
    centre: Sequence[float],
    prior: BasinPrior,
    *,
    replicates: Replicates = Replicates(),
) -> Basins:
    """Returns the basins that runs and prior say together.

    Fits with more scatter of the optima round the drift are made, too, and the one by which the
    runs are likeliest counts: an optimum that leaps is followed, and noise is not.

    Args:
        runs: at least three, of one scale at least.
        doublings: log2 of every scale over the smallest.
        centre: where the optimum of the smallest scale is looked for, on each axis.
        prior: what is believed before.
        replicates: what seeds say of the noise.
    """
    priors = [replace(prior, scatter=prior.scatter * times) for times in LEAPS]
    fits = [fit_once(runs, doublings, centre, each, replicates=replicates) for each in priors]
    believed = [each.evidence - LEAP_PRICE * index for index, each in enumerate(fits)]
    return fits[int(np.argmax(believed))]


def fit_once(
    runs: BasinRuns,
    doublings: Sequence[float],
    centre: Sequence[float],
    prior: BasinPrior,
    *,
    replicates: Replicates = Replicates(),
    noise: float | None = None,
) -> Basins:
    """Returns the basins by one prior, and with a noise where one is given; other arguments as
    for :func:`fit_basins`."""
    steps = np.asarray(doublings, dtype=float)
    layout = Layout(len(steps), runs.num_axes)
    low = float(np.min(runs.loss))
    unit = max(float(np.max(runs.loss)) - low, 1e-9 * max(1.0, abs(low)))
    mean, covariance = _beliefs(layout, runs, steps, centre, unit, prior)
    precision = np.linalg.inv(covariance)
    theta = _start(layout, runs, mean)
    far = _far(layout, unit)
    for step in range(STEPS):
        value, slopes = surface(layout, theta, runs.scale, runs.x)
        free = misfit(layout, theta, prior, runs, runs)
        off = runs.loss - value
        back = theta - mean
        prediction = slopes @ covariance @ slopes.T + free
        levels = unit * LEVELS if noise is None else np.array([noise])
        level, likelihood = _noise(
            off + slopes @ back, prediction, runs.counts, levels, unit, replicates
        )
        inverse = _inverted(free + np.diag(level**2 / runs.counts))
        hessian = slopes.T @ inverse @ slopes + precision
        move = np.linalg.solve(hessian, slopes.T @ inverse @ off - precision @ back)
        move *= min(1.0, float(np.min(far / np.maximum(np.abs(move), 1e-12))))
        theta = theta + move * (1.0 if step < STEPS // 2 else 0.5)
        if np.all(np.abs(move) < CLOSE * far):
            break
    return Basins(
        theta, _inverted(hessian), level, likelihood, layout, prior, runs, inverse, slopes
    )


def _inverted(matrix: Floats) -> Floats:
    inverse: Floats = np.linalg.inv(matrix).astype(np.float64)
    return inverse


def _far(layout: Layout, unit: float) -> Floats:
    """Returns how far a parameter moves in a step at most."""
    scales, axes = layout.num_scales, layout.num_axes
    parts = [1.0] * axes * scales + [unit] * scales + [1.0] * axes * scales
    return np.array(parts + [0.3] * axes * scales + [0.3] * (axes == 2))


def _beliefs(
    layout: Layout,
    runs: BasinRuns,
    steps: Floats,
    centre: Sequence[float],
    unit: float,
    prior: BasinPrior,
) -> tuple[Floats, Floats]:
    """Returns mean and covariance of theta before the runs."""
    count, axes = layout.num_scales, layout.num_axes
    shared, linear = np.minimum.outer(steps, steps), np.outer(steps, steps)
    bends = shared**2 * (3 * np.maximum.outer(steps, steps) - shared) / 6  # a drift that wanders
    own = np.eye(count)
    place = (
        prior.place**2 + prior.slope**2 * linear + prior.wander**2 * bends + prior.scatter**2 * own
    )
    level = (3 * unit) ** 2 * own
    curve = 2.0**2 + prior.tilt**2 * linear + prior.change**2 * own
    skew = prior.skew**2 + prior.skew_tilt**2 * linear + prior.skew_change**2 * own
    blocks = [place] * axes + [level] + [curve] * axes + [skew] * axes
    covariance = np.zeros((layout.size, layout.size))
    for index, block in enumerate(blocks):
        part = slice(index * count, (index + 1) * count)
        covariance[part, part] = block
    if axes == 2:
        covariance[-1, -1] = prior.valley**2
    mean = np.concatenate(
        [
            np.repeat(np.asarray(centre, dtype=float), count),
            np.full(count, float(np.min(runs.loss))),
            np.full(axes * count, np.log(0.1 * unit)),
            np.zeros(axes * count + (axes == 2)),
        ]
    )
    return mean, covariance


def _start(layout: Layout, runs: BasinRuns, mean: Floats) -> Floats:
    """Returns where the fit starts: at the lowest run of every scale, or of the nearest one."""
    theta = mean.copy()
    known = sorted(set(runs.scale.tolist()))
    for scale in range(layout.num_scales):
        near = min(known, key=lambda each: (abs(each - scale), each))
        here = runs.scale == near
        best = int(np.argmin(runs.loss[here]))
        for axis in range(layout.num_axes):
            theta[axis * layout.num_scales + scale] = runs.x[here][best, axis]
        theta[layout.num_optima + scale] = runs.loss[here][best]
    return theta


def surface(layout: Layout, theta: Floats, scale: Ints, x: Floats) -> tuple[Floats, Floats]:
    """Returns the loss of every run, [N], and its derivatives by theta, [N, parameters].

    Args:
        layout: of theta.
        theta: the basins.
        scale: index of the scale of each run, [N].
        x: its place, [N, D].
    """
    count, axes, rows = layout.num_scales, layout.num_axes, np.arange(len(x))
    d = x.T - layout.optima(theta)[:, scale]
    curve = np.exp(layout.curves(theta)[:, scale])
    u, by_d, by_c = warp(d, layout.skews(theta)[:, scale])
    tilt = layout.valley(theta)
    pull = curve * u
    cross = np.zeros(len(x))
    if axes == 2:
        steep = np.sqrt(curve[0] * curve[1])
        cross = tilt * steep * u[0] * u[1]
        pull = pull + tilt * steep * u[::-1]
    slopes = np.zeros((len(x), layout.size))
    for axis in range(axes):
        slopes[rows, axis * count + scale] = -pull[axis] * by_d[axis]
        shape = (axes + 1 + axis) * count
        slopes[rows, shape + scale] = curve[axis] * u[axis] ** 2 / 2 + cross / 2
        slopes[rows, shape + axes * count + scale] = pull[axis] * by_c[axis]
    slopes[rows, axes * count + scale] = 1.0
    if axes == 2:
        slopes[:, -1] = (1 - tilt**2) * steep * u[0] * u[1]
    height = (curve * u**2).sum(axis=0) / 2 + cross
    return layout.levels(theta)[scale] + height, slopes


def warp(d: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns u, its derivative by d and its derivative by c, all of one shape."""
    small = np.abs(c * d) < 1e-3
    safe_c, safe_d = np.where(small, 1.0, c), np.where(small, 1.0, d)
    power = np.clip(safe_c * safe_d, -40.0, 12.0)
    grown = np.expm1(power)
    height = (grown - power) / safe_c**2
    u = np.sign(safe_d) * np.sqrt(2 * height)
    by_d = grown / safe_c / u
    by_c = (safe_d * grown / safe_c**2 - 2 * height / safe_c) / u
    return (
        np.where(small, d + c * d**2 / 6, u),
        np.where(small, 1 + c * d / 3, by_d),
        np.where(small, d**2 / 6, by_c),
    )


def misfit(
    layout: Layout, theta: Floats, prior: BasinPrior, these: BasinRuns, those: BasinRuns
) -> Floats:
    """Returns the covariance of what the basins cannot follow, between two sets of runs."""
    alike = np.ones((len(these.x), len(those.x)))
    for axis in range(layout.num_axes):
        optima = layout.optima(theta)[axis]
        d = these.x[:, axis] - optima[these.scale]
        e = those.x[:, axis] - optima[those.scale]
        alike *= np.exp(-0.5 * (np.subtract.outer(d, e) / prior.reach) ** 2)
    share = prior.common**2 + prior.own**2 * np.equal.outer(these.scale, those.scale)
    heights = [
        surface(layout, theta, runs.scale, runs.x)[0] - layout.levels(theta)[runs.scale]
        for runs in (these, those)
    ]
    found: Floats = share * alike * np.multiply.outer(*(np.maximum(h, 0.0) for h in heights))
    return found


def _noise(
    off: Floats,
    covariance: Floats,
    counts: Floats,
    levels: Floats,
    unit: float,
    replicates: Replicates,
) -> tuple[float, float]:
    """Returns the likeliest noise of a run, and the log of that likelihood.

    Args:
        off: what runs are off the mean of the prior.
        covariance: of that without noise.
        counts: how many runs each is the mean of.
        levels: noise that is thought of.
        unit: range of the losses.
        replicates: what seeds say of it.
    """
    root = np.sqrt(counts)
    values, vectors = np.linalg.eigh(covariance * np.multiply.outer(root, root))
    turned = (vectors.T @ (off * root)) ** 2
    spread = np.maximum(values, 0.0)[None, :] + levels[:, None] ** 2
    likely = -0.5 * (np.log(spread) + turned[None, :] / spread).sum(axis=1)
    likely -= 0.5 * ((np.log2(levels / unit) + 7.5) / 2.5) ** 2
    likely -= replicates.dof * (np.log(levels) + replicates.variance / levels**2 / 2)
    best = int(np.argmax(likely))
    return float(levels[best]), float(likely[best])
