"""The bottom line of an answer: one to three sentences that stand for the tables below them.

Pure: from statements to text, the same for terminal, page and JSON.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, TypeVar

from sweeper.analysis import Drift, Optimum, Regret, Rivals, Verdict
from sweeper.words import (
    listed,
    percent,
    plural,
    power_range,
    signed_plain,
    with_article,
    with_power,
)

TOLD = 3
"""Groups that have a sentence each; more are counted."""

STILL = 0.1
"""Octaves per doubling: an optimum whose drift may be 0 and is less than this does not move."""

COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

RULINGS = {"holds": "holds", "broken": "is broken", "inconclusive": "is not decided"}

DOUBTS = {
    "poor_fit": "a poor fit",
    "few_points": "few points",
    "bimodal": "two minima",
    "conditional": "what is tuned along lies at an edge of its values",
}
"""Flags of an optimum that a bottom line does not keep back."""

What = TypeVar("What")
Item = TypeVar("Item")
Course = Literal["falls", "rises", "does not move", "is not resolved"]


class Told(Protocol):
    """What is said of any drift."""

    @property
    def drift(self) -> Drift | None: ...
    @property
    def verdicts(self) -> tuple[Verdict, ...]: ...
    @property
    def rivals(self) -> Rivals | None: ...
    @property
    def refused(self) -> str | None: ...


class DriftOfGroup(Told, Protocol):
    """What a group says of a drift; the fields are those of ``DriftGroup``."""

    @property
    def label(self) -> str: ...
    @property
    def optima(self) -> tuple[Optimum, ...]: ...
    @property
    def exponent(self) -> float: ...
    @property
    def regret(self) -> tuple[Regret, ...]: ...
    @property
    def left_out(self) -> Mapping[float, str]: ...


class DriftAlong(Told, Protocol):
    """What a joint optimum says of one direction; the fields are those of ``JointDrift``."""

    @property
    def along(self) -> str: ...
    @property
    def name(self) -> str: ...


class JointOfGroup(Protocol):
    """What a group says of joint optima; the fields are those of ``JointGroup``."""

    @property
    def label(self) -> str: ...
    @property
    def drifts(self) -> Sequence[DriftAlong]: ...


def of_drift(
    hyperparameter: str,
    scale: str,
    metric: str,
    groups: Sequence[DriftOfGroup],
    tuned: Sequence[str] = (),
) -> str:
    """Returns how the best value moves, what that means for the claims, and what transfer costs.

    Args:
        hyperparameter, scale: what it is about.
        metric: name of what is compared.
        groups: the groups, those without a drift too.
        tuned: other hyperparameters that were tuned at every value of this one.
    """
    words = _DriftWords(hyperparameter, scale, metric, tuned)
    measured = [group for group in groups if group.drift is not None]
    if len(groups) <= TOLD:
        return " ".join(words.told(group, alone=len(groups) == 1) for group in groups)
    if len(measured) == 1:
        first: Iterable[str] = [words.told(measured[0], alone=False)]
    else:
        first = words.counted(measured)
    said = [*first, *words.without(groups)]
    return " ".join(said)


def tuned_words(tuned: Sequence[str], hyperparameter: str) -> str:
    """Returns ``weight_decay tuned at every learning_rate``; nothing where nothing was."""
    return f"{listed(tuned)} tuned at every {hyperparameter}" if tuned else ""


def course(told: Told) -> Course:
    """Returns which way an optimum that has a drift goes, as far as it is known."""
    drift = told.drift
    assert drift is not None
    if drift.high < 0 or drift.low > 0:
        return "falls" if drift.high < 0 else "rises"
    still = max(-drift.low, drift.high) <= STILL or any(
        v.claim.exponent == 0 and v.ruling == "holds" for v in told.verdicts
    )
    return "does not move" if still else "is not resolved"


def why_no_drift(group: DriftOfGroup, scale: str) -> str | None:
    """Returns the kind of reason why a group has no drift; None where it has one."""
    if group.drift is not None:
        return None
    if not group.optima:
        return "no optimum"
    if refused_for_holes(group):
        return f"no optimum at some {scale}"
    if len(group.optima) == 1:
        return f"one {scale} only"
    return "optima at edges of their grids"


def refused_for_holes(group: DriftOfGroup) -> bool:
    """Returns whether a group has no drift because scales have no optimum; its refusal then says
    why each has none."""
    first = next(iter(group.left_out.values()), None)
    return first is not None and first in (group.refused or "")


def of_joint(names: tuple[str, str], scale: str, groups: Sequence[JointOfGroup]) -> str:
    """Returns how the best values of two hyperparameters move together, along each and along the
    direction in which the loss is flattest, and what that means for claims.

    Args:
        names: the two hyperparameters.
        scale: along what they move.
        groups: the groups, those without a drift too.
    """
    alone = len(groups) == 1
    said = [_moved_together(names, scale, group, alone=alone) for group in groups[:TOLD]]
    if len(groups) > TOLD:
        left = len(groups) - TOLD
        said.append(f"{left} more {'group stands' if left == 1 else 'groups stand'} below.")
    return " ".join(said)


def _moved_together(
    names: tuple[str, str], scale: str, group: JointOfGroup, *, alone: bool
) -> str:
    where = "" if alone and group.label == "default" else f"under {group.label}, "
    both = f"{where}tuned together, "
    known = [each for each in group.drifts if each.drift is not None]
    if not known:
        why = next((each.refused for each in group.drifts if each.refused), None)
        because = f": {why}" if why else ", because no joint optimum is located"
        return _sentence(f"{both}{' and '.join(names)} have no drift that can be told{because}")
    axes = [_way(each, scale) for each in known if each.along == "hyperparameter"]
    flat = next((each for each in known if each.along == "flat"), None)
    steep = next((each for each in known if each.along == "steep"), None)
    said = [f"{both}{' and '.join(axes)}"]
    if flat is not None and steep is not None:
        said.append(f"the flat direction {flat.name} moves by {slope_words(flat)}")
        said.append(f"the steep one {steep.name} by {slope_words(steep)}")
    claims = [
        f"for {each.name} {each.rivals.said}"
        if each.rivals is not None
        else f"for {each.name} " + " and ".join(map(_ruled, each.verdicts))
        for each in known
        if each.verdicts
    ]
    return " ".join(map(_sentence, ("; ".join(said), *claims)))


def _ruled(verdict: Verdict) -> str:
    claim = verdict.claim
    return f"the claim {claim.exponent:g} ± {claim.tolerance:g} {RULINGS[verdict.ruling]}"


def _way(each: DriftAlong, scale: str) -> str:
    goes = moves_words(course(each), f"best {each.name}", with_article(scale))
    return f"{goes} ({slope_words(each)})"


def moves_words(goes: Course, best: str, scale: str) -> str:
    """Returns a clause on how the best value moves with the scale, such as ``the width``."""
    if goes == "is not resolved":
        return f"it is not resolved whether the {best} moves with {scale}"
    return f"the {best} {goes} with {scale}"


def slope_words(told: Told) -> str:
    """Returns a drift with its interval, in octaves per doubling."""
    drift = told.drift
    assert drift is not None
    ends = _between(drift.low, drift.high)
    return f"{signed_plain(drift.slope)} octaves per doubling, 95% {ends}"


class _DriftWords:
    """The sentences of one statement."""

    def __init__(self, hyperparameter: str, scale: str, metric: str, tuned: Sequence[str]) -> None:
        self._best, self._scale, self._metric = f"best {hyperparameter}", scale, metric
        self._the_scale = with_article(scale)
        self._tuned = tuned_words(tuned, hyperparameter)

    def told(self, group: DriftOfGroup, *, alone: bool) -> str:
        """Returns the sentence of one group."""
        where = "" if alone and group.label == "default" else f"under {group.label} "
        drift = group.drift
        if drift is None:
            return _sentence(f"{where}{self._unmoved(group)}")
        moves = moves_words(course(group), self._best, self._the_scale)
        numbers = f"{slope_words(group)}, {self._scales(drift.scales_used)}"
        doubts = "".join(f"; {each}" for each in self._doubts(group))
        claims = " and ".join(map(_ruled, group.verdicts))
        if group.rivals is not None:
            claims = group.rivals.said
        cost = self._cost(group)
        if self._tuned:
            numbers += f", {self._tuned}"
        said = f"{where}{moves} ({numbers}{doubts}){': ' if claims else ''}{claims}"
        return _sentence(f"{said}{'; ' if cost else ''}{cost}")

    def counted(self, groups: Sequence[DriftOfGroup]) -> Iterator[str]:
        """Yields what many groups with a drift say together."""
        if not groups:
            return
        unit = f"octaves per doubling of {self._the_scale}"
        ways: list[str] = []
        for way, each in _alike((course(group), group) for group in groups):
            slopes = [group.drift.slope for group in each if group.drift is not None]
            range_ = dict.fromkeys((signed_plain(min(slopes)), signed_plain(max(slopes))))
            size = f"{' to '.join(range_)}{'' if ways else f' {unit}'}"
            goes = way if way != "is not resolved" else "moves in no resolved way"
            ways.append(f"{goes} {_where([group.label for group in each])} ({size})")
        along = f"the {self._best}{self._tuned and f', {self._tuned},'}"
        yield f"Of {plural(len(groups), 'group')} with a drift, {along} {listed(ways)}."
        claims: dict[str, list[tuple[str, str]]] = {}
        for group in groups:
            for verdict in group.verdicts:
                name = f"{verdict.claim.exponent:g} ± {verdict.claim.tolerance:g}"
                claims.setdefault(name, []).append((RULINGS[verdict.ruling], group.label))
        rivals = [(g.rivals.said, g.label) for g in groups if g.rivals is not None]
        if rivals:
            yield _sentence("; ".join(f"under {label} {said}" for said, label in rivals[:TOLD]))
        for name, rulings in claims.items():
            yield f"The claim {name} {listed(_labels(rulings))}."

    def without(self, groups: Sequence[DriftOfGroup]) -> Iterator[str]:
        """Yields how many groups have no drift, by the kind of reason."""
        bare = [group for group in groups if group.drift is None]
        if bare:
            kinds = Counter(why_no_drift(group, self._scale) for group in bare)
            parts = ", ".join(f"{kind} in {number}" for kind, number in kinds.most_common())
            noun = "group has" if len(bare) == 1 else "groups have"
            yield f"{len(bare)} {noun} no drift: {parts}."

    def _unmoved(self, group: DriftOfGroup) -> str:
        """Returns what a group without a drift says."""
        why = why_no_drift(group, self._scale)
        if why == f"one {self._scale} only":
            found = group.optima[0]
            place = power_range(found.low, found.high) + (self._tuned and f", {self._tuned}")
            return (
                f"the {self._best} is {with_power(found.value)} (95% {place}) at {self._scale} "
                f"{found.scale:g}, the only {self._scale} there is, so no drift can be told"
            )
        if group.optima and not refused_for_holes(group):
            if all(math.isinf(one.low) and math.isinf(one.high) for one in group.optima):
                return (
                    f"nothing is known of the {self._best}: every interval is open on both sides"
                )
            return (
                f"the {self._best} is only bounded, so no drift can be told: of "
                f"{len(group.optima)} lowest losses {listed(_edges(group.optima))}"
            )
        known = len(group.optima)
        return (
            f"{known} of {known + len(group.left_out)} values of {self._scale} have an "
            f"optimum of {self._best.removeprefix('best ')}, so no drift is told"
        )

    def _scales(self, scales: Sequence[float]) -> str:
        takes_s = self._scale.isalpha() and len(self._scale) > 2 and self._scale[-1] != "s"
        noun = f"{self._scale}s" if takes_s else f"values of {self._scale}"
        number = COUNTS[len(scales)] if len(scales) < len(COUNTS) else str(len(scales))
        return f"{number} {noun} {scales[0]:g} to {scales[-1]:g}"

    def _doubts(self, group: DriftOfGroup) -> Iterator[str]:
        """Yields what a reader of the slope alone would not know."""
        drift, number = group.drift, len(group.optima)
        assert drift is not None
        if drift.bend is not None and drift.bends:
            grows = drift.bend.value * drift.slope > 0
            yield f"it bends, and the drift {'grows' if grows else 'slows'} with {self._the_scale}"
        if "two_scales" in drift.flags:
            yield "nothing tells whether it is a straight line"
        if "scattered" in drift.flags:
            yield "the optima scatter beyond their noise"
        if drift.censored:
            are = "is a bound" if len(drift.censored) == 1 else "are bounds"
            yield f"{len(drift.censored)} of {number} optima {are}"
        for flag, words in DOUBTS.items():
            count = sum(flag in optimum.flags for optimum in group.optima)
            if count:
                yield f"{words} at {count} of {number}"

    def _cost(self, group: DriftOfGroup) -> str:
        """Returns what transfer costs at its worst."""
        base = next((optimum for optimum in group.optima if optimum.located), None)
        known = [cost for cost in group.regret if cost.certainty != "unknown"]
        if base is None or not known:
            return ""
        rule = f" by exponent {group.exponent:g}" if group.exponent else ""
        what = f"transferring from {self._scale} {base.scale:g}{rule}"
        lost = [cost for cost in known if cost.certainty == "infinite"]
        if lost:
            return f"{what} diverges at {self._scale} {lost[0].scale:g}"
        resolved = [cost for cost in known if cost.resolved and not cost.harmless]
        if resolved:
            worst = max(resolved, key=lambda cost: cost.regret)
            open_ends = sum(not cost.resolved and cost.high > worst.regret for cost in known)
            least = "at least " if math.isinf(worst.high) else "" if open_ends else "up to "
            more = f" and is not resolved at {plural(open_ends, 'other')}" if open_ends else ""
            ends = "" if math.isinf(worst.high) else f", 95% {worst.low:.2g} to {worst.high:.2g}"
            told = worst.low if math.isinf(worst.high) else worst.regret
            share = 100 * told / abs(worst.tuned) if worst.tuned else math.nan
            return (
                f"{what} costs {least}{told:.2g} in {self._metric} "
                f"({percent(share)}{ends}) at {self._scale} "
                f"{worst.scale:g}{more}"
            )
        worst = max(known, key=lambda cost: cost.high)
        if math.isinf(worst.high) or not worst.tuned:
            return f"what {what} costs is not resolved from noise"
        size = percent(100 * worst.high / abs(worst.tuned))
        tail = "harmless" if all(cost.harmless for cost in known) else "not resolved from noise"
        return f"{what} costs at most {worst.high:.2g} in {self._metric} ({size}), {tail}"


def _labels(said: Iterable[tuple[str, str]]) -> list[str]:
    """Returns what is said of groups, what most have first: ``holds under sp``, ``holds in 9``.

    Args:
        said: what, and the label of the group.
    """
    return [f"{what} {_where(labels)}" for what, labels in _alike(said)]


def _alike(said: Iterable[tuple[What, Item]]) -> list[tuple[What, list[Item]]]:
    """Returns what is said with all of which it is said, what most have first."""
    groups: dict[What, list[Item]] = {}
    for what, item in said:
        groups.setdefault(what, []).append(item)
    return sorted(groups.items(), key=lambda pair: -len(pair[1]))


def _where(labels: Sequence[str]) -> str:
    return f"under {listed(labels)}" if len(labels) <= TOLD else f"in {len(labels)}"


def _edges(optima: Sequence[Optimum]) -> list[str]:
    """Returns where the lowest losses of optima lie that are not inside their grids."""
    places = {
        "censored_low": "at the lower edge of their grids",
        "censored_high": "at the upper edge",
        "cliff": "beside a divergence",
    }
    counts = {flag: sum(flag in optimum.flags for optimum in optima) for flag in places}
    return [
        f"{n} {'lies' if n == 1 else 'lie'} {places[flag]}" for flag, n in counts.items() if n
    ] or ["few lie inside"]


def _between(low: float, high: float) -> str:
    return " to ".join(signed_plain(end) for end in (low, high))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
