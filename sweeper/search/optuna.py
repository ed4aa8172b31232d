"""Samplers of Optuna: at every scale of every variant a study of its own proposes the points.

Optuna's studies live in memory and are made anew by every run, which tells them what the store
has. Numbers are sampled in log between the smallest and the largest declared value and rounded to
four digits, so that another machine, whose last bits may differ, finds the same ones; whole
numbers, and numbers that may be 0 or below, among their declared values in order; words among
their declared ones.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.outcome import Outcome
from sweeper.search.base import Outlook, Proposal, Standing
from sweeper.search.meshes.points import loss_of, outlook_of_sums
from sweeper.study import PlannedTrial, Study, applying, expand, plan_trial

if TYPE_CHECKING:  # a third of a second, and for the gp sampler torch: loaded where one is made
    import optuna
    from optuna.samplers import BaseSampler

BLIND = ("grid", "qmc", "random")
"""Samplers that no outcome moves: all that they propose is proposed at once."""


class Sampled:
    """Proposes what a sampler of Optuna asks for.

    A point is run with all seeds of the study, whose mean is told; one that diverged is told as
    infinitely bad, which every sampler learns to avoid, and one that failed as failed, which none
    learns from. Random points before a sampler has anything to go by are proposed together, and
    then ``batch`` at a time, once all before them have an outcome.

    Args:
        study: what is asked.
        known: trials that had a result before; a sampler learns from those within the axes.

    Raises:
        DataError: the data that a workload names is missing or altered.
    """

    def __init__(self, study: Study, known: Sequence[PlannedTrial] = ()) -> None:
        places = [(x, name) for name in study.variants for x in study.axes(name)[study.scale]]
        self._groups = [
            _Group(study, variant, scale, known)
            for scale, variant in sorted(places, key=lambda place: place[0])
        ]

    @property
    def finished(self) -> bool:
        """True once every scale of every variant has been asked for all its points."""
        return all(group.finished for group in self._groups)

    @property
    def standings(self) -> Sequence[Standing]:
        """Where each scale of each variant stands."""
        return [group.standing for group in self._groups]

    def ask(self) -> Sequence[Proposal]:
        """Returns the next points of every scale whose last ones have ended."""
        return [proposal for group in self._groups for proposal in group.ask()]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Takes in how proposed trials ended."""
        for group in self._groups:
            group.tell(outcomes)


make = Sampled


def outlook(study: Study, known: Sequence[PlannedTrial]) -> Outlook:
    """Returns what a sampler will cost: as many points as it is asked for, whatever is known and
    comes out."""
    declared, number, flops = expand(study), 0, 0.0
    for variant in study.variants:
        for scale in study.axes(variant)[study.scale]:
            here = [item for item in declared if (item.variant, item.scale) == (variant, scale)]
            many = _count(study, variant) * len(study.axes(variant)["seed"])
            number += many
            flops += many * sum(float(item.trial.derived["flops"]) for item in here) / len(here)
    return outlook_of_sums(study, [(number, flops)] * 3)


@dataclass(frozen=True)
class _Axis:
    """A swept setting as Optuna samples it: a number as such, all others by their place.

    Attributes:
        values: the declared values, numbers in ascending order.
        continuous: whether all numbers between them may be proposed.
        ordered: whether the values are numbers.
    """

    values: tuple[Any, ...]
    continuous: bool
    ordered: bool

    @property
    def distribution(self) -> optuna.distributions.BaseDistribution:
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.continuous:
            return FloatDistribution(self.values[0], self.values[-1], log=True)
        places = range(len(self.values))
        return IntDistribution(0, places[-1]) if self.ordered else CategoricalDistribution(places)

    def value(self, sampled: Any) -> Any:
        """Returns the value of the setting that is meant."""
        if not self.continuous:
            return self.values[sampled]
        return min(max(float(f"{sampled:.4g}"), self.values[0]), self.values[-1])

    def sampled(self, value: Any) -> Any:
        """Returns what would have been sampled for a value; the first where a point has none.

        Raises:
            ValueError: it is none that may be sampled.
        """
        if value is None and None not in self.values:
            return self.values[0] if self.continuous else 0
        if not self.continuous:
            return self.values.index(value)
        if not self.values[0] <= value <= self.values[-1]:
            raise ValueError
        return value


def _axes(study: Study, variant: str) -> dict[str, _Axis]:
    space = study.space(variant)
    found = {}
    for name, values in study.axes(variant).items():
        if name in (study.scale, "seed"):
            continue
        ordered = space.settings[name].kind in ("int", "float") and None not in values
        values = tuple(sorted(values)) if ordered else values
        continuous = space.settings[name].kind == "float" and ordered and values[0] > 0
        continuous &= len(values) > 1 and study.search.sampler != "grid"
        found[name] = _Axis(values, continuous, ordered)
    return found


def _count(study: Study, variant: str) -> int:
    """Returns how many points a sampler is asked for at a scale."""
    if study.search.sampler != "grid":
        return study.search.trials
    return min(
        study.search.trials, math.prod(len(a.values) for a in _axes(study, variant).values())
    )


