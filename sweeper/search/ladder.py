"""The ladder: scales from small to large, each starting from what the smaller ones taught."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sweeper.outcome import Outcome
from sweeper.search.base import Proposal, Standing
from sweeper.search.basins.climb import NORMAL_95, Aim, Made, Rung, State, next_runs
from sweeper.search.basins.model import Prior
from sweeper.study import PlannedTrial, Study, canonical_value, plan_trial, tuned_by
from sweeper.trial import canonical_json

FINE = 0.4
"""Octaves between declared values from which on a run may be made half-way, too."""

BEYOND = 4
"""Steps, as wide as the last one, by which an axis may grow at each end."""


@dataclass(frozen=True, kw_only=True)
class Climb:
    """Where the ladder of one group stands.

    Attributes:
        variant: name of the variant.
        settings: swept settings, beside scale and hyperparameter, that its points share.
        scales: the scales, smallest first.
        runs: points that were run or are wanted at each.
        state: what is known and wanted.
    """

    variant: str
    settings: Mapping[str, Any]
    scales: tuple[float, ...]
    runs: tuple[int, ...]
    state: State


class Ladder:
    """Proposes runs where they narrow the optimum of each scale most for their price.

    Every variant, and every combination of further axes, climbs by itself. A place is run with all
    seeds of the study, whose mean counts. A wave of proposals is followed by the next one when all
    of it has an outcome, so that decisions do not depend on the order in which outcomes come.

    Args:
        study: with several scales, and one hyperparameter that is swept over positive numbers.
        known: trials that had a result before.
        aim: when it is enough; None is what the study asks.
        prior: what is believed before.

    Raises:
        DataError: the data that a workload names is missing or altered.
    """

    def __init__(
        self,
        study: Study,
        known: Sequence[PlannedTrial] = (),
        *,
        aim: Aim | None = None,
        prior: Prior | None = None,
    ) -> None:
        aim, prior = aim or aim_of(study), prior or Prior()
        self._groups = [
            _Group(study, variant, settings, points, known, aim, prior)
            for (variant, settings), points in _groups(study).items()
        ]

    @property
    def finished(self) -> bool:
        """True once no group wants more."""
        return all(group.finished for group in self._groups)

    @property
    def climbs(self) -> tuple[Climb, ...]:
        """Where each group stands, by the outcomes told so far."""
        return tuple(group.climb for group in self._groups)

    @property
    def standings(self) -> Sequence[Standing]:
        """Where each scale of each group stands."""
        return [
            Standing(
                variant=climb.variant,
                settings=climb.settings,
                scale=scale,
                runs=runs,
                stop=climb.state.stops[index] if not climb.state.wanted else None,
            )
            for climb in self.climbs
            for index, (scale, runs) in enumerate(zip(climb.scales, climb.runs, strict=True))
        ]

    def ask(self) -> Sequence[Proposal]:
        """Returns the next wave of every group whose last one has ended."""
        return [proposal for group in self._groups for proposal in group.ask()]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Takes in how proposed trials ended."""
        told = {outcome.key: outcome for outcome in outcomes}
        for group in self._groups:
            group.tell(told)


make = Ladder


def aim_of(study: Study) -> Aim:
    """Returns what a study asks of its ladder."""
    search = study.search
    name = _tuned(study, next(iter(study.variants)))
    claims = [(c.exponent, c.tolerance) for c in study.claims if c.hyperparameter == name]
    return Aim(
        within=search.within / NORMAL_95,
        most=search.most,
        claims=tuple(claims) if search.until == "verdict" else (),
    )


def _tuned(study: Study, variant: str) -> str:
    return tuned_by(study, study.space(variant))[0]


def _groups(study: Study) -> dict[tuple[str, str], dict[float, list[dict[str, Any]]]]:
    """Returns the points of a study by variant and further axes, and then by scale."""
    found: dict[tuple[str, str], dict[float, list[dict[str, Any]]]] = {}
    for variant, settings, seed in study.cells():
        axes, name = study.axes(variant), _tuned(study, variant)
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
        known: Sequence[PlannedTrial],
        aim: Aim,
        prior: Prior,
    ) -> None:
        self._study, self._variant, self._settings = study, variant, settings
        self._name = _tuned(study, variant)
        self._seeds = study.axes(variant)["seed"]
        self._aim, self._prior = aim, prior
        self._scales = tuple(sorted(points))
        self._points = [points[scale] for scale in self._scales]
        self._keys: dict[tuple[int, float], list[str]] = {}
        for item in known:
            if (place := self._place_of(item)) is not None:
                self._keys.setdefault(place, []).append(item.trial.key)
        self._rungs = [self._rung(index) for index in range(len(self._scales))]
        self._losses: dict[str, float] = {}
        self._state = State(wanted=()) if self._keys else next_runs(self._rungs, (), aim, prior)
        self._told = not self._keys

    @property
    def finished(self) -> bool:
        return self._told and not self._state.wanted

    @property
    def climb(self) -> Climb:
        return Climb(
            variant=self._variant,
            settings=json.loads(self._settings),
            scales=self._scales,
            runs=tuple(sum(r == rung for r, _ in self._keys) for rung in range(len(self._scales))),
            state=self._state,
        )

    def ask(self) -> list[Proposal]:
        made: list[Proposal] = []
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
            self._told = True

    def _unasked(self) -> bool:
        return any((each.rung, each.place) not in self._keys for each in self._state.wanted)

    def _place_of(self, item: PlannedTrial) -> tuple[int, float] | None:
        """Returns scale and place of a trial; None if it is of another group."""
        config = item.trial.config
        shared = json.loads(self._settings)
        if item.variant != self._variant or item.scale not in self._scales:
            return None
        if any(config.get(name) != value for name, value in shared.items()):
            return None
        index, place = self._scales.index(item.scale), math.log2(float(str(config[self._name])))
        declared = (math.log2(point[self._name]) for point in self._points[index])
        return index, next((p for p in declared if math.isclose(p, place, abs_tol=1e-9)), place)

    def _rung(self, index: int) -> Rung:
        points = self._points[index]
        declared = sorted(math.log2(point[self._name]) for point in points)
        more = [(low + high) / 2 for low, high in pairwise(declared) if high - low >= FINE]
        if len(declared) > 1:
            (first, second), (last_but_one, last) = declared[:2], declared[-2:]
            asked = self._study.search.expand_edges
            steps = range(1, (BEYOND if asked is None else asked) + 1)
            more += [first - step * (second - first) for step in steps]
            more += [last + step * (last - last_but_one) for step in steps]
        more = [place for place in more if self._fits(points[0], place)]
        known = [place for rung, place in self._keys if rung == index]
        price = plan_trial(self._study, self._variant, points[0], int(self._seeds[0]))
        return Rung(
            doublings=math.log2(self._scales[index] / self._scales[0]),
            price=float(price.trial.derived["flops"]) * len(self._seeds),
            places=tuple(sorted({*declared, *more, *known})),
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
