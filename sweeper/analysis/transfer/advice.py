"""Advice: at which proxy to tune, and how finely, under a compute budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sweeper.analysis.compute import RunCost
from sweeper.errors import AnalysisRefusal

FINEST = 1 / 16
"""Octaves between grid points below which no published sweep has told losses apart."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How far the optimum moves between two scales.

    Attributes:
        size, rate: log2 optimum = limit + size scale^-rate; ``rate`` 0 for none.
        slope, error: octaves per doubling and its standard error, where no rate is known.
    """

    size: float = 0.0
    rate: float = 0.0
    slope: float = 0.0
    error: float = 0.0

    def squared(self, proxy: float, target: float) -> float:
        """Returns the expected squared distance between the optima of two scales, octaves^2."""
        power = self.size * (proxy**-self.rate - target**-self.rate)
        line = (self.slope**2 + self.error**2) * math.log2(target / proxy) ** 2
        return float(power**2 + line)


@dataclass(frozen=True, kw_only=True)
class KnownOptimum:
    """An optimum that is known already.

    Attributes:
        scale: where it was found.
        error: its standard error in octaves.
    """

    scale: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """What an advice is computed from.

    Attributes:
        asymptote, amplitude, alpha: tuned loss = asymptote + amplitude scale^-alpha.
        curvature: second derivative of the loss at the optimum, per octave^2.
        movement: how far the optimum moves.
        cost: cost of a run.
        hyperparameters: how many are tuned together, each over the same range.
        octaves: width of the range that is searched.
        smallest: smallest scale that may serve as a proxy.
        whole: whether scales are whole numbers.
        noise: standard deviation of the loss of one run; 0 where unknown.
        found: the optimum that is known already; None if there is none.
        finest: finest resolution of a grid, in octaves; finer ones cost runs and gain nothing
            that could be measured.
    """

    asymptote: float
    amplitude: float
    alpha: float
    curvature: float
    movement: Movement
    cost: RunCost
    hyperparameters: int
    octaves: float
    smallest: float
    whole: bool
    noise: float = 0.0
    found: KnownOptimum | None = None
    finest: float = FINEST

    def tuned(self, scale: float) -> float:
        """Returns the loss of a perfectly tuned run."""
        return float(self.asymptote + self.amplitude * scale**-self.alpha)

    def price(self, squared: float) -> float:
        """Returns the loss of being off by a mean squared distance in every hyperparameter."""
        return self.hyperparameters * self.curvature / 2 * squared


Strategy = Literal["transfer", "direct", "smaller", "keep", "untuned"]
"""What can be done with a budget:

- ``transfer``: tune at a proxy, then one run at the target.
- ``direct``: tune at the target.
- ``smaller``: tune and keep a model smaller than the target.
- ``keep``: one run at the target with the optimum that the study has found already.
- ``untuned``: one run at the target in the middle of the range."""

LEAST_POINTS = 3
"""Points of a grid with a minimum inside."""

CELL = 1 / 12
"""Mean squared distance from a uniform point to the centre of its unit cell."""

SCALES_PER_DOUBLING = 64
"""Candidates for a proxy."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to spend the budget.

    Attributes:
        strategy: see :data:`Strategy`.
        scale: scale of the model that comes out.
        proxy: scale at which is tuned; None where nothing is.
        points: grid points per hyperparameter; 0 where nothing is tuned.
        resolution: distance of the points in octaves; the whole range where nothing is tuned.
        runs: number of runs, the last one included.
        flops: what they cost together.
        loss: expected loss of the model.
        excess: that, less the loss of a perfectly tuned run at the target.
    """

    strategy: Strategy
    scale: float
    proxy: float | None
    points: int
    resolution: float
    runs: int
    flops: float
    loss: float
    excess: float


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do with a budget.

    Attributes:
        target: scale that is wanted.
        budget: FLOPs.
        options: the best of each strategy that the budget affords, the best first.
        pays: whether tuning at a proxy beats every strategy without one.
        sentences: what to do and why.
        known: the optimum found already, where it is no worse than the best option beyond the
            noise of one run; else None.
    """

    target: float
    budget: float
    options: tuple[Option, ...]
    pays: bool
    sentences: tuple[str, ...]
    known: Option | None = None

    @property
    def best(self) -> Option:
        """The option of least expected loss."""
        return self.options[0]


