"""Predictions of a study for one target: one a group and hyperparameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.analysis import JointOptimum, Prediction, predict_at
from sweeper.answers.bottom_line import TOLD
from sweeper.answers.groups import Statement, StudyGroup, require_an_answer
from sweeper.answers.jsonable import encoded
from sweeper.answers.rule_record import RuleGroup, RuleStatement
from sweeper.answers.rules import fitted, own_scales, with_scales
from sweeper.answers.view import StudyView
from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.store import Store
from sweeper.words import power_range, with_power


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted(StudyGroup):
    """What is predicted for one hyperparameter of a group.

    Attributes:
        group: the group and its rule.
        prediction: None where the group has none.
        joint_regret: loss expected to be lost by following the predictions of this and its
            partner together; None where tuned alone or unknown.
    """

    group: RuleGroup
    prediction: Prediction | None
    joint_regret: float | None

    def cost(self, metric: str) -> str:
        """Returns what following it may cost, as a clause; nothing where that is unknown."""
        found = self.prediction
        if found is None or found.regret is None or found.regret_high is None:
            return ""
        return (
            f"expected to cost {found.regret:.2g} in {metric} against tuning there (95% at most "
            f"{found.regret_high:.2g})"
        )

    def sentence(self, place: str, metric: str) -> str:
        """Returns the best setting at a place, with its interval and what it may cost."""
        what = self.group.subject + ("" if self.label == "default" else f" under {self.label}")
        found = self.prediction
        if found is None:
            return f"There is no prediction of {what} at {place}."
        cost = self.cost(metric) or "what it costs is unknown"
        return (
            f"At {place} the best {what} is predicted to be {with_power(found.value)} (95% "
            f"{power_range(found.low, found.high)}, {found.by}), {cost}."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionStatement(Statement):
    """The predictions of a study.

    Attributes:
        target: value by name of the scale.
        groups: one a variant, setting and hyperparameter.
        metric: name of what is compared.
    """

    target: Mapping[str, float]
    groups: tuple[Predicted, ...]
    metric: str = "loss"

    HEAD = "study target bottom_line"

    @property
    def bottom_line(self) -> str:
        """What it all comes to, in one to three sentences."""
        place = ", ".join(f"{name} {value:g}" for name, value in self.target.items())
        said = [one.sentence(place, self.metric) for one in self.groups[:TOLD]]
        if len(self.groups) > TOLD:
            left = len(self.groups) - TOLD
            more = "prediction stands" if left == 1 else "predictions stand"
            said.append(f"{left} more {more} below.")
        return " ".join(said)

    def to_json(self) -> dict[str, Any]:
        """Returns the predictions as plain values; what is infinite or unknown is null."""
        return self.document(map(_json, self.groups))


def predictions(
    statement: RuleStatement, target: Mapping[str, float], *, notes: Sequence[str] = ()
) -> PredictionStatement:
    """Returns what the rules of a study say of a target.

    Args:
        statement: the rules.
        target: value by name of the scale, for every scale of the rules.
        notes: further sentences for the reader.

    Raises:
        AnalysisRefusal: no group can answer; says why each.
    """
    found = tuple(_predicted(statement.groups, target))
    require_an_answer(found)
    return PredictionStatement(
        study=statement.study,
        target={name: float(target[name]) for name in statement.scales},
        groups=found,
        notes=(*statement.notes, *notes),
        metric=statement.metric,
    )


def _predicted(groups: Sequence[RuleGroup], target: Mapping[str, float]) -> Iterator[Predicted]:
    made: dict[int, Prediction] = {}
    refused: dict[int, str] = {}
    for index, group in enumerate(groups):
        if group.rule is None:
            refused[index] = group.refused or ""
            continue
        try:
            made[index] = predict_at(group.rule, target)
        except AnalysisRefusal as refusal:
            refused[index] = str(refusal)
    for index, group in enumerate(groups):
        twin = _twin(groups, index)
        regret = None
        if index in made and twin in made:
            regret = _joint_regret((group, groups[twin]), (made[index], made[twin]))
        yield Predicted(
            variant=group.variant,
            settings=group.settings,
            group=group,
            prediction=made.get(index),
            joint_regret=regret,
            refused=refused.get(index),
        )


def _twin(groups: Sequence[RuleGroup], index: int) -> int:
    """Returns the index of the group's partner; -1 where it was tuned alone."""
    group = groups[index]
    for other, candidate in enumerate(groups):
        if candidate.survey is group.survey and candidate.hyperparameter == group.partner:
            return other
    return -1


