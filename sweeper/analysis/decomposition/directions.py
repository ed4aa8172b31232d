"""Top-k curves of a width against those of the largest: how alike they are, and how many leading
directions decide the optimum (arXiv 2512.22768, algorithm 1).

Legend: g points of a hyperparameter, n directions of the width, N of the largest, k = 1..n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sweeper.errors import AnalysisRefusal

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_POINTS = 3
"""Points of the hyperparameter that a curvature needs."""


@dataclass(frozen=True, kw_only=True)
class KappaSettings:
    """What is asked of the leading directions.

    Attributes:
        tolerances: weights of the slope of the rest that are tried, each for the width and for
            the largest.
        convexity: largest share of the inner points at which a top curve may bend downwards.
        argmin: octaves by which the minimum of a top curve may lie off that of the whole.
        invariance: share of the whole change of the loss up to which two top-k curves are alike.
        error: share of the change of the loss by which that to first order may miss it, for a
            point to count.
    """

    tolerances: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    convexity: float = 0.25
    argmin: float = 0.5
    invariance: float = 0.02
    error: float = 0.03


@dataclass(frozen=True, kw_only=True, eq=False)
class Kappa:
    """How many leading directions decide the optimum at a width.

    Attributes:
        k: of each point of the hyperparameter, [g], from 1.
        tolerances: the weights that were accepted.
        difference: mean difference of the two top curves.
        top, top_largest: the curves of the leading directions, [g].
        rest, rest_largest: those of the rest.
        bound: bound on how far the optimum can be from that of the largest width, octaves;
            infinite where a top curve has no curvature.
    """

    k: Ints
    tolerances: tuple[float, float]
    difference: float
    top: Floats
    top_largest: Floats
    rest: Floats
    rest_largest: Floats
    bound: float


def find_kappa(x: Floats, small: Floats, large: Floats, settings: KappaSettings) -> Kappa:
    """Returns the numbers of leading directions by algorithm 1: the first weights, by their sum,
    for which the leading directions that they choose make convex curves with the minima of the
    whole ones.

    Args:
        x: log2 of the hyperparameter, rising, [g].
        small: phi^k of the width at each point, [g, n].
        large: those of the largest width, [g, N], N >= n.
        settings: weights and limits.

    Raises:
        AnalysisRefusal: there are fewer than ``LEAST_POINTS`` points, or no weights are accepted.
    """
    if len(x) < LEAST_POINTS:
        raise AnalysisRefusal(
            f"{len(x)} points of the hyperparameter are decomposed at both widths, and leading "
            f"directions need {LEAST_POINTS}"
        )
    nearest, straightest = math.inf, math.inf
    weights = settings.tolerances
    for pair in sorted(product(weights, weights), key=lambda pair: (sum(pair), pair[0])):
        k = minimal_proxy(x, small, large, *pair)
        found = _kappa(x, small, large, k, pair)
        bends = max(downward_share(x, each) for each in (found.top, found.top_largest))
        off = max(
            abs(x[np.argmin(top)] - x[np.argmin(whole[:, -1])])
            for top, whole in ((found.top, small), (found.top_largest, large))
        )
        if bends <= settings.convexity and off <= settings.argmin:
            return found
        nearest = min(nearest, float(off))
        if off <= settings.argmin:
            straightest = min(straightest, bends)
    if nearest > settings.argmin:
        least = f"the nearest are {nearest:.2g} octaves off; allow more by argmin"
    else:
        least = f"{straightest:.0%} of the inner points bend downwards; allow more by convexity"
    raise AnalysisRefusal(
        "no number of leading directions makes convex curves with the minima of the whole ones: "
        f"{least}"
    )


def _kappa(x: Floats, small: Floats, large: Floats, k: Ints, pair: tuple[float, float]) -> Kappa:
    places = np.arange(len(x))
    top, largest = small[places, k - 1], large[places, k - 1]
    rest, rest_largest = small[:, -1] - top, large[:, -1] - largest
    return Kappa(
        k=k,
        tolerances=pair,
        difference=float(np.abs(top - largest).mean()),
        top=top,
        top_largest=largest,
        rest=rest,
        rest_largest=rest_largest,
        bound=optimum_bound(x, (top, largest), (rest, rest_largest)),
    )


def minimal_proxy(
    x: Floats, small: Floats, large: Floats, weight: float, weight_largest: float
) -> Ints:
    """Returns k of each point, [g], that make the proxy of the source least, by coordinate
    descent from n / 2: mean difference of the top curves plus the weighted steepest slopes of
    what is left of either."""
    size = small.shape[1]
    rests = (small[:, -1:] - small, large[:, -1:] - large[:, :size])
    apart = np.abs(small - large[:, :size]) / len(x)
    k = np.full(len(x), max(1, size // 2))
    changed = True
    while changed:
        changed = False
        for place in range(len(x)):
            costs = apart[place].copy()
            for rest, own in zip(rests, (weight, weight_largest), strict=True):
                costs += own * _steepest(x, rest, k, place)
            best = int(np.argmin(costs)) + 1
            if costs[best - 1] < costs[k[place] - 1]:
                k[place], changed = best, True
    return k


def _steepest(x: Floats, rest: Floats, k: Ints, place: int) -> Floats:
    """Returns the steepest slope of a rest for every k at one place, [n]."""
    chosen = rest[np.arange(len(x)), k - 1]
    others = [i for i in range(len(x) - 1) if place not in (i, i + 1)]
    slopes = np.abs(np.diff(chosen) / np.diff(x))
    found = np.full(rest.shape[1], max((slopes[i] for i in others), default=0.0))
    for neighbour in (place - 1, place + 1):
        if 0 <= neighbour < len(x):
            gap = abs(x[place] - x[neighbour])
            found = np.maximum(found, np.abs(rest[place] - chosen[neighbour]) / gap)
    return found


def curvatures(x: Floats, y: Floats) -> Floats:
    """Returns second derivatives at the inner points by three-point differences, [g - 2]."""
    left, right = np.diff(x)[:-1], np.diff(x)[1:]
    slopes = np.diff(y) / np.diff(x)
    found: Floats = 2 * (slopes[1:] - slopes[:-1]) / (left + right)
    return found


def downward_share(x: Floats, y: Floats) -> float:
    """Returns the share of the inner points at which a curve bends downwards."""
    return float((curvatures(x, y) < 0).mean())


def optimum_bound(x: Floats, tops: tuple[Floats, Floats], rests: tuple[Floats, Floats]) -> float:
    """Returns 2 sqrt(eps_inv) + eps_flat, which bounds the distance of two optima, octaves:
    the difference of the top curves over their curvature, and slope of the rest over that of the
    whole. Curvatures are the least over the inner points; infinite where one is not positive."""
    bends = [float(curvatures(x, each).min()) for each in tops]
    wholes = [
        float(curvatures(x, top + rest).min()) for top, rest in zip(tops, rests, strict=True)
    ]
    if max(bends) <= 0 or min(wholes) <= 0:
        return math.inf
    apart = float(np.abs(tops[0] - tops[1]).max()) / max(bends)
    steep = [float(np.abs(np.diff(rest) / np.diff(x)).max()) for rest in rests]
    return 2 * math.sqrt(apart) + sum(s / w for s, w in zip(steep, wholes, strict=True))


def differences(small: Floats, large: Floats) -> Floats:
    """Returns the mean difference of two top-k curves over the points, for each k as a share of
    the mean whole change at the largest width, [n]."""
    apart = np.abs(small - large[:, : small.shape[1]]).mean(0)
    found: Floats = apart / np.abs(large[:, -1]).mean()
    return found


def invariant_to(shares: Floats, limit: float) -> int:
    """Returns up to which k two widths' top-k curves are alike: the difference of none of them
    exceeds the limit; 0 if that of the first one does."""
    beyond = np.flatnonzero(shares > limit)
    return int(beyond[0]) if len(beyond) else len(shares)


def least_for(phi: Floats, share: float) -> int:
    """Returns the least k from which on phi^k, [n], is within a share of the whole change."""
    off = np.flatnonzero(np.abs(phi - phi[-1]) > (1 - share) * abs(phi[-1]))
    return int(off[-1]) + 2 if len(off) else 1


def summed(parts: Sequence[Floats]) -> Floats:
    """Returns the sum of arrays phi^k of several tensors, each as long as it has directions; one
    that is shorter counts with its whole from its end on."""
    size = max(map(len, parts))
    padded = [np.concatenate([each, np.full(size - len(each), each[-1])]) for each in parts]
    total: Floats = np.sum(padded, axis=0)
    return total