def advise(land: Landscape, *, target: float, budget: float) -> Advice:
    """Returns the best way to spend a budget on a model at a target scale.

    Args:
        land: what is known.
        target: scale that is wanted, above ``land.smallest``.
        budget: FLOPs for all runs together.

    Raises:
        AnalysisRefusal: the target is not above the smallest scale, the budget does not pay for
            a single run at the target, or the curvature is unknown.
    """
    _require_sense(land, target, budget)
    best: dict[Strategy, Option] = {}
    for option in _options(land, target, budget):
        known = best.get(option.strategy)
        if known is None or (option.excess, option.flops) < (known.excess, known.flops):
            best[option.strategy] = option
    ranked = tuple(sorted(best.values(), key=lambda option: (option.excess, option.flops)))
    others = [option.excess for option in ranked if option.strategy not in ("transfer", "keep")]
    pays = "transfer" in best and best["transfer"].excess < min(others)
    return Advice(
        target=target,
        budget=budget,
        options=ranked,
        pays=pays,
        sentences=tuple(_sentences(land, ranked, pays, target)),
        known=next((each for each in _near(land, ranked) if each.strategy == "keep"), None),
    )


def _near(land: Landscape, ranked: tuple[Option, ...]) -> list[Option]:
    """Returns the options that are no worse than the best beyond the noise, itself the first."""
    return [*ranked[:1], *(o for o in ranked[1:] if o.excess - ranked[0].excess < land.noise)]


def _require_sense(land: Landscape, target: float, budget: float) -> None:
    if not (math.isfinite(target) and target > land.smallest):
        raise AnalysisRefusal(
            f"target {target:g} is not above {land.smallest:g}, the smallest scale that could be "
            "a proxy; ask for a larger one"
        )
    if not (math.isfinite(budget) and budget > 0):
        raise AnalysisRefusal(f"flops {budget}: a positive number of FLOPs is due, such as 1e18")
    if not land.curvature > 0:
        raise AnalysisRefusal(
            "the curvature of the loss at its optimum is unknown, so nothing tells what a coarse "
            "grid costs; use another estimator"
        )
    single = land.cost.of(target)
    if single > budget:
        raise AnalysisRefusal(
            f"one run at {target:g} takes about {single:.3g} FLOPs, more than the budget of "
            f"{budget:.3g}, which pays for one at {land.cost.scale_for(budget):.4g} at most"
        )


def _options(land: Landscape, target: float, budget: float) -> Iterator[Option]:
    """Yields everything that the budget pays for."""
    single = land.cost.of(target)
    middle = land.price(land.octaves**2 * CELL)
    yield _single(land, "untuned", target, land.octaves, middle)
    if land.found is not None:
        moved = land.movement.squared(land.found.scale, target) + land.found.error**2
        yield _single(land, "keep", target, 0.0, land.price(moved))
    for scale in (*_proxies(land, target), target):
        points = _points(land, scale, budget)
        if points >= LEAST_POINTS:
            strategy: Strategy = "direct" if scale == target else "smaller"
            yield _grid(land, strategy, scale, scale, points, target)
        spare = _points(land, scale, budget - single)
        if scale < target and spare >= LEAST_POINTS:
            yield _grid(land, "transfer", target, scale, spare, target)


def _proxies(land: Landscape, target: float) -> list[float]:
    count = math.ceil(SCALES_PER_DOUBLING * math.log2(target / land.smallest))
    scales = np.geomspace(land.smallest, target, count + 1)[:-1]
    rounded = np.unique(np.round(scales) if land.whole else scales)
    return [float(scale) for scale in rounded if scale < target]


def _points(land: Landscape, scale: float, budget: float) -> int:
    """Returns the points per hyperparameter that a budget pays for, at most the finest grid."""
    if budget <= 0:
        return 0
    runs = budget / land.cost.of(scale)
    # A budget that was made to fit must not lose a point to rounding.
    points = int(runs ** (1 / land.hyperparameters) * (1 + 1e-9))
    if land.finest <= 0:
        return points
    return min(points, max(LEAST_POINTS, math.ceil(land.octaves / land.finest)))


