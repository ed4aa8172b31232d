"""The points of a group at one scale: where they lie, which trials they are, how those ended."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise, product, takewhile
from typing import Any

from sweeper.outcome import Outcome
from sweeper.search.base import Outlook
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

Place = tuple[float, ...]
"""log2 of every tuned hyperparameter, rounded: equal for values that are one but for rounding."""

DECIMALS = 9
"""Decimals of a place."""

TIED = 1e-6
"""Octaves by which places may differ and are one."""

FINEST = 4
"""A declared step is cut into so many at most."""


def place_of(values: Sequence[float]) -> Place:
    """Returns the place of values of the tuned hyperparameters."""
    return tuple(round(math.log2(value), DECIMALS) for value in values)


def loss_of(study: Study, outcome: Outcome) -> float:
    """Returns the loss of an outcome, minus the metric where more of it is better: +inf if it
    diverged, NaN if it did not come to its end."""
    if outcome.kind != "completed":
        return math.inf if outcome.kind == "diverged" else math.nan
    value = outcome.metrics.get(study.objective.metric, math.nan)
    return -value if study.objective.goal == "max" else value


def outlook_of_sums(study: Study, sums: Sequence[Sequence[float]]) -> Outlook:
    """Returns an outlook from trials and FLOPs at best, as expected, and at worst."""
    best, expected, worst = ((round(trials), flops) for trials, flops in sums)
    whole = unique_trials(expand(study)).values()
    grid = (len(whole), math.fsum(float(trial.derived["flops"]) for trial in whole))
    return Outlook(best=best, expected=expected, worst=worst, grid=grid)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The points of one variant and one combination of the settings that are not tuned.

    Attributes:
        variant: name of the variant.
        settings: swept settings, beside the scale and what is tuned, that they share.
        tuned: names of the tuned hyperparameters.
        seeds: declared seeds.
        scales: the points at every scale, smallest first.
    """

    variant: str
    settings: Mapping[str, Any]
    tuned: tuple[str, ...]
    seeds: tuple[int, ...]
    scales: tuple[Points, ...]

    @property
    def waiting(self) -> bool:
        """True while a trial has no outcome."""
        return any(points.waiting for points in self.scales)

    def take(self, known: Sequence[PlannedTrial]) -> None:
        """Takes up those of the known trials that belong to the group; not those with a 0 that an
        axis once had, which has no place."""
        by_scale = {points.scale: points for points in self.scales}
        for item in known:
            config = item.trial.config
            mine = all(config.get(name) == value for name, value in self.settings.items())
            mine &= all(float(str(config.get(name, 0))) > 0 for name in self.tuned)
            if mine and item.variant == self.variant and item.scale in by_scale:
                by_scale[item.scale].take(item)

    def has_any(self, keys: Set[str]) -> bool:
        """Returns whether a trial of the group has one of these keys."""
        return any(not keys.isdisjoint(points.keys) for points in self.scales)


def groups_of(
    study: Study, losses: Mapping[str, float]
) -> tuple[list[Group], list[tuple[str, dict[str, Any]]]]:
    """Returns the groups of a study, without trials, and the points that are in none, because
    nothing is tuned there.

    Args:
        study: the study.
        losses: by key of a trial; looked at again whenever a point is asked for its loss. It may
            hold trials of other groups, since a trial may stand in several.
    """
    found: dict[tuple[str, str], dict[float, list[dict[str, Any]]]] = {}
    alone = []
    for variant in study.variants:
        space, axes = study.space(variant), study.axes(variant)
        tuned = tuned_by(study, space)
        for point in space.points():
            if not tuned or any(name not in point for name in tuned):
                alone.append((variant, point))
                continue
            others = {key: point[key] for key in axes if key in point}
            others = {k: v for k, v in others.items() if k not in (study.scale, *tuned)}
            by_scale = found.setdefault((variant, canonical_json(others)), {})
            by_scale.setdefault(float(point[study.scale]), []).append(point)
    groups = []
    for (variant, _), by_scale in found.items():
        tuned = tuned_by(study, study.space(variant))
        scales = tuple(
            Points(study, variant, tuned, scale, points, losses)
            for scale, points in sorted(by_scale.items())
        )
        first, kept = scales[0].declared[0], {*study.axes(variant)} - {study.scale, *tuned}
        groups.append(
            Group(
                variant=variant,
                settings={name: first[name] for name in first if name in kept},
                tuned=tuned,
                seeds=study.space(variant).seeds,
                scales=scales,
            )
        )
    return groups, alone


