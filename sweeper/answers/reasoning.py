"""The words of an explanation: one sentence that a user came for, and the four parts below it.

Pure: from findings to text, the same for terminal, page and JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sweeper.analysis import Gap, Option, action_words, to_do
from sweeper.answers.advice import BudgetAdvice
from sweeper.answers.bottom_line import course, moves_words, of_drift, slope_words, why_no_drift
from sweeper.answers.decomposition import Decomposed
from sweeper.answers.drift import DriftGroup, DriftStatement
from sweeper.answers.transfer import SPEEDS, NoTransfer, Transfer
from sweeper.check import VariantCheck
from sweeper.words import listed, with_article

Transfers = Literal["yes", "no", "undecided"]

PARTS: Mapping[str, str] = {
    "does": "does it transfer",
    "fast": "how fast",
    "why": "why",
    "next": "what next",
}
"""The parts of an explanation with their headings."""

CHECKS: Mapping[str, str] = {
    "pass": "the check passes",
    "fail": "the check fails",
    "inconclusive": "the check is inconclusive",
}

NAMED = 3
"""Causes of a failed check that are told."""

PREDICTED = ("width", "depth", "params", "tokens")
"""Scales that ``sweeper predict`` has an option for."""

CURE = "to settle it: "
"""What stands before the cure in the reason of a verdict."""


@dataclass(frozen=True, kw_only=True)
class Leading:
    """Leading directions, over all scales but the largest.

    Attributes:
        low, high: least and largest kappa.
        of: directions at the largest of these scales.
        alike: up to which k the top-k curves of every scale are those of the largest.
    """

    low: int
    high: int
    of: int
    alike: int

    @property
    def shared(self) -> bool:
        """Whether all directions that decide the optimum are alike at every scale."""
        return self.high <= self.alike

    @property
    def words(self) -> str:
        """How many there are."""
        count = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"
        return f"{count} of {self.of} leading directions"


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """All that is known of one group; text in place of an answer is the reason why it is not.

    Attributes:
        drifts: the statement that the group stands in.
        group: optima and drift.
        transfer: gaps and rates.
        decomposed: the change of the loss by direction.
        check: the coordinate check; None where none is kept.
        advice: for the budget; None where the cost of a run is not known.
        target: the scale that is advised for.
        budget: that and what it may cost, in words.
        theory: what is known of the workload without measuring; empty where nothing is.
    """

    drifts: DriftStatement
    group: DriftGroup
    transfer: Transfer | NoTransfer
    decomposed: Decomposed | str
    check: VariantCheck | str | None
    advice: BudgetAdvice | None
    target: float
    budget: str = ""
    theory: str = ""

    @property
    def option(self) -> Option | None:
        """What to do with the budget: the optimum found already, where it transfers and nothing
        is better beyond the noise, or the best; None without advice."""
        advice = None if self.advice is None else self.advice.advice
        if advice is None:
            return None
        return advice.best if _transfers(self.group) == "no" else advice.known or advice.best

    @cached_property
    def leading(self) -> Leading | None:
        """The leading directions; None unless every scale but the largest knows them."""
        if isinstance(self.decomposed, str) or len(self.decomposed.scales) < 2:
            return None
        small = self.decomposed.scales[:-1]
        kappas = [each.kappa for each in small if each.kappa is not None]
        if len(kappas) < len(small):
            return None
        return Leading(
            low=min(int(kappa.k.min()) for kappa in kappas),
            high=max(int(kappa.k.max()) for kappa in kappas),
            of=int(small[-1].phi.shape[1]),
            alike=min(each.alike_to or 0 for each in small),
        )


@dataclass(frozen=True, kw_only=True)
class Reasoning:
    """What findings come to.

    Attributes:
        bottom_line: the answer in one sentence.
        transfers: whether the setting transfers: by the claims, or without any by the optimum and
            what transfer costs; None where no drift is known.
        does, fast, why, next: the four parts, clauses each.
    """

    bottom_line: str
    transfers: Transfers | None
    does: tuple[str, ...]
    fast: tuple[str, ...]
    why: tuple[str, ...]
    next: tuple[str, ...]

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """The clauses of each part by its heading."""
        return {heading: getattr(self, name) for name, heading in PARTS.items()}


def reasoned(found: Findings) -> Reasoning:
    """Returns what findings come to."""
    ahead = tuple(_next(found))
    step = ahead[0].partition(": expected loss")[0].partition(";")[0]
    said = "; ".join(
        filter(None, (_moves(found), _speed(found), _checked(found), f"next: {step}"))
    )
    return Reasoning(
        bottom_line=f"{said[0].upper()}{said[1:]}.",
        transfers=_transfers(found.group),
        does=tuple(_does(found)),
        fast=tuple(_fast(found)),
        why=tuple(_why(found)),
        next=ahead,
    )


def _transfers(group: DriftGroup) -> Transfers | None:
    if group.drift is None:
        return None
    rulings = {verdict.ruling for verdict in group.verdicts}
    if rulings:
        return "yes" if "holds" in rulings else "no" if rulings == {"broken"} else "undecided"
    if course(group) == "does not move":
        return "yes"
    if group.regret and all(cost.harmless for cost in group.regret):
        return "yes"
    return "undecided" if course(group) == "is not resolved" else "no"


def _moves(found: Findings) -> str:
    """Returns whether the optimum moves as claimed; without a claim, how it moves."""
    group, drifts = found.group, found.drifts
    under = "" if group.label == "default" else f" under {group.label}"
    best = f"best {drifts.hyperparameter}"
    if group.drift is None:
        why = why_no_drift(group, drifts.scale)
        return f"whether the {best} transfers{under} is not known ({why})"
    size = f" ({slope_words(group)})"
    if not group.verdicts:
        goes = moves_words(course(group), best, with_article(drifts.scale))
        harmless = _transfers(group) == "yes" and course(group) != "does not move"
        return f"{goes}{under}{size}{', too little to matter' if harmless else ''}"
    held = [v.claim.exponent for v in group.verdicts if v.ruling == "holds"]
    still = {*(held or [v.claim.exponent for v in group.verdicts])} == {0.0}
    bare = "stay put" if still else "move as claimed"
    says: Mapping[Transfers | None, str] = {
        "yes": f"the {best} {'stays put' if still else 'moves as claimed'}",
        "no": f"the {best} does not {bare}",
        "undecided": f"it is not decided whether the {best} {bare.replace(' ', 's ', 1)}",
    }
    return f"{says[_transfers(group)]}{under}{size}"


def _speed(found: Findings) -> str:
    """Returns how fast transfer is and, where that is known, because of what."""
    transfer = found.transfer
    if not isinstance(transfer, Transfer):
        return "how fast it transfers is not known"
    rates, leading = transfer.rates, found.leading
    size = ""
    if "a" in rates and "b" in rates:
        size = f" (beta {rates['b'].value:.2f} against alpha / 2 = {rates['a'].value / 2:.2f})"
    said = f"{SPEEDS[transfer.verdict.speed]}{size}"
    if leading is None:
        return said
    if leading.shared and transfer.verdict.speed == "fast":
        alike = f"alike at every {found.drifts.scale}"
        return f"{said} because {leading.words}, {alike}, decide the optimum"
    alike = f"the first {leading.alike} are" if leading.alike else "not even the first is"
    decide = f"{leading.words} decide the optimum, of which {alike}"
    return f"{said}; {decide} alike at every {found.drifts.scale}"


def _checked(found: Findings) -> str:
    if isinstance(found.check, str):
        return ""
    return "its rule is not checked" if found.check is None else CHECKS[found.check.verdict]


def _does(found: Findings) -> Iterator[str]:
    drifts, group = found.drifts, found.group
    said = of_drift(drifts.hyperparameter, drifts.scale, drifts.metric, [group], drifts.tuned)
    yield said.removesuffix(".")
    if group.refused is not None and not group.left_out:
        yield f"no drift: {group.refused}"
    yield from (f"claim {v.claim.exponent:g}: {v.why}" for v in group.verdicts if CURE in v.why)


def _fast(found: Findings) -> Iterator[str]:
    transfer = found.transfer
    if not isinstance(transfer, Transfer):
        yield f"not known{f': {transfer.refused}' if found.group.drift else ', without a drift'}"
        return
    verdict, first = transfer.verdict, transfer.rows[0]
    yield f"{SPEEDS[verdict.speed]}: {verdict.why}"
    yield (
        f"from {found.drifts.scale} {first.scale:g} to the largest: {found.drifts.metric} gap a "
        f"{_gap(first.a)}, gap b of the best {found.drifts.hyperparameter} "
        f"{_gap(first.b, ' octaves')}, cost of transfer c {_gap(first.c)}"
    )
    yield f"better than tuning directly: {verdict.useful}; asymptotically free: {verdict.free}"
    yield from transfer.warnings


def _gap(gap: Gap, unit: str = "") -> str:
    if math.isnan(gap.value):
        return "not measured"
    if math.isinf(gap.value):
        return "infinite, since it diverges"
    floor = f"within its noise of {gap.floor:.2g}"
    return f"{f'{gap.value:.2g}' if gap.value else floor}{unit}"


def _why(found: Findings) -> Iterator[str]:
    if found.theory:
        yield f"in theory {found.theory}"
    yield from _directions(found)
    check, study = found.check, found.drifts.study
    if check is None:
        yield (
            "no coordinate check of it as it stands is kept, so nothing shows that every layer "
            f"follows its rule: sweeper check {study}"
        )
    elif isinstance(check, str):
        yield f"no coordinate check: {check.partition(';')[0]}"
    else:
        measured = check.measured
        sizes = f"{measured.scale} {measured.sizes[0]:g} to {measured.sizes[-1]:g}"
        named = f": {'; '.join(check.named[:NAMED])}" if check.named else ""
        keep = ", updates and activations keep their size" if check.verdict == "pass" else ""
        yield f"{CHECKS[check.verdict]} over {sizes}{keep}{named}"
        if check.verdict == "inconclusive":
            yield f"more seeds settle the check: sweeper check {study} --seeds 10"


def _directions(found: Findings) -> Iterator[str]:
    decomposed, leading, scale = found.decomposed, found.leading, found.drifts.scale
    if isinstance(decomposed, str):
        yield f"by direction: {decomposed}"
        return
    small, largest = decomposed.scales[:-1], decomposed.scales[-1]
    if not small:
        yield f"by direction: one {scale} is decomposed, and nothing to compare it with"
        return
    if leading is not None:
        alike = f"those of the first {leading.alike} are" if leading.alike else "none is"
        yield (
            f"{leading.words} decide the optimum at {scale} below {largest.scale:g} (kappa); of "
            f"the curves of leading directions {alike} alike at {scale} {largest.scale:g}"
        )
    unknown: dict[str, list[str]] = {}
    for each in small:
        if each.refused:
            unknown.setdefault(each.refused, []).append(f"{each.scale:g}")
    for why, scales in unknown.items():
        yield f"how many directions decide it is not known at {scale} {listed(scales)}: {why}"
    error = max(each.error / abs(each.change[each.best]) for each in decomposed.scales)
    most = max(each.most_by for each in decomposed.scales)
    yield (
        f"90% of the change of the loss by the first {most} directions at every {scale}; the "
        f"change to first order is off by {error:.1%} at most"
    )


def _next(found: Findings) -> Iterator[str]:
    """Yields what to do, the first thing first."""
    group, drifts = found.group, found.drifts
    if isinstance(found.check, VariantCheck) and found.check.verdict == "fail":
        yield f"mend the rule: {found.check.named[0]}"
    if group.drift is None and group.left_out:
        yield f"give every {drifts.scale} an optimum; {group.refused}"
    elif group.drift is None:
        bounded = [(f"{drifts.scale} {o.scale:g}", o) for o in group.optima if not o.located]
        yield to_do(bounded, few=len(group.optima) < 2)
    cures = [v.why.partition(CURE)[2] for v in group.verdicts if CURE in v.why]
    if cures and _transfers(group) == "undecided":
        yield f"settle the claim: {cures[0]}"
    if _transfers(group) == "no":
        yield f"follow the drift that was measured: {_predict(found)}"
    yield from _advised(found)
    transfer = found.transfer
    if isinstance(transfer, Transfer) and CURE in transfer.verdict.why:
        yield f"settle how fast it is: {transfer.verdict.why.partition(CURE)[2]}"


def _predict(found: Findings) -> str:
    scale = found.drifts.scale
    asks = f"--{scale} " if scale in PREDICTED else f"--at {scale}="
    return f"sweeper predict {found.drifts.study} {asks}{found.target:g}"


def _advised(found: Findings) -> Iterator[str]:
    study = found.drifts.study
    if found.advice is None:
        yield (
            "say what a run costs, which the trials do not know: sweeper advise "
            f"{study} --target N --flops F --run-flops F --cost-exponent 2"
        )
        return
    if found.group.drift is None:
        return  # what to do for a drift stands before it
    if found.advice.advice is None:
        yield f"no advice ({found.budget}): {found.advice.refused}"
    else:
        advice = found.advice.advice
        first, *others = advice.sentences
        if found.option is not None and found.option is not advice.best:
            yield action_words(found.option, found.target)
            first = f"or {first}"
        yield f"{first} ({found.budget})"
        yield from others
    yield f"for another size or budget: sweeper explain {study} --target N --flops F"
