"""One variant of a study as a side of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.analysis.estimator import DEFAULT
from sweeper.analysis.evidence import Evidence, gather
from sweeper.analysis.frontier import Frontier
from sweeper.analysis.law import Law
from sweeper.analysis.saving import frontier_law
from sweeper.analysis.tuned import Cost, Tuned, TunedPoint, tuned_losses
from sweeper.errors import AnalysisRefusal
from sweeper.report.inquiry import Inquiry

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One variant of a comparison.

    Attributes:
        study, variant: what it is.
        tuned: its tuned losses.
        frontier: the same against the cost that is compared.
        law: the law of that frontier; None where it has none.
        lawless: why it has none, else None.
        evidence: the trials behind it.
    """

    study: str
    variant: str
    tuned: Tuned
    frontier: Frontier
    law: Law | None
    lawless: str | None
    evidence: Evidence

    @property
    def name(self) -> str:
        """The variant as it is asked for, ``study:variant``."""
        return self.tuned.name

    @property
    def points(self) -> tuple[TunedPoint, ...]:
        """The tuned points of the frontier, cheapest first."""
        found = {point.label: point for point in self.tuned.points}
        return tuple(found[point.label] for point in self.frontier.points)


def read_side(
    inquiry: Inquiry,
    variant: str,
    metric: Cost,
    *,
    estimator: str = DEFAULT,
    allow_holes: bool = False,
    seed: int = 0,
) -> Side:
    """Returns a variant of a study with its tuned losses and their law.

    Args:
        inquiry: the study.
        variant: name of the variant.
        metric: the cost that is compared.
        estimator: how an optimum is read off its points.
        allow_holes: answer although neighbours of a minimum are missing.
        seed: seed of the law's interval; a seed of its own keeps sides independent.

    Raises:
        UnknownNameError: there is no such estimator.
        AnalysisRefusal: no tuned loss can be read, or their cost is unknown.
    """
    rows = inquiry.trials[inquiry.trials["variant"] == variant]
    column = _tuned_column(inquiry, rows)
    settings = [c for c in inquiry.swept if c != column and _differs(inquiry, rows, c)]
    tuned = tuned_losses(
        rows,
        name=f"{inquiry.study.name}:{variant}",
        scale=inquiry.scale,
        hyperparameter=column,
        settings=settings,
        estimator=estimator,
        allow_holes=allow_holes,
    )
    frontier = tuned.frontier(metric)
    law, lawless = None, None
    try:
        law = frontier_law(frontier, seed=seed)
    except AnalysisRefusal as refusal:
        lawless = str(refusal)
    return Side(
        study=inquiry.study.name,
        variant=variant,
        tuned=tuned,
        frontier=frontier,
        law=law,
        lawless=lawless,
        evidence=gather(rows, [inquiry.scale, *([] if column is None else [column]), *settings]),
    )


def _tuned_column(inquiry: Inquiry, rows: pandas.DataFrame) -> str | None:
    """Returns the hyperparameter that is tuned: the first of the claims' and of the others that
    is swept over positive numbers at one scale and leaves the compute alone."""
    for column in dict.fromkeys([*inquiry.claims, *inquiry.swept]):
        tunable = column not in inquiry.scales and _differs(inquiry, rows, column)
        if tunable and _is_positive(rows[column]) and not _costs(inquiry, rows, column):
            return column
    return None


def _differs(inquiry: Inquiry, rows: pandas.DataFrame, column: str) -> bool:
    return bool((rows.groupby(inquiry.scale)[column].nunique(dropna=False) > 1).any())


def _is_positive(values: pandas.Series[Any]) -> bool:
    """Returns whether all are positive numbers, with no gap."""
    import pandas

    if values.map(lambda value: isinstance(value, bool | str | list)).any():
        return False
    return bool((pandas.to_numeric(values, errors="coerce") > 0).all())


def _costs(inquiry: Inquiry, rows: pandas.DataFrame, column: str) -> bool:
    """Returns whether a setting changes the compute where all others are equal."""
    others = [c for c in (inquiry.scale, *inquiry.swept) if c != column]
    return bool((rows.groupby(others, dropna=False)["flops"].nunique() > 1).any())
