"""A grid that grows: axes longer at an end, half-steps round a minimum, seeds for a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from itertools import chain

from sweeper.outcome import Outcome
from sweeper.search.base import Outlook, Proposal, Standing
from sweeper.search.meshes.points import (
    FINEST,
    TIED,
    Group,
    Place,
    Points,
    groups_of,
    loss_of,
    outlook_of_sums,
)
from sweeper.search.meshes.reading import HEAVY, Reading
from sweeper.study import PlannedTrial, Study, plan_trial, portable
from sweeper.words import decimals

ROUND = 2
"""Points on each side of the lowest one that get a further seed: those that a fit reads."""


class GrowingGrid:
    """Proposes what a study declares, and then what its options ask for where it is needed.

    A group, the points of one variant and of one combination of the settings that are not tuned,
    grows by itself. A scale takes its next value beyond an end as soon as all that was proposed
    of it has an outcome; half-steps and seeds, for which all scales are read together, wait for
    those of the whole group.

    Args:
        study: with one of the options ``expand_edges``, ``refine`` and ``seeds: auto``.
        known: trials that had a result before: they count as points of the grid.

    Raises:
        DataError: the data of a workload is missing or altered.
    """

    def __init__(self, study: Study, known: Sequence[PlannedTrial] = ()) -> None:
        self._study = study
        self._losses: dict[str, float] = {}
        found, alone = groups_of(study, self._losses)
        self._groups = [_Growth(study, group, known) for group in found]
        had = {(item.variant, item.trial.key) for item in known}
        planned = (
            plan_trial(study, variant, point, seed)
            for variant, point in alone
            for seed in _first(study, study.space(variant).seeds)
        )
        self._alone = [item for item in planned if (item.variant, item.trial.key) not in had]

    @property
    def finished(self) -> bool:
        """True once no group may want more."""
        return not self._alone and all(group.finished for group in self._groups)

    @property
    def standings(self) -> Sequence[Standing]:
        """Where each scale of each group stands."""
        return [standing for group in self._groups for standing in group.standings()]

    def ask(self) -> Sequence[Proposal]:
        """Returns what is wanted now, cheapest first."""
        made = [Proposal(trial=item) for item in self._alone]
        made += chain.from_iterable(group.ask() for group in self._groups)
        self._alone = []
        return sorted(made, key=lambda p: (p.trial.trial.derived["flops"], p.trial.scale))

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Takes in how proposed trials ended."""
        losses = {each.key: loss_of(self._study, each) for each in outcomes}
        new = {key for key, loss in losses.items() if str(loss) != str(self._losses.get(key))}
        self._losses.update(losses)
        for group in self._groups:
            group.tell(new)


def outlook(study: Study, known: Sequence[PlannedTrial] = ()) -> Outlook:
    """Returns what a grid that grows will cost beside what is known.

    At best nothing is added. A scale is expected to need a half-step on each side where they are
    asked for, and where seeds are, one more round the minimum if it is the smallest or largest.
    At worst axes grow as far as they may, and steps and seeds are used up.
    """
    first, search = GrowingGrid(study, known).ask(), study.search
    spent = math.fsum(float(p.trial.trial.derived["flops"]) for p in first)
    sums = [[float(len(first)), spent] for _ in range(3)]
    for group in groups_of(study, {})[0]:
        tuned, seeds = len(group.tuned), len(_first(study, group.seeds))
        halves = 2 * tuned * 3 ** (tuned - 1) if search.refine is not None else 0
        claimed = any(claim.hyperparameter in group.tuned for claim in study.claims)
        more = (len(group.seeds) - seeds) * claimed
        ends = 2 * tuned * (search.expand_edges or 0) * 3 ** (tuned - 1)
        for points in group.scales:
            outer = points in (group.scales[0], group.scales[-1]) and more > 0
            added = ends + halves * (FINEST - 1)
            likely = halves * seeds + (2 * ROUND + 1) * outer
            most = added * seeds + (len(points.declared) + added) * more
            for total, count in zip(sums, (0, min(likely, most), most), strict=True):
                total[0] += count
                total[1] += count * points.price
    return outlook_of_sums(study, sums)


