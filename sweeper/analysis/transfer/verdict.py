"""The verdict: whether transfer is fast and useful, from the rates at which the gaps close.

arXiv 2512.22768: with a ~ n^-alpha and b ~ n^-beta transfer is fast if beta > alpha / 2, which
is also where it beats tuning directly on the same compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeper.analysis.optimum import Floats
from sweeper.analysis.scaling.claim import interval_text
from sweeper.analysis.transfer.economy import Economy, free_exponent
from sweeper.analysis.transfer.gaps import GAPS, Gaps
from sweeper.analysis.transfer.rate import FASTEST, OPEN, RateFit

Speed = Literal["fast", "not distinguishable", "slow"]

Answer = Literal["yes", "undecided", "no"]

MARGIN = 0.05
"""Lead of beta over alpha / 2 that scales within reach can tell from none: exponents of fits to
good curves are off by .02, which makes .022 of the lead, and this is twice that."""

LEAST_SCALES = 3
"""Gaps above the noise that a verdict needs: two points lie on any power law."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast a gap closes: gap ~ scale^-value.

    Attributes:
        value: the rate.
        low, high: 95% interval; infinite where it is open.
        scales: scales whose gap is above the noise, which the rate was fitted through.
    """

    value: float
    low: float
    high: float
    scales: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TransferVerdict:
    """The verdict.

    Attributes:
        speed: whether b closes faster than the square root of a.
        why: one sentence with the reason and, where undecided, what would settle it.
        lead: beta - alpha / 2 with its interval; None where either has no rate.
        useful: whether transfer beats direct tuning on the same compute as it grows.
        free: whether tuning by transfer costs nothing against an untuned run as compute grows.
        free_from: smallest beta for which it does; infinite if none does, NaN without alpha.
    """

    speed: Speed
    why: str
    lead: Rate | None
    useful: Answer
    free: Answer
    free_from: float


def rates_of(gaps: Gaps, rivals: Sequence[Gaps], *, contain_all: bool) -> dict[str, Rate]:
    """Returns the rates of a group with their intervals.

    Args:
        gaps: the gaps as the main estimator reads them.
        rivals: the same as others read them.
        contain_all: whether intervals must hold all of them, see :func:`interval.stretch`.
    """
    found = {}
    for name, fit in gaps.rates.items():
        others = [rival.rates[name] for rival in rivals if name in rival.rates]
        found[name] = _rate(fit, others, gaps.kept[name], contain_all)
    return found


def judge_transfer(
    gaps: Gaps, rivals: Sequence[Gaps], *, contain_all: bool, economy: Economy | None = None
) -> TransferVerdict:
    """Returns the verdict on a group.

    Args:
        gaps, rivals, contain_all: as in :func:`rates_of`.
        economy: cost of a run and number of hyperparameters; the source's r = 2, h = 1 if None.
    """
    economy = economy or Economy()
    lead = _difference(gaps, rivals, lambda alpha: alpha / 2, contain_all)
    alpha = gaps.rates["a"].value if "a" in gaps.rates else math.nan
    free_from = free_exponent(alpha, economy)
    few = [name for name in GAPS[:2] if len(gaps.kept[name]) < LEAST_SCALES]
    if lead is None or few:
        why = _unrated(gaps, few or [name for name in GAPS[:2] if name not in gaps.rates])
        return TransferVerdict(
            speed="not distinguishable",
            why=why,
            lead=lead,
            useful="undecided",
            free="undecided",
            free_from=free_from,
        )
    speed, why = _speed(gaps, lead)
    useful: Mapping[Speed, Answer] = {"fast": "yes", "slow": "no"}
    free: Answer = "no"
    if math.isfinite(free_from):
        spare = _difference(gaps, rivals, _free_of(economy), contain_all)
        assert spare is not None
        free = "yes" if spare.low > 0 else "no" if spare.high < 0 else "undecided"
    return TransferVerdict(
        speed=speed,
        why=why,
        lead=lead,
        useful=useful.get(speed, "undecided"),
        free=free,
        free_from=free_from,
    )


def _free_of(economy: Economy) -> Callable[[Floats], Floats]:
    r, h = economy.cost_exponent, economy.hyperparameters

    def least(alpha: Floats) -> Floats:
        # Alphas of resamples at which nothing is free any more are held just below.
        held = alpha.clip(max=(2 * r - 1e-3) / h)
        return held * r / (2 * r - held * h)

    return least


def _difference(
    gaps: Gaps, rivals: Sequence[Gaps], part: Callable[[Floats], Floats], contain_all: bool
) -> Rate | None:
    """Returns beta minus a function of alpha; None where either has no rate."""
    both = [g.rates["b"].minus(g.rates["a"], part) for g in (gaps, *rivals) if _has_both(g)]
    if not _has_both(gaps):
        return None
    kept = tuple(scale for scale in gaps.kept["a"] if scale in gaps.kept["b"])
    return _rate(both[0], both[1:], kept, contain_all)


def _has_both(gaps: Gaps) -> bool:
    return "a" in gaps.rates and "b" in gaps.rates


def _rate(
    fit: RateFit, rivals: Sequence[RateFit], scales: tuple[float, ...], contain_all: bool
) -> Rate:
    low, high = fit.interval(rivals, contain_all=contain_all)
    return Rate(
        value=fit.value,
        low=low if low > OPEN - 2 * FASTEST else -math.inf,
        high=high if high < 2 * FASTEST - OPEN else math.inf,
        scales=scales,
    )


def _speed(gaps: Gaps, lead: Rate) -> tuple[Speed, str]:
    alpha, beta = gaps.rates["a"].value, gaps.rates["b"].value
    found = (
        f"beta {beta:.2f} against alpha / 2 = {alpha / 2:.2f}: lead {lead.value:+.2f}, "
        f"95% interval {interval_text(lead.low, lead.high, 2)}"
    )
    if lead.low > 0 and lead.value > MARGIN:
        return "fast", f"{found}, so c vanishes against a{_ratios(gaps)}"
    if lead.high < 0 and lead.value < -MARGIN:
        return "slow", f"{found}, so c does not vanish against a{_ratios(gaps)}"
    if lead.low > 0 or lead.high < 0:
        reason = f"less than {MARGIN:g}, which is not to be told from 0 over such scales"
    else:
        reason = "which includes 0"
    doublings = math.log2(lead.scales[-1] / lead.scales[0]) if lead.scales else 0.0
    wider = f"scales over more than the {doublings:.1f} doublings above the noise"
    by_noise = len(gaps.rates["b"].draws) and gaps.rates["b"].extra < (lead.high - lead.low) / 4
    cure = f"{wider}, or more seeds" if by_noise else wider
    return "not distinguishable", f"{found}, {reason}{_ratios(gaps)}; to settle it: {cure}"


def _ratios(gaps: Gaps) -> str:
    """Returns one clause on c / a at the smallest and largest scale that have it."""
    known = [row for row in gaps.rows if math.isfinite(row.ratio)]
    if len(known) < 2:
        return ""
    first, last = known[0], known[-1]
    return (
        f"; c / a is {first.ratio:.2g} at {first.scale:g} and {last.ratio:.2g} at {last.scale:g}"
    )


def _unrated(gaps: Gaps, names: Sequence[str]) -> str:
    """Returns why there is no verdict, and what would settle it."""
    total = len(gaps.rows)
    words = {"a": "loss gap a", "b": "hyperparameter gap b"}
    parts = []
    for name in names:
        floors = [getattr(row, name).floor for row in gaps.rows]
        unit = " octaves" if name == "b" else ""
        parts.append(
            f"the {words[name]} is above its noise floor ({max(floors):.2g}{unit}) at "
            f"{len(gaps.kept[name])} of {total} scales"
        )
    costs = [row.c.measured / row.a.value for row in gaps.rows if row.a.value > 0]
    costs = [cost for cost in costs if math.isfinite(cost)]
    most = f"; transfer costs at most {max(costs):.2g} of the loss gap" if costs else ""
    return (
        f"{' and '.join(parts)}, and a rate that can be judged needs {LEAST_SCALES}{most}; to "
        "settle it: more seeds, or a wider range of scales"
    )
