"""Why it transfers, on one page: whether it does, how fast, why, and what should be done next.

Nothing is measured here: it puts together what drift, transfer, decomposition, the coordinate
check and the advice for a budget say of one group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.answers.advice import BudgetAdvice, Constants, advice_in
from sweeper.answers.decomposition import Decomposed, decomposition_in
from sweeper.answers.drift import DriftGroup, DriftStatement
from sweeper.answers.groups import Statement, StudyGroup
from sweeper.answers.jsonable import encoded
from sweeper.answers.reasoning import Findings, Reasoning, reasoned
from sweeper.answers.transfer import NoTransfer, Transfer, transfer_in
from sweeper.answers.view import StudyView, view_study
from sweeper.check import VariantCheck, stored_checks
from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.outcome import ACCEPTED
from sweeper.store import IMPORTED, Store
from sweeper.study import find_card
from workloads.workload import HasTheory, Records

NO_MODELS = "there are no models to check"


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation(StudyGroup):
    """What is said of one hyperparameter in one group.

    Attributes:
        hyperparameter: its name.
        findings: all that was read.
        said: what it comes to, in sentences.
    """

    hyperparameter: str
    findings: Findings
    said: Reasoning

    @property
    def title(self) -> str:
        """The group with its hyperparameter."""
        return f"{self.label}: {self.hyperparameter}"

    def to_json(self) -> dict[str, Any]:
        """Returns plain values under stable keys."""
        found, said, ends = self.findings, self.said, "value low high"
        transfer = found.transfer if isinstance(found.transfer, Transfer) else None
        rates = {} if transfer is None else transfer.rates
        verdict = None if transfer is None else transfer.verdict
        drift, leading = found.group.drift, found.leading
        return {
            **encoded(self, "variant settings hyperparameter bottom_line=said.bottom_line"),
            "transfers": {
                "answer": said.transfers,
                "drift": drift and encoded(drift, "value=slope low high"),
                "said": list(said.does),
            },
            "speed": {
                "answer": verdict and verdict.speed,
                "alpha": rates.get("a") and encoded(rates["a"], ends),
                "beta": rates.get("b") and encoded(rates["b"], ends),
                "lead": verdict and verdict.lead and encoded(verdict.lead, ends),
                "said": list(said.fast),
            },
            "why": {
                "kappa": leading and [leading.low, leading.high],
                "alike_to": leading and leading.alike,
                "check": found.check.verdict if isinstance(found.check, VariantCheck) else None,
                "said": list(said.why),
            },
            "next": {
                "recommended": found.option and found.option.strategy,
                "proxy": found.option and found.option.proxy,
                "said": list(said.next),
            },
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplanationStatement(Statement):
    """The page of a study.

    Attributes:
        scale: along what.
        target, flops: what is advised for; None where the cost of a run is not known.
        groups: one a hyperparameter, variant and setting.
    """

    scale: str
    target: float | None
    flops: float | None
    groups: tuple[Explanation, ...]

    HEAD = "study scale target flops"

    def to_json(self) -> dict[str, Any]:
        """Returns the page as plain values under stable keys."""
        return self.document(group.to_json() for group in self.groups)


def explanations_of(
    store: Store,
    name: str,
    hyperparameter: str | None = None,
    *,
    target: float | None = None,
    flops: float | None = None,
    allow_holes: bool = False,
) -> ExplanationStatement:
    """Returns the page of a study.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter: which one; None takes those of the claims, else the first swept.
        target: scale of the model wanted next; None takes twice the largest.
        flops: budget for it; None takes what the runs of the study took together.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study or hyperparameter.
        RequestError: target or flops are out of range.
        AnalysisRefusal: there is no result yet, or no group has an optimum.
    """
    wanted = () if hyperparameter is None else (hyperparameter,)
    view = view_study(store, name, hyperparameters=wanted)
    view.require_results()
    drifts = [view.statement(each, allow_holes=allow_holes) for each in view.hyperparameters]
    page = Explainer(store, view, target=target, flops=flops, allow_holes=allow_holes)
    notes = dict.fromkeys(note for drift in drifts for note in drift.notes)
    return ExplanationStatement(
        study=name,
        scale=view.scale,
        target=page.target,
        flops=page.flops,
        groups=tuple(group for drift in drifts for group in page.explained(drift)),
        notes=tuple(notes),
    )


class Explainer:
    """Explains the groups of a study, of which it reads the rest of the evidence once.

    Args:
        store: the store.
        view: the study.
        target, flops, allow_holes: as of :func:`explanations_of`.
    """

    def __init__(
        self,
        store: Store,
        view: StudyView,
        *,
        target: float | None = None,
        flops: float | None = None,
        allow_holes: bool = False,
    ) -> None:
        self._store, self._view, self._holes = store, view, allow_holes
        self._given = target is not None, flops is not None
        self.target = 2 * float(view.trials[view.scale].max()) if target is None else target
        self.flops = _flops(view) if flops is None else flops
        largest = float(view.trials[view.scale].max())
        if not (math.isfinite(self.target) and self.target > largest):
            raise RequestError(
                f"--target {self.target:g} is not above {largest:g}, the largest {view.scale} of "
                "the study; advice is for larger ones"
            )
        if self.flops is not None and not (math.isfinite(self.flops) and self.flops > 0):
            raise RequestError(f"--flops {self.flops:g}: a positive number is due, such as 1e18")
        study = view.study
        self._imported = study.workload == IMPORTED
        try:
            self._card = None if self._imported else find_card(study.workload)
        except RequestError:
            self._card = None  # its module is gone; the results are not
        self._checks: Mapping[str, VariantCheck | str | None] = {}
        if self._card is not None:
            self._checks = stored_checks(study.document, store.paths)

    def explained(self, drifts: DriftStatement) -> Iterator[Explanation]:
        """Yields the explanation of every group of a statement."""
        transfers, decomposed = self._transfers(drifts), self._decomposed(drifts)
        advised = self._advised(drifts)
        for group in drifts.groups:
            findings = Findings(
                drifts=drifts,
                group=group,
                transfer=transfers[group.label],
                decomposed=decomposed if isinstance(decomposed, str) else _of(decomposed, group),
                check=self._checks.get(group.variant, NO_MODELS),
                advice=advised.get(group.label),
                target=self.target,
                budget=self._budget_words(drifts.scale),
                theory=self._card.theory if isinstance(self._card, HasTheory) else "",
            )
            yield Explanation(
                variant=group.variant,
                settings=group.settings,
                hyperparameter=drifts.hyperparameter,
                findings=findings,
                said=reasoned(findings),
            )

    def _transfers(self, drifts: DriftStatement) -> dict[str, Transfer | NoTransfer]:
        """Returns gaps and rates by group."""
        column, holes = drifts.hyperparameter, self._holes
        found = transfer_in(self._view, column, allow_holes=holes, partial=True)
        return {group.label: group for group in found.groups}

    def _decomposed(self, drifts: DriftStatement) -> Sequence[Decomposed] | str:
        """Returns the decompositions, or why there are none, and how to have them."""
        if self._imported:
            return "which directions carry it is not known of results made elsewhere"
        recordings = self._card.recordings if isinstance(self._card, Records) else ()
        if "topk" not in recordings:
            return f"workload {self._view.study.workload} has no directions that could be recorded"
        try:
            return decomposition_in(self._store, self._view, drifts.hyperparameter).groups
        except AnalysisRefusal as refusal:
            return str(refusal)

    def _advised(self, drifts: DriftStatement) -> dict[str, BudgetAdvice]:
        if self.flops is None:
            return {}
        found = advice_in(
            self._view, drifts, target=self.target, budget=self.flops, given=Constants()
        )
        return {advice.label: advice for advice in found}

    def _budget_words(self, scale: str) -> str:
        """Returns what is advised for, and where that comes from."""
        if self.flops is None:
            return ""
        target = "" if self._given[0] else ", twice the largest"
        cost = "" if self._given[1] else ", which the study itself took"
        return f"for {scale} {self.target:g}{target}, and {self.flops:.3g} FLOPs{cost}"


def _flops(view: StudyView) -> float | None:
    """Returns the FLOPs of all runs with a result; None where they are not known."""
    runs = view.trials[view.trials["outcome"].isin(ACCEPTED)].drop_duplicates("key")
    total = float(runs["flops"].sum())
    return total if total > 0 else None


def _of(groups: Sequence[Decomposed], group: DriftGroup) -> Decomposed | str:
    """Returns the decomposition that belongs to a group; of several, for others were tuned along,
    that with the lowest change of the loss at the largest scale."""
    own = [
        each
        for each in groups
        if each.variant == group.variant and group.settings.items() <= each.settings.items()
    ]
    known = [each for each in own if each.scales]
    if not known:
        return next((each.refused for each in own if each.refused), "no result is decomposed")
    return min(known, key=lambda each: float(each.scales[-1].change.min()))
