"""Runs that blew up without becoming infinite: far above what the basin round the minimum allows.

A learning rate beyond the edge of stability often ends at the loss of an untrained model rather
than at infinity. Such a loss says where the basin ends and nothing about its shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweeper.analysis.optimum.curve import Curve, Floats
from sweeper.words import with_power

STEEPEST = 1.2
"""b of the steepest basin c (exp(b t) - b t - 1) / b^2 that a wall is compared with, per octave;
measured basins have b near 0.85."""

MARGIN = 3.0
"""Multiples of what that basin reaches above the minimum from which on a loss is no part of it."""

NOISE_SIGMAS = 10.0
"""Standard deviations of a run that come on top."""

SHAPELESS = 30.0
"""Multiples of the difference of the only two points that trained from which on a third is no
part of their basin; no curvature can be told from two."""

BEYOND_CLIFF = "blew up: they count as beyond the cliff, and nothing is fitted through them"
OUTLIER = "is left out as an outlier"


@dataclass(frozen=True, kw_only=True)
class BlowUp:
    """The runs of one curve on one side of its minimum that blew up.

    Attributes:
        label: how messages name the curve.
        above: whether they lie above the minimum.
        places: log2 positions of their points, the nearest first.
        losses: largest loss of a run at each.
        allowed: largest loss that the basin allows at the nearest.
        alone: whether points farther out train, so that only these runs are set aside.
    """

    label: str
    above: bool
    places: tuple[float, ...]
    losses: tuple[float, ...]
    allowed: float
    alone: bool

    def sentence(self, metric: str = "loss", sign: int = 1) -> str:
        """Returns what the reader should know of it.

        Args:
            metric: name of what is compared.
            sign: -1 where the losses are minus a metric of which more is better.
        """
        what = OUTLIER if self.alone else BEYOND_CLIFF
        return f"{self.clause(metric, sign)} {what}"

    def clause(self, metric: str = "loss", sign: int = 1) -> str:
        """Returns which runs of which curve, and how far beyond the basin they lie."""
        first = with_power(2.0 ** self.places[0])
        ends = {f"{sign * each:.4g}" for each in (min(self.losses), max(self.losses))}
        losses = f"{metric} {' to '.join(sorted(ends, key=float))}"
        allowed = f"{sign * self.allowed:.4g} at {'most' if sign > 0 else 'least'}"
        known = f"where a basin through the others reaches {allowed}"
        side = "" if self.alone else f" and {'above' if self.above else 'below'}"
        runs = "a run" if self.alone else "runs"
        return f"{self.label}: {runs} at {first}{side} ({losses}, {known})"


def without_blow_ups(curve: Curve) -> tuple[Curve, tuple[BlowUp, ...]]:
    """Returns a curve whose blown-up points count as diverged and whose outliers are left out,
    and what was found.

    From the lowest point outward, the lower neighbour first, a point belongs to the basin unless
    one of its runs lies more than ``MARGIN`` times as high above the minimum as a basin with a
    steep wall would that has the curvature and the vertex of the points found so far. What lies
    farther out than such a point is beyond the cliff, unless the losses come down again by half.
    """
    found = tuple(_Walk(curve).blow_ups()) if np.isfinite(curve.means).any() else ()
    if not found:
        return curve, ()
    means, runs, seeds = curve.means.copy(), list(curve.runs), list(curve.seeds)
    gone: list[int] = []
    for blow_up in found:
        for index in np.flatnonzero(np.isin(curve.log2, blow_up.places)).tolist():
            if not blow_up.alone:
                means[index], runs[index] = np.inf, np.full(len(runs[index]), np.inf)
                continue
            kept = curve.runs[index] <= blow_up.allowed
            runs[index] = curve.runs[index][kept]
            seeds[index] = tuple(np.array(curve.seeds[index])[kept].tolist())
            means[index] = runs[index].mean() if kept.any() else np.nan
            gone += [] if kept.any() else [index]
    left = [index for index in range(len(means)) if index not in gone]
    return (
        replace(
            curve,
            log2=curve.log2[left],
            means=means[left],
            runs=tuple(runs[index] for index in left),
            seeds=tuple(seeds[index] for index in left),
        ),
        found,
    )


class _Walk:
    """The walk from the lowest point of a curve outward."""

    def __init__(self, curve: Curve) -> None:
        self._label = curve.label
        self._x: list[float] = curve.log2.tolist()
        every = range(len(self._x))
        middle = _of_runs(curve, every, np.median)
        self._middle: list[float] = middle.tolist()
        self._worst: list[float] = _of_runs(curve, every, np.max).tolist()
        finite = np.isfinite(curve.means)
        self._lowest = int(np.argmin(np.where(finite, middle, np.inf)))
        self._finite = finite.tolist()
        self._noise = _run_noise(curve)
        self._rough = self._noise or _roughness(curve.log2[finite], middle[finite])

    def blow_ups(self) -> Iterator[BlowUp]:
        """Yields the blow-up of each side that has one, and the outliers."""
        basin = [self._lowest]
        ends: dict[int, int | None] = {side: self._next(self._lowest, side) for side in (-1, 1)}
        while left := [(side, end) for side, end in ends.items() if end is not None]:
            side, index = min(left, key=lambda each: self._middle[each[1]])
            allowed = self._allowed(basin, index)
            if self._worst[index] <= allowed:
                basin.append(index)
                ends[side] = self._next(index, side)
                continue
            farther = self._beyond(index, side)
            half = (self._worst[index] + self._middle[self._lowest]) / 2
            back = [j for j in farther if self._worst[j] <= min(half, self._allowed(basin, j))]
            rest = [index] if back else [index, *farther]
            yield BlowUp(
                label=self._label,
                above=side > 0,
                places=tuple(self._x[place] for place in rest),
                losses=tuple(self._worst[place] for place in rest),
                allowed=allowed,
                alone=bool(back),
            )
            ends[side] = self._next(index, side) if back else None

    def _next(self, index: int, side: int) -> int | None:
        other = index + side
        return other if 0 <= other < len(self._x) and self._finite[other] else None

    def _beyond(self, index: int, side: int) -> list[int]:
        places = range(index + side, len(self._x) if side > 0 else -1, side)
        return [place for place in places if self._finite[place]]

    def _allowed(self, basin: Sequence[int], candidate: int) -> float:
        """Returns the largest loss of a run at a point that the points of the basin allow; they
        and the candidate are indices."""
        points = sorted(basin)
        # The other side, although it may be higher: fewer than three points show no curvature.
        side = -1 if candidate > self._lowest else 1
        while len(points) < 3:
            more = self._next(points[0] if side < 0 else points[-1], side)
            if more is None:
                break
            points = sorted({*points, more})
        least = self._middle[self._lowest]
        if len(points) < 3:
            return self._allowed_shapeless(points, candidate)
        near = sorted(points, key=lambda j: abs(j - self._lowest))[:3]
        vertex = self._vertex(sorted(near))
        curvature = max(
            2 * (self._middle[j] - least) / max(abs(self._x[j] - vertex), 0.25) ** 2
            for j in points
        )
        lowest = self._x[self._lowest]
        away = max(abs(self._x[candidate] - place) for place in (vertex, lowest))
        above = candidate > self._lowest
        if not any(point > self._lowest if above else point < self._lowest for point in points):
            # No point tells how steep this side is, and the vertex may lie beyond the lowest.
            away += abs(self._x[candidate] - lowest) / 2
        t = STEEPEST * away
        height = curvature * (math.exp(min(t, 500.0)) - t - 1) / STEEPEST**2
        return least + MARGIN * height + NOISE_SIGMAS * self._rough

    def _allowed_shapeless(self, points: Sequence[int], candidate: int) -> float:
        """Returns the same where only one or two points are known: without limit for one, and
        where the losses go on rising after the candidate, as those of a wall do."""
        side = 1 if candidate > self._lowest else -1
        farther = self._next(candidate, side)
        if len(points) < 2 or farther is None:
            return math.inf
        least, loss = self._middle[self._lowest], self._middle[candidate]
        if self._middle[farther] - loss > (loss - least) / 2:
            return math.inf
        middles = [self._middle[point] for point in points]
        apart = max(middles) - min(middles)
        return least + SHAPELESS * apart + NOISE_SIGMAS * self._noise

    def _vertex(self, near: list[int]) -> float:
        """Returns the log2 of the vertex of the parabola through three points, no farther from
        the lowest point than half of the way to its neighbours."""
        x = [self._x[point] - self._x[self._lowest] for point in near]
        y = [self._middle[point] for point in near]
        first, second = ((y[i + 1] - y[i]) / (x[i + 1] - x[i]) for i in (0, 1))
        bend = (second - first) / (x[2] - x[0])
        vertex = 0.0 if bend <= 0 else (x[0] + x[1] - first / bend) / 2
        return self._x[self._lowest] + min(max(vertex, x[0] / 2), x[2] / 2)


def _run_noise(curve: Curve) -> float:
    """Returns the median standard deviation between the seeds of a point; 0 without seeds."""
    known = np.flatnonzero(np.isfinite(curve.means) & (curve.counts > 1)).tolist()
    return float(np.median(_of_runs(curve, known, np.std, ddof=1))) if known else 0.0


def _of_runs(
    curve: Curve, points: Sequence[int], statistic: Callable[..., Floats], **options: int
) -> Floats:
    """Returns a statistic of the runs of some points, as many in one call as have as many runs."""
    found = np.empty(len(points))
    alike: dict[int, list[int]] = {}
    for row, point in enumerate(points):
        alike.setdefault(len(curve.runs[point]), []).append(row)
    for rows in alike.values():
        runs = np.stack([curve.runs[points[row]] for row in rows])
        found[rows] = statistic(runs, axis=1, **options)
    return found


def _roughness(x: Floats, y: Floats) -> float:
    """Returns the median distance of a point from the line through its neighbours: what noise and
    curvature together leave there, where no seeds tell the noise."""
    if len(x) < 3:
        return 0.0
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    return float(np.median(np.abs(y[1:-1] - (1 - share) * y[:-2] - share * y[2:])))
