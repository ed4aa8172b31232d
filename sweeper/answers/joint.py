"""The joint optima of two hyperparameters, one a scale, of every group of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sweeper.analysis import (
    Claim,
    Cloud,
    Drift,
    Floats,
    JointOptimum,
    Rivals,
    Verdict,
    flat_and_steep,
    judge,
    locate_jointly,
    measure_drift,
    measured_cloud,
    weigh,
)
from sweeper.answers.bottom_line import of_joint
from sweeper.answers.drift import CLAIM, DRIFT, RIVALS, left_out_json
from sweeper.answers.groups import (
    Evidence,
    Statement,
    StudyGroup,
    all_refused,
    few,
    groups_of,
)
from sweeper.answers.jsonable import encoded, jsonable
from sweeper.answers.view import StudyView
from sweeper.errors import AnalysisRefusal, RequestError

SMALL_POWER = 0.005
"""What two decimals would not show."""

Along = Literal["hyperparameter", "flat", "steep"]
"""What a drift is of: one of the two hyperparameters, or the product of powers of both in which
the loss is curved least, or most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JointDrift:
    """The drift of a joint optimum along one direction.

    Attributes:
        along: what kind of direction it is.
        direction: power of each hyperparameter, the largest being 1.
        drift: in octaves of the product per doubling; None where it was refused.
        refused: why there is none; None where there is one.
        verdicts: one a claim about it.
        rivals: the claims weighed against each other; None of fewer than two.
    """

    along: Along
    direction: Mapping[str, float]
    drift: Drift | None
    refused: str | None
    verdicts: tuple[Verdict, ...] = ()
    rivals: Rivals | None = None

    @property
    def name(self) -> str:
        """How messages name the direction, for example ``learning_rate × weight_decay^0.87``."""
        return combination(self.direction)


@dataclass(frozen=True, kw_only=True, eq=False)
class JointGroup(StudyGroup):
    """The joint optima of one group.

    Attributes:
        optima: scale to its joint optimum, smallest scale first.
        drifts: of each hyperparameter, then along the flat direction and the steep one; empty
            where no optimum is located.
        left_out: scale to the reason why it has none.
        evidence: which trials it rests on.
    """

    optima: Mapping[float, JointOptimum]
    drifts: tuple[JointDrift, ...]
    left_out: Mapping[float, str]
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class JointStatement(Statement):
    """The statement of a study about two hyperparameters at once.

    Attributes:
        scale, hyperparameters: what it is about.
        groups: what is said about each variant and setting.
        metric: name of what is compared.
        sign: -1 where the losses are minus a metric of which more is better, else 1.
    """

    scale: str
    hyperparameters: tuple[str, str]
    groups: tuple[JointGroup, ...]
    metric: str = "loss"
    sign: int = 1

    HEAD = "study scale hyperparameters metric bottom_line"

    @property
    def bottom_line(self) -> str:
        """What it all comes to, a sentence a group."""
        return of_joint(self.hyperparameters, self.scale, self.groups)

    def to_json(self, *, keys: bool = False) -> dict[str, Any]:
        """Returns the statement as plain values under stable keys, null for infinite ones.

        Args:
            keys: list the keys of the trials behind each group.
        """
        return self.document(_group_json(group, keys=keys) for group in self.groups)


