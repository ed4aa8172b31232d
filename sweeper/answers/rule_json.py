"""Rules as plain values under stable keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.analysis import Candidate, Held, JointOptimum, JointSurvey, Offset, Rule, Sighting
from sweeper.answers.jsonable import number
from sweeper.answers.rules import RuleGroup, RuleStatement

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


def statement_json(statement: RuleStatement) -> dict[str, Any]:
    """Returns the rules of a study as plain values; what is infinite or unknown is null."""
    return {
        "study": statement.study,
        "scales": list(statement.scales),
        "groups": [group_json(group) for group in statement.groups],
        "notes": list(statement.notes),
    }


def group_json(group: RuleGroup) -> dict[str, Any]:
    """Returns the rule of one group and hyperparameter."""
    head = {
        "variant": group.variant,
        "settings": dict(group.settings),
        "hyperparameter": group.hyperparameter,
        "joint_with": group.partner,
        "refused": group.refused,
        "left_out": [{"place": place, "why": why} for place, why in group.left_out.items()],
        "evidence": group.evidence.to_json(),
    }
    rule = group.rule
    if rule is None:
        return head | dict(_REFUSED)
    return head | {
        "intercept_log2": rule.intercept.value,
        "intercept_low": number(rule.intercept.low),
        "intercept_high": number(rule.intercept.high),
        "terms": {
            term.scale: {
                "exponent": term.exponent,
                "low": number(term.low),
                "high": number(term.high),
            }
            for term in rule.terms
        },
        "model": rule.model,
        "models": [_candidate_json(one, rule) for one in rule.candidates.values()],
        "held_out": _held_out_json(group, rule),
        "places": _places_json(group, rule),
        "scatter": rule.fit.scatter,
        "flags": list(rule.flags),
    }


def _candidate_json(one: Candidate, rule: Rule) -> dict[str, Any]:
    return {
        "model": one.name,
        "parameters": parameters(one, rule),
        "held_out_error": one.error,
        "contender": one.contender,
        "why_not": one.why_not or None,
    }


def parameters(one: Candidate, rule: Rule) -> dict[str, float]:
    """Returns the parameters of a form by name, for log2 of the hyperparameter.

    ``constant``: log2. ``power``: intercept_log2 and the exponent of each scale. ``offset``:
    limit_log2 + amplitude scale^-rate. Empty where the form was not fitted.
    """
    if one.fit is None:
        return {}
    values = one.fit.parameters.tolist()
    if one.name == "constant":
        return {"log2": values[0]}
    if one.name == "power":
        return dict(zip(("intercept_log2", *rule.scales), values, strict=True))
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
        "error_octaves": rule.candidates[rule.model].error,
        "inside": sum(held.inside for held in rule.held),
        "of": len(rule.held),
        "places": [_held_json(h, c) for h, c in zip(rule.held, group.costs, strict=True)],
    }


def _held_json(held: Held, cost: float | None) -> dict[str, Any]:
    found = held.sighting
    return {
        "without_largest": held.without,
        "scales": dict(found.scales),
        "predicted_log2": held.predicted.value,
        "predicted": 2.0**held.predicted.value,
        "low": number(held.low),
        "high": number(held.high),
        "found_log2": found.log2,
        "found": 2.0**found.log2,
        "inside": held.inside,
        "error_octaves": held.error,
        "regret": cost,
    }


def _places_json(group: RuleGroup, rule: Rule) -> list[dict[str, Any]]:
    fit = rule.fit
    fitted = fit.model.values(fit.parameters[None, :], fit.observed.u)[0].tolist()
    rows = zip(rule.sightings, fitted, rule.leverage, strict=True)
    joint = _joint_by_place(group)
    return [
        _place_json(sighting, value, leverage, joint.get(sighting.place.label))
        for sighting, value, leverage in rows
    ]


def _joint_by_place(group: RuleGroup) -> Mapping[str, JointOptimum]:
    if not isinstance(group.survey, JointSurvey):
        return {}
    labels = [place.label for place in group.survey.places]
    return dict(zip(labels, group.survey.optima, strict=True))


def _place_json(
    found: Sighting, fitted: float, leverage: float, joint: JointOptimum | None
) -> dict[str, Any]:
    return {
        "scales": dict(found.scales),
        "log2": found.log2,
        "value": 2.0**found.log2,
        "low": number(found.low),
        "high": number(found.high),
        "fitted_log2": fitted,
        "leverage": leverage,
        "loss": found.loss,
        "curvature": number(found.curvature),
        "flags": list(found.flags),
        "estimator": found.estimator,
        "seeds": found.seeds,
        "trials": found.answered,
        "declared": found.declared,
        "axes": [] if joint is None else _axes_json(joint),
    }


def _axes_json(joint: JointOptimum) -> list[dict[str, Any]]:
    return [
        {
            "direction": dict(zip(joint.names, axis.direction, strict=True)),
            "curvature": axis.curvature,
            "low": number(axis.low),
            "high": number(axis.high),
        }
        for axis in joint.axes
    ]
