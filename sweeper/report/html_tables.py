"""The tables as the page shows them: numbers rounded for reading, flags in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.analysis import Claim, Drift, Flag, Regret, Ruling
from sweeper.answers import DRIFT_FLAGS, regret_note
from sweeper.report.tables import ReportData
from sweeper.words import decimals, interval_of_log2, minus, signed, signed_interval, three_digits

BADGES: Mapping[Ruling, tuple[str, str]] = {
    "holds": ("holds", "good"),
    "broken": ("is broken", "bad"),
    "inconclusive": ("is inconclusive", "open"),
}
"""Words and look of each verdict."""

OPTIMUM_FLAGS: Mapping[Flag, str] = {
    "censored_low": "at the lower edge of the grid: the optimum may lie below",
    "censored_high": "at the upper edge of the grid: the optimum may lie above",
    "cliff": "next to a diverged point: the optimum lies before it",
    "bimodal": "two separate minima, closer than the noise",
    "flat": "interval wider than the grid",
    "sparse": "neighbours of the minimum have no result",
    "poor_fit": "poor fit: the usual curve contradicts its points, so fewer are fitted",
    "few_points": "few points: the interval holds shapes that they do not show",
    "conditional": "what is tuned along lies at an edge of its values: the best at that edge",
}


@dataclass(frozen=True, kw_only=True)
class PageTable:
    """A table of the page, whose first and last columns hold words.

    Attributes:
        title: heading.
        rows: heading of each column and the cell below it, a row each.
    """

    title: str
    rows: list[list[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One line of the data.

    Attributes:
        group: which group it is about.
        claim: the claim that is judged; empty if it is about none.
        badge: a word that stands out, and its look (good, bad or open).
        text: what is said.
    """

    group: str
    claim: str
    badge: tuple[str, str]
    text: str


def sentences(data: ReportData) -> list[Sentence]:
    """Returns the verdicts; of a group without claims its drift, of one that refused why."""
    found = []
    for name, group in data.groups.items():
        if group.drift is None:
            text = group.refused or ""
            found.append(Sentence(group=name, claim="", badge=("no answer", "open"), text=text))
        elif not group.verdicts:
            text = f"{_subject(data)} moves by {drift_words(group.drift, data.scale)}."
            found.append(Sentence(group=name, claim="", badge=("measured", "open"), text=text))
        for verdict in group.verdicts:
            claim = _claim_words(data, verdict.claim)
            badge, text = BADGES[verdict.ruling], f"{verdict.why}."
            found.append(Sentence(group=name, claim=claim, badge=badge, text=text))
        if group.rivals is not None:
            text = f"{group.rivals.said}."
            found.append(Sentence(group=name, claim="", badge=("weighed", "open"), text=text))
    return found


def _subject(data: ReportData) -> str:
    return f"the best {data.hyperparameter}"


def _claim_words(data: ReportData, claim: Claim) -> str:
    band = f"within {claim.tolerance:g} octaves per doubling of {data.scale}"
    if claim.exponent == 0:
        return f"the claim that {_subject(data)} stays put ({band})"
    return f"the claim that {_subject(data)} moves by {signed(claim.exponent)} ({band})"


def page_tables(data: ReportData) -> list[PageTable]:
    """Returns the tables of a hyperparameter that have any row."""
    made = [
        _optima_table(data),
        _left_out_table(data),
        _drift_table(data),
        _regret_table(data),
    ]
    return [table for table in made if table.rows]


def _between(one: float, other: float) -> str:
    """Returns the interval between two losses."""
    return " to ".join(decimals(end) for end in sorted((one, other)))


def _optima_table(data: ReportData) -> PageTable:
    metric, sign = data.statement.metric, data.statement.sign
    rows = [
        [
            ("group", name),
            (data.scale, f"{optimum.scale:g}"),
            ("optimum", three_digits(optimum.value)),
            ("95% interval", interval_of_log2(optimum.low, optimum.high)),
            ("log2", signed(optimum.log2)),
            ("95% interval of log2", signed_interval(optimum.low, optimum.high)),
            *[(f"its {each}", _value(optimum.tuned.get(each))) for each in data.tuned],
            (metric, decimals(sign * optimum.loss)),
            (
                f"95% interval of {metric}",
                _between(sign * optimum.loss_low, sign * optimum.loss_high),
            ),
            ("points", str(optimum.points)),
            ("trials", f"{optimum.answered} of {optimum.declared}"),
            ("remarks", "; ".join(OPTIMUM_FLAGS[flag] for flag in optimum.flags)),
        ]
        for name, group in data.groups.items()
        for optimum in group.optima
    ]
    return PageTable(title=f"Best {data.hyperparameter} at each {data.scale}", rows=rows)


