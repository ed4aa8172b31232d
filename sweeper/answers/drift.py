"""The drift statement of a study: optima, drift, regret and verdicts of every group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite, isinf, isnan
from typing import Any

import pandas as pd

from sweeper.analysis import (
    DEFAULT,
    BlowUp,
    Claim,
    Drift,
    DriftFlag,
    Located,
    Optimum,
    Regret,
    Rivals,
    Verdict,
    in_compute,
    judge,
    measure_drift,
    optima_of,
    require_estimator,
    run_flops,
    transfer_regret,
    weigh,
)
from sweeper.answers.bottom_line import of_drift
from sweeper.answers.groups import (
    Evidence,
    Statement,
    StudyGroup,
    blow_up_notes,
    few,
    groups_of,
    require_an_answer,
)
from sweeper.answers.jsonable import encoded, jsonable
from sweeper.errors import AnalysisRefusal
from sweeper.store import Estimate, Store
from sweeper.words import percent

OPTIMUM = (
    "scale log2 value low high loss loss_low loss_high curvature points flags estimator "
    "estimators noise noise_source seeds coverage trials=answered declared tuned"
)
DRIFT = "slope low high scales_used flags intercept censored scatter estimators bend leave_one_out"
REGRET = (
    "scale tuned transferred regret low high percent log2 useful floor harmless resolved "
    "certainty note compute compute_note"
)
RIVALS = "exponents likelihoods ruled_out ratio said"
CLAIM = "exponent=claim.exponent tolerance=claim.tolerance verdict=ruling why"
"""The columns of each record of a group: what its JSON, its tables and its figures call them."""


DRIFT_FLAGS: Mapping[DriftFlag, str] = {
    "censored": "some optima are bounds only",
    "two_scales": "two scales only: nothing tells whether the drift is a straight line",
    "bends": "the drift changes along the scale",
    "scattered": "the optima scatter more than their noise explains",
    "estimators_disagree": "the interval is stretched to what other estimators say",
    "left_out": "scales without an optimum are left out",
}
"""Each flag of a drift in words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DriftGroup(StudyGroup):
    """The optima, drift, regret and verdicts of one group.

    Attributes:
        optima: one a scale that could be analysed, smallest scale first.
        drift: None where the group refused it.
        exponent: the rule that the regrets transfer by: the first claim's, else 0.
        regret: one a scale; empty where no scale can serve as base.
        verdicts: one a claim; empty where there is no drift.
        rivals: the claims weighed against each other; None where there are not two, or no drift.
        left_out: scale to the reason why it has no optimum.
        blow_ups: runs that count as beyond the cliff, or are left out as outliers.
        evidence: which trials it rests on.
    """

    optima: tuple[Optimum, ...]
    drift: Drift | None
    exponent: float
    regret: tuple[Regret, ...]
    verdicts: tuple[Verdict, ...]
    rivals: Rivals | None = None
    left_out: Mapping[float, str]
    blow_ups: tuple[BlowUp, ...] = ()
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class DriftStatement(Statement):
    """The statement of a study about one hyperparameter along one scale.

    Attributes:
        scale, hyperparameter: what it is about.
        groups: what is said about each variant and setting.
        tuned: other hyperparameters, which are at their best at every value of this one.
        metric: name of what is compared.
        sign: -1 where the losses are minus a metric of which more is better, else 1.
    """

    scale: str
    hyperparameter: str
    groups: tuple[DriftGroup, ...]
    tuned: tuple[str, ...] = ()
    metric: str = "loss"
    sign: int = 1

    HEAD = "study scale hyperparameter profiled=tuned metric bottom_line"

    @property
    def bottom_line(self) -> str:
        """What it all comes to, in one to three sentences."""
        return of_drift(self.hyperparameter, self.scale, self.metric, self.groups, self.tuned)

    def to_json(self, *, keys: bool = False) -> dict[str, Any]:
        """Returns the statement as plain values under stable keys.

        A number that is infinite or unknown is null: an interval that is open on that side, or
        a loss beyond a divergence, which the neighbouring ``certainty`` names.

        Args:
            keys: list the keys of the trials behind each group.
        """
        return self.document(
            _group_json(group, (self.metric, self.sign), keys=keys) for group in self.groups
        )