def _joint_regret(
    groups: tuple[RuleGroup, RuleGroup], made: tuple[Prediction, Prediction]
) -> float | None:
    """Returns half of trace(H C): H from the curvatures at the target and the typical tilt of
    the basin, C from the intervals and what the noise moves together; None if unknown."""
    sds = np.array([prediction.sd for prediction in made])
    curvatures = [prediction.curvature for prediction in made]
    tilt = _tilt(groups[0].joint)
    if None in curvatures or tilt is None or not np.isfinite(sds).all():
        return None
    # Curvatures of one with the other tuned again are those of H times 1 - tilt^2.
    bends = np.array(curvatures, dtype=np.float64) / (1 - tilt**2)
    together = tilt * np.sqrt(bends.prod()) * _correlation(groups, made) * sds.prod()
    return float(0.5 * (bends @ sds**2 + 2 * together))


def _tilt(optima: Sequence[JointOptimum]) -> float | None:
    """Returns the mean of H_12 / sqrt(H_11 H_22) over places; None without a located one."""
    tilts = [o.hessian[0, 1] / np.sqrt(o.hessian[0, 0] * o.hessian[1, 1]) for o in optima]
    known = [float(tilt) for tilt in tilts if np.isfinite(tilt)]
    return float(np.mean(known)) if known else None


def _correlation(
    groups: tuple[RuleGroup, RuleGroup], made: tuple[Prediction, Prediction]
) -> float:
    """Returns how the noise moves the two predictions together; 0 if it moves neither."""
    draws = []
    for group, prediction in zip(groups, made, strict=True):
        assert group.rule is not None
        u = np.log2([prediction.target[name] for name in group.rule.scales])
        draws.append(group.rule.fit.place(u).draws)
    finite = np.isfinite(draws[0]) & np.isfinite(draws[1])
    one, other = (part[finite] for part in draws)
    if not finite.any() or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def predictions_of(
    store: Store,
    name: str,
    target: Mapping[str, float],
    *,
    hyperparameters: Sequence[str] = (),
    each: Sequence[str] = (),
    model: str = "auto",
    estimator: str | None = None,
    allow_holes: bool = False,
) -> PredictionStatement:
    """Returns what the rules of a study say of a target.

    A scale that takes one value in the study is no term of a rule: the answer holds at that
    value, and a note says so.

    Args:
        store: the store.
        name: name of the study.
        target: value by name of the scale; these are the scales that the rules are fitted over.
        hyperparameters, each, model, estimator, allow_holes: as in :func:`rules_of`.

    Raises:
        UnknownNameError: there is no such study, scale, hyperparameter, model or estimator.
        RequestError: the target names no scale, or not all of those of the study.
        AnalysisRefusal: there is no result yet, or no group can answer.
    """
    own = own_scales(store.study(name))
    if not target:
        flags = " ".join(f"--at {scale}=VALUE" for scale in own)
        raise RequestError(f"a prediction needs a target: {flags}")
    absent = [scale for scale in own if scale not in target]
    if absent and len(absent) < len(own):
        raise RequestError(
            f"the rules of {name} are over {', '.join(own)}, and the target says nothing of "
            f"{', '.join(absent)}; add --at {absent[0]}=VALUE"
        )
    asked = sorted(target, key=lambda scale: scale not in own)
    view, columns = with_scales(store, name, asked, hyperparameters, each)
    at = {column: target[scale] for column, scale in zip(columns, asked, strict=True)}
    varying, notes = _varying(view, at)
    statement = fitted(view, varying, model=model, estimator=estimator, allow_holes=allow_holes)
    return predictions(statement, {column: at[column] for column in varying}, notes=notes)


def _varying(
    view: StudyView, target: Mapping[str, float]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the scales of a target that vary in the study, and a note on each of the others.

    Where none varies all are kept, and the fit says what is missing.
    """
    kept, notes = [], []
    for name, value in target.items():
        held = view.trials[name].dropna().unique()
        if len(held) != 1:
            kept.append(name)
        elif held[0] == value:
            notes.append(f"{name} is {held[0]:g} in the whole study, as at the target")
        else:
            notes.append(
                f"{name} is {held[0]:g} in the whole study, so nothing tells what it does: the "
                f"prediction is for that value, not for {value:g}"
            )
    return (tuple(kept), tuple(notes)) if kept else (tuple(target), ())


def _json(one: Predicted) -> dict[str, Any]:
    group, found = one.group, one.prediction
    head = {
        **encoded(group, "variant settings hyperparameter joint_with=partner profiled=tuned"),
        "refused": one.refused,
        "evidence": group.evidence.to_json(),
    }
    if found is None:
        names = (
            "log2",
            "value",
            "low",
            "high",
            "model",
            "regret",
            "regret_high",
            "joint_regret",
            "curvature",
        )
        empty = dict.fromkeys(names) | {"others": {}, "weights": {}, "extrapolation": None}
        return head | empty | {"assumptions": []}
    return head | {
        **encoded(found, "log2 value low high model regret regret_high"),
        "joint_regret": one.joint_regret,
        **encoded(found, "curvature others weights"),
        "extrapolation": encoded(found, "factor doublings"),
        "assumptions": list(found.assumptions),
    }
