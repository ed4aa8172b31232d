"""What a study says about transfer: gaps, rates, laws of loss and the verdict of every group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial as bound
from typing import Any

import numpy as np

from sweeper.analysis import (
    COMPARED,
    DEFAULT,
    GAPS,
    REPLICATED,
    SHARED,
    Economy,
    Gaps,
    Law,
    MeasuredNumber,
    Optimum,
    Rate,
    Reference,
    ScaleGaps,
    Speed,
    TransferQuality,
    TransferVerdict,
    asymptotic_penalties,
    family_of,
    fit_law,
    judge_transfer,
    measure_gaps,
    rates_of,
    reference_of,
    run_cost,
    transfer_quality,
)
from sweeper.answers.drift import DriftGroup, DriftStatement, left_out_json
from sweeper.answers.groups import Evidence, Statement, StudyGroup, require_an_answer
from sweeper.answers.jsonable import encoded, jsonable
from sweeper.answers.view import StudyView, view_study
from sweeper.errors import AnalysisRefusal
from sweeper.store import Store
from sweeper.words import plural

FLAWS = {
    "poor_fit": "the constants rest on a poor fit, which its own points contradict,",
    "few_points": "the constants rest on fits through fewer than five points",
    "cliff": "runs diverged or blew up beside the lowest loss, so the optimum is only a bound,",
    "censored_low": "the lowest loss is at the low edge of the grid, so the optimum is a bound,",
    "censored_high": "the lowest loss is at the high edge of the grid, so the optimum is a bound,",
}
"""Flags of an optimum that bear on the constants, in the reader's words before the scales."""

SPEEDS: Mapping[Speed, str] = {
    "fast": "transfer is fast",
    "slow": "transfer is slow",
    "not distinguishable": "fast and slow are not distinguishable",
}
"""Verdicts in the reader's words."""

LEAST_WIDTH = 1e-6
"""Width of an interval, as a share of its value, up to which it has none."""


@dataclass(frozen=True, kw_only=True)
class LossLaws:
    """The loss laws of tuned and of transferred settings, to be laid over one another.

    Attributes:
        base: scale that the settings are transferred from.
        tuned, transferred: loss = E + A scale^-alpha by least squares; None where too few scales
            have a measured loss.
    """

    base: float
    tuned: Law | None
    transferred: Law | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Transfer(StudyGroup):
    """What is said about transfer in one group.

    Attributes:
        exponent: the rule that settings are transferred by, in octaves per doubling.
        reference: what the gaps are measured from.
        rows: the gaps, one a scale.
        rates: rate by the name of the gap, where it has one.
        verdict: whether transfer is fast and useful.
        laws: the loss laws of tuned and of transferred settings.
        quality: how well one law fits the optima, and what an error in it costs.
        penalty: R_inf, what the variant's tuned loss lacks in the limit to the best variant's of
            the same settings; None for that one, and where a limit is not known.
        left_out: scale to the reason why it takes no part.
        warnings: a sentence for each thing that is wrong with the optima behind the constants,
            and for each rate that is refused.
        evidence: which trials it rests on.
    """

    exponent: float
    reference: Reference
    rows: tuple[ScaleGaps, ...]
    rates: Mapping[str, Rate]
    verdict: TransferVerdict
    laws: LossLaws
    quality: TransferQuality
    penalty: MeasuredNumber | None = None
    left_out: Mapping[float, str]
    warnings: tuple[str, ...]
    evidence: Evidence


@dataclass(frozen=True, kw_only=True, eq=False)
class NoTransfer(StudyGroup):
    """A group that could not answer."""


@dataclass(frozen=True, kw_only=True)
class TransferStatement(Statement):
    """The statement of a study on the transfer of one hyperparameter along one scale."""

    scale: str
    hyperparameter: str
    reference: str
    estimator: str
    groups: tuple[Transfer | NoTransfer, ...]
    metric: str = "loss"
    sign: int = 1

    HEAD = "study scale hyperparameter reference estimator"

    def to_json(self) -> dict[str, Any]:
        """Returns the statement as plain values under stable keys; what is infinite or unknown
        is null."""
        return self.document(map(_group_json, self.groups))


def transfer_statement(
    statement: DriftStatement,
    *,
    reference: str = "largest",
    economy: Economy | None = None,
    partial: bool = False,
) -> TransferStatement:
    """Returns gaps, rates and verdicts of every group of a drift statement.

    Args:
        statement: optima per group, from one estimator; the source's is ``spline``.
        reference: ``largest`` or ``limit``, see :func:`reference_of`.
        economy: cost of a run and number of hyperparameters.
        partial: return the reasons although no group can answer.

    Raises:
        AnalysisRefusal: no group can answer; the message says why each.
        UnknownNameError: there is no such reference.
    """
    groups: list[Transfer | NoTransfer] = []
    for group in statement.groups:
        try:
            groups.append(transfer_of(group, reference=reference, economy=economy))
        except AnalysisRefusal as refusal:
            groups.append(
                NoTransfer(variant=group.variant, settings=group.settings, refused=str(refusal))
            )
    if not partial:
        require_an_answer(groups)
    names = {optimum.estimator for group in statement.groups for optimum in group.optima}
    return TransferStatement(
        study=statement.study,
        scale=statement.scale,
        hyperparameter=statement.hyperparameter,
        reference=reference,
        estimator=", ".join(sorted(names)),
        groups=_with_penalties(groups),
        metric=statement.metric,
        sign=statement.sign,
        notes=statement.notes,
    )


