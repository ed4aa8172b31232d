"""The ladder: scales from small to large, each starting from what the smaller ones taught."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any

from sweeper.analysis import BasinPrior
from sweeper.outcome import Outcome
from sweeper.search.base import Outlook, Proposal, Standing
from sweeper.search.basins.climb import (
    NORMAL_95,
    Aim,
    Axis,
    Made,
    Place,
    Rung,
    State,
    next_runs,
)
from sweeper.search.basins.outlook import expected_runs, fewest_runs, most_runs
from sweeper.study import (
    PlannedTrial,
    Study,
    canonical_value,
    expand,
    plan_trial,
    portable,
    tuned_by,
    unique_trials,
)
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

    Every variant, and every combination of further axes, climbs by itself, for one hyperparameter
    or for two together. A place is run with all
    seeds of the study, whose mean counts. A wave of proposals is followed by the next one when all
    of it has an outcome, so that decisions do not depend on the order in which outcomes come.

    Args:
        study: with several scales, and one or two hyperparameters that are swept over
            positive numbers.
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
        prior: BasinPrior | None = None,
    ) -> None:
        self._outcomes: dict[str, Outcome] = {}
        aim, prior = aim or aim_of(study), prior or BasinPrior()
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
                stop=stop if not climb.state.wanted else None,
            )
            for climb in self.climbs
            for scale, runs, stop in zip_longest(climb.scales, climb.runs, climb.state.stops)
        ]

    @property
    def rungs(self) -> Sequence[tuple[tuple[Rung, ...], int]]:
        """The scales of each group, and the number of its seeds."""
        return [(tuple(group.rungs), group.num_seeds) for group in self._groups]

    def ask(self) -> Sequence[Proposal]:
        """Returns the next wave of every group whose last one has ended."""
        wave = [proposal for group in self._groups for proposal in group.ask()]
        for group in self._groups:  # a trial of two variants is told but once
            group.tell(self._outcomes)
        return wave

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Takes in how proposed trials ended."""
        self._outcomes |= {outcome.key: outcome for outcome in outcomes}
        for group in self._groups:
            group.tell(self._outcomes)


make = Ladder

GOES_ON = True
"""What it proposes next depends on the made runs alone, see :func:`sweeper.search.goes_on`."""


def outlook(study: Study, known: Sequence[PlannedTrial] = ()) -> Outlook:
    """Returns what a ladder over a study will cost if nothing is known: what is saves some of it,
    and how much only the climb can tell. A trial that two variants share counts twice."""
    ladder, aim = Ladder(study), aim_of(study)
    totals: list[tuple[float, float]] = []
    expected: dict[tuple[Rung, ...], tuple[float, ...]] = {}
    for said in ("best", "expected", "worst"):
        trials = flops = 0.0
        for rungs, seeds in ladder.rungs:
            if rungs not in expected:
                expected[rungs] = expected_runs(rungs, aim, BasinPrior())
            counts: Sequence[float] = {
                "best": fewest_runs(rungs, aim),
                "expected": expected[rungs],
                "worst": most_runs(rungs, aim),
            }[said]
            trials += seeds * sum(counts)
            flops += sum(c * rung.price for c, rung in zip(counts, rungs, strict=True))
        totals.append((trials, flops))
    whole = list(unique_trials(expand(study)).values())
    best, likely, worst = ((round(trials), flops) for trials, flops in totals)
    return Outlook(
        best=best,
        expected=likely,
        worst=worst,
        grid=(len(whole), math.fsum(float(trial.derived["flops"]) for trial in whole)),
    )


def aim_of(study: Study) -> Aim:
    """Returns what a study asks of its ladder."""
    search = study.search
    names = _tuned(study, next(iter(study.variants)))
    claims = [
        (names.index(claim.hyperparameter), claim.exponent, claim.tolerance)
        for claim in study.claims
        if claim.hyperparameter in names
    ]
    return Aim(
        within=search.within / NORMAL_95,
        top=float(search.most or (4 if search.until == "verdict" else 2)),
        most=max(8, search.most or 0),
        claims=tuple(claims) if search.until == "verdict" else (),
    )


def _tuned(study: Study, variant: str) -> tuple[str, ...]:
    """Returns the hyperparameters that are climbed for, a claimed one first."""
    claimed = {claim.hyperparameter for claim in study.claims}
    return tuple(
        sorted(tuned_by(study, study.space(variant)), key=lambda name: name not in claimed)
    )


Points = dict[float, list[dict[str, Any]]]
"""Points by scale."""


