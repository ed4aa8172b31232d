"""What a study of the store says about transfer: gaps and verdicts, and advice for a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from sweeper.analysis import Advice, Economy, Growth, advise, growth, run_cost
from sweeper.answers.advice import (
    Given,
    Reading,
    plain_landscape,
    read_landscape,
)
from sweeper.answers.drift import DriftStatement, Group
from sweeper.answers.evidence import Evidence
from sweeper.answers.groups import all_refused, group_label
from sweeper.answers.transfer import TransferStatement, transfer_statement
from sweeper.answers.view import inquire
from sweeper.errors import AnalysisRefusal
from sweeper.store import Store

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class Counsel:
    """Advice from one group of a study.

    Attributes:
        study, scale, hyperparameter, variant, settings: the group; None and empty without one.
        advice: what to do; None where the group refused it.
        growth: how the strategies scale with compute; None where the optimum has no rate.
        assumptions: what the advice rests on, a sentence each.
        refused: why there is no advice; None if there is one.
        evidence: which trials it rests on; None without a study.
        notes: sentences that the reader should know of every group.
    """

    study: str | None
    scale: str | None
    hyperparameter: str | None
    variant: str | None
    settings: Mapping[str, Any]
    advice: Advice | None
    growth: Growth | None
    assumptions: tuple[str, ...]
    refused: str | None
    evidence: Evidence | None = None
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How messages name the group."""
        return group_label(self.variant or "no study", self.settings)

    def to_json(self) -> dict[str, Any]:
        """Returns the advice as plain values under stable keys; what is infinite is null."""
        head = {
            "hyperparameter": self.hyperparameter,
            "variant": self.variant,
            "settings": dict(self.settings),
            "refused": self.refused,
            "evidence": self.evidence and self.evidence.to_json(),
        }
        if self.advice is None:
            return head
        grows = self.growth
        return head | {
            "recommended": self.advice.best.strategy,
            "transfer_pays": self.advice.pays,
            "options": [asdict(option) for option in self.advice.options],
            "growth": grows and {k: _number(v) for k, v in asdict(grows).items()},
            "sentences": list(self.advice.sentences),
            "assumptions": list(self.assumptions),
        }


def transfers_of(
    store: Store,
    name: str,
    hyperparameter: str | None = None,
    *,
    scale: str | None = None,
    horizon: str | None = None,
    reference: str = "largest",
    estimator: str = "spline",
    allow_holes: bool = False,
) -> list[TransferStatement]:
    """Returns gaps, rates and verdicts of a study, one statement a hyperparameter.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter: which one, a name or a formula; None takes those of the study's claims,
            else the first that is swept over positive numbers.
        scale, horizon: see :func:`inquire`.
        reference: ``largest`` or ``limit``.
        estimator: how an optimum is read off its points.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study, scale, hyperparameter, reference or estimator.
        RequestError: a formula or horizon is none.
        AnalysisRefusal: there is no result yet, or the results cannot carry a statement.
    """
    wanted = () if hyperparameter is None else (hyperparameter,)
    inquiry = inquire(store, name, scale=scale, hyperparameters=wanted, horizon=horizon)
    found = []
    for column in inquiry.hyperparameters:
        drifts = inquiry.statement(
            column, estimator=estimator, allow_holes=allow_holes, partial=True
        )
        cost = run_cost(inquiry.rows(column), inquiry.scale)
        economy = None if cost is None else Economy(cost_exponent=cost.exponent)
        found.append(transfer_statement(drifts, reference=reference, economy=economy))
    return found


def counsels_of(
    store: Store,
    name: str,
    hyperparameter: str | None = None,
    *,
    scale: str | None = None,
    horizon: str | None = None,
    target: float,
    budget: float,
    given: Given,
) -> list[Counsel]:
    """Returns advice for a budget, one a group of a study.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter, scale, horizon: as in :func:`transfers_of`.
        target: scale that is wanted, above the study's largest.
        budget: FLOPs for all runs together.
        given: what the reader knows better.

    Raises:
        UnknownNameError: there is no such study, scale or hyperparameter.
        RequestError: a formula or horizon is none.
        AnalysisRefusal: there is no result yet, or no group can advise; says why each.
    """
    wanted = () if hyperparameter is None else (hyperparameter,)
    inquiry = inquire(store, name, scale=scale, hyperparameters=wanted, horizon=horizon)
    found = []
    for column in inquiry.hyperparameters:
        rows = inquiry.rows(column)
        statement = inquiry.statement(column)
        for group in statement.groups:
            part = _part(rows, group)
            found.append(
                _counsel(statement, group, part, target=target, budget=budget, given=given)
            )
    if all(counsel.advice is None for counsel in found):
        raise all_refused((counsel.label, counsel.refused or "") for counsel in found)
    return found


def general_counsel(*, target: float, budget: float, given: Given) -> Counsel:
    """Returns advice without a study, from exponents alone.

    Raises:
        AnalysisRefusal: an exponent is missing or out of range, or the budget too small.
    """
    reading = plain_landscape(given, target)
    grows = _growth(reading, given)
    return Counsel(
        study=None,
        scale=None,
        hyperparameter=None,
        variant=None,
        settings={},
        advice=advise(reading.land, target=target, budget=budget),
        growth=grows,
        assumptions=reading.assumptions,
        refused=None,
    )


def _growth(reading: Reading, given: Given) -> Growth | None:
    """Returns how strategies scale with compute; None where the optimum has no rate."""
    if reading.beta is None:
        return None
    economy = Economy(
        cost_exponent=reading.land.cost.exponent, hyperparameters=given.hyperparameters
    )
    return growth(reading.land.alpha, reading.beta, economy)


def _counsel(
    statement: DriftStatement,
    group: Group,
    rows: pandas.DataFrame,
    *,
    target: float,
    budget: float,
    given: Given,
) -> Counsel:
    advice: Advice | None = None
    grows: Growth | None = None
    assumptions: tuple[str, ...] = ()
    refused: str | None = None
    try:
        reading = read_landscape(group, rows, scale=statement.scale, target=target, given=given)
        advice = advise(reading.land, target=target, budget=budget)
        assumptions = reading.assumptions
        grows = _growth(reading, given)
    except AnalysisRefusal as refusal:
        refused = str(refusal)
    return Counsel(
        study=statement.study,
        scale=statement.scale,
        hyperparameter=statement.hyperparameter,
        variant=group.variant,
        settings=group.settings,
        advice=advice,
        growth=grows,
        assumptions=assumptions,
        refused=refused,
        evidence=group.evidence,
        notes=statement.notes,
    )


def _part(rows: pandas.DataFrame, group: Group) -> pandas.DataFrame:
    """Returns the rows of a group."""
    keep = rows["variant"].astype(str) == group.variant
    for name, value in group.settings.items():
        keep &= rows[name].isna() if value is None else rows[name] == value
    return rows[keep]


def _number(value: float | bool) -> float | bool | None:
    return value if isfinite(value) else None