def _with_penalties(
    groups: Sequence[Transfer | NoTransfer],
) -> tuple[Transfer | NoTransfer, ...]:
    """Returns groups with R_inf, each against the variants of its own settings."""
    found = list(groups)
    for settings in {tuple(group.settings.items()) for group in groups}:
        alike = [i for i, group in enumerate(groups) if tuple(group.settings.items()) == settings]
        answered = [(i, group) for i in alike if isinstance(group := groups[i], Transfer)]
        penalties = asymptotic_penalties([group.laws.tuned for _, group in answered])
        for (i, group), penalty in zip(answered, penalties, strict=True):
            found[i] = replace(group, penalty=penalty)
    return tuple(found)


def transfer_of(
    group: DriftGroup, *, reference: str = "largest", economy: Economy | None = None
) -> Transfer:
    """Returns what one group says about transfer.

    Raises:
        AnalysisRefusal: fewer than two scales have their minimum inside the grid, the largest
            has not, or no limit can be extrapolated.
        UnknownNameError: there is no such reference.
    """
    optima = _usable(group)
    largest, name = optima[-1], optima[0].estimator
    family = family_of(optima, name=name, exponent=group.exponent)
    chosen = reference_of(reference, family, largest)
    gaps = measure_gaps(family, chosen)
    others = _other_gaps(optima, group.exponent, reference, name)
    contain_all = any(optimum.noise_source not in REPLICATED for optimum in optima)
    rates = rates_of(gaps, others, contain_all=contain_all)
    return Transfer(
        variant=group.variant,
        settings=group.settings,
        exponent=group.exponent,
        reference=chosen,
        rows=gaps.rows,
        rates=rates,
        verdict=judge_transfer(gaps, others, contain_all=contain_all, economy=economy),
        laws=_loss_laws(group, optima),
        quality=transfer_quality(optima, name=name),
        left_out=dict(group.left_out) | _bounded(group),
        warnings=(*_doubts(group.optima), *_refusals(rates)),
        evidence=group.evidence,
    )


def _usable(group: DriftGroup) -> tuple[Optimum, ...]:
    """Returns the located optima of a group, the largest scale among them."""
    located = tuple(optimum for optimum in group.optima if optimum.located)
    if len(located) < 2:
        raise AnalysisRefusal(
            f"{plural(len(located), 'scale has', 'scales have')} the minimum inside the grid, and "
            "gaps need 2" + (f": {group.refused}" if group.refused else "")
        )
    top = max([optimum.scale for optimum in group.optima] + list(group.left_out))
    if located[-1].scale < top:
        why = group.left_out.get(top, "its lowest loss is at an edge of the grid")
        raise AnalysisRefusal(
            f"the largest scale, {top:g}, has no optimum to measure from: {why}; extend or "
            "finish its grid"
        )
    return located


def _doubts(optima: Sequence[Optimum]) -> Iterator[str]:
    """Yields a sentence for each flag of the optima that bears on the constants."""
    for flag, words in FLAWS.items():
        scales = [f"{optimum.scale:g}" for optimum in optima if flag in optimum.flags]
        if scales:
            yield f"{words} at scale {', '.join(scales)}"


def _refusals(rates: Mapping[str, Rate]) -> Iterator[str]:
    """Yields a sentence for each rate that has no interval."""
    for name, rate in rates.items():
        why = why_refused(rate.value, rate.low, rate.high)
        if why:
            yield f"the rate of {name} is refused: {why}"


def why_refused(value: float, low: float, high: float) -> str:
    """Returns why a number cannot be told for its 95% interval; empty where it can."""
    if math.isinf(low) and math.isinf(high):
        return "its interval is open on both sides"
    if high - low <= LEAST_WIDTH * abs(value):
        return "its interval has no width, so its error is not known"
    return ""


def _rests_on_few(group: DriftGroup) -> bool:
    return any("few_points" in optimum.flags for optimum in group.optima)


def _bounded(group: DriftGroup) -> dict[float, str]:
    return {
        optimum.scale: "its optimum is only a bound"
        for optimum in group.optima
        if not optimum.located
    }


def _other_gaps(
    optima: Sequence[Optimum], exponent: float, reference: str, name: str
) -> list[Gaps]:
    """Returns the gaps as the other compared estimators read them, where all scales have one."""
    found = []
    for other in COMPARED:
        if other == name or any(other not in o.measured for o in optima):
            continue
        if any(o.measured[other].low[0] != o.measured[other].high[0] for o in optima):
            continue
        family = family_of(optima, name=other, exponent=exponent)
        try:
            found.append(measure_gaps(family, reference_of(reference, family, optima[-1])))
        except AnalysisRefusal:
            # This estimator sees no limit; that it disagrees cannot be put as a number.
            continue
    return found


