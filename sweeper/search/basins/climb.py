"""Which runs a ladder makes next, from the smallest scale up: a function of what came out.

The smallest scale gets a coarse grid. Every further scale starts with the pair of runs that, by
the model of all scales (:mod:`sweeper.search.basins.model`), narrows its optimum most: the level
of its losses is not known yet, so that one run would tell nothing. Then run follows run, at this
scale or a smaller one, wherever it narrows the optimum most for its price, until the optimum is
known well enough and lies between runs. With a claim to judge the scales are taken more loosely,
and what is then left is spent where it narrows the slope most, until the verdict is plain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sweeper.search.basins.model import Fit, Floats, Prior, Runs, fit

ENOUGH = "narrow enough"
SPENT = "as many runs as are allowed"
FULL = "no place left"
VAIN = "no run narrows it much"
DECIDED = "the verdict is plain"

NORMAL_95 = 1.96
"""Half width of a 95% interval of a normal distribution, in standard deviations."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One scale.

    Attributes:
        doublings: log2 of the scale over the smallest.
        price: of a run, FLOPs.
        places: where runs may be made, log2 of the hyperparameter, ascending.
        declared: those of the places that the study declares, ascending; those beyond them are
            for an optimum that lies at their end or beyond.
    """

    doublings: float
    price: float
    places: tuple[float, ...]
    declared: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A run that has an outcome.

    Attributes:
        rung: index of the scale.
        place: log2 of the hyperparameter, one of the rung's.
        loss: the loss, infinite if the run diverged, NaN if it failed.
    """

    rung: int
    place: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A run that is wanted next, and why: ``start``, ``narrow``, ``bracket`` or ``verdict``."""

    rung: int
    place: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What a ladder is after.

    Attributes:
        within: standard deviation of an optimum at the largest scale, octaves, that is narrow
            enough. Smaller scales are to be known better, as the fourth root of the price:
            that is the cheapest way to know them all.
        floor: price of a run, as a share of one at the largest scale, below which nothing more is
            asked for.
        most: runs of any scale but the smallest.
        top: runs of the largest scale; of smaller ones more, as the fourth root of the price.
        cheap: price of a run, as a share of one at the scale whose optimum is sought, below which
            it counts as that: a run is some trouble at any price.
        least: share of a variance that a run has to take away.
        claims: exponent and tolerance of the claims whose verdicts are enough; none to locate
            optima.
        alone: whether every scale has to have a lowest run between two others, so that its optimum
            can be read without the other scales, as ``sweeper drift`` does.
    """

    within: float = 0.2
    floor: float = 0.25
    most: int = 8
    top: float = 2.0
    cheap: float = 0.03
    least: float = 0.1
    claims: tuple[tuple[float, float], ...] = ()
    alone: bool = False


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a ladder stands.

    Attributes:
        wanted: the runs that are wanted next; none if it is over.
        basins: what is known by now; None before there are three results.
        stops: why nothing more is wanted at a scale, for the scales where that is so.
    """

    wanted: tuple[Wanted, ...]
    basins: Fit | None = None
    stops: tuple[str, ...] = ()


def next_runs(rungs: Sequence[Rung], made: Sequence[Made], aim: Aim, prior: Prior) -> State:
    """Returns which runs are wanted next; nothing else than the arguments decides.

    Args:
        rungs: the scales, smallest first.
        made: every run that was wanted before, in any order.
        aim: when it is enough.
        prior: what is believed before the first run.
    """
    runs = _completed(made)
    if not any(each.rung == 0 for each in made):
        return State(wanted=tuple(_starts(_coarse(rungs[0].declared))))
    if len(runs.x) < 3:
        left = [p for p in rungs[0].places if not any(_is(e, 0, p) for e in made)]
        return State(wanted=tuple(_starts(left)), stops=() if left else (FULL,) * len(rungs))
    first = runs.scale == min(runs.scale)
    centre = float(runs.x[first][np.argmin(runs.loss[first])])
    basins = fit(runs, [rung.doublings for rung in rungs], centre, prior)
    return _Climber(rungs, made, aim, basins).state()


def _starts(places: Sequence[float]) -> Iterator[Wanted]:
    yield from (Wanted(rung=0, place=place, why="start") for place in places)


@dataclass(frozen=True)
class _Climber:
    rungs: Sequence[Rung]
    made: Sequence[Made]
    aim: Aim
    basins: Fit

    def state(self) -> State:
        stops: list[str] = []
        for index in range(len(self.rungs)):
            step = self._at(index)
            if not isinstance(step, str):
                return State(wanted=tuple(step), basins=self.basins, stops=tuple(stops))
            stops.append(step)
        wanted = self._for_the_verdict() if self.aim.claims else None
        if wanted is None:
            return State(wanted=(), basins=self.basins, stops=tuple(stops))
        return State(wanted=(wanted,), basins=self.basins)

    def _share(self, index: int) -> float:
        return self.rungs[index].price / self.rungs[-1].price

    def _full(self, index: int) -> bool:
        """Returns whether a scale has as many runs as are allowed."""
        count = sum(each.rung == index for each in self.made)
        allowed: float = min(self.aim.most, self.aim.top / self._share(index) ** 0.25)
        return count >= allowed

    def _at(self, index: int) -> Sequence[Wanted] | str:
        """Returns what is wanted for the optimum of a scale, or why nothing is."""
        toward = np.eye(len(self.rungs))[index]
        here = [each for each in self.made if each.rung == index]
        own = self._free([index])
        if not here:
            return self._pair(own, toward) if own else FULL
        optimum = self.basins.optima[index]
        loose = 2.0 if self.aim.claims else 1.0
        within = self.aim.within * max(self._share(index), self.aim.floor) ** 0.25 * loose
        narrow = self.basins.spread[index] <= within
        below = any(each.place <= optimum for each in here)
        above = any(each.place >= optimum for each in here)
        if narrow and below and above and not self.aim.alone:
            return ENOUGH
        if index and self._full(index):
            if (
                self.aim.alone
                and len(here) < self.aim.most
                and (missing := self._open(index, own))
            ):
                return [missing]
            return SPENT
        if narrow and below and above:
            missing = self._open(index, own)
            return [missing] if missing else ENOUGH
        if narrow:
            own = [each for each in own if (each[1] > optimum) == below]
            wanted = self._best(own, toward, index, "bracket", least=0.0)
        else:
            free = self._free(range(index + 1)) if own else []
            wanted = self._best(free, toward, index, "narrow", least=self.aim.least)
        return [wanted] if wanted else (VAIN if own else FULL)

    def _open(self, index: int, own: Sequence[tuple[int, float]]) -> Wanted | None:
        """Returns the run next to the lowest one of a scale, toward the optimum, where there is
        none on one of its sides; None if there is, or if no place is left."""
        here = sorted(
            (e.place, e.loss) for e in self.made if e.rung == index and not math.isnan(e.loss)
        )
        lowest = min(here, key=lambda each: each[1], default=(0.0, 0.0))[0]
        if here and here[0][0] < lowest < here[-1][0]:
            return None
        optimum = float(self.basins.optima[index])
        aim = optimum if len(here) < 3 else lowest + math.copysign(1.0, lowest - here[0][0] - 1e-9)
        near = min(own, key=lambda each: abs(each[1] - aim), default=None)
        return None if near is None else Wanted(rung=index, place=near[1], why="bracket")

    def _for_the_verdict(self) -> Wanted | None:
        """Returns the run that narrows the slope most for its price, if the verdict needs it."""
        doublings = [rung.doublings for rung in self.rungs]
        verdicts = [decided(self.basins, doublings, claim) for claim in self.aim.claims]
        if None not in verdicts:
            return None
        open_scales = [i for i in range(len(self.rungs)) if not i or not self._full(i)]
        free = self._free(open_scales)
        last = len(self.rungs) - 1
        toward = slope_weights(doublings)
        return self._best(free, toward, last, "verdict", least=self.aim.least * self.aim.cheap)

    def _free(self, scales: Sequence[int]) -> list[tuple[int, float]]:
        """Returns where runs could be made: not twice, and not where they would blow up."""
        return [
            (rung, place)
            for rung in scales
            for place in self.rungs[rung].places
            if not any(_is(each, rung, place) for each in self.made)
            and not self._blows_up(rung, place)
            and not self._needless(rung, place)
        ]

    def _needless(self, rung: int, place: float) -> bool:
        """Returns whether a place lies beyond what is declared, and the optimum does not: it is
        farther inside than the last two declared values."""
        declared, optimum = self.rungs[rung].declared, self.basins.optima[rung]
        low, high = declared[:2][-1], declared[-2:][0]
        return bool(
            (place < declared[0] - 1e-9 and optimum > low)
            or (place > declared[-1] + 1e-9 and optimum < high)
        )

    def _blows_up(self, rung: int, place: float) -> bool:
        """Returns whether a run diverged as far above its optimum, or less far."""
        optima: list[float] = self.basins.optima.tolist()
        return any(
            math.isinf(each.loss)
            and (
                (each.rung == rung and place >= each.place)
                or place - optima[rung] >= each.place - optima[each.rung]
            )
            for each in self.made
        )

    def _best(
        self, free: Sequence[tuple[int, float]], toward: Floats, index: int, why: str, least: float
    ) -> Wanted | None:
        """Returns the run that narrows a sum of optima most for its price, as a share of that at
        a scale; None if no run takes away the least share of the variance."""
        if not free:
            return None
        scale = np.array([rung for rung, _ in free])
        x = np.array([place for _, place in free])
        gain = self.basins.cut(scale, x, toward) / self.basins.variance(toward)
        if float(np.max(gain)) < least:
            return None
        price = np.array([self.rungs[rung].price for rung, _ in free]) / self.rungs[index].price
        best = int(np.argmax(gain / np.maximum(price, self.aim.cheap)))
        return Wanted(rung=free[best][0], place=free[best][1], why=why)

    def _pair(self, own: Sequence[tuple[int, float]], toward: Floats) -> list[Wanted]:
        """Returns the two runs that together narrow an optimum most, at a scale without runs."""
        scale = np.array([rung for rung, _ in own])
        x = np.array([place for _, place in own])
        spread, carried = self.basins.joint(scale, x, toward)

        def gain(pair: tuple[int, ...]) -> float:
            both = list(pair)
            part = spread[np.ix_(both, both)]
            return float(carried[both] @ np.linalg.solve(part, carried[both]))

        chosen = max(combinations(range(len(own)), min(2, len(own))), key=gain)
        return [Wanted(rung=own[i][0], place=own[i][1], why="start") for i in chosen]


def slope_weights(doublings: Sequence[float]) -> Floats:
    """Returns the weights of the optima in the least-squares slope, octaves per doubling."""
    steps = np.array(doublings)
    off: Floats = steps - steps.mean()
    square = float(off @ off)
    return off / (square or 1.0)


def decided(basins: Fit, doublings: Sequence[float], claim: tuple[float, float]) -> bool | None:
    """Returns whether the slope is within the tolerance of the exponent, by all of its 95%
    interval: True, False, or None for neither.

    The interval holds what is not known of the optima, and their scatter round the line beyond
    that.

    Args:
        basins: what is known.
        doublings: log2 of every scale over the smallest.
        claim: exponent and tolerance, octaves per doubling.
    """
    exponent, tolerance = claim
    steps, toward = np.array(doublings), slope_weights(doublings)
    slope = float(toward @ basins.optima)
    off = basins.optima - slope * steps
    off = off - off.mean()
    scatter = float(off @ off) / max(1, len(steps) - 2) - float(np.mean(basins.spread**2))
    spread = basins.variance(toward) + max(scatter, basins.scatter**2) * float(toward @ toward)
    away, half = abs(slope - exponent), NORMAL_95 * math.sqrt(spread)
    if away + half <= tolerance:
        return True
    return False if away - half > tolerance else None


def _coarse(places: Sequence[float]) -> list[float]:
    """Returns places at least an octave apart, the first and the last among them."""
    kept = [places[0]]
    for place in places[1:-1]:
        if place - kept[-1] >= 1 - 1e-9 and places[-1] - place >= 1 - 1e-9:
            kept.append(place)
    return [*kept, places[-1]] if len(places) > 1 else kept


def _completed(made: Sequence[Made]) -> Runs:
    """Returns the runs that have a loss, in an order of their own."""
    good = sorted((e.rung, e.place, e.loss) for e in made if math.isfinite(e.loss))
    return Runs(
        np.array([rung for rung, _, _ in good], dtype=np.intp),
        np.array([place for _, place, _ in good], dtype=float),
        np.array([loss for _, _, loss in good], dtype=float),
    )


def _is(made: Made, rung: int, place: float) -> bool:
    return made.rung == rung and math.isclose(made.place, place, abs_tol=1e-9)
