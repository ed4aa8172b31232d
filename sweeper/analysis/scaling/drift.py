"""Drift: how fast the optimum moves, in octaves per doubling of the scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sweeper.analysis.optimum import ScaleEstimate
from sweeper.analysis.scaling.fit import RegressionData, RuleFit
from sweeper.analysis.scaling.models import Bent, Power
from sweeper.analysis.scaling.remedies import remedies
from sweeper.errors import AnalysisRefusal

DriftFlag = Literal[
    "censored", "two_scales", "bends", "scattered", "estimators_disagree", "left_out"
]
"""What to know about a drift:

- ``censored``: some optima entered as bounds or ranges.
- ``two_scales``: nothing tells whether the drift is a straight line.
- ``bends``: the drift changes along the scale, beyond noise and scatter.
- ``scattered``: optima scatter round the line more than their noise explains, and no bend
  explains it.
- ``estimators_disagree``: the interval was stretched to what other estimators say.
- ``left_out``: scales without an optimum were left out."""


BEND_SEEN = 0.1
"""Octaves by which a bend leaves the line within the scales from which on it is worth a word."""


@dataclass(frozen=True, kw_only=True)
class Bend:
    """How the drift changes along the scale: second derivative of log2 optimum by log2 scale.

    Attributes:
        value: octaves per doubling, per doubling; negative where the optimum falls ever faster.
        low, high: 95% interval.
        scatter: standard deviation of the optima round the parabola beyond noise, in octaves.
        middle: log2 of the scale in the middle of those measured.
        log2, slope: optimum and drift there.
    """

    value: float
    low: float
    high: float
    scatter: float
    middle: float
    log2: float
    slope: float

    def seen_over(self, doublings: float) -> bool:
        """Returns whether the interval excludes a straight line, and the optima leave one by a
        size that matters within so many doublings of the scale."""
        resolved = self.low > 0 or self.high < 0
        return resolved and abs(self.value) * doublings**2 / 8 >= BEND_SEEN

    def log2_at(self, scale: float) -> float:
        """Returns log2 of the optimum on the parabola at a scale."""
        away = float(np.log2(scale)) - self.middle
        return self.log2 + self.slope * away + self.value * away**2 / 2

    def slope_at(self, scale: float) -> float:
        """Returns the drift at a scale."""
        return self.slope + self.value * (float(np.log2(scale)) - self.middle)


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
        scatter: standard deviation of the optima beyond noise, in octaves: round the line, or
            what is left round the parabola of a resolved bend.
        stretched: octaves per doubling by which other estimators widened the interval.
        estimators: slope by estimator.
        bend: change of the slope along the scale; None with fewer than three optima.
        leave_one_out: change of the slope by scale left out; empty with two scales.
        flags: see :data:`DriftFlag`.
        along: name of the scale.
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
    along: str = "scale"

    @property
    def bends(self) -> bool:
        """True where the drift changes along the scale beyond noise and scatter, and visibly."""
        return self.bend is not None and self.bend.seen_over(self.doublings)

    @property
    def bend_words(self) -> str:
        """How it changes, as a clause; empty where no bend is resolved."""
        if self.bend is None or not self.bends:
            return ""
        first, last = self.scales_used[0], self.scales_used[-1]
        return (
            f"bends: {self.bend.value:+.2f} octaves per doubling, per doubling, 95% interval "
            f"{self.bend.low:+.2f} to {self.bend.high:+.2f}: "
            f"{self.bend.slope_at(first):+.2f} at {first:g}, {self.bend.slope_at(last):+.2f} at "
            f"{last:g}"
        )

    def log2_at(self, scale: float) -> float:
        """Returns log2 of the optimum on the line at a scale."""
        return self.intercept + self.slope * float(np.log2(scale))


def measure_drift(
    optima: Sequence[ScaleEstimate], *, left_out: bool = False, along: str = "scale"
) -> Drift:
    """Returns the drift of a group's optima.

    The power law of one scale as :class:`RuleFit` fits it, with its interval: a weighted
    regression with 1 / (s_i^2 + tau^2) as weights, where s_i is the resampled standard deviation
    of an optimum and tau^2 the scatter round the line beyond it (DerSimonian and Laird 1986,
    equation 8), counted where noise alone would rarely give as much.

    Args:
        optima: one a scale, from one call of :func:`locate` or :func:`locate_jointly`.
        left_out: whether scales of the group have no optimum; sets a flag.
        along: name of the scale.

    Raises:
        AnalysisRefusal: fewer than two scales, or fewer than two optima that are not bounds.
    """
    _require_scales(optima, along)
    data = RegressionData.of(optima, np.array([[optimum.scale] for optimum in optima]))
    fit = RuleFit(data, Power(1))
    slope, u, bend = fit.exponent(0), data.u[:, 0], _bend(data)
    doublings = float(u[-1] - u[0])
    bends = bend is not None and bend.seen_over(doublings)
    scatter = bend.scatter if bend is not None and bends else fit.scatter
    stretched = slope.stretched if np.isfinite(slope.stretched) else 0.0
    censored = tuple(optimum.scale for optimum in optima if not optimum.located)
    return Drift(
        slope=slope.value,
        low=slope.low,
        high=slope.high,
        intercept=float(fit.parameters[0]),
        scales_used=tuple(optimum.scale for optimum in optima),
        censored=censored,
        doublings=doublings,
        noise_half=slope.noise_half,
        scatter=scatter,
        stretched=stretched,
        estimators={name: float(one[1]) for name, one in fit.by_estimator().items()},
        bend=bend,
        leave_one_out=_leave_one_out([optimum.scale for optimum in optima], fit),
        flags=_flags(len(optima), bool(censored), bends, scatter, stretched, left_out),
        along=along,
    )


def _require_scales(optima: Sequence[ScaleEstimate], along: str) -> None:
    if len(optima) < 2:
        raise AnalysisRefusal(
            f"{len(optima)} scale{'s' * (len(optima) != 1)} with an optimum, and a drift needs at "
            "least 2; add values of the scale, or finish the trials of the others"
        )
    inside = [optimum for optimum in optima if optimum.located]
    if len(inside) < 2:
        bounded = [(f"{along} {each.scale:g}", each) for each in optima if not each.located]
        raise AnalysisRefusal(
            f"{len(inside)} of {len(optima)} values of {along} have a minimum inside the grid, "
            f"and a drift needs 2: {'; '.join(remedies(bounded))}"
        )


def _bend(data: RegressionData) -> Bend | None:
    """Returns the bend of a parabola through the optima; None with fewer than three."""
    if data.located.sum() < 3:
        return None
    middle = float(data.u.max() + data.u.min()) / 2
    fit = RuleFit(data, Bent(middle))
    span = fit.span(lambda parameters: parameters[:, 2])
    log2, slope, _ = fit.parameters.tolist()
    return Bend(
        value=span.value,
        low=span.low,
        high=span.high,
        scatter=fit.scatter,
        middle=middle,
        log2=log2,
        slope=slope,
    )


def _leave_one_out(scales: Sequence[float], fit: RuleFit) -> tuple[LeftOut, ...]:
    if len(scales) < 3:
        return ()
    found = []
    for out, scale in enumerate(scales):
        keep = np.arange(len(scales)) != out
        change = None
        if fit.data.located[keep].sum() >= 2:
            change = float(fit.refitted(keep)[1] - fit.parameters[1])
        found.append(LeftOut(scale=scale, change=change))
    return tuple(found)


def _flags(
    scales: int, censored: bool, bends: bool, scatter: float, stretched: float, left_out: bool
) -> tuple[DriftFlag, ...]:
    table: dict[DriftFlag, bool] = {
        "censored": censored,
        "two_scales": scales == 2,
        "bends": bends,
        "scattered": scatter > 0 and not bends,
        "estimators_disagree": stretched > 0,
        "left_out": left_out,
    }
    return tuple(flag for flag, raised in table.items() if raised)
