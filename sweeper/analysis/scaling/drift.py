"""Drift: how fast the optimum moves, in octaves per doubling of the scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import fdtri, stdtrit

from sweeper.analysis.optimum import (
    REPLICATED,
    Bools,
    Floats,
    Optimum,
    quantile_interval,
    rival_of,
    robust_sd,
    stretch,
)
from sweeper.analysis.scaling.regression import (
    SCATTER_LEVEL,
    Lines,
    fit_lines,
    slope_weights,
)
from sweeper.errors import AnalysisRefusal

DriftFlag = Literal["censored", "two_scales", "scattered", "estimators_disagree", "left_out"]
"""What to know about a drift:

- ``censored``: some optima entered as bounds or ranges.
- ``two_scales``: nothing tells whether the drift is a straight line.
- ``scattered``: optima scatter round the line more than their noise explains.
- ``estimators_disagree``: the interval was stretched to what other estimators say.
- ``left_out``: scales without an optimum were left out."""

LEAST_SD = 1e-6
"""Standard deviation of an optimum in octaves at the least: keeps weights of noise-free data
finite, far below any grid."""

UPPER = 0.975
"""Quantile at the upper end of a 95% interval."""

Interval = tuple[float, float]
"""Low and high end; an open end is infinite."""


@dataclass(frozen=True, kw_only=True)
class Bend:
    """How the drift changes along the scale: second derivative of log2 optimum by log2 scale.

    Attributes:
        value: octaves per doubling, per doubling; negative where the optimum falls ever faster.
        low, high: 95% interval from the noise.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What one scale does to the slope.

    Attributes:
        scale: the scale that is left out.
        change: slope without it minus slope with it; None where too little is left.
    """

    scale: float
    change: float | None


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The line log2(optimum) = intercept + slope log2(scale).

    Attributes:
        slope: octaves per doubling of the scale.
        low, high: 95% interval of the slope; -inf or +inf where bounds leave it open.
        intercept: log2 of the optimum on the line at scale 1.
        scales_used: scales that entered, smallest first.
        censored: those of them that entered as bounds or ranges.
        doublings: log2 of largest over smallest scale.
        noise_half: half width of the interval from the noise of the losses alone.
        scatter: standard deviation of the optima round the line beyond noise, in octaves.
        stretched: octaves per doubling by which other estimators widened the interval.
        estimators: slope by estimator.
        bend: change of the slope along the scale; None with fewer than three optima.
        leave_one_out: change of the slope by scale left out; empty with two scales.
        flags: see :data:`DriftFlag`.
    """

    slope: float
    low: float
    high: float
    intercept: float
    scales_used: tuple[float, ...]
    censored: tuple[float, ...]
    doublings: float
    noise_half: float
    scatter: float
    stretched: float
    estimators: dict[str, float]
    bend: Bend | None
    leave_one_out: tuple[LeftOut, ...]
    flags: tuple[DriftFlag, ...]

    def log2_at(self, scale: float) -> float:
        """Returns log2 of the optimum on the line at a scale."""
        return self.intercept + self.slope * float(np.log2(scale))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chain:
    """One estimator's optima: measured [1, n] and resampled [R, n] bounds, and the lines."""

    low: Floats
    high: Floats
    line: Lines
    lines: Lines

    @property
    def value(self) -> float:
        """Slope of the measured optima."""
        return float(self.line.slope[0])


def measure_drift(optima: Sequence[Optimum], *, left_out: bool = False) -> Drift:
    """Returns the drift of a group's optima.

    A weighted regression with 1 / (s_i^2 + tau^2) as weights: s_i is the resampled standard
    deviation of an optimum, tau^2 the scatter round the line beyond it (DerSimonian and Laird
    1986, equation 8), counted where noise alone would rarely give as much. The interval takes
    the percentiles of the slope over the resampled chain (losses -> optima -> slope), with the
    degrees of freedom of all scales together (Satterthwaite); scatter widens it with Student's
    t, and estimators that disagree beyond noise stretch it.

    Args:
        optima: one a scale, from one call of :func:`locate`.
        left_out: whether scales of the group have no optimum; sets a flag.

    Raises:
        AnalysisRefusal: fewer than two scales, or fewer than two optima that are not bounds.
    """
    _require_scales(optima)
    u = np.log2([optimum.scale for optimum in optima])
    name = optima[0].estimator
    inside = np.array([optimum.located for optimum in optima])
    noise_sd = _deviations(optima, name, inside)
    dof = max(1.0, float(np.mean([optimum.noise_dof for optimum in optima])))
    scatter = _scatter(
        u[inside], np.array([o.log2 for o in optima])[inside], noise_sd[inside], dof
    )
    sd = np.hypot(noise_sd, scatter)
    chains = {key: _chain(optima, key, u, sd) for key in optima[0].measured}
    main = chains[name]
    noise_half, inner, (low, high) = _intervals(optima, chains, u, sd, scatter)
    stretched = max(inner[0] - low, 0.0) + max(high - inner[1], 0.0)
    censored = tuple(optimum.scale for optimum in optima if not optimum.located)
    return Drift(
        slope=main.value,
        low=low,
        high=high,
        intercept=float(main.line.intercept[0]),
        scales_used=tuple(optimum.scale for optimum in optima),
        censored=censored,
        doublings=float(u[-1] - u[0]),
        noise_half=noise_half,
        scatter=scatter,
        stretched=stretched if np.isfinite(stretched) else 0.0,
        estimators={key: chain.value for key, chain in chains.items()},
        bend=_bend(optima, name, u, sd),
        leave_one_out=_leave_one_out(optima, main, u, sd),
        flags=_flags(len(optima), bool(censored), scatter, stretched, left_out),
    )