def drift_statement(
    frame: pd.DataFrame,
    *,
    study: str,
    scale: str,
    hyperparameter: str,
    settings: Sequence[str] = (),
    tuned: Sequence[str] = (),
    claims: Sequence[Claim] = (),
    estimator: str = DEFAULT,
    allow_holes: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    partial: bool = False,
    notes: Sequence[str] = (),
    compared: tuple[str, int] = ("loss", 1),
) -> DriftStatement:
    """Returns optima, drift, regret and verdicts of every group of a study.

    Args:
        frame: one row a trial with the columns ``variant``, ``seed``, ``loss``, ``outcome``
            (completed, diverged, missing or failed), the scale, the hyperparameter and the
            settings.
        study: name of the study, for the record.
        scale: column along which optima are tracked.
        hyperparameter: column whose optimum is sought; positive numbers.
        settings: columns whose distinct values, with the variant, make the groups.
        tuned: columns of other hyperparameters, which are at their best at every value of this
            one (:func:`profiled_over`).
        claims: rules to test in every group.
        estimator: ``quadratic``, ``skewed``, ``quadratic3``, ``spline``, ``argmin`` or ``shared``.
        allow_holes: go on where neighbours of a minimum, or whole scales, have no result.
        resamples: resampled curves a scale, at least 100.
        seed: seed of the resampling.
        partial: return what there is although no group has an optimum, for a report on a study
            that still runs.
        notes: sentences for the reader that belong to the statement.
        compared: name of the metric, and -1 where ``loss`` is minus it, else 1.

    Raises:
        AnalysisRefusal: a column is missing, or no group has an optimum and ``partial`` is not
            asked for; the message says why each.
        UnknownNameError: there is no estimator of that name.
    """
    require_estimator(estimator)
    if resamples < 100:
        raise AnalysisRefusal(f"resamples = {resamples}: a 95% interval needs at least 100")
    groups = tuple(
        _analyse(
            part,
            group,
            columns=(scale, hyperparameter),
            tuned=tuple(tuned),
            claims=tuple(claims),
            options={
                "estimator": estimator,
                "allow_holes": allow_holes,
                "resamples": resamples,
                "seed": seed,
            },
        )
        for group, part in groups_of(frame, settings, (scale, hyperparameter, *tuned))
    )
    if not partial and not any(group.optima for group in groups):
        require_an_answer(groups)
    blown = [n for group in groups for n in blow_up_notes(group.label, group.blow_ups, *compared)]
    return DriftStatement(
        study=study,
        scale=scale,
        hyperparameter=hyperparameter,
        groups=groups,
        tuned=tuple(tuned),
        notes=(*notes, *blown),
        metric=compared[0],
        sign=compared[1],
    )


def _analyse(
    part: pd.DataFrame,
    group: Mapping[str, Any],
    *,
    columns: tuple[str, str],
    tuned: tuple[str, ...],
    claims: tuple[Claim, ...],
    options: Mapping[str, Any],
) -> DriftGroup:
    """Returns what one group says; its refusals become sentences."""
    exponent = claims[0].exponent if claims else 0.0
    located = Located(optima=(), refused={}, noise=None)
    drift: Drift | None = None
    refused: str | None = None
    try:
        located = optima_of(
            part, scale=columns[0], hyperparameter=columns[1], others=tuned, **options
        )
        if located.refused and not options["allow_holes"]:
            raise AnalysisRefusal(few(located.refused.values()))
        drift = measure_drift(located.optima, left_out=bool(located.refused), along=columns[0])
    except AnalysisRefusal as refusal:
        refused = str(refusal)
    optima = located.optima

    @cache
    def costs(slope: float) -> tuple[Regret, ...]:
        return transfer_regret(optima, exponent=slope)

    verdicts = () if drift is None else tuple(_judge(c, drift, optima, costs) for c in claims)
    base = any(optimum.located for optimum in optima)
    return DriftGroup(
        **group,
        optima=optima,
        drift=drift,
        exponent=exponent,
        regret=in_compute(costs(exponent), run_flops(part, columns[0])) if base else (),
        verdicts=verdicts,
        rivals=None if drift is None else weigh(verdicts, drift),
        refused=refused,
        left_out=located.refused,
        blow_ups=located.blow_ups,
    )