class _Group:
    """The study of Optuna at one scale of one variant."""

    def __init__(
        self, study: Study, variant: str, scale: Any, known: Sequence[PlannedTrial]
    ) -> None:
        self._study, self._variant, self._scale = study, variant, scale
        self._axes = _axes(study, variant)
        self._seeds = study.axes(variant)["seed"]
        self._count, self._asked = _count(study, variant), 0
        self._blind = study.search.sampler in BLIND
        self._told: dict[str, Outcome] = {}
        self._open: dict[int, tuple[str, ...]] = {}
        self._points: set[tuple[str, ...]] = set()
        here = [item for item in known if (item.variant, item.scale) == (variant, float(scale))]
        self._known = {item.trial.key: item for item in here}
        with _quiet():
            self._sampler = self._optuna_study()

    @property
    def finished(self) -> bool:
        return self._asked == self._count

    @property
    def standing(self) -> Standing:
        asked = f"all {self._count} {'places of its grid' if self._whole else 'trials'} asked for"
        return Standing(
            variant=self._variant,
            settings={},
            scale=float(self._scale),
            runs=len(self._points),
            stop=asked if self.finished else None,
        )

    @property
    def _whole(self) -> bool:
        return self._count < self._study.search.trials

    def ask(self) -> list[Proposal]:
        made: list[Proposal] = []
        with _quiet():
            while not made and not self.finished and self._learn():
                made = [each for _ in range(self._wave()) for each in self._draw()]
        return made

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        mine = {*self._known, *(key for point in self._points for key in point)}
        self._told |= {each.key: each for each in outcomes if each.key in mine}

    def _optuna_study(self) -> optuna.Study:
        import optuna

        search = self._study.search
        text = f"{search.sampler_seed}/{self._variant}/{self._scale!r}"
        seed = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
        places = {name: range(len(axis.values)) for name, axis in self._axes.items()}
        startup = {"n_startup_trials": search.startup}
        samplers: dict[str, tuple[Callable[..., BaseSampler], dict[str, Any]]] = {
            "tpe": (optuna.samplers.TPESampler, startup),
            "gp": (optuna.samplers.GPSampler, startup),
            "cmaes": (optuna.samplers.CmaEsSampler, {}),
            "grid": (optuna.samplers.GridSampler, {"search_space": places}),
            "qmc": (optuna.samplers.QMCSampler, {"scramble": True}),
            "random": (optuna.samplers.RandomSampler, {}),
        }
        make, options = samplers[search.sampler]
        return optuna.create_study(
            sampler=make(seed=seed, **options),
            direction="maximize" if self._study.objective.goal == "max" else "minimize",
        )

    def _wave(self) -> int:
        search, left = self._study.search, self._count - self._asked
        if self._blind:
            return left
        # What is known stands for as many random points.
        startup = search.startup - len(self._sampler.trials) if not self._asked else 0
        return min(left, max(search.batch, startup if search.sampler != "cmaes" else 0))

    def _draw(self) -> Iterator[Proposal]:
        """Asks for one point, and yields those of its trials that are not there yet."""
        space = {name: axis.distribution for name, axis in self._axes.items()}
        drawn = self._sampler.ask(space)
        self._asked += 1
        point = self._point(drawn.params)
        trials = []
        if not self._study.problems(point):
            trials = [plan_trial(self._study, self._variant, point, int(s)) for s in self._seeds]
        keys = tuple(item.trial.key for item in trials)
        self._open[drawn.number] = keys
        if keys and keys not in self._points:
            self._points.add(keys)
            for item in trials:
                if item.trial.key not in self._known:
                    yield Proposal(trial=item, reason=self._study.search.sampler)

    def _point(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings of a point, those without a meaning beside the others left out."""
        space = self._study.space(self._variant)
        sampled = {name: axis.value(params[name]) for name, axis in self._axes.items()}
        settings = {**space.constants, **sampled, self._study.scale: self._scale}
        names = applying(space.settings, settings)
        return {name: value for name, value in settings.items() if name in names}

    def _learn(self) -> bool:
        """Tells Optuna the open points once all of them have an outcome; returns whether they
        have."""
        if self._blind:
            return True
        waiting = [*(self._known if not self._asked else ())]
        waiting += [key for keys in self._open.values() for key in keys]
        if any(key not in self._told for key in waiting):
            return False
        if not self._asked and not self._sampler.trials:
            self._learn_known()
        for number, keys in self._open.items():
            self._sampler.tell(number, self._mean(keys))  # NaN is told as failed
        self._open = {}
        return True

    def _learn_known(self) -> None:
        from optuna.trial import create_trial

        space = {name: axis.distribution for name, axis in self._axes.items()}
        points: dict[tuple[Any, ...], list[str]] = {}
        for key, item in self._known.items():
            config = item.trial.config
            try:
                place = tuple(axis.sampled(config.get(n)) for n, axis in self._axes.items())
            except ValueError:
                continue
            points.setdefault(place, []).append(key)
        for place, keys in points.items():
            if not math.isnan(loss := self._mean(keys)):
                params = dict(zip(space, place, strict=True))
                told = create_trial(params=params, distributions=space, value=loss)
                self._sampler.add_trial(told)

    def _mean(self, keys: Sequence[str]) -> float:
        """Returns the mean of the metric over the seeds of a point: infinitely bad if one of them
        diverged, NaN if none came to an end."""
        losses = [loss_of(self._study, self._told[key]) for key in keys]
        known = [loss for loss in losses if not math.isnan(loss)]
        mean = sum(known) / len(known) if known else math.nan
        return -mean if self._study.objective.goal == "max" else mean


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna from saying that a study was made, that a sampler is experimental, and that
    infinite losses are clipped."""
    from optuna import logging

    level = logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.set_verbosity(logging.ERROR)
        try:
            yield
        finally:
            logging.set_verbosity(level)
