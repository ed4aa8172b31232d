"""Which runs a ladder makes next, from the smallest scale up: a function of what came out.

The smallest scale gets a coarse grid. Every further scale starts with the few runs that, by the
model of all scales (:mod:`sweeper.analysis.optimum.basins`), narrow its optimum most: two for one
hyperparameter, three for two, since the level of its losses is not known yet either. Then run
follows run, at this scale or a smaller one, wherever it narrows the optimum most for its price,
until the optimum is known well enough and lies between runs. With claims to judge the scales are
taken more loosely, and what is then left is spent where it narrows the slopes most, until the
verdicts are plain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sweeper.analysis import SHARED, BasinPrior, BasinRuns, Basins, Floats, fit_basins
from sweeper.search.meshes.points import Place
from sweeper.search.meshes.reading import Reading

ENOUGH = "narrow enough"
SPENT = "as many runs as are allowed"
FULL = "no place left"
VAIN = "no run narrows it much"
DECIDED = "the verdict is plain"
OPEN = "the verdict is open"
OUTSIDE = "no place left on one side of the optimum"

NORMAL_95 = 1.96
"""Half width of a 95% interval of a normal distribution, in standard deviations."""

LOOSE = 2.0
"""How much less narrow optima may be for a verdict, and of a second hyperparameter anyway."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The values of one hyperparameter at a scale, log2.

    Attributes:
        places: where runs may be made, ascending.
        declared: those of the places that the study declares, ascending; those beyond them are
            for an optimum that lies at their end or beyond.
    """

    places: tuple[float, ...]
    declared: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One scale.

    Attributes:
        doublings: log2 of the scale over the smallest.
        price: of a run, FLOPs.
        axes: the hyperparameters, one or two.
    """

    doublings: float
    price: float
    axes: tuple[Axis, ...]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A run that has an outcome.

    Attributes:
        rung: index of the scale.
        place: where.
        losses: of each seed; infinite if the run diverged, NaN if it failed.
    """

    rung: int
    place: Place
    losses: tuple[float, ...]

    @property
    def known(self) -> tuple[float, ...]:
        """The losses of those that did not fail."""
        return tuple(loss for loss in self.losses if not math.isnan(loss))

    @property
    def diverged(self) -> bool:
        """Whether a seed diverged."""
        return math.inf in self.losses


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A run that is wanted next, and why: ``start``, ``narrow``, ``bracket`` or ``verdict``."""

    rung: int
    place: Place
    why: str


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What a ladder is after.

    Attributes:
        within: standard deviation of an optimum at the largest scale, octaves, that is narrow
            enough; of the second of two hyperparameters twice that. Smaller scales are to be
            known better, as the fourth root of the price: that is the cheapest way to know them
            all.
        floor: price of a run, as a share of one at the largest scale, below which nothing more is
            asked for.
        most: runs of any scale but the smallest, for each hyperparameter.
        top: runs of the largest scale, for each hyperparameter; of smaller ones more, as the
            fourth root of the price.
        cheap: price of a run, as a share of one at the scale whose optimum is sought, below which
            it counts as that: a run is some trouble at any price.
        least: share of a variance that a run has to take away.
        claims: axis, exponent and tolerance of the claims whose verdicts are enough; none to
            locate optima.
    """

    within: float = 0.2
    floor: float = 0.25
    most: int = 8
    top: float = 2.0
    cheap: float = 0.03
    least: float = 0.1
    claims: tuple[tuple[int, float, float], ...] = ()

    def allowed(self, share: float) -> float:
        """Returns the runs that a scale may have, for each hyperparameter, whose runs have a
        price that is a share of one at the largest scale."""
        return float(min(self.most, self.top / share**0.25))


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a ladder stands.

    Attributes:
        wanted: the runs that are wanted next; none if it is over.
        basins: what is known by now; None before there are three results.
        stops: why nothing more is wanted at a scale, for the scales where that is so.
    """

    wanted: tuple[Wanted, ...]
    basins: Basins | None = None
    stops: tuple[str, ...] = ()