def _groups(study: Study) -> dict[tuple[str, str], Points]:
    """Returns the points of a study by variant and further axes, and then by scale."""
    found: dict[tuple[str, str], Points] = {}
    for variant, settings, seed in study.cells():
        axes, names = study.axes(variant), _tuned(study, variant)
        if seed != axes["seed"][0] or not set(names) <= settings.keys():
            continue
        others = {key: settings[key] for key in axes if key in settings}
        others = {k: v for k, v in others.items() if k not in (study.scale, *names, "seed")}
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
        points: Points,
        known: Sequence[PlannedTrial],
        aim: Aim,
        prior: BasinPrior,
    ) -> None:
        self._study, self._variant = study, variant
        self._settings: dict[str, Any] = json.loads(settings)
        self._names = _tuned(study, variant)
        self._seeds = study.axes(variant)["seed"]
        self._aim, self._prior = aim, prior
        self._scales = tuple(sorted(points))
        self._points = [points[scale] for scale in self._scales]
        self._keys: dict[tuple[int, Place], list[str]] = {}
        for item in known:
            if (place := self._place_of(item)) is not None:
                self._keys.setdefault(place, []).append(item.trial.key)
        self.rungs = [self._rung(index) for index in range(len(self._scales))]
        self._losses: dict[str, float] = {}
        self._told = not self._keys
        self._state = next_runs(self.rungs, (), aim, prior) if self._told else State(wanted=())

    @property
    def num_seeds(self) -> int:
        return len(self._seeds)

    @property
    def finished(self) -> bool:
        return self._told and not self._state.wanted

    @property
    def climb(self) -> Climb:
        return Climb(
            variant=self._variant,
            settings=self._settings,
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
        losses = {key: self._loss(told[key]) for key in mine if key in told}
        new = {
            key: loss
            for key, loss in losses.items()
            if key not in self._losses
            or (math.isnan(self._losses[key]) and not math.isnan(loss))  # it was run again
        }
        self._losses |= new
        if new and all(key in self._losses for key in mine) and not self._unasked():
            made = [
                Made(rung=rung, place=place, losses=tuple(self._losses[key] for key in keys))
                for (rung, place), keys in sorted(self._keys.items())
            ]
            self._state = next_runs(self.rungs, made, self._aim, self._prior)
            self._told = True

    def _unasked(self) -> bool:
        return any((each.rung, each.place) not in self._keys for each in self._state.wanted)

    def _place_of(self, item: PlannedTrial) -> tuple[int, Place] | None:
        """Returns scale and place of a trial; None if it is of another group."""
        config = item.trial.config
        if item.variant != self._variant or item.scale not in self._scales:
            return None
        if any(config.get(name) != value for name, value in self._settings.items()):
            return None
        index = self._scales.index(item.scale)
        values = [float(str(config[name])) for name in self._names]
        if min(values) <= 0:  # of an axis that once had 0 on it
            return None
        return index, tuple(
            _nearest(self._places(index, name), math.log2(value))
            for name, value in zip(self._names, values, strict=True)
        )

    def _declared(self, index: int, name: str) -> list[float]:
        """Returns the declared values of a hyperparameter at a scale, log2, ascending."""
        return sorted({math.log2(point[name]) for point in self._points[index]})

    def _rung(self, index: int) -> Rung:
        price = plan_trial(self._study, self._variant, self._points[index][0], int(self._seeds[0]))
        return Rung(
            doublings=math.log2(self._scales[index] / self._scales[0]),
            price=float(price.trial.derived["flops"]) * len(self._seeds),
            axes=tuple(self._axis(index, axis) for axis in range(len(self._names))),
        )

    def _axis(self, index: int, axis: int) -> Axis:
        """Returns the places of a hyperparameter at a scale: the declared ones, half-steps, and
        steps beyond."""
        name = self._names[axis]
        point, declared = self._points[index][0], self._declared(index, name)
        places = [
            place
            for place in self._places(index, name)
            if place in declared or self._fits(point, name, place)
        ]
        known = [place[axis] for rung, place in self._keys if rung == index]
        return Axis(places=tuple(sorted({*places, *known})), declared=tuple(declared))

    def _places(self, index: int, name: str) -> list[float]:
        """Returns the declared places of a hyperparameter at a scale, half-steps, and steps
        beyond, whether the workload takes them or not."""
        declared = self._declared(index, name)
        more = [(low + high) / 2 for low, high in pairwise(declared) if high - low >= FINE]
        (first, second), (last_but_one, last) = declared[:2], declared[-2:]
        asked = self._study.search.expand_edges
        steps = range(1, (BEYOND if asked is None else asked) + 1)
        more += [first - step * (second - first) for step in steps]
        more += [last + step * (last - last_but_one) for step in steps]
        return [*declared, *more]

    def _fits(self, point: Mapping[str, Any], name: str, place: float) -> bool:
        """Returns whether the workload takes a value that is not declared."""
        setting = next(each for each in self._study.card.settings if each.name == name)
        if setting.kind == "int":
            return False
        try:
            value = canonical_value(setting, portable(2.0**place))
        except (ValueError, OverflowError):
            return False
        return not self._study.card.problems({**point, name: value})

    def _trials(self, rung: int, place: Place) -> list[PlannedTrial]:
        points = self._points[rung]
        point = dict(points[0])
        for name, value in zip(self._names, place, strict=True):
            given = (each[name] for each in points)
            same = (v for v in given if math.isclose(math.log2(v), value, abs_tol=1e-9))
            point[name] = next(same, portable(2.0**value))
        return [plan_trial(self._study, self._variant, point, int(seed)) for seed in self._seeds]

    def _loss(self, outcome: Outcome) -> float:
        """Returns the loss of an outcome, minus the metric where more of it is better; NaN of one
        that has none at its end."""
        if outcome.kind == "diverged":
            return math.inf
        if outcome.kind == "dominated":
            return math.nan
        value = outcome.metrics.get(self._study.objective.metric, math.nan)
        return -value if self._study.objective.goal == "max" else value


def _nearest(places: Sequence[float], value: float) -> float:
    """Returns the place that a value is but for rounding, or the value."""
    return next((each for each in places if math.isclose(each, value, abs_tol=1e-9)), value)