def _loss_laws(group: DriftGroup, optima: Sequence[Optimum]) -> LossLaws:
    errors = {optimum.scale: optimum.noise / math.sqrt(optimum.seeds) for optimum in optima}
    measured = [r for r in group.regret if r.scale in errors]
    sure = [r for r in measured if r.certainty == "measured"]
    return LossLaws(
        base=optima[0].scale,
        tuned=_law({r.scale: r.tuned for r in measured}, errors),
        transferred=_law({r.scale: r.transferred for r in sure}, errors),
    )


def _law(losses: Mapping[float, float], errors: Mapping[float, float]) -> Law | None:
    scales, values = np.array(list(losses)), np.array(list(losses.values()))
    noise = np.array([errors[scale] for scale in losses])
    try:
        return fit_law(
            {"scale": scales},
            values,
            method="least_squares",
            errors=noise if np.all(noise > 0) else None,
            free_asymptote=True,
            resamples=200,
        )
    except AnalysisRefusal:
        return None  # Too few scales, or losses all alike: there is no such law.


def _group_json(group: Transfer | NoTransfer) -> dict[str, Any]:
    """Returns gaps, rates, verdict and laws under stable keys; what is infinite or unknown is
    null."""
    head = encoded(group, "variant settings refused")
    if isinstance(group, NoTransfer):
        return head
    verdict, rates = group.verdict, group.rates
    return head | {
        "exponent": group.exponent,
        "reference": {
            "scale": jsonable(group.reference.scale),
            "log2": float(group.reference.log2[0]),
            "loss": float(group.reference.loss[0]),
            "curvature": jsonable(group.reference.curvature),
        },
        "gaps": [
            encoded(row, f"scale {' '.join(GAPS)} expected_c=expected c_over_a=ratio")
            for row in group.rows
        ],
        "rates": {name: _rate_json(rates.get(name)) for name in GAPS},
        "verdict": {
            **encoded(verdict, "speed why"),
            "lead": _rate_json(verdict.lead),
            **encoded(verdict, "useful free free_from"),
        },
        "laws": {
            "base": group.laws.base,
            "tuned": _law_json(group.laws.tuned),
            "transferred": _law_json(group.laws.transferred),
        },
        "quality": {
            **encoded(group.quality, "E=fit_error E_by_noise=by_noise kappa"),
            "R_inf": jsonable(group.penalty),
        },
        "left_out": left_out_json(group.left_out),
        "warnings": list(group.warnings),
        "evidence": group.evidence.to_json(),
    }


def _rate_json(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else encoded(rate, "value low high scales")


def _law_json(law: Law | None) -> dict[str, Any] | None:
    if law is None:
        return None
    (term,) = law.terms
    exponent = encoded(term, "exponent exponent_low=low exponent_high=high")
    return {
        **encoded(law, "asymptote asymptote_low=low asymptote_high=high"),
        "amplitude": term.amplitude,
        **exponent,
        "flags": list(law.flags),
    }


def transfers_of(
    store: Store,
    name: str,
    hyperparameter: str | None = None,
    *,
    scale: str | None = None,
    horizon: str | None = None,
    each: Sequence[str] = (),
    reference: str = "largest",
    estimator: str | None = None,
    allow_holes: bool = False,
) -> list[TransferStatement]:
    """Returns gaps, rates and verdicts of a study, one statement a hyperparameter.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter: which one, a name or a formula; None takes those of the study's claims,
            else the first that is swept over positive numbers.
        scale, horizon, each: see :func:`view_study`.
        reference: ``largest`` or ``limit``.
        estimator: how an optimum is read off its points; None is the spline of the source; where
            scales have few points the default of drift, and all scales together after a ladder.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study, scale, hyperparameter, reference or estimator.
        RequestError: a formula or horizon is none.
        AnalysisRefusal: there is no result yet, or the results cannot carry a statement.
    """
    wanted = () if hyperparameter is None else (hyperparameter,)
    view = view_study(store, name, scale=scale, hyperparameters=wanted, horizon=horizon, each=each)
    return [
        transfer_in(
            view, column, reference=reference, estimator=estimator, allow_holes=allow_holes
        )
        for column in view.hyperparameters
    ]


def transfer_in(
    view: StudyView,
    column: str,
    *,
    reference: str = "largest",
    estimator: str | None = None,
    allow_holes: bool = False,
    partial: bool = False,
) -> TransferStatement:
    """Returns gaps, rates and verdicts of one hyperparameter of a view; arguments and errors are
    those of :func:`transfers_of` and :func:`transfer_statement`."""
    read = bound(view.statement, column, allow_holes=allow_holes, partial=True)
    drifts = read(estimator=estimator or (SHARED if view.estimator == SHARED else "spline"))
    if estimator is None and any(map(_rests_on_few, drifts.groups)):
        drifts = read(estimator=DEFAULT)  # a spline knows nothing of shapes it did not see
    cost = run_cost(view.select(column).rows, view.scale)
    economy = None if cost is None else Economy(cost_exponent=cost.exponent)
    return transfer_statement(drifts, reference=reference, economy=economy, partial=partial)