def next_runs(rungs: Sequence[Rung], made: Sequence[Made], aim: Aim) -> State:
    """Returns which runs are wanted next; nothing else than the arguments decides.

    Args:
        rungs: the scales, smallest first.
        made: every run that was wanted before, in any order.
        aim: when it is enough.
    """
    runs = _completed(made)
    if not any(each.rung == 0 for each in made):
        octaves = float(len(rungs[0].axes))
        coarse = [_coarse(axis.declared, octaves) for axis in rungs[0].axes]
        return State(wanted=tuple(_starts(product(*coarse))))
    if len(runs.x) < 3:
        places = product(*(axis.places for axis in rungs[0].axes))
        had = {each.place for each in made if each.rung == 0}
        left = [place for place in places if place not in had]
        return State(wanted=tuple(_starts(left)), stops=() if left else (FULL,) * len(rungs))
    first = runs.scale == min(runs.scale)
    centre = runs.x[first][np.argmin(runs.loss[first])]
    basins = fit_basins(runs, [rung.doublings for rung in rungs], centre.tolist(), BasinPrior())
    return _Climber(rungs, made, aim, basins).state()


def _starts(places: Iterator[Place] | Sequence[Place]) -> Iterator[Wanted]:
    yield from (Wanted(rung=0, place=place, why="start") for place in places)


Candidate = tuple[int, Place]
"""A run that could be made: scale and place."""


