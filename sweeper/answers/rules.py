"""The rules of a study: one a group and hyperparameter, with its held-out check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sweeper.analysis import (
    CHOICES,
    DEFAULT,
    GivenSurvey,
    HeldOut,
    JointSurvey,
    Rule,
    Survey,
    fit_rule,
    given_survey,
    joint_survey,
    learn_together,
    regret_at,
    require_estimator,
    survey,
)
from sweeper.answers.axes import Axes, claims_of
from sweeper.answers.groups import (
    blow_up_notes,
    few,
    groups_of,
    require_an_answer,
)
from sweeper.answers.rule_record import AnySurvey, RuleGroup, RuleStatement
from sweeper.answers.view import StudyView, view_study
from sweeper.errors import AnalysisRefusal, RequestError, UnknownNameError
from sweeper.store import Store, StudyRecord


@dataclass(frozen=True, kw_only=True)
class RuleRequest:
    """What rules are asked for.

    Attributes:
        scales: columns of the scales.
        hyperparameters: one column, or two that are tuned together.
        settings: columns whose distinct values, with the variant, make the groups.
        tuned: other hyperparameters, which are at their best at every value of the one; none
            beside two.
        model: ``auto``, or the form that predicts.
        estimator: how the optimum of one hyperparameter is read off its points.
        allow_holes: go on where neighbours of a minimum have no result.
        given: the rows are optima themselves.
        resamples: resampled curves a place, at least 100.
        seed: seed of the resampling.

    Raises:
        AnalysisRefusal: neither one hyperparameter nor two; too few resamples.
        UnknownNameError: there is no such form or estimator.
    """

    scales: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    settings: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    model: str = "auto"
    estimator: str = DEFAULT
    allow_holes: bool = False
    given: bool = False
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
        require_estimator(self.estimator)


def rule_groups(frame: pd.DataFrame, request: RuleRequest) -> tuple[RuleGroup, ...]:
    """Returns the rules of every group: of two hyperparameters, one each.

    Args:
        frame: one row a trial with ``variant``, ``seed``, ``loss``, ``outcome``, the scales,
            the hyperparameters and the settings.
        request: what is asked for.

    Raises:
        AnalysisRefusal: a column is missing, or no group can answer; says why each.
    """
    point = [*request.scales, *request.hyperparameters, *request.tuned]
    groups: list[RuleGroup] = []
    for group, part in groups_of(frame, request.settings, point):
        groups += _groups(part, group, request)
    require_an_answer(groups)
    return tuple(_pooled(groups))


def _pooled(groups: Sequence[RuleGroup]) -> Iterator[RuleGroup]:
    """Yields the groups, those of one hyperparameter having learnt from each other."""
    rules: dict[str, list[Rule]] = {}
    for group in groups:
        rules.setdefault(group.hyperparameter, []).extend([group.rule] if group.rule else [])
    shared = {name: iter(learn_together(own)) for name, own in rules.items() if own}
    for group in groups:
        yield (
            group
            if group.rule is None
            else replace(group, rule=next(shared[group.hyperparameter]))
        )


def _groups(
    part: pd.DataFrame, group: Mapping[str, Any], request: RuleRequest
) -> Iterator[RuleGroup]:
    names = request.hyperparameters
    found: AnySurvey | None = None
    rules: dict[str, Rule] = {}
    refused: dict[str, str] = {}
    try:
        found = _surveyed(part, request)
    except AnalysisRefusal as refusal:
        refused = dict.fromkeys(names, str(refusal))
    if found is not None:
        for name in names:
            try:
                rules[name] = _rule(found, name, request)
            except AnalysisRefusal as refusal:
                refused[name] = str(refusal)
    for name in names:
        yield RuleGroup(
            **group,
            hyperparameter=name,
            partner=next((other for other in names if other != name), None),
            tuned=request.tuned,
            rule=rules.get(name),
            costs=_costs(found, rules, name),
            survey=found,
            refused=refused.get(name),
        )


def _surveyed(part: pd.DataFrame, request: RuleRequest) -> AnySurvey:
    """Returns the optima of all places of a group.

    Raises:
        AnalysisRefusal: the trials cannot be read, or a place has no optimum and holes are not
            allowed.
    """
    names = request.hyperparameters
    found: AnySurvey
    if request.given:
        return given_survey(
            part,
            scales=request.scales,
            hyperparameter=names[0],
            resamples=request.resamples,
            seed=request.seed,
        )
    if len(names) == 1:
        found = survey(
            part,
            scales=request.scales,
            hyperparameter=names[0],
            others=request.tuned,
            estimator=request.estimator,
            allow_holes=request.allow_holes,
            resamples=request.resamples,
            seed=request.seed,
        )
    else:
        found = joint_survey(
            part,
            scales=request.scales,
            hyperparameters=(names[0], names[1]),
            allow_holes=request.allow_holes,
            resamples=request.resamples,
            seed=request.seed,
        )
    if not found.optima or (found.refused and not request.allow_holes):
        raise AnalysisRefusal(few(found.refused.values()))
    return found


def _rule(found: AnySurvey, name: str, request: RuleRequest) -> Rule:
    return fit_rule(
        found.site_optima(name) if isinstance(found, JointSurvey) else found.site_optima,
        hyperparameter=name,
        scales=request.scales,
        model=request.model,
        left_out=bool(found.refused),
    )


def _costs(
    found: AnySurvey | None, rules: Mapping[str, Rule], name: str
) -> tuple[float | None, ...]:
    """Returns the loss above the optimum at each held-out prediction of a rule."""
    if found is None or name not in rules:
        return ()
    if isinstance(found, GivenSurvey):
        return (None,) * len(rules[name].held)
    return tuple(_cost(found, rules, held) for held in rules[name].held)


def _cost(found: Survey | JointSurvey, rules: Mapping[str, Rule], held: HeldOut) -> float | None:
    site = held.site_optimum.site
    if isinstance(found, Survey):
        cost = regret_at(found.optima[found.sites.index(site)], held.predicted)
        return cost.regret if cost.certainty == "measured" else None
    optimum = found.optima[found.sites.index(site)]
    setting = []
    for name in found.names:
        others = rules[name].held if name in rules else ()
        twin = next((o for o in others if _same(o, held)), None)
        if twin is None:
            return None
        setting.append(twin.predicted)
    return optimum.rise(np.array(setting))


def _same(one: HeldOut, other: HeldOut) -> bool:
    return one.site_optimum.site == other.site_optimum.site and one.without == other.without


def rules_of(
    store: Store,
    name: str,
    *,
    hyperparameters: Sequence[str] = (),
    scales: Sequence[str] = (),
    each: Sequence[str] = (),
    model: str = "auto",
    estimator: str | None = None,
    allow_holes: bool = False,
) -> RuleStatement:
    """Returns the rules of a study.

    Args:
        store: the store.
        name: name of the study.
        hyperparameters: one name, or two that are tuned together; none takes the two of an
            imported study that has two, else those of the claims, each alone, else the first
            that is swept over positive numbers.
        scales: names of the scales; none takes those that the study was imported with, else
            its scale.
        each: see :func:`view_study`.
        model: ``auto``, ``constant``, ``power``, ``bent`` or ``offset``.
        estimator: how an optimum is read off its points, None as fits the study; two together are
            read off a paraboloid.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study, scale, hyperparameter, model or estimator.
        RequestError: a name is asked for twice, or an estimator of one hyperparameter for two.
        AnalysisRefusal: there is no result yet, or no group can answer.
    """
    along = tuple(scales) or own_scales(store.study(name))
    view, columns = with_scales(store, name, along, hyperparameters, each)
    return fitted(view, columns, model=model, estimator=estimator, allow_holes=allow_holes)


def own_scales(record: StudyRecord) -> tuple[str, ...]:
    """Returns the scales of a study: those that it was imported with, else its one."""
    return tuple(record.document.get("scales", ())) or (record.scale,)


def with_scales(
    store: Store,
    name: str,
    scales: Sequence[str],
    hyperparameters: Sequence[str],
    each: Sequence[str] = (),
) -> tuple[StudyView, tuple[str, ...]]:
    """Returns the study with a column for every scale, and the names of these columns."""
    view = view_study(store, name, scale=scales[0], hyperparameters=hyperparameters, each=each)
    axes = Axes(store, name, view.trials, view.swept)
    names = (view.scale, *(axes.find(scale).name for scale in scales[1:]))
    twice = next((n for n in names if (*names, *view.asked).count(n) > 1), None)
    if twice is not None:
        raise RequestError(f"{twice} is asked for twice; scales and hyperparameters must differ")
    known = tuple(dict.fromkeys((*view.scales, *names)))
    return replace(view, trials=axes.trials, scales=known), names


def fitted(
    view: StudyView,
    scales: tuple[str, ...],
    *,
    model: str,
    estimator: str | None,
    allow_holes: bool,
) -> RuleStatement:
    view.require_results(of_runs=False)
    found: list[RuleGroup] = []
    notes: list[str] = []
    for asked in _together(view):
        if len(asked) == 2 and estimator not in (None, DEFAULT):
            raise RequestError(
                f"{' and '.join(asked)} are read off a paraboloid together; leave --estimator "
                f"out, or fit one alone with --hyperparameter {asked[0]}"
            )
        chosen = view.select(*asked, scales=scales)
        notes += chosen.notes
        request = RuleRequest(
            scales=scales,
            hyperparameters=asked,
            settings=chosen.settings,
            tuned=chosen.tuned,
            model=model,
            estimator=estimator or view.estimator,
            allow_holes=allow_holes,
            given=view.holds_optima,
        )
        with chosen.said_with_doubts():
            groups = rule_groups(chosen.rows, request)
        for group in groups:
            notes += blow_up_notes(group.label, group.blow_ups, *view.compared)
        found += groups
    return RuleStatement(
        study=view.study.name,
        scales=scales,
        groups=tuple(found),
        notes=tuple(dict.fromkeys(notes)),
        metric=view.compared[0],
    )


def _together(view: StudyView) -> list[tuple[str, ...]]:
    """Returns the hyperparameters to fit, those in one tuple together."""
    if view.asked:
        return [view.asked]
    record = view.study
    own = tuple(name for name in record.document.get("hyperparameters", ()))
    if len(own) == 2:
        return [own]
    claimed = tuple(claims_of(view.trials, record))
    return [(column,) for column in claimed or view.hyperparameters]
