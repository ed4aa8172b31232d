"""What is said of the rule of a study: the records, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.analysis import (
    BlowUp,
    Candidate,
    GivenSurvey,
    HeldOut,
    JointOptimum,
    JointSurvey,
    Offset,
    Rule,
    Survey,
)
from sweeper.answers.bottom_line import tuned_words
from sweeper.answers.drift import left_out_json
from sweeper.answers.groups import Evidence, Statement, StudyGroup
from sweeper.answers.joint import axes_json
from sweeper.answers.jsonable import encoded

AnySurvey = Survey | JointSurvey | GivenSurvey


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleGroup(StudyGroup):
    """The rule of one hyperparameter in one group.

    Attributes:
        hyperparameter: whose rule it is.
        partner: the hyperparameter that it was tuned together with; None if alone.
        tuned: other hyperparameters, which are at their best at every value of this one.
        rule: None where the group refused it.
        costs: what the held-out predictions cost in loss where they were measured, in the order
            of ``rule.held``; None where the loss there is not measured.
        survey: the optima of all places; None where the trials could not be read.
        evidence: which trials it rests on.
    """

    hyperparameter: str
    partner: str | None
    tuned: tuple[str, ...] = ()
    rule: Rule | None
    costs: tuple[float | None, ...]
    survey: AnySurvey | None
    evidence: Evidence

    @property
    def subject(self) -> str:
        """The hyperparameter, with what is tuned along, as messages name it."""
        words = tuned_words(self.tuned, self.hyperparameter)
        return f"{self.hyperparameter} ({words})" if words else self.hyperparameter

    @property
    def left_out(self) -> Mapping[str, str]:
        """Place to the reason why it has no optimum."""
        return {} if self.survey is None else self.survey.refused

    @property
    def blow_ups(self) -> tuple[BlowUp, ...]:
        """Runs that count as beyond the cliff or as outliers; none of a joint rule."""
        return self.survey.blow_ups if isinstance(self.survey, Survey) else ()

    @property
    def joint(self) -> tuple[JointOptimum, ...]:
        """The joint optima behind the rule; none where it was tuned alone."""
        return self.survey.optima if isinstance(self.survey, JointSurvey) else ()


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleStatement(Statement):
    """The rules of a study over its scales.

    Attributes:
        scales: names of the scales.
        groups: one a variant, setting and hyperparameter.
    """

    scales: tuple[str, ...]
    groups: tuple[RuleGroup, ...]

    HEAD = "study scales"

    def to_json(self) -> dict[str, Any]:
        """Returns the rules as plain values; what is infinite or unknown is null."""
        return self.document(map(_group_json, self.groups))


_REFUSED: dict[str, Any] = {
    "intercept_log2": None,
    "intercept_low": None,
    "intercept_high": None,
    "terms": {},
    "model": None,
    "models": [],
    "held_out": None,
    "places": [],
    "scatter": None,
    "flags": [],
}
"""What a group without a rule says under the keys of one."""

_INTERCEPT = (
    "intercept_log2=intercept.value intercept_low=intercept.low intercept_high=intercept.high"
)


def _group_json(group: RuleGroup) -> dict[str, Any]:
    """Returns the rule of one group and hyperparameter."""
    head = {
        **encoded(group, "variant settings hyperparameter joint_with=partner"),
        **encoded(group, "profiled=tuned refused"),
        "left_out": left_out_json(group.left_out, "place"),
        "evidence": group.evidence.to_json(),
    }
    rule = group.rule
    if rule is None:
        return head | dict(_REFUSED)
    return head | {
        **encoded(rule, _INTERCEPT),
        "terms": {term.scale: encoded(term, "exponent low high") for term in rule.terms},
        "model": rule.model,
        "models": [
            {
                "model": one.name,
                "parameters": _parameters(one, rule),
                **encoded(one, "held_out_error=error contender weight"),
                "why_not": one.why_not or None,
            }
            for one in rule.candidates.values()
        ],
        "held_out": _held_out_json(group, rule),
        "places": _places_json(group, rule),
        "scatter": rule.fit.scatter,
        "flags": list(rule.flags),
    }


def _parameters(one: Candidate, rule: Rule) -> dict[str, float]:
    """Returns the parameters of a form by name, for log2 of the hyperparameter.

    ``constant``: log2. ``power``: intercept_log2 and the exponent of each scale. ``bent``:
    log2 and slope in the middle of the scales, bend. ``offset``: limit_log2 + amplitude
    scale^-rate. Empty where the form was not fitted.
    """
    if one.fit is None:
        return {}
    values = one.fit.parameters.tolist()
    if one.name == "constant":
        return {"log2": values[0]}
    if one.name == "power":
        return dict(zip(("intercept_log2", *rule.scales), values, strict=True))
    if one.name == "bent":
        return dict(zip(("log2", "slope", "bend"), values, strict=True))
    model = one.fit.model
    assert isinstance(model, Offset)
    limit, amplitude, rate = values
    return {
        "limit_log2": limit,
        "amplitude": amplitude * 2.0 ** (rate * model.reference),
        "rate": rate,
    }


def _held_out_json(group: RuleGroup, rule: Rule) -> dict[str, Any] | None:
    if not rule.held:
        return None
    return {
        "error_octaves": float(np.sqrt(np.mean([held.error**2 for held in rule.held]))),
        "inside": sum(held.inside for held in rule.held),
        "of": len(rule.held),
        "places": [_held_json(h, c) for h, c in zip(rule.held, group.costs, strict=True)],
    }


def _held_json(held: HeldOut, cost: float | None) -> dict[str, Any]:
    return {
        **encoded(held, "without_largest=without scales=site_optimum.scales"),
        "predicted_log2": held.predicted,
        "predicted": 2.0**held.predicted,
        **encoded(held, "low high found_log2=site_optimum.log2"),
        "found": 2.0**held.site_optimum.log2,
        **encoded(held, "inside error_octaves=error"),
        "regret": cost,
    }


def _places_json(group: RuleGroup, rule: Rule) -> list[dict[str, Any]]:
    fit, joint = rule.fit, _joint_by_place(group)
    fitted = fit.model.values(fit.parameters[None, :], fit.data.u)[0].tolist()
    return [
        {
            **encoded(found, "scales log2"),
            "value": 2.0**found.log2,
            **encoded(found, "low high"),
            "fitted_log2": value,
            "leverage": leverage,
            **encoded(found, "loss curvature flags estimator seeds trials=answered declared"),
            "axes": axes_json(joint[found.site.label]) if found.site.label in joint else [],
        }
        for found, value, leverage in zip(rule.site_optima, fitted, rule.leverage, strict=True)
    ]


def _joint_by_place(group: RuleGroup) -> Mapping[str, JointOptimum]:
    if not isinstance(group.survey, JointSurvey):
        return {}
    labels = [site.label for site in group.survey.sites]
    return dict(zip(labels, group.survey.optima, strict=True))
