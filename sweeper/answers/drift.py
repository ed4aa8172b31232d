"""The drift statement of a study: optima, drift, regret and verdicts of every group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeper.analysis import (
    DEFAULT,
    Claim,
    Drift,
    Located,
    Optimum,
    Regret,
    Verdict,
    estimator_named,
    in_compute,
    judge,
    locate,
    measure_drift,
    measured_curves,
    require_columns,
    run_flops,
    transfer_regret,
)
from sweeper.answers.evidence import Evidence, gather
from sweeper.answers.groups import all_refused, few, group_label
from sweeper.answers.jsonable import number, plain
from sweeper.errors import AnalysisRefusal


@dataclass(frozen=True, kw_only=True)
class Group:
    """What is said about one variant under fixed settings.

    Attributes:
        variant: name of the variant.
        settings: values of the settings that make the group.
        optima: one a scale that could be analysed, smallest scale first.
        drift: None where the group refused it.
        exponent: the rule that the regrets transfer by: the first claim's, else 0.
        regret: one a scale; empty where no scale can serve as base.
        verdicts: one a claim; empty where there is no drift.
        refused: why the group has no drift; None if it has one.
        left_out: scale to the reason why it has no optimum.
        evidence: which trials it rests on.
    """

    variant: str
    settings: Mapping[str, Any]
    optima: tuple[Optimum, ...]
    drift: Drift | None
    exponent: float
    regret: tuple[Regret, ...]
    verdicts: tuple[Verdict, ...]
    refused: str | None
    left_out: Mapping[float, str]
    evidence: Evidence

    @property
    def label(self) -> str:
        """How messages name the group, for example ``mup, weight_decay 0.1``."""
        return group_label(self.variant, self.settings)


@dataclass(frozen=True, kw_only=True)
class DriftStatement:
    """The statement of a study about one hyperparameter along one scale.

    Attributes:
        study, scale, hyperparameter: what it is about.
        groups: what is said about each variant and setting.
        notes: sentences that the reader should know of every group.
    """

    study: str
    scale: str
    hyperparameter: str
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()

    def to_json(self, *, keys: bool = False) -> dict[str, Any]:
        """Returns the statement as plain values under stable keys.

        A number that is infinite or unknown is null: an interval that is open on that side, or
        a loss beyond a divergence, which the neighbouring ``certainty`` names.

        Args:
            keys: list the keys of the trials behind each group.
        """
        return {
            "study": self.study,
            "scale": self.scale,
            "hyperparameter": self.hyperparameter,
            "groups": [group_json(group, keys=keys) for group in self.groups],
            "notes": list(self.notes),
        }


def drift_statement(
    frame: pd.DataFrame,
    *,
    study: str,
    scale: str,
    hyperparameter: str,
    settings: Sequence[str] = (),
    claims: Sequence[Claim] = (),
    estimator: str = DEFAULT,
    allow_holes: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    partial: bool = False,
    notes: Sequence[str] = (),
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
        claims: rules to test in every group.
        estimator: ``quadratic``, ``skewed``, ``quadratic3``, ``spline`` or ``argmin``.
        allow_holes: go on where neighbours of a minimum, or whole scales, have no result.
        resamples: resampled curves a scale, at least 100.
        seed: seed of the resampling.
        partial: return what there is although no group has a drift, for a report on a study
            that still runs.
        notes: sentences for the reader that belong to the statement.

    Raises:
        AnalysisRefusal: a column is missing, or no group can answer and ``partial`` is not
            asked for; the message says why each.
        UnknownNameError: there is no estimator of that name.
    """
    estimator_named(estimator)
    if resamples < 100:
        raise AnalysisRefusal(f"resamples = {resamples}: a 95% interval needs at least 100")
    columns = ["variant", *settings, scale, hyperparameter, "seed", "loss", "outcome"]
    require_columns(frame, columns)
    groups = tuple(
        _analyse(
            part,
            variant=variant,
            values=values,
            columns=(scale, hyperparameter),
            claims=tuple(claims),
            options={
                "estimator": estimator,
                "allow_holes": allow_holes,
                "resamples": resamples,
                "seed": seed,
            },
        )
        for variant, values, part in _grouped(frame, settings)
    )
    if not partial and all(group.refused is not None for group in groups):
        raise all_refused((group.label, group.refused or "") for group in groups)
    return DriftStatement(
        study=study,
        scale=scale,
        hyperparameter=hyperparameter,
        groups=groups,
        notes=tuple(notes),
    )


