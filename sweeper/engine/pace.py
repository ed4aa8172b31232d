"""The pace of a run: how long a step of each shape of trial takes, and so what is left will."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.engine.policy import flops_of, steps_of
from sweeper.outcome import Outcome
from sweeper.trial import Trial

PRIOR_SECONDS = 20.0
"""A run is taken to keep its workers busy until it has worked for about so long."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that trains now.

    Attributes:
        trial: the trial.
        began, step: the step that this run took it up at, and the one that it has reached.
        seconds: device seconds since.
    """

    trial: Trial
    began: int
    step: int
    seconds: float


class Pace:
    """Tells how many seconds the rest of a run will take. FLOPs do not tell it: those of a small
    model may take ten times as long as those of a large one.

    Args:
        shape: names what trials have in common whose steps take equally long; their FLOPs unless
            given.
        probed: returns the device seconds of a step at a value of the scale, as a probe had them,
            or None.
    """

    def __init__(
        self,
        shape: Callable[[Trial], str] = lambda trial: f"{flops_of(trial)}",
        probed: Callable[[Trial, float], float | None] = lambda trial, scale: None,
    ) -> None:
        self._shape_of = shape
        self._probe = probed
        self._shapes: dict[str, str] = {}
        self._flops: dict[str, float] = {}
        self._probed: dict[str, float | None] = {}
        self._left: defaultdict[str, float] = defaultdict(float)
        self._ended: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._worked = 0.0

    def add(self, trial: Trial, scale: float) -> None:
        """Takes in a trial that is to run, at a value of the scale."""
        shape = self._shape(trial)
        if shape not in self._probed:
            self._probed[shape] = self._probe(trial, scale)
        self._left[shape] += steps_of(trial)

    def take(self, trial: Trial) -> None:
        """Takes out a trial that need not run any more."""
        self._left[self._shape(trial)] -= steps_of(trial)

    def ended(self, trial: Trial, outcome: Outcome, *, here: bool) -> None:
        """Learns from how a trial ended; ``here`` says that it trained in this run."""
        if outcome.step > 0 and outcome.device_seconds > 0:
            known = self._ended[self._shape(trial)]
            known[0] += outcome.device_seconds
            # A program may say other steps than were planned.
            planned = steps_of(trial)
            known[1] += planned if outcome.kind == "completed" else min(outcome.step, planned)
            self._worked += outcome.device_seconds if here else 0.0

    def seconds_left(
        self, running: Iterable[Running], *, worked: float, busy: int
    ) -> float | None:
        """Returns the estimated seconds to the end; None before any shape is known.

        Args:
            running: the trials that run.
            worked: seconds since the first trial of this run started.
            busy: workers that train now.
        """
        left = dict(self._left)
        now: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for each in running:
            shape = self._shape(each.trial)
            if each.step > steps_of(each.trial):
                continue  # a program of which nobody knows how far it is
            left[shape] = left.get(shape, 0.0) - each.step
            now[shape][0] += each.seconds
            now[shape][1] += each.step - each.began
        known = {name: rate for name in self._flops if (rate := self._known(name, now))}
        if not known:
            return None
        nearest = _Nearest((self._flops[name], rate) for name, rate in known.items())
        left = {name: steps for name, steps in left.items() if steps > 0}
        rates = {
            name: known.get(name) or nearest.scaled_to(self._flops[name]) for name in {*left, *now}
        }
        ahead = math.fsum(steps * rates[name] for name, steps in left.items())
        done = self._worked + math.fsum(steps * rates[name] for name, (_, steps) in now.items())
        # At first there is little to judge by, and starting takes time that later ones do not.
        return ahead * (worked + PRIOR_SECONDS) / (done + max(1, busy) * PRIOR_SECONDS)

    def _known(self, shape: str, now: Mapping[str, Sequence[float]]) -> float | None:
        """Returns the seconds of a step: of trials that have ended, else as a probe had them, else
        of those that run."""
        seconds, steps = self._ended.get(shape, (0.0, 0.0))
        if not steps and self._probed.get(shape):
            return self._probed[shape]
        seconds, steps = (seconds, steps) if steps else now.get(shape, (0.0, 0.0))
        return seconds / steps if steps > 0 else None

    def _shape(self, trial: Trial) -> str:
        shape = self._shapes.get(trial.key)
        if shape is None:
            shape = self._shapes[trial.key] = sys.intern(self._shape_of(trial))
            self._flops.setdefault(shape, max(1.0, flops_of(trial)) / steps_of(trial))
        return shape


class _Nearest:
    """Steps that are known, by their FLOPs.

    Args:
        known: FLOPs and seconds of each.
    """

    def __init__(self, known: Iterable[tuple[float, float]]) -> None:
        self._known = sorted(known)

    def scaled_to(self, flops: float) -> float:
        """Returns the seconds of a step of so many FLOPs, by their ratio to the nearest known."""
        at = bisect_left(self._known, (flops, 0.0))
        beside = self._known[max(0, at - 1) : at + 1]
        of_it, seconds = min(beside, key=lambda each: abs(math.log(each[0] / flops)))
        return seconds * flops / of_it
