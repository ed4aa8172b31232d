"""Which running trials are stopped because others dominate them. No Ray, no store here.

A line is the trials that differ in one hyperparameter alone: same model size and horizon, seed
and other settings. At an evaluation a trial is dominated if, along one of its lines,

1. at least :data:`NEIGHBOURS` completed trials lie between it and the best completed one,
2. their final losses rise from the best one outwards, each above the one before it, and
3. its loss is above the loss of each of them at the same step, and above that of the outermost by
   more than the outermost ended above the one before it.

So the best of a line, all trials that an optimum there is read from and their neighbours run to
their end, and what is stopped lies beyond a basin that is known to rise towards it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from sweeper.outcome import Outcome
from sweeper.study import Study
from sweeper.trial import Trial, canonical_json

NEIGHBOURS = 4
"""Completed trials between a dominated one and the best: an optimum is read from the lowest point
and up to four points on each side of it."""


@dataclass(frozen=True)
class _Course:
    """The losses of a completed trial, lower is better: at its evaluations, by step, and at its
    end."""

    marks: Mapping[int, float]
    end: float


class Domination:
    """Tells which trials are dominated, from those that have completed.

    Args:
        study: says whether trials are stopped (``stop``), and from which share of a run on.
    """

    def __init__(self, study: Study) -> None:
        self.enabled = study.stop.dominated
        self._after = study.stop.after
        self._names = study.hyperparameters
        self._metric = study.objective.metric
        self._sign = 1.0 if study.objective.goal == "min" else -1.0
        self._steps: dict[str, int] = {}
        self._places: dict[str, list[tuple[str, float]]] = {}
        self._lines: dict[str, dict[float, _Course]] = {}

    def add(self, trials: Iterable[Trial]) -> None:
        """Takes in trials of the study."""
        for trial in trials if self.enabled else ():
            self._steps[trial.key] = int(trial.derived["steps"])
            self._places[trial.key] = [
                (self._line(trial, name), math.log2(value))
                for name in self._names
                if isinstance(value := trial.config.get(name), int | float)
                and not isinstance(value, bool)
                and value > 0
            ]

    def ended(self, outcome: Outcome) -> None:
        """Takes in how a trial ended, with its marks."""
        if not self.enabled or outcome.kind != "completed" or self._metric not in outcome.metrics:
            return
        marks = {m.step: self._sign * m.value for m in outcome.marks if m.metric == self._metric}
        course = _Course(marks, self._sign * outcome.metrics[self._metric])
        for line, place in self._places.get(outcome.key, ()):
            self._lines.setdefault(line, {})[place] = course

    def dominated(self, key: str, step: int, value: float) -> bool:
        """Returns whether a running trial is dominated.

        Args:
            key: key of the trial.
            step: optimizer steps done.
            value: the study's metric at that step.
        """
        steps = self._steps.get(key, 0)
        if not self._after * steps <= step < steps:
            return False
        loss = self._sign * value
        return any(
            self._is_beyond(self._lines.get(line, {}), place, step, loss)
            for line, place in self._places[key]
        )

    def _is_beyond(
        self, line: Mapping[float, _Course], place: float, step: int, loss: float
    ) -> bool:
        if len(line) <= NEIGHBOURS:
            return False
        best = min(line, key=lambda each: line[each].end)
        between = [each for each in line if min(best, place) < each < max(best, place)]
        if len(between) < NEIGHBOURS:
            return False
        outwards = [line[best], *(line[e] for e in sorted(between, reverse=place < best))]
        ends = [course.end for course in outwards]
        rises = [after - before for before, after in pairwise(ends)]
        now = [course.marks.get(step, math.inf) for course in outwards]
        return min(rises) > 0 and max(now) < loss and loss - now[-1] > rises[-1]

    @staticmethod
    def _line(trial: Trial, name: str) -> str:
        rest = {key: value for key, value in trial.config.items() if key != name}
        size = [trial.derived.get(each) for each in ("params", "steps", "tokens", "flops")]
        return canonical_json([trial.workload, trial.data, name, rest, trial.seed, size])