@dataclass(frozen=True)
class Points:
    """The points of a group at one scale.

    Attributes:
        study: the study.
        variant: name of the variant.
        tuned: names of the tuned hyperparameters.
        scale: value of the scale.
        declared: settings of the declared points.
        losses: by key, of the trials that have ended: +inf if one diverged, NaN if it failed.
        keys: keys of all trials.
    """

    study: Study
    variant: str
    tuned: tuple[str, ...]
    scale: float
    declared: Sequence[dict[str, Any]]
    losses: Mapping[str, float]
    keys: set[str] = field(default_factory=set)
    _trials: dict[Place, dict[int, str]] = field(default_factory=dict)
    _values: dict[Place, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for point in self.declared:
            self._values[self.place_of(point)] = [point[name] for name in self.tuned]

    def place_of(self, settings: Mapping[str, Any]) -> Place:
        """Returns the place of settings."""
        return place_of([float(settings[name]) for name in self.tuned])

    def axis(self, index: int) -> list[float]:
        """Returns the declared values of a tuned hyperparameter, rising."""
        return sorted({point[self.tuned[index]] for point in self.declared})

    def ends_of(self, index: int) -> tuple[float, float]:
        """Returns the smallest and the largest declared value of a tuned hyperparameter."""
        axis = self.axis(index)
        return axis[0], axis[-1]

    def value_at(self, index: int, log2: float) -> float:
        """Returns the value of a tuned hyperparameter at a place: the declared one, if there is
        one, and otherwise one that the setting can have."""
        near = [v for v in self.axis(index) if abs(math.log2(v) - log2) < TIED]
        kinds = {setting.name: setting.kind for setting in self.study.card.settings}
        value = near[0] if near else portable(2.0**log2)
        return round(value) if kinds[self.tuned[index]] == "int" else value

    @property
    def price(self) -> float:
        """FLOPs of a run."""
        seed = self.study.space(self.variant).seeds[0]
        planned = plan_trial(self.study, self.variant, self.declared[0], seed)
        return float(planned.trial.derived["flops"])

    def beyond(self, index: int, steps: int) -> tuple[list[float], list[float]]:
        """Returns the values by which an axis grows, downward and upward, nearest first: as many
        steps as wide as the last declared one, as far as numbers go."""
        axis = self.axis(index)
        if len(axis) < 2:
            return [], []
        ends = ((axis[0], axis[0] / axis[1]), (axis[-1], axis[-1] / axis[-2]))
        down, up = (
            list(takewhile(_usual, (_power(end, ratio, step) for step in range(1, steps + 1))))
            for end, ratio in ends
        )
        return [portable(value) for value in down], [portable(value) for value in up]

    def step_at(self, index: int, place: float) -> float:
        """Returns the declared step round a place, octaves."""
        axis = [math.log2(value) for value in self.axis(index)]
        gaps = list(pairwise(axis))
        inside = (high - low for low, high in gaps if place <= high)
        return next(inside, gaps[-1][1] - gaps[-1][0])

    # Trials --------------------------------------------------------------------------------------

    def refusal(self, values: Sequence[float]) -> str | None:
        """Returns why a point cannot be run, in words; None if it can."""
        settings = {setting.name: setting for setting in self.study.card.settings}
        point = dict(self.declared[0])
        for name, value in zip(self.tuned, values, strict=True):
            try:
                point[name] = canonical_value(settings[name], value)
            except ValueError as error:
                return f"{name} {value:g}: {error}"
        problems = self.study.problems(point)
        return problems[0].message if problems else None

    def add(self, values: Sequence[float], seeds: Sequence[int]) -> list[PlannedTrial]:
        """Returns the trials of a point that are not there yet, which then are."""
        place = place_of(values)
        values = self._values.setdefault(place, values)
        settings = {setting.name: setting for setting in self.study.card.settings}
        tuned = {
            name: canonical_value(settings[name], value)
            for name, value in zip(self.tuned, values, strict=True)
        }
        here = self._trials.setdefault(place, {})
        added = [
            plan_trial(self.study, self.variant, {**self.declared[0], **tuned}, seed)
            for seed in seeds
            if seed not in here
        ]
        here.update({item.trial.seed: item.trial.key for item in added})
        self.keys.update(item.trial.key for item in added)
        return added

    def take(self, item: PlannedTrial) -> None:
        """Takes up a trial that is known."""
        config: Mapping[str, Any] = item.trial.config
        place = self.place_of(config)
        self._values.setdefault(place, [config[name] for name in self.tuned])
        self._trials.setdefault(place, {})[item.trial.seed] = item.trial.key
        self.keys.add(item.trial.key)

    @property
    def waiting(self) -> bool:
        """True while a trial has no outcome."""
        return not self.keys <= self.losses.keys()

    # Where they lie, and how they ended ----------------------------------------------------------

    @property
    def places(self) -> list[Place]:
        """Where there are trials, rising."""
        return sorted(self._trials)

    def values(self, place: Place) -> Sequence[float]:
        """Returns the values of the tuned hyperparameters at a place."""
        return self._values[place]

    def seeds(self, place: Place) -> set[int]:
        """Returns the seeds of a place."""
        return set(self._trials[place])

    def losses_at(self, place: Place) -> list[float]:
        """Returns the losses of a place that are known, by seed."""
        keys = (key for _, key in sorted(self._trials[place].items()))
        return [self.losses[key] for key in keys if key in self.losses]

    def loss(self, place: Place) -> float:
        """Returns the mean loss of the seeds that did not fail: +inf if one diverged, NaN if all
        failed."""
        known = [loss for loss in self.losses_at(place) if not math.isnan(loss)]
        return sum(known) / len(known) if known else math.nan

    @property
    def lowest(self) -> Place | None:
        """The place with the lowest loss; None where no loss is finite."""
        finite = [place for place in self.places if math.isfinite(self.loss(place))]
        return min(finite, key=lambda place: (self.loss(place), place)) if finite else None

    @property
    def blown(self) -> bool:
        """True where no loss is finite, and runs diverged."""
        return self.lowest is None and any(math.isinf(self.loss(each)) for each in self.places)

    def line(self, index: int, through: Place) -> list[Place]:
        """Returns the places that differ from one in a single hyperparameter at most, rising."""
        others = [i for i in range(len(self.tuned)) if i != index]
        return [place for place in self.places if all(place[i] == through[i] for i in others)]

    def ends(self, index: int) -> Iterator[tuple[bool, Place]]:
        """Yields the ends of a hyperparameter where the lowest loss is, as (upward, place); where
        every run diverged the lower end, so that nothing is run beyond a divergence."""
        lowest = self.lowest
        if lowest is None:
            yield from [(False, place) for place in self.places[:1] if self.blown]
            return
        line = self.line(index, lowest)
        if len(line) > 1:
            yield from [(False, lowest)] * (lowest == line[0])
            yield from [(True, lowest)] * (lowest == line[-1])

    def around(self, index: int, place: Place, reach: int) -> list[Place]:
        """Returns a place and its neighbours along a hyperparameter, so many on each side."""
        line = self.line(index, place)
        at = line.index(place)
        return line[max(0, at - reach) : at + reach + 1]

    def beside(self, index: int, place: Place, value: float) -> Iterator[list[float]]:
        """Yields points with another value of a hyperparameter: at a place, and at its neighbours
        along the others."""
        choices = [
            [value]
            if other == index
            else [self._values[near][other] for near in self.around(other, place, 1)]
            for other in range(len(self.tuned))
        ]
        yield from (list(values) for values in product(*choices))

    def rows(self) -> Iterator[tuple[float, ...]]:
        """Yields scale, values of the tuned hyperparameters, seed and loss of every trial."""
        for place in self.places:
            for seed, key in sorted(self._trials[place].items()):
                yield self.scale, *self._values[place], seed, self.losses.get(key, math.nan)


def _power(end: float, ratio: float, step: int) -> float:
    """Returns a value some steps beyond an end; infinite beyond the largest number."""
    try:
        return end * ratio**step
    except OverflowError:
        return math.inf


def _usual(value: float) -> bool:
    """Returns whether a number has all its digits: it is neither infinite nor next to 0."""
    return sys.float_info.min <= value <= sys.float_info.max
