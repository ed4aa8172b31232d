"""Claims: rules that a study puts to the test, and the verdict on each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sweeper.analysis.optimum import ScaleEstimate
from sweeper.analysis.scaling.drift import Drift
from sweeper.analysis.scaling.remedies import remedies
from sweeper.errors import AnalysisRefusal
from sweeper.words import listed

Ruling = Literal["holds", "broken", "inconclusive"]

NORMAL_95 = 1.96
"""Half width of a 95% interval of a normal distribution, in standard deviations."""

TOLD_APART = 10.0
"""Ratio of two likelihoods from which on one claim counts as the likelier: with two claims given,
of which one is true, a ratio of 10 for the false one comes up in at most one study of ten."""

MOST_TIMES = 1000.0
"""Ratio beyond which only this bound is said: tails of an interval are known no better."""

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


def judge(claim: Claim, drift: Drift, optima: Sequence[ScaleEstimate]) -> Verdict:
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


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """Two or more claims about one hyperparameter, weighed against each other.

    Attributes:
        exponents: the claimed ones, likeliest first.
        likelihoods: of each, as a share of that of the measured slope, from 0 to 1.
        ruled_out: those whose claim is broken.
        ratio: likelihood of the first over that of the second; may be infinite.
        said: what comes of it, as a clause.
    """

    exponents: tuple[float, ...]
    likelihoods: tuple[float, ...]
    ruled_out: tuple[float, ...]
    ratio: float
    said: str


def weigh(verdicts: Sequence[Verdict], drift: Drift) -> Rivals | None:
    """Returns the rival claims about one drift, weighed; None of fewer than two.

    The likelihood of an exponent e is exp(-z^2 / 2) with z = (e - slope) / sd, where sd is the
    part of the 95% interval on the side of e over 1.96, so that a wider side is a lower bar; on an
    open side nothing speaks against any exponent.
    """
    if len(verdicts) < 2:
        return None
    pairs = [(_log_likelihood(v.claim.exponent, drift), v.claim.exponent) for v in verdicts]
    logs, exponents = zip(*sorted(pairs, key=lambda pair: -pair[0]), strict=True)
    gap = logs[0] - logs[1]
    ratio = math.exp(gap) if gap < 700 else math.inf
    out = tuple(v.claim.exponent for v in verdicts if v.ruling == "broken")
    return Rivals(
        exponents=exponents,
        likelihoods=tuple(math.exp(each) for each in logs),
        ruled_out=out,
        ratio=ratio,
        said=_weighed(exponents, out, ratio, drift),
    )


def _log_likelihood(exponent: float, drift: Drift) -> float:
    """Returns the log of the likelihood of an exponent over that of the measured slope."""
    off = exponent - drift.slope
    half = drift.high - drift.slope if off > 0 else drift.slope - drift.low
    if off == 0 or math.isinf(half):
        return 0.0
    return -0.5 * (off * NORMAL_95 / half) ** 2 if half > 0 else -math.inf


def _weighed(
    exponents: tuple[float, ...], out: tuple[float, ...], ratio: float, drift: Drift
) -> str:
    """Returns what comes of rival exponents, the likeliest first."""
    left = [each for each in exponents if each not in out]
    measured = f"measured {drift.slope:+.2f}, 95% interval {_open_ends(drift)}"
    if not left:
        count = "both" if len(out) == 2 else f"all {len(out)}"
        return f"exponents {_and(exponents)} are {count} ruled out: {measured}"
    first, second = exponents[:2]
    lost = f", and {_and(out)} {'is' if len(out) == 1 else 'are'} ruled out" if out else ""
    if first in out:  # farther off, but with a wider tolerance
        return f"{_and(left)} {'stands' if len(left) == 1 else 'stand'}{lost} ({measured})"
    times = f"over {MOST_TIMES:.0f}" if ratio > MOST_TIMES else f"{ratio:.2g}"
    likelier = f"{first:g} is {times} times as likely as {second:g}"
    if ratio >= TOLD_APART or second in out:
        return f"exponent {likelier}{lost}"
    tied = "both are as likely" if ratio < 1.05 else likelier
    return f"exponents {first:g} and {second:g} are not told apart ({tied}; {measured}){lost}"


def _and(exponents: Sequence[float]) -> str:
    return listed([f"{each:g}" for each in exponents])


def _open_ends(drift: Drift) -> str:
    ends = (f"{e:+.2f}" if math.isfinite(e) else "open" for e in (drift.low, drift.high))
    return " to ".join(ends)


def interval_text(low: float, high: float, digits: int) -> str:
    """Returns an interval with so many decimals, for example ``[-0.41, open)``."""
    left = f"[{low:+.{digits}f}" if math.isfinite(low) else "(open"
    right = f"{high:+.{digits}f}]" if math.isfinite(high) else "open)"
    return f"{left}, {right}"


def _remedy(claim: Claim, drift: Drift, optima: Sequence[ScaleEstimate]) -> str:
    """Returns what would settle a claim, the cheapest cure first."""
    bounded = [(f"{drift.along} {each.scale:g}", each) for each in optima if not each.located]
    cures = remedies(bounded)
    cures += [_widen_grid(optimum, drift.along) for optimum in optima if _open_by_noise(optimum)]
    if math.isfinite(drift.low) and math.isfinite(drift.high):
        cures += _shrink(claim, drift, optima)
    elif not cures:
        cures.append("more seeds at these points, because noise leaves the interval open")
    return "; ".join(cures)


def _open_by_noise(optimum: ScaleEstimate) -> bool:
    return optimum.located and not (math.isfinite(optimum.low) and math.isfinite(optimum.high))


def _widen_grid(optimum: ScaleEstimate, along: str) -> str:
    side = "lower" if math.isinf(optimum.low) else "upper"
    if math.isinf(optimum.low) and math.isinf(optimum.high):
        return f"at {along} {optimum.scale:g} the interval is wider than the grid: add seeds there"
    return (
        f"at {along} {optimum.scale:g} the interval reaches the {side} edge: widen the grid there"
    )


def _shrink(claim: Claim, drift: Drift, optima: Sequence[ScaleEstimate]) -> list[str]:
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