@dataclass(frozen=True)
class _Climber:
    rungs: Sequence[Rung]
    made: Sequence[Made]
    aim: Aim
    basins: Basins

    def state(self) -> State:
        if self._plain():
            return State(wanted=(), basins=self.basins, stops=(DECIDED,) * len(self.rungs))
        stops: list[str] = []
        for index in range(len(self.rungs)):
            step = self._at(index)
            if not isinstance(step, str):
                return State(wanted=tuple(step), basins=self.basins, stops=tuple(stops))
            stops.append(step)
        undecided = [claim for claim in self.aim.claims if not self._decided(claim)]
        wanted = self._for_the_verdicts(undecided) if undecided else None
        if wanted is not None:
            return State(wanted=(wanted,), basins=self.basins)
        if undecided:
            stops = [stop if stop == OUTSIDE else OPEN for stop in stops]
        return State(wanted=(), basins=self.basins, stops=tuple(stops))

    def _plain(self) -> bool:
        """Returns whether every scale has runs and the verdicts are plain."""
        if not self.aim.claims or len({each.rung for each in self.made}) < len(self.rungs):
            return False
        return all(map(self._decided, self.aim.claims))

    @property
    def _num_axes(self) -> int:
        return len(self.rungs[0].axes)

    def _share(self, index: int) -> float:
        return self.rungs[index].price / self.rungs[-1].price

    def _full(self, index: int) -> bool:
        """Returns whether a scale has as many runs as are allowed."""
        count = sum(each.rung == index for each in self.made)
        return count >= self.aim.allowed(self._share(index)) * self._num_axes

    def _at(self, index: int) -> Sequence[Wanted] | str:
        """Returns what is wanted for the optimum of a scale, or why nothing is."""
        toward = self._toward(index)
        here = [each for each in self.made if each.rung == index]
        own = self._free([index])
        if not here:
            return self._first(own, toward) if own else FULL
        within = self.aim.within * max(self._share(index), self.aim.floor) ** 0.25
        within *= LOOSE if self.aim.claims else 1.0
        limits = within * LOOSE ** np.arange(self._num_axes)
        narrow = bool(np.all(self.basins.spread[:, index] <= limits))
        sides = [self._sides(index, axis, here) for axis in range(self._num_axes)]
        if narrow and all(map(all, sides)):
            return ENOUGH
        if index and self._full(index):
            return SPENT
        if narrow:
            own = [each for each in own if self._brackets(each, sides)]
            wanted = self._best(own, toward, index, "bracket", least=0.0)
        else:
            free = self._free(range(index + 1)) if own else []
            wanted = self._best(free, toward, index, "narrow", least=self.aim.least)
        if wanted is not None:
            return [wanted]
        return OUTSIDE if not all(map(all, sides)) else (VAIN if own else FULL)

    def _toward(self, index: int) -> Floats:
        """Returns the weights that pick the optima of a scale, a row for each axis, those of less
        weight where less narrow is enough."""
        count = len(self.rungs)
        picked = np.zeros((self._num_axes, self._num_axes * count))
        for axis in range(self._num_axes):
            picked[axis, axis * count + index] = LOOSE**-axis
        return picked

    def _sides(self, index: int, axis: int, here: Sequence[Made]) -> tuple[bool, bool]:
        """Returns whether runs of a scale lie below and above its optimum on an axis."""
        optimum = self.basins.optima[axis, index]
        places = [each.place[axis] for each in here]
        return any(place <= optimum for place in places), any(place >= optimum for place in places)

    def _brackets(self, one: Candidate, sides: Sequence[tuple[bool, bool]]) -> bool:
        """Returns whether a run would lie on a side of the optimum where none does."""
        rung, place = one
        optima = self.basins.optima[:, rung]
        return any(
            (not below and place[axis] <= optima[axis])
            or (not above and place[axis] >= optima[axis])
            for axis, (below, above) in enumerate(sides)
        )

    def _decided(self, claim: tuple[int, float, float]) -> bool:
        """Returns whether the verdict on a claim is plain: to the basins, which is soon told, and
        to the analysis, which is more careful."""
        axis, exponent, tolerance = claim
        doublings = [rung.doublings for rung in self.rungs]
        if within(self.basins, doublings, exponent, tolerance, axis=axis) is None:
            return False
        rows = [
            (2.0 ** doublings[each.rung], *np.exp2(each.place), seed, loss)
            for each in sorted(self.made, key=lambda each: (each.rung, each.place))
            for seed, loss in enumerate(each.losses)
        ]
        reading = Reading.of(rows, self._num_axes, axis, estimator=SHARED, resamples=1000)
        verdicts = reading.verdicts([(exponent, tolerance)])
        return any(verdict.ruling != "inconclusive" for verdict in verdicts)

    def _for_the_verdicts(self, claims: Sequence[tuple[int, float, float]]) -> Wanted | None:
        """Returns the run that narrows the slopes of claims most for its price."""
        count = len(self.rungs)
        open_scales = [i for i in range(count) if not i or not self._full(i)]
        weights = slope_weights([rung.doublings for rung in self.rungs])
        toward = np.zeros((len(claims), self._num_axes * count))
        for row, (axis, _, _) in enumerate(claims):
            toward[row, axis * count : (axis + 1) * count] = weights
        least = self.aim.least * self.aim.cheap
        return self._best(self._free(open_scales), toward, count - 1, "verdict", least=least)

    def _free(self, scales: Sequence[int]) -> list[Candidate]:
        """Returns where runs could be made: not twice, and not where they would blow up."""
        made = {(each.rung, each.place) for each in self.made}
        return [
            (rung, place)
            for rung in scales
            for place in product(*(self._places(rung, axis) for axis in range(self._num_axes)))
            if (rung, place) not in made and not self._blows_up(rung, place)
        ]

    def _places(self, rung: int, axis: int) -> Sequence[float]:
        """Returns the places of an axis, without those beyond what is declared where the optimum
        is not: where it is farther inside than the last two declared values."""
        values, optimum = self.rungs[rung].axes[axis], self.basins.optima[axis, rung]
        low, high = values.declared[:2][-1], values.declared[-2:][0]
        first = -math.inf if optimum <= low else values.declared[0] - 1e-9
        last = math.inf if optimum >= high else values.declared[-1] + 1e-9
        return [place for place in values.places if first <= place <= last]

    def _blows_up(self, rung: int, place: Place) -> bool:
        """Returns whether a run diverged as far above its optimum, or less far, on every axis."""
        optima = self.basins.optima
        return any(
            each.diverged
            and (
                (each.rung == rung and all(p >= q for p, q in zip(place, each.place, strict=True)))
                or all(
                    place[axis] - optima[axis, rung] >= each.place[axis] - optima[axis, each.rung]
                    for axis in range(self._num_axes)
                )
            )
            for each in self.made
        )

    def _best(
        self, free: Sequence[Candidate], toward: Floats, index: int, why: str, least: float
    ) -> Wanted | None:
        """Returns the run that narrows sums of optima most for its price, as a share of that at
        a scale; None if no run takes away the least share of the variance."""
        if not free:
            return None
        variance, carried = self.basins.singly(*_apart(free))
        gain = ((carried @ toward.T) ** 2).sum(axis=1) / variance
        gain /= self.basins.variance(toward).sum()
        if float(np.max(gain)) < least:
            return None
        price = np.array([self.rungs[rung].price for rung, _ in free]) / self.rungs[index].price
        rung, place = free[int(np.argmax(gain / np.maximum(price, self.aim.cheap)))]
        return Wanted(rung=rung, place=place, why=why)

    def _first(self, own: Sequence[Candidate], toward: Floats) -> list[Wanted]:
        """Returns the runs that together narrow the optimum most at a scale without any, one more
        than there are axes: the best pair, and what goes best with it."""
        spread, carried = self.basins.joint(*_apart(own))
        carried = carried @ toward.T
        chosen = _best_pair(spread, carried)
        while len(chosen) < min(self._num_axes + 1, len(own)):
            rest = [i for i in range(len(own)) if i not in chosen]
            chosen.append(max(rest, key=lambda i: _gain(spread, carried, [*chosen, i])))
        return [Wanted(rung=own[i][0], place=own[i][1], why="start") for i in chosen]


