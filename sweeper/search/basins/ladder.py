"""The ladder: scales from small to large, each starting from what the smaller ones taught."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sweeper.errors import RequestError
from sweeper.outcome import Outcome
from sweeper.search.base import Proposal
from sweeper.search.basins.climb import Aim, Made, Rung, State, next_runs
from sweeper.search.basins.model import Prior
from sweeper.study import PlannedTrial, Study, canonical_value, plan_trial
from sweeper.trial import canonical_json

FINE = 0.4
"""Octaves between declared values from which on a run may be made half-way, too."""

BEYOND = 4
"""Steps, as wide as the last one, by which an axis may grow at each end."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the ladder of one group stands.

    Attributes:
        variant: name of the variant.
        settings: swept settings, beside scale and hyperparameter, that its points share.
        scales: the scales, smallest first.
        state: what is known and wanted.
    """

    variant: str
    settings: Mapping[str, Any]
    scales: tuple[float, ...]
    state: State


class Ladder:
    """Proposes runs where they narrow the optimum of each scale most for their price.

    Every variant, and every combination of further axes, climbs by itself. A place is run with all
    seeds of the study, whose mean counts. A wave of proposals is followed by the next one when all
    of it has an outcome, so that decisions do not depend on the order in which outcomes come.

    Args:
        study: with one scale, and one swept hyperparameter that is a number.
        aim: when it is enough.
        prior: what is believed before.

    Raises:
        RequestError: the study has no hyperparameter to climb for, or several.
        DataError: the data that a workload names is missing or altered.
    """

    def __init__(
        self, study: Study, *, aim: Aim | None = None, prior: Prior | None = None
    ) -> None:
        self._groups = [
            _Group(study, variant, settings, points, aim or Aim(), prior or Prior())
            for (variant, settings), points in _groups(study).items()
        ]

    @property
    def finished(self) -> bool:
        """True once no group wants more."""
        return all(group.finished for group in self._groups)

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Where each group stands, by the outcomes told so far."""
        return tuple(group.standing for group in self._groups)

    def ask(self) -> Sequence[Proposal]:
        """Returns the next wave of every group whose last one has ended."""
        return [proposal for group in self._groups for proposal in group.ask()]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Takes in how proposed trials ended."""
        told = {outcome.key: outcome for outcome in outcomes}
        for group in self._groups:
            group.tell(told)


def tuned_by(study: Study) -> str:
    """Returns the one hyperparameter that a ladder over a study climbs for: the one with claims,
    or the only one that is swept over numbers.

    Raises:
        RequestError: there is none, or more than one.
    """
    claimed = list(dict.fromkeys(claim.hyperparameter for claim in study.claims))
    numbers = [
        name
        for name in study.hyperparameters
        if all(
            isinstance(value, int | float) and not isinstance(value, bool) and value > 0
            for variant in study.variants
            for value in study.axes(variant).get(name, ())
        )
    ]
    names = [name for name in claimed if name in numbers] or numbers
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise RequestError(
            f"study {study.name}: a ladder climbs for one hyperparameter of positive numbers, and "
            f"here there is {found}; sweep one, or claim one"
        )
    return names[0]


def _groups(study: Study) -> dict[tuple[str, str], dict[float, list[dict[str, Any]]]]:
    """Returns the points of a study by variant and further axes, and then by scale."""
    name = tuned_by(study)
    found: dict[tuple[str, str], dict[float, list[dict[str, Any]]]] = {}
    for variant, settings, seed in study.cells():
        axes = study.axes(variant)
        if seed != axes["seed"][0] or name not in settings:
            continue
        others = {key: settings[key] for key in axes if key in settings}
        others = {k: v for k, v in others.items() if k not in (study.scale, name, "seed")}
        by_scale = found.setdefault((variant, canonical_json(others)), {})
        by_scale.setdefault(float(settings[study.scale]), []).append(settings)
    return found


class _Group:
    """The ladder of one group of points."""

    def __init__(
        self,
        study: Study,
        variant: str,
        settings: str,
        points: Mapping[float, list[dict[str, Any]]],
        aim: Aim,
        prior: Prior,
    ) -> None:
        self._study, self._variant, self._settings = study, variant, settings
        self._name = tuned_by(study)
        self._seeds = study.axes(variant)["seed"]
        self._aim, self._prior = aim, prior
        self._scales = tuple(sorted(points))
        self._points = [points[scale] for scale in self._scales]
        self._rungs = [self._rung(scale) for scale in self._scales]
        self._keys: dict[tuple[int, float], list[str]] = {}
        self._losses: dict[str, float] = {}
        self._state = next_runs(self._rungs, (), aim, prior)

    @property
    def finished(self) -> bool:
        return not self._state.wanted

    @property
    def standing(self) -> Standing:
        return Standing(
            variant=self._variant,
            settings=json.loads(self._settings),
            scales=self._scales,
            state=self._state,
        )

    def ask(self) -> list[Proposal]:
        made = []
        for wanted in self._state.wanted:
            if (wanted.rung, wanted.place) not in self._keys:
                trials = self._trials(wanted.rung, wanted.place)
                self._keys[wanted.rung, wanted.place] = [each.trial.key for each in trials]
                made += [Proposal(trial=each, reason=wanted.why) for each in trials]
        return made

    def tell(self, told: Mapping[str, Outcome]) -> None:
        mine = [key for keys in self._keys.values() for key in keys]
        new = {key: self._loss(told[key]) for key in mine if key in told}
        if not new:
            return
        self._losses |= new
        if all(key in self._losses for key in mine) and not self._unasked():
            made = [
                Made(rung=rung, place=place, loss=_mean([self._losses[key] for key in keys]))
                for (rung, place), keys in sorted(self._keys.items())
            ]
            self._state = next_runs(self._rungs, made, self._aim, self._prior)

    def _unasked(self) -> bool:
        return any((each.rung, each.place) not in self._keys for each in self._state.wanted)

    def _rung(self, scale: float) -> Rung:
        points = self._points[self._scales.index(scale)]
        declared = sorted(math.log2(point[self._name]) for point in points)
        more = [(low + high) / 2 for low, high in pairwise(declared) if high - low >= FINE]
        if len(declared) > 1:
            (first, second), (last_but_one, last) = declared[:2], declared[-2:]
            steps = range(1, BEYOND + 1)
            more += [first - step * (second - first) for step in steps]
            more += [last + step * (last - last_but_one) for step in steps]
        more = [place for place in more if self._fits(points[0], place)]
        price = plan_trial(self._study, self._variant, points[0], int(self._seeds[0]))
        return Rung(
            doublings=math.log2(scale / self._scales[0]),
            price=float(price.trial.derived["flops"]) * len(self._seeds),
            places=tuple(sorted([*declared, *more])),
            declared=tuple(declared),
        )

    def _fits(self, point: Mapping[str, Any], place: float) -> bool:
        """Returns whether the workload takes a value that is not declared."""
        settings = self._study.card.settings
        setting = next(each for each in settings if each.name == self._name)
        if setting.kind == "int":
            return False
        try:
            value = canonical_value(setting, 2.0**place)
        except ValueError:
            return False
        return not self._study.card.problems({**point, self._name: value})

    def _trials(self, rung: int, place: float) -> list[PlannedTrial]:
        points = self._points[rung]
        same = [p for p in points if math.isclose(math.log2(p[self._name]), place, abs_tol=1e-9)]
        point = same[0] if same else {**points[0], self._name: 2.0**place}
        return [plan_trial(self._study, self._variant, point, int(seed)) for seed in self._seeds]

    def _loss(self, outcome: Outcome) -> float:
        """Returns the loss of an outcome, minus the metric where more of it is better."""
        if outcome.kind == "diverged":
            return math.inf
        value = outcome.metrics.get(self._study.objective.metric, math.nan)
        return -value if self._study.objective.goal == "max" else value


def _mean(losses: Sequence[float]) -> float:
    """Returns the mean of those that did not fail; NaN if all did."""
    known = [loss for loss in losses if not math.isnan(loss)]
    return sum(known) / len(known) if known else math.nan