def _require_scales(optima: Sequence[Optimum]) -> None:
    if len(optima) < 2:
        raise AnalysisRefusal(
            f"{len(optima)} scale{'s' * (len(optima) != 1)} with an optimum, and a drift needs at "
            "least 2; add values of the scale, or finish the trials of the others"
        )
    inside = [optimum for optimum in optima if optimum.located]
    if len(inside) < 2:
        edges = "; ".join(advice(optimum) for optimum in optima if not optimum.located)
        raise AnalysisRefusal(
            f"{len(inside)} of {len(optima)} scales have a minimum inside the grid, and a drift "
            f"needs 2: {edges}"
        )


def advice(optimum: Optimum) -> str:
    """Returns one clause on what an optimum that is only bounded needs."""
    if not optimum.censored:
        return f"at scale {optimum.scale:g} the curve has no clear minimum: add seeds there"
    place = f"at scale {optimum.scale:g} the lowest loss is at {optimum.value:.4g}"
    if "cliff" in optimum.flags:
        return f"{place}, next to a diverged point: refine the grid there"
    side = "lower" if "censored_low" in optimum.flags else "upper"
    return f"{place}, the {side} edge: extend the grid there"


def _deviations(optima: Sequence[Optimum], name: str, inside: Bools) -> Floats:
    """Returns the noise of each optimum in octaves; a bound gets that of a typical optimum."""
    sd = np.array([max(LEAST_SD, robust_sd(o.draws[name].log2)) for o in optima])
    return np.where(inside, sd, np.maximum(sd, np.median(sd[inside])))


def _scatter(u: Floats, log2: Floats, sd: Floats, dof: float) -> float:
    """Returns tau: sqrt((Q - (n - 2)) / (tr W - tr((X'WX)^-1 X'W^2 X))), 0 where noise with so
    many degrees of freedom explains Q."""
    spare = len(u) - 2
    if spare < 1:
        return 0.0
    weights = sd**-2
    design = np.stack([np.ones_like(u), u - u.mean()], axis=1)
    normal = design.T @ (weights[:, None] * design)
    coefficients = np.linalg.solve(normal, design.T @ (weights * log2))
    excess = float(weights @ (log2 - design @ coefficients) ** 2) - spare
    if excess < spare * (float(fdtri(spare, dof, SCATTER_LEVEL)) - 1):
        return 0.0
    squared = design.T @ (weights[:, None] ** 2 * design)
    scale = float(weights.sum() - np.trace(np.linalg.solve(normal, squared)))
    return float(np.sqrt(max(0.0, excess / scale)))


def _chain(optima: Sequence[Optimum], name: str, u: Floats, sd: Floats) -> _Chain:
    low = np.stack([o.measured[name].low for o in optima], axis=1)
    high = np.stack([o.measured[name].high for o in optima], axis=1)
    lows = np.stack([o.draws[name].low for o in optima], axis=1)
    highs = np.stack([o.draws[name].high for o in optima], axis=1)
    return _Chain(
        low=low, high=high, line=fit_lines(u, low, high, sd), lines=fit_lines(u, lows, highs, sd)
    )


