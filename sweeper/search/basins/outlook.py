"""What a ladder will cost before it is climbed: climbs over basins that are made up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sweeper.search.basins.climb import Aim, Made, Rung, next_runs
from sweeper.search.meshes.points import Place

CLIMBS = 4
"""Made-up climbs whose mean is what is expected."""

CURVATURE = (0.05, 0.015)
"""Of the made-up loss along each axis, nats per octave squared."""

NOISE = 0.002
"""Of a made-up run, nats."""

DRIFT = 0.4
"""Standard deviation of the made-up drifts, octaves per doubling."""


Had = Sequence[Sequence[Place]]
"""Places of each scale that need no further run."""


def expected_runs(rungs: Sequence[Rung], had: Had, aim: Aim) -> tuple[float, ...]:
    """Returns how many runs of each scale a ladder makes in the mean, beside those it has."""
    counts = [_climbed(rungs, had, aim, seed) for seed in range(CLIMBS)]
    return tuple(float(count) for count in np.mean(counts, axis=0))


def fewest_runs(rungs: Sequence[Rung], had: Had, aim: Aim) -> tuple[int, ...]:
    """Returns how many further runs of each scale it makes at least: those that it starts with."""
    first = len(next_runs(rungs, (), aim).wanted)
    starts = [first, *(1 + len(rung.axes) for rung in rungs[1:])]
    return tuple(0 if places else start for start, places in zip(starts, had, strict=True))


def most_runs(rungs: Sequence[Rung], had: Had, aim: Aim) -> tuple[int, ...]:
    """Returns how many further runs of each scale are allowed, and at least those that it starts
    with."""
    places = [math.prod(len(axis.places) for axis in rung.axes) for rung in rungs]
    allowed = [aim.allowed(rung.price / rungs[-1].price) * len(rung.axes) for rung in rungs]
    allowed[0] = places[0]
    limits = zip(places, allowed, had, fewest_runs(rungs, had, aim), strict=True)
    return tuple(
        min(every - len(here), max(math.ceil(most) - len(here), start))
        for every, most, here, start in limits
    )


def _climbed(rungs: Sequence[Rung], had: Had, aim: Aim, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    low, high = (np.array([axis.declared[end] for axis in rungs[0].axes]) for end in (0, -1))
    start = rng.uniform(low + (high - low) / 4, high - (high - low) / 4)
    drift = rng.normal(0.0, DRIFT, len(low))
    bent = np.array(CURVATURE[: len(low)])

    def run(rung: int, place: Place) -> Made:
        away = np.array(place) - start - drift * rungs[rung].doublings
        loss = float(bent @ away**2 / 2 + NOISE * rng.standard_normal())
        return Made(rung=rung, place=place, losses=(loss,))

    made = [run(rung, place) for rung, places in enumerate(had) for place in places]
    known = len(made)
    while wanted := next_runs(rungs, made, aim).wanted:
        made += [run(each.rung, each.place) for each in wanted]
    return [sum(each.rung == index for each in made[known:]) for index in range(len(rungs))]