def _apart(runs: Sequence[Candidate]) -> tuple[NDArray[np.intp], Floats]:
    """Returns scales and places of runs as arrays."""
    scale = np.array([rung for rung, _ in runs], dtype=np.intp)
    return scale, np.array([place for _, place in runs])


def _best_pair(spread: Floats, carried: Floats) -> list[int]:
    """Returns the two runs that together take most off the variance of sums of optima; the first
    of equals."""
    if len(spread) < 2:
        return [0]
    first, second = np.triu_indices(len(spread), 1)
    own = np.diag(spread)
    both = spread[first, second]
    one, other = carried[first], carried[second]
    taken = one**2 * own[second, None] + other**2 * own[first, None]
    taken -= 2 * one * other * both[:, None]
    gain = taken.sum(axis=1) / (own[first] * own[second] - both**2)
    best = int(np.argmax(gain))
    return [int(first[best]), int(second[best])]


def _gain(spread: Floats, carried: Floats, chosen: list[int]) -> float:
    part = carried[chosen]
    return float(np.sum(part * np.linalg.solve(spread[np.ix_(chosen, chosen)], part)))


def slope_weights(doublings: Sequence[float]) -> Floats:
    """Returns the weights of the optima in the least-squares slope, octaves per doubling."""
    steps = np.array(doublings)
    off: Floats = steps - steps.mean()
    square = float(off @ off)
    return off / (square or 1.0)


def within(
    basins: Basins,
    doublings: Sequence[float],
    exponent: float,
    tolerance: float,
    *,
    axis: int = 0,
) -> bool | None:
    """Returns whether the slope is within the tolerance of the exponent, by all of its 95%
    interval: True, False, or None for neither.

    The interval holds what is not known of the optima, and their scatter round the line beyond
    that.

    Args:
        basins: what is known.
        doublings: log2 of every scale over the smallest.
        exponent, tolerance: of a claim, octaves per doubling.
        axis: of the hyperparameter.
    """
    steps, weights = np.array(doublings), slope_weights(doublings)
    optima, count = basins.optima[axis], len(steps)
    toward = np.zeros(basins.optima.size)
    toward[axis * count : (axis + 1) * count] = weights
    slope = float(weights @ optima)
    off = optima - slope * steps
    off = off - off.mean()
    scatter = float(off @ off) / max(1, count - 2) - float(np.mean(basins.spread[axis] ** 2))
    spread = float(basins.variance(toward))
    spread += max(scatter, basins.scatter**2) * float(weights @ weights)
    away, half = abs(slope - exponent), NORMAL_95 * math.sqrt(spread)
    if away + half <= tolerance:
        return True
    return False if away - half > tolerance else None


def _coarse(places: Sequence[float], octaves: float) -> list[float]:
    """Returns places at least so many octaves apart, the first and the last among them."""
    kept = [places[0]]
    for place in places[1:-1]:
        if place - kept[-1] >= octaves - 1e-9 and places[-1] - place >= octaves - 1e-9:
            kept.append(place)
    return [*kept, places[-1]] if len(places) > 1 else kept


def _completed(made: Sequence[Made]) -> BasinRuns:
    """Returns the runs that have a loss, in an order of their own."""
    good = sorted((e.rung, e.place, e.known) for e in made if e.known and not e.diverged)
    return BasinRuns(
        np.array([rung for rung, _, _ in good], dtype=np.intp),
        np.array([place for _, place, _ in good], dtype=float),
        np.array([math.fsum(losses) / len(losses) for _, _, losses in good], dtype=float),
        np.array([len(losses) for _, _, losses in good], dtype=float),
    )
