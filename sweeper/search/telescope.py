"""The telescope: a grid at the smallest scale that narrows round the optimum at each doubling.

After algorithm 1 of Shah et al. 2025 (arXiv 2505.02222, section 3.3). The smallest scale runs the
declared grid; every further one a mesh round the lowest point of the one before it, with steps
``shrink`` times as wide a doubling and with fewer points as runs get dearer, so that every scale
costs about as much: m points along each of k hyperparameters become m times the k-th root of the
ratio of prices. What is beyond the algorithm: there are ``points`` at least along each, steps are
no finer than a quarter of the declared ones, and a mesh with its lowest loss at an end moves on
until the loss rises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from itertools import product

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
from sweeper.study import PlannedTrial, Study
from sweeper.words import decimals


class Telescope:
    """Proposes a grid at the smallest scale of every group, and a narrower one at each further.

    Every variant, and every combination of further axes, goes its own way; a point is run with all
    seeds, whose mean counts. A scale begins when all that was proposed of the one before it has an
    outcome.

    Args:
        study: with several scales, and one or two tuned hyperparameters.
        known: trials that had a result before: they count where they lie on a mesh.

    Raises:
        DataError: the data of a workload is missing or altered.
    """

    def __init__(self, study: Study, known: Sequence[PlannedTrial] = ()) -> None:
        self._study = study
        self._losses: dict[str, float] = {}
        had = {(item.variant, item.trial.key) for item in known}
        groups, _ = groups_of(study, self._losses)
        self._tubes = [_Tube(study, group, had) for group in groups]

    @property
    def finished(self) -> bool:
        """True once the largest scale of every group has its outcomes."""
        return all(tube.finished for tube in self._tubes)

    @property
    def standings(self) -> Sequence[Standing]:
        """Where each scale of each group stands."""
        return [standing for tube in self._tubes for standing in tube.standings()]

    def ask(self) -> Sequence[Proposal]:
        """Returns what is wanted now, cheapest first."""
        made = [proposal for tube in self._tubes for proposal in tube.ask()]
        return sorted(made, key=lambda p: (p.trial.trial.derived["flops"], p.trial.scale))

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Takes in how proposed trials ended."""
        losses = {each.key: loss_of(self._study, each) for each in outcomes}
        self._losses.update(losses)
        for tube in self._tubes:
            tube.tell(losses.keys())


make = Telescope


def outlook(study: Study, known: Sequence[PlannedTrial] = ()) -> Outlook:
    """Returns what a telescope will cost beside what is known of its first mesh.

    At best no mesh moves on, at worst each does so to the ends of what it may try; every further
    scale is expected to add one value.
    """
    had = {(item.variant, item.trial.key) for item in known}
    sums = [[0.0, 0.0] for _ in range(3)]
    for group in groups_of(study, {})[0]:
        tube = _Tube(study, group, had)
        first = tube.ask()
        for total in sums:
            total[0] += len(first)
            total[1] += sum(float(p.trial.trial.derived["flops"]) for p in first)
        for level in range(1, len(group.scales)):
            for total, points in zip(sums, tube.counts(level), strict=True):
                total[0] += points * len(group.seeds)
                total[1] += points * len(group.seeds) * group.scales[level].price
    return outlook_of_sums(study, sums)