def joint_statement(
    frame: pd.DataFrame,
    *,
    study: str,
    scale: str,
    hyperparameters: tuple[str, str],
    settings: Sequence[str] = (),
    claims: Mapping[str, Sequence[Claim]] | None = None,
    allow_holes: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    notes: Sequence[str] = (),
    compared: tuple[str, int] = ("loss", 1),
) -> JointStatement:
    """Returns the joint optimum at every scale of every group.

    Args:
        frame: one row a trial with the columns ``variant``, ``seed``, ``loss``, ``outcome``, the
            scale, the hyperparameters and the settings.
        study: name of the study, for the record.
        scale: column along which optima are tracked.
        hyperparameters: the two columns whose joint optimum is sought; positive numbers.
        settings: columns whose distinct values, with the variant, make the groups.
        claims: rules to test, by hyperparameter.
        allow_holes: go on where neighbours of a minimum, or whole scales, have no result.
        resamples: resampled clouds a scale.
        seed: seed of the resampling.
        notes: sentences for the reader that belong to the statement.
        compared: name of the metric, and -1 where ``loss`` is minus it, else 1.

    Raises:
        AnalysisRefusal: a column is missing, or no scale of any group has a joint optimum; says
            why each.
    """
    options = {"allow_holes": allow_holes, "resamples": resamples, "seed": seed}
    groups = [
        _analyse(part, group, scale, hyperparameters, claims or {}, options)
        for group, part in groups_of(frame, settings, (scale, *hyperparameters))
    ]
    if not any(group.optima for group in groups):
        raise all_refused((g.label, why) for g in groups for why in g.left_out.values())
    return JointStatement(
        study=study,
        scale=scale,
        hyperparameters=hyperparameters,
        groups=tuple(groups),
        notes=tuple(notes),
        metric=compared[0],
        sign=compared[1],
    )


def _analyse(
    part: pd.DataFrame,
    group: Mapping[str, Any],
    scale: str,
    names: tuple[str, str],
    claims: Mapping[str, Sequence[Claim]],
    options: Mapping[str, Any],
) -> JointGroup:
    """Returns what one group says; the refusals of its scales become sentences."""
    clouds: dict[float, Cloud] = {}
    left_out: dict[float, str] = {}
    for value, trials in _by_scale(part, scale):
        try:
            clouds[value] = measured_cloud(trials, names=names, label=f"{scale} {value:g}")
        except AnalysisRefusal as refusal:
            left_out[value] = str(refusal)
    scales = list(clouds)
    located = locate_jointly(list(clouds.values()), **options)
    left_out |= {scales[index]: why for index, why in located.refused.items()}
    optima = {scales[index]: found for index, found in sorted(located.optima.items())}
    lost = few(left_out.values()) if left_out and not options["allow_holes"] else None
    return JointGroup(
        **group,
        optima=optima,
        drifts=tuple(_drifts(optima, names, claims, refused=lost, left_out=bool(left_out))),
        left_out=dict(sorted(left_out.items())),
    )


def _drifts(
    optima: Mapping[float, JointOptimum],
    names: tuple[str, str],
    claims: Mapping[str, Sequence[Claim]],
    *,
    refused: str | None,
    left_out: bool,
) -> Iterator[JointDrift]:
    """Yields the drifts of a group's joint optima, those of the two hyperparameters first.

    Args:
        optima: scale to its joint optimum.
        names: the two hyperparameters.
        claims: rules to test, by hyperparameter.
        refused: why there is no drift at all; None where nothing stands against it.
        left_out: whether scales have no optimum.
    """
    directions = flat_and_steep(list(optima.values()))
    if directions is None:
        return
    kinds: list[tuple[Along, Floats]] = [("hyperparameter", each) for each in np.eye(2)]
    kinds += zip(("flat", "steep"), directions, strict=True)
    for along, direction in kinds:
        estimates = [optimum.along(direction, scale) for scale, optimum in optima.items()]
        drift, why = None, refused
        verdicts: tuple[Verdict, ...] = ()
        if why is None:
            try:
                drift = measure_drift(estimates, left_out=left_out)
            except AnalysisRefusal as refusal:
                why = str(refusal)
        powers = dict(zip(names, direction.tolist(), strict=True))
        if drift is not None and along == "hyperparameter":
            own = claims.get(names[int(direction[1])], ())
            verdicts = tuple(judge(claim, drift, estimates) for claim in own)
        yield JointDrift(
            along=along,
            direction=powers,
            drift=drift,
            refused=why,
            verdicts=verdicts,
            rivals=None if drift is None else weigh(verdicts, drift),
        )