def _value(tuned: float | None) -> str:
    """Returns the value of a hyperparameter that was tuned along, where the group has it."""
    return "–" if tuned is None else three_digits(tuned)


def _left_out_table(data: ReportData) -> PageTable:
    rows = [
        [
            ("group", name),
            (data.scale, f"{scale:g}"),
            ("why", why),
        ]
        for name, group in data.groups.items()
        if group.drift is not None  # Else the refusal has named them already.
        for scale, why in group.left_out.items()
    ]
    return PageTable(title="Without an optimum", rows=rows)


def _drift_table(data: ReportData) -> PageTable:
    rows = [
        [
            ("group", name),
            ("drift", signed(drift.slope, 3)),
            ("95% interval", signed_interval(drift.low, drift.high, 3)),
            (f"{data.scale} used", ", ".join(f"{scale:g}" for scale in drift.scales_used)),
            (
                "bend, 95%",
                "–"
                if (bend := drift.bend) is None
                else f"{signed(bend.value)} {signed_interval(bend.low, bend.high)}",
            ),
            ("remarks", "; ".join(DRIFT_FLAGS[flag] for flag in drift.flags)),
        ]
        for name, group in data.groups.items()
        # Where there is none, the sentence above the figures says why.
        if (drift := group.drift) is not None
    ]
    title = (
        f"Drift of {data.hyperparameter}, octaves per doubling of {data.scale} "
        "(bend: change of the drift per doubling)"
    )
    return PageTable(title=title, rows=rows)


def _regret_table(data: ReportData) -> PageTable:
    metric, sign = data.statement.metric, data.statement.sign
    rows = [
        [
            ("group", name),
            (data.scale, f"{cost.scale:g}"),
            ("transferred setting", three_digits(2.0**cost.log2)),
            (f"{metric} tuned", decimals(sign * cost.tuned)),
            (f"{metric} transferred", decimals(sign * cost.transferred)),
            ("regret", regret_words(cost)),
            ("95% interval", _span(cost)),
            ("percent", decimals(cost.percent, 2)),
            ("in compute", compute_words(cost)),
            ("noise floor", decimals(cost.floor)),
            ("remarks", regret_note(cost)),
        ]
        for name, group in data.groups.items()
        for cost in group.regret
    ]
    unit = f", {data.unit}" if data.unit else ""
    rules = sorted({group.exponent for group in data.groups.values()})
    rule = ", ".join(f"{exponent:g}" for exponent in rules)
    title = f"Regret of transfer by exponent {rule} instead of tuning{unit}"
    return PageTable(title=title, rows=rows)


def drift_words(drift: Drift, scale: str) -> str:
    """Returns a drift as one sentence."""
    return (
        f"{signed(drift.slope)} octaves per doubling of {scale}, "
        f"95% interval {signed_interval(drift.low, drift.high)}"
    )


def regret_words(cost: Regret) -> str:
    """Returns a regret in the unit of the objective, as far as it is known."""
    if cost.certainty == "unknown":
        return "unknown"
    if cost.certainty == "infinite":
        return "diverges"
    text = minus(f"{cost.regret:.4f}")
    return f"≥ {text}" if cost.certainty == "at_least" else text


def _span(cost: Regret) -> str:
    """Returns the interval of a regret; open where nothing bounds it."""
    if not math.isfinite(cost.low):
        return "–"
    return f"{decimals(cost.low)} to {decimals(cost.high) if math.isfinite(cost.high) else 'open'}"


def compute_words(cost: Regret) -> str:
    """Returns the factor of compute that a regret throws away, as far as it is known."""
    if not math.isfinite(cost.compute):
        return "–"
    bound = "≥ " if cost.certainty == "at_least" else ""
    return f"{bound}×{cost.compute:.2f}{' (extrapolated)' if cost.compute_note else ''}"