def _intervals(
    optima: Sequence[Optimum], chains: dict[str, _Chain], u: Floats, sd: Floats, scatter: float
) -> tuple[float, Interval, Interval]:
    """Returns the half width from noise alone, and the interval before and after stretching."""
    name = optima[0].estimator
    main = chains[name]
    inside = np.array([optimum.located for optimum in optima])
    single, dof = _dofs([o for o in optima if o.located], u[inside], sd[inside])
    percentiles = quantile_interval(main.lines.low, main.lines.high)
    ratio = float(stdtrit(dof, UPPER) / stdtrit(single, UPPER))
    low = main.value - (main.value - percentiles[0]) * ratio
    high = main.value + (percentiles[1] - main.value) * ratio
    noise_half = (high - low) / 2
    low, high = min(low, float(main.line.low[0])), max(high, float(main.line.high[0]))
    if scatter > 0:
        leverage = float(np.sum(slope_weights(u[inside], sd[inside]) ** 2))
        spare = int(inside.sum()) - 2
        low, high = _widen(main, (low, high), leverage * scatter**2, spare, dof)
    # Whether all optima count alike or by their noise is a choice as well.
    alike = [_chain(optima, key, u, np.full(len(u), sd.mean())) for key in chains]
    others = [chains[key] for key in chains if key not in (name, "argmin")] + alike
    rivals = [rival_of(other.value, other.lines.slope, main.lines.slope) for other in others]
    hold = any(optimum.noise_source not in REPLICATED for optimum in optima)
    return noise_half, (low, high), stretch(main.value, low, high, rivals, hold=hold)


def _dofs(optima: Sequence[Optimum], u: Floats, sd: Floats) -> tuple[float, float]:
    """Returns the degrees of freedom that the resamples of a typical optimum stand for, and
    those of the slope.

    All scales take their noise level from the same quantile, as if they shared one estimate of
    it. Where each has its own, from its own seeds, their errors average out in the slope
    (Satterthwaite); a pooled one counts once.
    """
    shares = (slope_weights(u, sd) * sd) ** 2
    dofs = np.array([max(1.0, optimum.noise_dof) for optimum in optima])
    own = np.array([optimum.noise_source == "seeds" for optimum in optima])
    spread = float(np.sum((shares**2 / dofs)[own]))
    if not own.all():
        spread += float(np.sum(shares[~own]) ** 2 / dofs[~own].max())
    single = float(shares.sum() / np.sum(shares / dofs))
    return single, float(shares.sum() ** 2 / spread)


def _widen(main: _Chain, interval: Interval, extra: float, spare: int, dof: float) -> Interval:
    """Returns the noise interval widened by the scatter of the optima round the line.

    Args:
        main: the chain that the interval belongs to.
        interval: percentiles of the slope under the noise.
        extra: variance of the slope from the scatter, with ``spare`` degrees of freedom.
        spare: scales beyond two.
        dof: degrees of freedom of the noise.
    """
    noise = robust_sd(main.lines.slope) ** 2
    both = (noise + extra) ** 2 / (noise**2 / dof + extra**2 / spare)
    quantile = float(stdtrit(both, UPPER))
    ratio = quantile / float(stdtrit(dof, UPPER))
    down, up = main.value - interval[0], interval[1] - main.value
    add = quantile * float(np.sqrt(extra))
    return (
        main.value - float(np.hypot(down * ratio, add)),
        main.value + float(np.hypot(up * ratio, add)),
    )


def _bend(optima: Sequence[Optimum], name: str, u: Floats, sd: Floats) -> Bend | None:
    inside = np.array([optimum.located for optimum in optima])
    if inside.sum() < 3:
        return None
    v = u[inside] - u[inside].mean()
    kept = [optimum for optimum in optima if optimum.located]
    design = np.stack([np.ones_like(v), v, v * v], axis=1) / sd[inside][:, None]
    row = 2 * np.linalg.pinv(design)[2] / sd[inside]
    draws = np.stack([optimum.draws[name].log2 for optimum in kept], axis=1) @ row
    low, high = quantile_interval(draws, draws)
    return Bend(value=float(row @ [optimum.log2 for optimum in kept]), low=low, high=high)


def _leave_one_out(
    optima: Sequence[Optimum], main: _Chain, u: Floats, sd: Floats
) -> tuple[LeftOut, ...]:
    if len(optima) < 3:
        return ()
    found = []
    for out, optimum in enumerate(optima):
        keep = np.arange(len(optima)) != out
        rest = [o for o in optima if o is not optimum]
        change = None
        if sum(o.located for o in rest) >= 2:
            line = fit_lines(u[keep], main.low[:, keep], main.high[:, keep], sd[keep])
            change = float(line.slope[0]) - main.value
        found.append(LeftOut(scale=optimum.scale, change=change))
    return tuple(found)


def _flags(
    scales: int, censored: bool, scatter: float, stretched: float, left_out: bool
) -> tuple[DriftFlag, ...]:
    table: dict[DriftFlag, bool] = {
        "censored": censored,
        "two_scales": scales == 2,
        "scattered": scatter > 0,
        "estimators_disagree": stretched > 0,
        "left_out": left_out,
    }
    return tuple(flag for flag, raised in table.items() if raised)