def _judge(
    claim: Claim,
    drift: Drift,
    optima: Sequence[Optimum],
    costs: Callable[[float], Sequence[Regret]],
) -> Verdict:
    """Returns the verdict with the cost of following the claim where noise hides it."""
    verdict = judge(claim, drift, optima)
    if verdict.ruling == "holds":
        return verdict
    said = _cost_of_following(costs(claim.exponent))
    why = f"{verdict.why}; {said}" if said else verdict.why
    return Verdict(claim=claim, ruling=verdict.ruling, why=why)


def _cost_of_following(costs: Sequence[Regret]) -> str:
    """Returns what there is to say of regrets that are harmless, or not resolved at any scale."""
    small = all(cost.harmless for cost in costs)
    if not small and any(cost.resolved or cost.certainty != "measured" for cost in costs):
        return ""
    worst = max(costs, key=lambda cost: cost.high)
    size = f"{worst.high:.2g} in loss" + (f" ({share_of(worst)})" if worst.tuned else "")
    if small:
        return f"harmless so far: transferring by the claim costs at most {size}"
    bound = f" (at most {size})" if isfinite(worst.high) else ""
    return f"what transferring by the claim costs is not resolved from noise{bound}"


def share_of(cost: Regret) -> str:
    """Returns the upper end of a regret in percent of the tuned loss."""
    return percent(100 * cost.high / abs(cost.tuned))


def _group_json(
    group: DriftGroup, compared: tuple[str, int], *, keys: bool = False
) -> dict[str, Any]:
    """Returns a group as plain values under stable keys, its trials' keys only if asked for."""
    return {
        **encoded(group, "variant settings"),
        "optima": [encoded(optimum, OPTIMUM) for optimum in group.optima],
        "drift": None if group.drift is None else encoded(group.drift, DRIFT),
        "regret": [encoded(regret, REGRET) for regret in group.regret],
        "regret_exponent": group.exponent,
        "claims": [encoded(verdict, CLAIM) for verdict in group.verdicts],
        "rivals": None if group.rivals is None else encoded(group.rivals, RIVALS),
        "refused": group.refused,
        "left_out": left_out_json(group.left_out),
        "blow_ups": [blow_up.sentence(*compared) for blow_up in group.blow_ups],
        "evidence": group.evidence.to_json(keys=keys),
    }


def left_out_json(left_out: Mapping[Any, str], what: str = "scale") -> list[dict[str, Any]]:
    """Returns what has no optimum with the reason, a scale or whatever ``what`` says."""
    return [{what: jsonable(place), "why": why} for place, why in left_out.items()]


def keep_estimates(store: Store, statements: Sequence[DriftStatement]) -> None:
    """Writes statements to the store's table of estimates, in place of the earlier ones.

    Raises:
        StoreError: the store cannot be written.
    """
    for statement in statements:
        rows = [row for group in statement.groups for row in _estimates(group)]
        store.save_estimates(statement.study, statement.hyperparameter, rows)


def _estimates(group: DriftGroup) -> Iterator[Estimate]:
    place: dict[str, Any] = {"variant": group.variant, "settings": dict(group.settings)}
    for optimum in group.optima:
        yield Estimate(
            kind="optimum",
            **place,
            scale=optimum.scale,
            value=optimum.value,
            low=None if isinf(optimum.low) else 2.0**optimum.low,
            high=None if isinf(optimum.high) else 2.0**optimum.high,
            text=", ".join(optimum.flags),
        )
    drift = group.drift
    if drift is None:
        yield Estimate(kind="drift", **place, text=group.refused or "")
    else:
        value, low, high = drift.slope, drift.low, drift.high
        yield Estimate(
            kind="drift", **place, value=value, low=low, high=high, text=", ".join(drift.flags)
        )
    for verdict in group.verdicts:
        claim = verdict.claim
        yield Estimate(
            kind="claim",
            **place,
            value=claim.exponent,
            low=claim.exponent - claim.tolerance,
            high=claim.exponent + claim.tolerance,
            text=f"{verdict.ruling}: {verdict.why}",
        )
    for cost in group.regret:
        note = regret_note(cost)
        yield Estimate(kind="regret", **place, scale=cost.scale, value=cost.regret, text=note)


def regret_note(cost: Regret) -> str:
    """Returns what there is to know about a regret besides the number."""
    if cost.note or cost.harmless:
        return cost.note or "harmless"
    return "" if cost.resolved or isnan(cost.low) else "not resolved from noise"
