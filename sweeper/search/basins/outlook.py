"""What a ladder will cost before it is climbed: climbs over basins that are made up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sweeper.analysis import BasinPrior
from sweeper.search.basins.climb import Aim, Made, Place, Rung, next_runs

CLIMBS = 4
"""Made-up climbs whose mean is what is expected."""

CURVATURE = (0.05, 0.015)
"""Of the made-up loss along each axis, nats per octave squared."""

NOISE = 0.002
"""Of a made-up run, nats."""

DRIFT = 0.4
"""Standard deviation of the made-up drifts, octaves per doubling."""


def expected_runs(rungs: Sequence[Rung], aim: Aim, prior: BasinPrior) -> tuple[float, ...]:
    """Returns how many runs of each scale a ladder makes in the mean."""
    counts = [_climbed(rungs, aim, prior, seed) for seed in range(CLIMBS)]
    return tuple(float(count) for count in np.mean(counts, axis=0))


def fewest_runs(rungs: Sequence[Rung], aim: Aim) -> tuple[int, ...]:
    """Returns how many runs of each scale it makes at least: those that it starts with."""
    first = next_runs(rungs, (), aim, BasinPrior()).wanted
    return (len(first), *(1 + len(rung.axes) for rung in rungs[1:]))


def most_runs(rungs: Sequence[Rung], aim: Aim) -> tuple[int, ...]:
    """Returns how many runs of each scale are allowed, and at least those that it starts with."""
    places = [math.prod(len(axis.places) for axis in rung.axes) for rung in rungs]
    allowed = [aim.allowed(rung.price / rungs[-1].price) * len(rung.axes) for rung in rungs[1:]]
    starts = fewest_runs(rungs, aim)[1:]
    further = zip(places[1:], allowed, starts, strict=True)
    return (places[0], *(min(p, max(math.ceil(a), start)) for p, a, start in further))


def _climbed(rungs: Sequence[Rung], aim: Aim, prior: BasinPrior, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    low, high = (np.array([axis.declared[end] for axis in rungs[0].axes]) for end in (0, -1))
    start, drift = (
        rng.uniform(low + (high - low) / 4, high - (high - low) / 4),
        rng.normal(0.0, DRIFT, len(low)),
    )
    bent = np.array(CURVATURE[: len(low)])

    def loss(rung: int, place: Place) -> float:
        away = np.array(place) - start - drift * rungs[rung].doublings
        return float(bent @ away**2 / 2 + NOISE * rng.standard_normal())

    made: list[Made] = []
    while wanted := next_runs(rungs, made, aim, prior).wanted:
        made += [
            Made(rung=each.rung, place=each.place, losses=(loss(each.rung, each.place),))
            for each in wanted
        ]
    return [sum(each.rung == index for each in made) for index in range(len(rungs))]
