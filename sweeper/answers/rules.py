"""The rules of a study: one a group and hyperparameter, with its held-out check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sweeper.analysis import (
    CHOICES,
    DEFAULT,
    Held,
    JointOptimum,
    JointSurvey,
    Rule,
    Survey,
    estimator_named,
    fit_rule,
    joint_survey,
    regret_at,
    require_columns,
    survey,
)
from sweeper.answers.evidence import Evidence, gather
from sweeper.answers.groups import all_refused, few, group_label
from sweeper.answers.jsonable import plain
from sweeper.errors import AnalysisRefusal, UnknownNameError


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleGroup:
    """The rule of one hyperparameter in one variant under fixed settings.

    Attributes:
        variant: name of the variant.
        settings: values of the settings that make the group.
        hyperparameter: whose rule it is.
        partner: the hyperparameter that it was tuned together with; None if alone.
        rule: None where the group refused it.
        costs: what the held-out predictions cost in loss where they were measured, in the order
            of ``rule.held``; None where the loss there is not measured.
        survey: the optima of all places; None where the trials could not be read.
        refused: why the group has no rule; None if it has one.
        evidence: which trials it rests on.
    """

    variant: str
    settings: Mapping[str, Any]
    hyperparameter: str
    partner: str | None
    rule: Rule | None
    costs: tuple[float | None, ...]
    survey: Survey | JointSurvey | None
    refused: str | None
    evidence: Evidence

    @property
    def label(self) -> str:
        """How messages name the group, for example ``mup, depth 4``."""
        return group_label(self.variant, self.settings)

    @property
    def left_out(self) -> Mapping[str, str]:
        """Place to the reason why it has no optimum."""
        return {} if self.survey is None else self.survey.refused

    @property
    def joint(self) -> tuple[JointOptimum, ...]:
        """The joint optima behind the rule; none where it was tuned alone."""
        return self.survey.optima if isinstance(self.survey, JointSurvey) else ()


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleStatement:
    """The rules of a study over its scales.

    Attributes:
        study: its name.
        scales: names of the scales.
        groups: one a variant, setting and hyperparameter.
        notes: sentences that the reader should know of every group.
    """

    study: str
    scales: tuple[str, ...]
    groups: tuple[RuleGroup, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Question:
    """What rules are asked for.

    Attributes:
        scales: columns of the scales.
        hyperparameters: one column, or two that are tuned together.
        settings: columns whose distinct values, with the variant, make the groups.
        model: ``auto``, or the form that predicts.
        estimator: how the optimum of one hyperparameter is read off its points.
        allow_holes: go on where neighbours of a minimum have no result.
        resamples: resampled curves a place, at least 100.
        seed: seed of the resampling.

    Raises:
        AnalysisRefusal: neither one hyperparameter nor two; too few resamples.
        UnknownNameError: there is no such form or estimator.
    """

    scales: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    settings: tuple[str, ...] = ()
    model: str = "auto"
    estimator: str = DEFAULT
    allow_holes: bool = False
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if len(set(self.hyperparameters)) != len(self.hyperparameters) or not (
            1 <= len(self.hyperparameters) <= 2
        ):
            raise AnalysisRefusal(
                f"hyperparameters = {', '.join(self.hyperparameters) or 'none'}: a rule is "
                "fitted to one, or to two different ones that are tuned together"
            )
        if self.resamples < 100:
            raise AnalysisRefusal(
                f"resamples = {self.resamples}: a 95% interval needs at least 100"
            )
        if self.model not in CHOICES:
            raise UnknownNameError("model", self.model, CHOICES)
        estimator_named(self.estimator)


def rule_groups(frame: pd.DataFrame, question: Question) -> tuple[RuleGroup, ...]:
    """Returns the rules of every group: of two hyperparameters, one each.

    Args:
        frame: one row a trial with ``variant``, ``seed``, ``loss``, ``outcome``, the scales,
            the hyperparameters and the settings.
        question: what is asked for.

    Raises:
        AnalysisRefusal: a column is missing, or no group can answer; says why each.
    """
    point = [*question.scales, *question.hyperparameters]
    columns = ["variant", *question.settings]
    require_columns(frame, [*columns, *point, "seed", "loss", "outcome"])
    groups: list[RuleGroup] = []
    for key, part in frame.groupby(columns, sort=True, dropna=False):
        variant, *values = key
        settings = dict(zip(question.settings, map(plain, values), strict=True))
        groups += _groups(part, str(variant), settings, question)
    if all(group.refused is not None for group in groups):
        raise all_refused((group.label, group.refused or "") for group in groups)
    return tuple(groups)


def _groups(
    part: pd.DataFrame, variant: str, settings: Mapping[str, Any], question: Question
) -> Iterator[RuleGroup]:
    names = question.hyperparameters
    evidence = gather(part, [*question.scales, *names])
    found: Survey | JointSurvey | None = None
    rules: dict[str, Rule] = {}
    refused: dict[str, str] = {}
    try:
        found = _surveyed(part, question)
    except AnalysisRefusal as refusal:
        refused = dict.fromkeys(names, str(refusal))
    if found is not None:
        for name in names:
            try:
                rules[name] = _rule(found, name, question)
            except AnalysisRefusal as refusal:
                refused[name] = str(refusal)
    for name in names:
        yield RuleGroup(
            variant=variant,
            settings=settings,
            hyperparameter=name,
            partner=next((other for other in names if other != name), None),
            rule=rules.get(name),
            costs=_costs(found, rules, name),
            survey=found,
            refused=refused.get(name),
            evidence=evidence,
        )


def _surveyed(part: pd.DataFrame, question: Question) -> Survey | JointSurvey:
    """Returns the optima of all places of a group.

    Raises:
        AnalysisRefusal: the trials cannot be read, or a place has no optimum and holes are not
            allowed.
    """
    names = question.hyperparameters
    found: Survey | JointSurvey
    if len(names) == 1:
        found = survey(
            part,
            scales=question.scales,
            hyperparameter=names[0],
            estimator=question.estimator,
            allow_holes=question.allow_holes,
            resamples=question.resamples,
            seed=question.seed,
        )
    else:
        found = joint_survey(
            part,
            scales=question.scales,
            hyperparameters=(names[0], names[1]),
            allow_holes=question.allow_holes,
            resamples=question.resamples,
            seed=question.seed,
        )
    if not found.optima or (found.refused and not question.allow_holes):
        raise AnalysisRefusal(few(found.refused.values()))
    return found


def _rule(found: Survey | JointSurvey, name: str, question: Question) -> Rule:
    return fit_rule(
        found.sightings(name) if isinstance(found, JointSurvey) else found.sightings,
        hyperparameter=name,
        scales=question.scales,
        model=question.model,
        left_out=bool(found.refused),
    )


def _costs(
    found: Survey | JointSurvey | None, rules: Mapping[str, Rule], name: str
) -> tuple[float | None, ...]:
    """Returns the loss above the optimum at each held-out prediction of a rule."""
    if found is None or name not in rules:
        return ()
    return tuple(_cost(found, rules, held) for held in rules[name].held)


def _cost(found: Survey | JointSurvey, rules: Mapping[str, Rule], held: Held) -> float | None:
    place = held.sighting.place
    if isinstance(found, Survey):
        cost = regret_at(found.optima[found.places.index(place)], held.predicted.value)
        return cost.regret if cost.certainty == "measured" else None
    optimum = found.optima[found.places.index(place)]
    setting = []
    for name in found.names:
        others = rules[name].held if name in rules else ()
        twin = next((o for o in others if _same(o, held)), None)
        if twin is None:
            return None
        setting.append(twin.predicted.value)
    return optimum.rise(np.array(setting))


def _same(one: Held, other: Held) -> bool:
    return one.sighting.place == other.sighting.place and one.without == other.without