def combination(direction: Mapping[str, float]) -> str:
    """Returns the product or quotient that grows along a direction, the largest power first and
    as 1, for example ``learning_rate / weight_decay^0.50``."""
    (one, first), (other, second) = direction.items()
    if abs(second) > abs(first) * (1 + SMALL_POWER):
        one, first, other, second = other, second, one, first
    ratio = second / first
    if abs(ratio) < SMALL_POWER:
        return one
    power = "" if abs(abs(ratio) - 1) < SMALL_POWER else f"^{abs(ratio):.2f}"
    return f"{one} {'×' if ratio > 0 else '/'} {other}{power}"


def _by_scale(part: pd.DataFrame, scale: str) -> Iterator[tuple[float, pd.DataFrame]]:
    """Yields the trials of each scale, smallest first.

    Raises:
        AnalysisRefusal: a scale is no number.
    """
    numbers = pd.to_numeric(part[scale], errors="coerce").astype("float64")
    if numbers.isna().any():
        culprit = part[scale][numbers.isna()].iloc[0]
        raise AnalysisRefusal(f"{scale} = {culprit!r}: a scale is a number in every trial")
    for value in sorted(numbers.unique().tolist()):
        yield value, part[numbers == value]


def _group_json(group: JointGroup, *, keys: bool) -> dict[str, Any]:
    return {
        **encoded(group, "variant settings"),
        "optima": [_optimum_json(scale, found) for scale, found in group.optima.items()],
        "drifts": [_drift_json(drift) for drift in group.drifts],
        "left_out": left_out_json(group.left_out),
        "evidence": group.evidence.to_json(keys=keys),
    }


def _drift_json(one: JointDrift) -> dict[str, Any]:
    return {
        **encoded(one, "along name direction refused"),
        "drift": None if one.drift is None else encoded(one.drift, DRIFT),
        "claims": [encoded(verdict, CLAIM) for verdict in one.verdicts],
        "rivals": None if one.rivals is None else encoded(one.rivals, RIVALS),
    }


def _optimum_json(scale: float, optimum: JointOptimum) -> dict[str, Any]:
    columns = "loss loss_low loss_high hessian axes points noise noise_source seeds "
    columns += "trials=answered declared"
    return {
        "scale": scale,
        "optimum": {
            name: {
                "log2": float(optimum.log2[axis]),
                "value": float(2.0 ** optimum.log2[axis]),
                "low": jsonable(optimum.low[axis]),
                "high": jsonable(optimum.high[axis]),
                "flags": list(optimum.flags[axis]),
            }
            for axis, name in enumerate(optimum.names)
        },
        **encoded(optimum, columns),
        "axes": axes_json(optimum),
    }


def axes_json(optimum: JointOptimum) -> list[dict[str, Any]]:
    """Returns the principal axes of a joint optimum, the most curved first."""
    return [
        {
            "direction": dict(zip(optimum.names, axis.direction, strict=True)),
            **encoded(axis, "curvature low high"),
        }
        for axis in optimum.axes
    ]


def joint_answer(view: StudyView, *, allow_holes: bool = False) -> JointStatement:
    """Returns the joint optima of the two hyperparameters that were asked for.

    Args:
        view: made with two hyperparameters.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        RequestError: not two hyperparameters were asked for.
        AnalysisRefusal: no trial has a result, or no scale has a joint optimum.
    """
    if len(view.asked) != 2:
        raise RequestError(
            f"a joint optimum is of two hyperparameters, not of {len(view.asked)}; name two, "
            "for example learning_rate,weight_decay"
        )
    view.require_results()
    chosen = view.select(*view.asked)
    one, other = view.asked
    return joint_statement(
        chosen.rows,
        study=view.study.name,
        scale=view.scale,
        hyperparameters=(one, other),
        settings=chosen.settings,
        claims=view.claims,
        allow_holes=allow_holes,
        notes=chosen.notes,
        compared=view.compared,
    )