class _Tube:
    """The telescope of one group."""

    def __init__(self, study: Study, group: Group, had: Set[tuple[str, str]]) -> None:
        self._search, self._group, self._had = study.search, group, had
        self._axes = range(len(group.tuned))
        self._level = 0
        self._stops: list[str | None] = [None] * len(group.scales)
        self._new: list[Proposal] = []
        smallest = group.scales[0]
        for point in smallest.declared:
            self._add([point[name] for name in group.tuned], "declared")

    @property
    def finished(self) -> bool:
        return self._level == len(self._group.scales) and not self._new

    def ask(self) -> list[Proposal]:
        made, self._new = self._new, []
        return made

    def tell(self, keys: Set[str]) -> None:
        if not self._group.has_any(keys):
            return
        while self._level < len(self._group.scales) and not self._here.waiting:
            if self._widen():
                continue
            lowest = self._here.lowest
            self._level += 1
            if lowest is None:
                self._end("nothing is run: no loss at a smaller scale")
            elif self._level < len(self._group.scales):
                self._narrow(lowest)

    def standings(self) -> Iterator[Standing]:
        for points, stop in zip(self._group.scales, self._stops, strict=True):
            yield Standing(
                variant=self._group.variant,
                settings=self._group.settings,
                scale=points.scale,
                runs=len(points.places),
                stop=stop,
            )

    def counts(self, level: int) -> tuple[float, float, float]:
        """Returns the points of a scale at best, as expected, and at worst."""
        counts = [self._count(level, index) for index in self._axes]
        best = math.prod(counts)
        reach = [(self._range(i), self._step(level, i)) for i in self._axes]
        worst = math.prod(math.floor((hi - lo) / step + TIED) + 1 for (lo, hi), step in reach)
        more = min(best, len(counts) ** 2 - len(counts) + 1)  # one value, and those beside it
        return best, max(best, min(best + more, worst)), max(best, worst)

    # Meshes --------------------------------------------------------------------------------------

    @property
    def _here(self) -> Points:
        return self._group.scales[self._level]

    def _step(self, level: int, index: int) -> float:
        """Returns the step of a mesh at a scale, octaves."""
        scales = self._group.scales
        low, high = (math.log2(value) for value in scales[0].ends_of(index))
        declared = (high - low) / (len(scales[0].axis(index)) - 1)
        doublings = math.log2(scales[level].scale / scales[0].scale)
        return max(declared * float(self._search.shrink**doublings), declared / FINEST)

    def _count(self, level: int, index: int) -> int:
        """Returns the points of a mesh along a hyperparameter: an odd number, with one in the
        middle."""
        scales = self._group.scales
        dearer = scales[level].price / scales[0].price
        count = float(len(scales[0].axis(index)) * dearer ** (-1 / len(self._axes)))
        return max(self._search.points, round(count)) // 2 * 2 + 1

    def _range(self, index: int) -> tuple[float, float]:
        """Returns log2 of the smallest and the largest value that may be tried."""
        smallest = self._group.scales[0]
        down, up = smallest.beyond(index, self._search.expand_edges or 0)
        low, high = smallest.ends_of(index)
        return math.log2(down[-1] if down else low), math.log2(up[-1] if up else high)

    def _narrow(self, centre: Place) -> None:
        """Wants the mesh of the next scale, round a place; at an end of the axis beside it."""
        lines = []
        for index in self._axes:
            step, count = self._step(self._level, index), self._count(self._level, index)
            low, high = self._range(index)
            first = centre[index] - step * (count // 2)
            first += step * math.ceil(max(0.0, low - first) / step - TIED)
            first -= step * math.ceil(max(0.0, first + step * (count - 1) - high) / step - TIED)
            mesh = (first + step * number for number in range(count))
            inside = [x for x in mesh if low - TIED <= x <= high + TIED]
            lines.append([self._here.value_at(index, x) for x in inside])
        added = [self._add(values, "narrowed") for values in product(*lines)]
        if not any(added):
            self._end("nothing is run: no point of the mesh is allowed")

    def _widen(self) -> bool:
        """Adds a value at each end of the mesh where the lowest loss is; returns whether there was
        one to add, and otherwise says why the scale ends."""
        why, added = [], False
        for index, name in enumerate(self._group.tuned):
            for upward, place in self._here.ends(index):
                wide = 0 if self._here.blown else self._level  # all diverged: far from where it is
                step = self._step(wide, index) * (1 if upward else -1)
                low, high = self._range(index)
                further = place[index] + step
                value = self._here.value_at(index, further)
                moved = [*self._here.values(place)]
                moved[index] = value
                problem = self._here.refusal(moved)
                if not low - TIED <= further <= high + TIED:
                    why.append(f"the lowest loss is at an end of {name}")
                elif problem is not None:
                    why.append(f"the lowest loss is at an end of {name}: {problem}")
                else:
                    for values in self._here.beside(index, place, value):
                        added |= self._add(values, "expanded")
        if self._here.lowest is None and not self._here.blown:
            why.append("no run gave a loss")
        steps = ", ".join(decimals(self._step(self._level, index), 2) for index in self._axes)
        self._stops[self._level] = (
            None
            if added
            else "; ".join(why) or f"the lowest loss is inside steps of {steps} octaves"
        )
        return added

    def _add(self, values: Sequence[float], reason: str) -> bool:
        """Wants a point; returns whether it is a new one."""
        if self._here.refusal(values) is not None:
            return False
        added = self._here.add(values, self._group.seeds)
        self._new += [
            Proposal(trial=item, reason=reason)
            for item in added
            if (item.variant, item.trial.key) not in self._had
        ]
        return bool(added)

    def _end(self, why: str) -> None:
        """Runs nothing more at this scale and beyond."""
        for level in range(self._level, len(self._stops)):
            self._stops[level] = why
        self._level = len(self._stops)