def _grouped(
    frame: pd.DataFrame, settings: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
    for key, part in frame.groupby(["variant", *settings], sort=True, dropna=False):
        variant, *values = key
        yield str(variant), dict(zip(settings, map(plain, values), strict=True)), part


def _analyse(
    part: pd.DataFrame,
    *,
    variant: str,
    values: Mapping[str, Any],
    columns: tuple[str, str],
    claims: tuple[Claim, ...],
    options: Mapping[str, Any],
) -> Group:
    """Returns what one group says; its refusals become sentences."""
    exponent = claims[0].exponent if claims else 0.0
    located = Located(optima=(), refused={}, noise=None)
    drift: Drift | None = None
    refused: str | None = None
    try:
        curves = measured_curves(part, scale=columns[0], hyperparameter=columns[1])
        located = locate(curves, **options)
        if located.refused and not options["allow_holes"]:
            raise AnalysisRefusal(few(located.refused.values()))
        drift = measure_drift(located.optima, left_out=bool(located.refused))
    except AnalysisRefusal as refusal:
        refused = str(refusal)
    optima = located.optima
    return Group(
        variant=variant,
        settings=values,
        optima=optima,
        drift=drift,
        exponent=exponent,
        regret=_regret(optima, exponent, part, columns[0]),
        verdicts=() if drift is None else tuple(_judge(c, drift, optima) for c in claims),
        refused=refused,
        left_out=located.refused,
        evidence=gather(part, columns),
    )


def _regret(
    optima: Sequence[Optimum], exponent: float, part: pd.DataFrame, scale: str
) -> tuple[Regret, ...]:
    """Returns the regrets, none where no optimum lies inside its grid."""
    if not any(optimum.located for optimum in optima):
        return ()
    return in_compute(transfer_regret(optima, exponent=exponent), run_flops(part, scale))


def _judge(claim: Claim, drift: Drift, optima: Sequence[Optimum]) -> Verdict:
    """Returns the verdict with the cost of following the claim where noise hides it."""
    verdict = judge(claim, drift, optima)
    costs = transfer_regret(optima, exponent=claim.exponent)
    if verdict.ruling == "holds" or not all(cost.harmless for cost in costs):
        return verdict
    worst = max(cost.regret for cost in costs)
    why = (
        f"{verdict.why}; harmless so far: transferring by the claim costs at most {worst:.2g} in "
        "loss, below the noise floor"
    )
    return Verdict(claim=claim, ruling=verdict.ruling, why=why)


def group_json(group: Group, *, keys: bool = False) -> dict[str, Any]:
    """Returns a group as plain values under stable keys, its trials' keys only if asked for."""
    return {
        "variant": group.variant,
        "settings": {name: plain(value) for name, value in group.settings.items()},
        "optima": [_optimum_json(optimum) for optimum in group.optima],
        "drift": None if group.drift is None else _drift_json(group.drift),
        "regret": [_regret_json(regret) for regret in group.regret],
        "regret_exponent": group.exponent,
        "claims": [
            {
                "exponent": verdict.claim.exponent,
                "tolerance": verdict.claim.tolerance,
                "verdict": verdict.ruling,
                "why": verdict.why,
            }
            for verdict in group.verdicts
        ],
        "refused": group.refused,
        "left_out": [{"scale": s, "why": why} for s, why in group.left_out.items()],
        "evidence": group.evidence.to_json(keys=keys),
    }


def _optimum_json(optimum: Optimum) -> dict[str, Any]:
    return {
        "scale": optimum.scale,
        "log2": optimum.log2,
        "value": optimum.value,
        "low": number(optimum.low),
        "high": number(optimum.high),
        "loss": optimum.loss,
        "curvature": number(optimum.curvature),
        "points": optimum.points,
        "flags": list(optimum.flags),
        "estimator": optimum.estimator,
        "estimators": dict(optimum.estimators),
        "noise": optimum.noise,
        "noise_source": optimum.noise_source,
        "seeds": optimum.seeds,
        "coverage": optimum.coverage,
        "trials": optimum.answered,
        "declared": optimum.declared,
    }


def _drift_json(drift: Drift) -> dict[str, Any]:
    bend = drift.bend
    return {
        "slope": drift.slope,
        "low": number(drift.low),
        "high": number(drift.high),
        "scales_used": list(drift.scales_used),
        "flags": list(drift.flags),
        "intercept": drift.intercept,
        "censored": list(drift.censored),
        "scatter": drift.scatter,
        "estimators": dict(drift.estimators),
        "bend": bend and {k: number(v) for k, v in vars(bend).items()},
        "leave_one_out": [{"scale": o.scale, "change": o.change} for o in drift.leave_one_out],
    }


def _regret_json(regret: Regret) -> dict[str, Any]:
    return {
        "scale": regret.scale,
        "tuned": regret.tuned,
        "transferred": number(regret.transferred),
        "regret": number(regret.regret),
        "percent": number(regret.percent),
        "log2": regret.log2,
        "floor": regret.floor,
        "harmless": regret.harmless,
        "certainty": regret.certainty,
        "note": regret.note,
        "compute": number(regret.compute),
        "compute_note": regret.compute_note,
    }
