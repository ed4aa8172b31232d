"""Claims: rules that a study puts to the test, and the verdict on each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sweeper.analysis.optimum import Optimum
from sweeper.analysis.scaling.drift import Drift, advice
from sweeper.errors import AnalysisRefusal

Ruling = Literal["holds", "broken", "inconclusive"]

MOST_SEEDS = 50
"""More seeds than this are not worth advising."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The optimum moves by ``exponent`` octaves per doubling of the scale, give or take.

    Attributes:
        exponent: claimed slope.
        tolerance: how far the slope may be off, positive.
    """

    exponent: float
    tolerance: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.exponent):
            raise AnalysisRefusal(f"claim: exponent {self.exponent} is not a finite number")
        if not (math.isfinite(self.tolerance) and self.tolerance > 0):
            raise AnalysisRefusal(
                f"claim: tolerance {self.tolerance} is not a positive number of octaves per "
                "doubling; 0.15 is a common choice"
            )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the data say about a claim.

    Attributes:
        claim: the claim.
        ruling: ``holds`` if the whole interval is within the tolerance of the exponent,
            ``broken`` if the whole interval is outside the tolerance, ``inconclusive``
            otherwise. So a slope on the edge of the tolerance gets either word in at most 2.5%
            of studies.
        why: one sentence with the reason and, if inconclusive, what would settle it.
    """

    claim: Claim
    ruling: Ruling
    why: str


def judge(claim: Claim, drift: Drift, optima: Sequence[Optimum]) -> Verdict:
    """Returns the verdict on a claim, from the drift and the optima behind it."""
    inside = (
        drift.low >= claim.exponent - claim.tolerance
        and drift.high <= claim.exponent + claim.tolerance
    )
    outside = (
        drift.low > claim.exponent + claim.tolerance
        or drift.high < claim.exponent - claim.tolerance
    )
    found = f"slope {drift.slope:+.3f}, 95% interval {interval_text(drift.low, drift.high, 3)}"
    if drift.bends:
        found += f", and the drift {drift.bend_words}"
    band = f"{claim.exponent:g} ± {claim.tolerance:g} octaves per doubling"
    if inside:
        return Verdict(claim=claim, ruling="holds", why=f"{found}, all of it within {band}")
    if outside:
        return Verdict(claim=claim, ruling="broken", why=f"{found}, all of it outside {band}")
    if not drift.low <= claim.exponent <= drift.high:
        reason = f"differs from {claim.exponent:g} but may be within the tolerance of {band}"
    else:
        reason = f"includes {claim.exponent:g} but reaches beyond {band}"
    why = f"{found}, {reason}; to settle it: {_remedy(claim, drift, optima)}"
    return Verdict(claim=claim, ruling="inconclusive", why=why)


def interval_text(low: float, high: float, digits: int) -> str:
    """Returns an interval with so many decimals, for example ``[-0.41, open)``."""
    left = f"[{low:+.{digits}f}" if math.isfinite(low) else "(open"
    right = f"{high:+.{digits}f}]" if math.isfinite(high) else "open)"
    return f"{left}, {right}"


def _remedy(claim: Claim, drift: Drift, optima: Sequence[Optimum]) -> str:
    """Returns what would settle a claim, the cheapest cure first."""
    cures = [advice(optimum) for optimum in optima if not optimum.located]
    cures += [_widen_grid(optimum) for optimum in optima if _open_by_noise(optimum)]
    if math.isfinite(drift.low) and math.isfinite(drift.high):
        cures += _shrink(claim, drift, optima)
    elif not cures:
        cures.append("more seeds at these points, because noise leaves the interval open")
    return "; ".join(cures)


def _open_by_noise(optimum: Optimum) -> bool:
    return optimum.located and not (math.isfinite(optimum.low) and math.isfinite(optimum.high))


def _widen_grid(optimum: Optimum) -> str:
    side = "lower" if math.isinf(optimum.low) else "upper"
    if math.isinf(optimum.low) and math.isinf(optimum.high):
        return f"at scale {optimum.scale:g} the interval is wider than the grid: add seeds there"
    return f"at scale {optimum.scale:g} the interval reaches the {side} edge: widen the grid there"


def _shrink(claim: Claim, drift: Drift, optima: Sequence[Optimum]) -> list[str]:
    """Returns cures for an interval that is too wide."""
    off = abs(drift.slope - claim.exponent)
    half = max(drift.high - drift.slope, drift.slope - drift.low)
    if drift.bends:
        return ["no exponent fits all scales, because the drift bends; claim one where it is used"]
    # Half width at which the interval would fit into the tolerance, or leave it.
    room = abs(claim.tolerance - off)
    doublings = f"a wider range of scales than {drift.doublings:g} doublings"
    if room < half / 10:
        return [f"{doublings}: the slope lies close to the border of the tolerance"]
    if "estimators_disagree" in drift.flags and drift.stretched > drift.noise_half:
        return [f"a finer grid round the minima, where the estimators disagree, or {doublings}"]
    if drift.scatter > 0 and half > 2 * drift.noise_half:
        return [f"{doublings}: the optima scatter round the line more than noise explains"]
    seeds = max(1, min(optimum.seeds for optimum in optima))
    factor = (half / room) ** 2
    reach = max(drift.doublings * half / room, drift.doublings + 1)
    range_cure = f"scales over about {math.ceil(reach)} doublings instead of {drift.doublings:g}"
    if factor * seeds > MOST_SEEDS:
        return [range_cure]
    wanted = max(math.ceil(factor * seeds), seeds + 1)
    return [f"about {wanted} seeds at these points instead of {seeds}, or {range_cure}"]