def _first(study: Study, seeds: Sequence[int]) -> Sequence[int]:
    """Returns the seeds that a point starts with."""
    return seeds[:1] if study.search.seeds == "auto" else seeds


class _Growth:
    """One group of a grid that grows."""

    def __init__(self, study: Study, group: Group, known: Sequence[PlannedTrial]) -> None:
        self._search = study.search
        self._group = group
        self._claims = {
            index: [(c.exponent, c.tolerance) for c in study.claims if c.hyperparameter == name]
            for index, name in enumerate(group.tuned)
        }
        self._seeds = _first(study, group.seeds)
        self._new: list[Proposal] = []
        self._stops: dict[float, dict[str, str]] = {points.scale: {} for points in group.scales}
        self._ended = False
        group.take(known)
        for points in group.scales:
            for place in [points.place_of(point) for point in points.declared]:
                self._add(points, points.values(place), "declared", self._seeds)

    @property
    def finished(self) -> bool:
        return self._ended and not self._new

    def ask(self) -> list[Proposal]:
        made, self._new = self._new, []
        return made

    def tell(self, new: Set[str]) -> None:
        growing = self._group.has_any(new)
        while growing:
            ended = [points for points in self._group.scales if not points.waiting]
            growing = sum(map(self._expand, ended)) > 0
            if not growing and not self._group.waiting:
                growing = self._refine() or self._replicate()
                self._ended = not growing

    def standings(self) -> Iterator[Standing]:
        for points in self._group.scales:
            said = "; ".join(self._stops[points.scale].values()) or "all of the grid was run"
            yield Standing(
                variant=self._group.variant,
                settings=self._group.settings,
                scale=points.scale,
                runs=len(points.places),
                stop=said if self.finished else None,
            )

    def _add(
        self, points: Points, values: Sequence[float], reason: str, seeds: Sequence[int]
    ) -> bool:
        """Wants the trials of a point that are not there yet; returns whether there are any."""
        added = points.add(values, seeds)
        self._new += [Proposal(trial=item, reason=reason) for item in added]
        return bool(added)

    # Longer axes ---------------------------------------------------------------------------------

    def _expand(self, points: Points) -> bool:
        """Adds a value at every end where the lowest loss of a scale lies."""
        if not self._search.expand_edges:
            return False
        lowest, added, why = points.lowest, False, []
        if lowest is None and not points.blown:
            why.append("no run of it gave a loss")
        for index, name in enumerate(self._group.tuned):
            for upward, place in points.ends(index):
                value, problem = self._next(points, index, place, upward)
                if value is None:
                    why.append(f"the lowest loss is at an end of {name}, {problem}")
                    continue
                for values in points.beside(index, place, value):
                    if points.refusal(values) is None:
                        added |= self._add(points, values, "expanded", self._seeds)
        self._say(points, "edges", "; ".join(why) or "the lowest loss is inside the axes")
        return added

    def _next(
        self, points: Points, index: int, place: Place, upward: bool
    ) -> tuple[float | None, str]:
        """Returns the next value beyond an end, or why there is none."""
        most = self._search.expand_edges or 0
        steps = points.beyond(index, most)[upward]
        further = [
            v for v in steps if (math.log2(v) - place[index]) * (1 if upward else -1) > TIED
        ]
        if not further:
            return None, f"which has grown by {most} value{'s' * (most != 1)} there"
        values = list(points.values(place))
        values[index] = further[0]
        problem = points.refusal(values)
        return (None, f"which cannot grow: {problem}") if problem else (further[0], "")

    # Half-steps ----------------------------------------------------------------------------------

    def _refine(self) -> bool:
        """Adds half-steps beside the minimum of every scale whose interval is too wide."""
        asked = self._search.refine
        if asked is None:
            return False
        added = False
        readings = [self._reading(index) for index in range(len(self._group.tuned))]
        for points in self._group.scales:
            halves = [reading.half_width(points.scale) for reading in readings]
            wide = [index for index, half in enumerate(halves) if half > asked]
            here = [self._halve(points, index) for index in wide]
            added |= any(here)
            widest = max(halves)
            within = f"± {decimals(widest, 2)} octaves" if math.isfinite(widest) else "not located"
            left = "" if not wide else ", and no half-step is left"
            self._say(points, "refine", f"the optimum is {within}{left}")
        return added

    def _halve(self, points: Points, index: int) -> bool:
        """Adds the half-steps on both sides of the minimum, if it lies between two points."""
        lowest = points.lowest
        near = points.around(index, lowest, 1) if lowest is not None else []
        if lowest is None or len(near) < 3:
            return False
        added = False
        for other in (near[0], near[2]):
            gap, middle = abs(other[index] - lowest[index]), (other[index] + lowest[index]) / 2
            if gap / 2 < points.step_at(index, middle) / FINEST - TIED:
                continue
            half = portable(math.sqrt(points.values(lowest)[index] * points.values(other)[index]))
            for values in points.beside(index, lowest, half):
                if points.refusal(values) is None:
                    added |= self._add(points, values, "refined", self._seeds)
        return added

    # Seeds ---------------------------------------------------------------------------------------

    def _replicate(self) -> bool:
        """Adds the next seed round the minima of the scales that matter most to a verdict that is
        not decided."""
        if self._search.seeds != "auto":
            return False
        added, said = False, []
        for index, claims in self._claims.items():
            if not claims:
                continue
            reading = self._reading(index)
            verdicts = reading.verdicts(claims)
            open_ = [v for v in verdicts if v.ruling == "inconclusive"]
            if verdicts and not open_:
                said.append(f"claims on {self._group.tuned[index]} are decided")
                continue
            here = self._reseed(reading, index)
            added |= here
            if not here:
                what = "is inconclusive" if verdicts else "cannot be given"
                said.append(f"a verdict on {self._group.tuned[index]} {what}, and seeds are spent")
        for points in self._group.scales:
            self._say(points, "seeds", "; ".join(said))
        return added

    def _reseed(self, reading: Reading, index: int) -> bool:
        weights = reading.weights()
        lacking = {
            points.scale: points
            for points in self._group.scales
            if points.scale in weights and self._next_seeds(points, index)
        }
        most = max((weights[scale] for scale in lacking), default=0.0)
        added = False
        for scale, points in lacking.items():
            if weights[scale] >= HEAVY * most:
                for place, seeds in self._next_seeds(points, index):
                    added |= self._add(points, points.values(place), "seed", seeds)
        return added

    def _next_seeds(self, points: Points, index: int) -> list[tuple[Place, Sequence[int]]]:
        """Returns the points round the minimum, with the seeds that they have together and the
        next one; nothing where all are spent."""
        lowest, seeds = points.lowest, self._group.seeds
        if lowest is None:
            return []
        near = points.around(index, lowest, ROUND)
        shared = set.intersection(*(points.seeds(place) for place in near))
        count = next((n for n, seed in enumerate(seeds) if seed not in shared), len(seeds))
        return [(place, seeds[: count + 1]) for place in near] if count < len(seeds) else []

    # Words and readings --------------------------------------------------------------------------

    def _reading(self, index: int) -> Reading:
        """Returns what the runs say along a hyperparameter."""
        rows = chain.from_iterable(points.rows() for points in self._group.scales)
        return Reading.of(list(rows), len(self._group.tuned), index)

    def _say(self, points: Points, about: str, words: str) -> None:
        self._stops[points.scale].pop(about, None)
        if words:
            self._stops[points.scale][about] = words
