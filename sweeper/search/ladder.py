"""The ladder: scales from small to large, each starting from what the smaller ones taught."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any

from sweeper.outcome import Outcome
from sweeper.search.base import Outlook, Proposal, Standing
from sweeper.search.basins.climb import NORMAL_95, Aim, Axis, Made, Rung, State, next_runs
from sweeper.search.basins.outlook import expected_runs, fewest_runs, most_runs
from sweeper.search.meshes.points import (
    Group,
    Place,
    Points,
    groups_of,
    loss_of,
    outlook_of_sums,
    place_of,
)
from sweeper.study import PlannedTrial, Study, portable, tuned_by

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
    or for two together. A place is run with all seeds of the study, whose mean counts. A wave of
    proposals is followed by the next one when all of it has an outcome, so that decisions do not
    depend on the order in which outcomes come.

    Args:
        study: with several scales, and one or two hyperparameters that are swept over
            positive numbers.
        known: trials that had a result before.
        aim: when it is enough; None is what the study asks.

    Raises:
        DataError: the data that a workload names is missing or altered.
    """

    def __init__(
        self, study: Study, known: Sequence[PlannedTrial] = (), *, aim: Aim | None = None
    ) -> None:
        self._study = study
        self._losses: dict[str, float] = {}
        groups, _ = groups_of(study, self._losses)
        for group in groups:
            group.take(known)
        self._ladders = [_Ladder(study, group, aim or aim_of(study)) for group in groups]

    @property
    def finished(self) -> bool:
        """True once no group wants more."""
        return all(ladder.finished for ladder in self._ladders)

    @property
    def climbs(self) -> tuple[Climb, ...]:
        """Where each group stands, by the outcomes told so far."""
        return tuple(ladder.climb for ladder in self._ladders)

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
    def courses(self) -> Sequence[Course]:
        """What each group may climb."""
        return [ladder.course for ladder in self._ladders]

    def ask(self) -> Sequence[Proposal]:
        """Returns the next wave of every group whose last one has ended."""
        return [proposal for ladder in self._ladders for proposal in ladder.ask()]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Takes in how proposed trials ended."""
        losses = {each.key: loss_of(self._study, each) for each in outcomes}
        new = {key for key, loss in losses.items() if str(loss) != str(self._losses.get(key))}
        self._losses.update(losses)
        for ladder in self._ladders:
            ladder.tell(new)


make = Ladder

GOES_ON = True
"""What it proposes next depends on the made runs alone, see :func:`sweeper.search.goes_on`."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a group may climb.

    Attributes:
        rungs: its scales.
        had: places of each scale where there are trials.
        seeds: the number of seeds that a place is run with.
    """

    rungs: tuple[Rung, ...]
    had: tuple[tuple[Place, ...], ...]
    seeds: int


def outlook(study: Study, known: Sequence[PlannedTrial] = ()) -> Outlook:
    """Returns what a ladder will cost beside what is known. A trial that two variants share
    counts twice."""
    aim = aim_of(study)
    sums = [[0.0, 0.0] for _ in range(3)]
    expected: dict[object, Sequence[float]] = {}
    for course in Ladder(study, known).courses:
        rungs, had = course.rungs, course.had
        if (rungs, had) not in expected:  # of variants that differ in nothing else
            expected[rungs, had] = expected_runs(rungs, had, aim)
        told = (fewest_runs(rungs, had, aim), expected[rungs, had], most_runs(rungs, had, aim))
        for total, counts in zip(sums, told, strict=True):
            total[0] += course.seeds * sum(counts)
            total[1] += sum(c * rung.price for c, rung in zip(counts, rungs, strict=True))
    return outlook_of_sums(study, sums)


def aim_of(study: Study) -> Aim:
    """Returns what a study asks of its ladder."""
    search = study.search
    names = tuned_by(study, study.space(next(iter(study.variants))))
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


class _Ladder:
    """The ladder of one group of points."""

    def __init__(self, study: Study, group: Group, aim: Aim) -> None:
        self._group, self._aim = group, aim
        asked = study.search.expand_edges
        self._beyond = BEYOND if asked is None else asked
        self._values = [self._values_at(points) for points in group.scales]
        self._rungs = tuple(self._rung(index) for index in range(len(group.scales)))
        self._told = not any(points.places for points in group.scales)
        self._state = next_runs(self._rungs, (), aim) if self._told else State(wanted=())

    @property
    def finished(self) -> bool:
        return self._told and not self._state.wanted

    @property
    def course(self) -> Course:
        had = tuple(tuple(points.places) for points in self._group.scales)
        return Course(rungs=self._rungs, had=had, seeds=len(self._group.seeds))

    @property
    def climb(self) -> Climb:
        return Climb(
            variant=self._group.variant,
            settings=self._group.settings,
            scales=tuple(points.scale for points in self._group.scales),
            runs=tuple(len(points.places) for points in self._group.scales),
            state=self._state,
        )

    def ask(self) -> list[Proposal]:
        made: list[Proposal] = []
        for wanted in self._state.wanted:
            points, values = self._group.scales[wanted.rung], self._values[wanted.rung]
            if wanted.place not in points.places:
                here = [axis[x] for axis, x in zip(values, wanted.place, strict=True)]
                added = points.add(here, self._group.seeds)
                made += [Proposal(trial=each, reason=wanted.why) for each in added]
        if made:  # another variant may have had all of them
            self._climb()
        return made

    def tell(self, new: Set[str]) -> None:
        if self._group.has_any(new):
            self._climb()

    def _climb(self) -> None:
        """Looks what is wanted next, if all that was wanted has an outcome."""
        scales = self._group.scales
        open_ = any(each.place not in scales[each.rung].places for each in self._state.wanted)
        if open_ or self._group.waiting:
            return
        made = [
            Made(rung=rung, place=place, losses=tuple(points.losses_at(place)))
            for rung, points in enumerate(scales)
            for place in points.places
        ]
        self._state = next_runs(self._rungs, made, self._aim)
        self._told = True

    def _rung(self, index: int) -> Rung:
        scales = self._group.scales
        points = scales[index]
        axes = [
            Axis(
                places=tuple(sorted(values)),
                declared=tuple(x for value in points.axis(i) for x in place_of([value])),
            )
            for i, values in enumerate(self._values[index])
        ]
        return Rung(
            doublings=math.log2(points.scale / scales[0].scale),
            price=points.price * len(self._group.seeds),
            axes=tuple(axes),
        )

    def _values_at(self, points: Points) -> list[dict[float, float]]:
        """Returns the values of each hyperparameter that may be run at a scale, by their log2: the
        declared ones, half-steps, steps beyond, and those that were run."""
        found = []
        for index in range(len(self._group.tuned)):
            declared = points.axis(index)
            near = [pair for pair in pairwise(declared) if math.log2(pair[1] / pair[0]) >= FINE]
            more = [portable(math.sqrt(low * high)) for low, high in near]
            more += [value for side in points.beyond(index, self._beyond) for value in side]
            known = [points.values(place)[index] for place in points.places]
            some = [points.declared[0][name] for name in self._group.tuned]
            more = [
                v for v in more if points.refusal([*some[:index], v, *some[index + 1 :]]) is None
            ]
            found.append({place_of([v])[0]: v for v in (*more, *known, *declared)})
        return found