def _single(
    land: Landscape, strategy: Strategy, target: float, resolution: float, price: float
) -> Option:
    return Option(
        strategy=strategy,
        scale=target,
        proxy=land.found.scale if strategy == "keep" and land.found else None,
        points=0,
        resolution=resolution,
        runs=1,
        flops=land.cost.of(target),
        loss=land.tuned(target) + price,
        excess=price,
    )


def _grid(
    land: Landscape, strategy: Strategy, final: float, proxy: float, points: int, target: float
) -> Option:
    resolution = land.octaves / points
    moved = land.movement.squared(proxy, final) if final > proxy else 0.0
    loss = land.tuned(final) + land.price(resolution**2 * CELL + moved)
    runs = points**land.hyperparameters
    last = 1 if final > proxy else 0
    return Option(
        strategy=strategy,
        scale=final,
        proxy=proxy,
        points=points,
        resolution=resolution,
        runs=runs + last,
        flops=runs * land.cost.of(proxy) + last * land.cost.of(final),
        loss=loss,
        excess=loss - land.tuned(target),
    )


def _sentences(
    land: Landscape, ranked: tuple[Option, ...], pays: bool, target: float
) -> Iterator[str]:
    best = ranked[0]
    yield action_words(best, target)
    named = {option.strategy: option for option in ranked}
    if "direct" not in named:
        yield f"{target:g} cannot be tuned directly: {LEAST_POINTS} runs of it exceed the budget"
    if "transfer" not in named:
        yield "the budget leaves too little beside the last run for a grid at any proxy"
    elif not pays:
        rival = next(o for o in ranked if o.strategy not in ("transfer", "keep"))
        left, other = f"{named['transfer'].excess:.2g}", f"{rival.excess:.2g}"
        than = f"leaves {left}, and {_name(rival)} {other}"
        yield f"transfer does not pay: the best proxy, {named['transfer'].proxy:g}, {than}"
    elif best.strategy == "keep":
        left, known = f"{named['transfer'].excess:.2g}", f"{best.excess:.2g}"
        yield (
            f"another grid is not worth its runs: the best proxy leaves {left}, the optimum that "
            f"the study has found {known}"
        )
    yield from _ties(land, ranked)


def _ties(land: Landscape, ranked: tuple[Option, ...]) -> Iterator[str]:
    """Yields which other option is no worse than the noise shows: one much cheaper, if any."""
    best = ranked[0]
    near = _near(land, ranked)[1:]
    if not near:
        return
    cheapest = min(near, key=lambda option: option.flops)
    cheaper = cheapest.flops < best.flops / 2
    other = cheapest if cheaper else near[0]
    advantage = f"is cheaper, {other.flops:.3g} FLOPs, and" if cheaper else "is as good:"
    yield (
        f"{_name(other)} {advantage} worse by only {other.excess - best.excess:.2g}, less than "
        f"the noise of one run ({land.noise:.2g})"
    )


def _name(option: Option) -> str:
    return {
        "transfer": "tuning at a proxy",
        "direct": "tuning the target directly",
        "smaller": f"tuning and keeping a smaller model ({option.scale:g})",
        "keep": "the optimum found already",
        "untuned": "the middle of the range, untuned,",
    }[option.strategy]


def action_words(option: Option, target: float) -> str:
    """Returns what to do, and what it is expected to leave."""
    left = f"expected loss {option.excess:.3g} above a perfectly tuned run"
    return f"{_action(option, target)}: {left}"


def _action(option: Option, target: float) -> str:
    each = f"{option.points} points {option.resolution:.2g} octaves apart"
    if option.strategy == "transfer":
        return f"tune at {option.proxy:g} ({each}), then run {target:g} once"
    if option.strategy == "direct":
        return f"tune {target:g} directly ({each})"
    if option.strategy == "smaller":
        return f"train {option.scale:g} instead, tuned directly ({each})"
    if option.strategy == "keep":
        return f"run {target:g} once with the optimum found at {option.proxy:g}"
    return f"run {target:g} once in the middle of the range, untuned"
