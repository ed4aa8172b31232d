"""What looks wrong with the results themselves: the goal, their unit, a loss that rises.

None of it can be known from numbers alone, so each answer is a sentence for the reader, or None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.analysis.optimum import Floats
from sweeper.words import is_batch_size, setting, words_in

LARGE_IS_BETTER = frozenset(
    ("acc", "accuracy", "top1", "top5", "auc", "auroc", "f1", "bleu", "psnr")
)
SMALL_IS_BETTER = frozenset(("loss", "error", "err", "nll", "perplexity", "ppl", "bpb", "mse"))
"""Words in a metric's name that say which end is better."""

LEAST_POINTS = 5
"""Points of a curve whose shape tells a goal."""

LEAST_DROP = 0.2
"""Share of its range by which a curve that is upside down comes down from its worst point towards
both ends; one that blows up and levels off comes down by less."""

LEAST_SHARE = 2 / 3
"""Share of the curves of a study that are upside down where its goal is wrong."""

BITS = -math.log(math.log(2))
"""Log of a loss in bits over the same loss in nats."""

SAME_FACTOR = 0.01
"""Log of a ratio of losses, at most, by which it may miss that of two units at any scale."""

MOST_VARIANTS = 12
"""Variants of which each two are compared."""

SMOOTH = 0.06
"""Second difference of log loss from scale to scale, at most, that counts as smooth."""

LEAST_RISE = 0.02
"""Share of the loss by which it rises from the smallest to the largest scale, at least."""

LEAP = 0.5
"""Share of the loss by which it rises from one scale to the next, where it falls elsewhere."""

RISE_SIGMAS = 4.0
"""Standard deviations of a run by which it rises, at least."""


def wrong_goal(
    metric: str, goal: Literal["min", "max"], curves: Iterable[Floats], hyperparameter: str
) -> str | None:
    """Returns why the other end of the metric is likely the better one, and what to do.

    Args:
        metric: name of the metric.
        goal: the end that is taken for the better one.
        curves: losses in the order of the hyperparameter, lower where better by that goal; +inf
            where a run diverged.
        hyperparameter: its name.
    """
    words = words_in(metric)
    fitting, contrary = SMALL_IS_BETTER, LARGE_IS_BETTER
    if goal == "max":
        fitting, contrary = contrary, fitting
    why = f"of a metric of that name the {'larger' if goal == 'min' else 'smaller'} is better"
    if words & fitting or not words & contrary:
        shapes = [
            _upside_down(curve) for curve in curves if np.isfinite(curve).sum() >= LEAST_POINTS
        ]
        if len(shapes) < 2 or sum(shapes) < LEAST_SHARE * len(shapes):
            return None
        why = (
            f"{sum(shapes)} of {len(shapes)} curves are worst inside the {hyperparameter} grid "
            "and best at its end"
        )
    other = "max" if goal == "min" else "min"
    return (
        f"{metric} with goal {goal} looks like the wrong goal: {why}; sweeper import --goal "
        f"{other}, or goal: {other} in the study file, looks for the other end"
    )


def _upside_down(curve: Floats) -> bool:
    """Returns whether a curve rises to its worst point and falls from there on."""
    losses = curve[np.isfinite(curve)]
    worst, best = int(np.argmax(losses)), int(np.argmin(losses))
    drop = LEAST_DROP * float(np.ptp(losses))
    ends = (0, len(losses) - 1)
    if worst in ends or best not in ends or np.max(losses[list(ends)]) > losses[worst] - drop:
        return False
    rises = np.diff(losses)
    return bool(np.mean(np.append(rises[:worst] > 0, rises[worst:] < 0)) > 0.8)


@dataclass(frozen=True, kw_only=True, eq=False)
class BestLosses:
    """The lowest seed mean of every scale, smallest scale first.

    Attributes:
        scale: name of the scale.
        scales: its values, shape [n].
        losses: the best losses, shape [n].
        inside: whether the best point is no end of its grid, shape [n].
        noise: standard deviation of one run, NaN where no point has two.
    """

    scale: str
    scales: Floats
    losses: Floats
    inside: NDArray[np.bool_]
    noise: float


def best_losses(points: pd.DataFrame, scale: str, names: tuple[str, ...]) -> BestLosses:
    """Returns the best losses of one group.

    Args:
        points: one row a point with the columns ``scale`` and ``names``, ``mean`` (of the loss
            over seeds; +inf where any diverged) and ``std`` (between seeds, NaN of one).
        scale: name of the scale.
        names: the hyperparameters.
    """
    # Plain arrays: pandas takes longer to cut out each scale than all the rest.
    table = points[[scale, "mean", "std", *names]].to_numpy(dtype=np.float64)
    scales = np.unique(table[np.isfinite(table[:, :2]).all(axis=1), 0])
    parts = [table[table[:, 0] == value] for value in scales]
    best = [
        part[np.argmin(np.where(np.isfinite(part[:, 1]), part[:, 1], np.inf))] for part in parts
    ]
    grids = [(np.nanmin(part[:, 3:], axis=0), np.nanmax(part[:, 3:], axis=0)) for part in parts]
    spreads = [row[2] for row in best if np.isfinite(row[2])]
    return BestLosses(
        scale=scale,
        scales=scales,
        losses=np.array([row[1] for row in best]),
        inside=np.array(
            [
                ((low < row[3:]) & (row[3:] < high)).all()
                for row, (low, high) in zip(best, grids, strict=True)
            ],
            dtype=np.bool_,
        ),
        noise=float(np.median(spreads)) if spreads else math.nan,
    )


def mixed_units(best: BestLosses) -> str | None:
    """Returns which scales look like bits among nats, or nats among bits: log2(e) = 1.4427 times
    what the others suggest, so that the trend is smooth once they are converted.

    One scale, or all up to or from some scale on; four scales at least, three where it is the one
    in the middle.
    """
    count = len(best.scales)
    if count < 3 or not np.all(best.losses > 0):
        return None
    u, logs = np.log2(best.scales), np.log(best.losses)
    before = _roughness(u, logs)
    if before < BITS / 2:
        return None
    single = [{k} for k in range(count)]
    runs = [set(range(k)) for k in range(2, count - 1)]
    found = []
    for places in [*single, *runs] if count > 3 else [{1}]:
        other = np.isin(np.arange(count), list(places))
        found += [(_roughness(u, logs - sign * BITS * other), other, sign) for sign in (1, -1)]
    after, other, sign = min(found, key=lambda item: item[0])
    if after > SMOOTH:
        return None
    if other.sum() > count / 2:
        other, sign = ~other, -sign
    names = ", ".join(setting(float(value)) for value in best.scales[other])
    here, there, factor = ("bits", "nats", 1.4427) if sign > 0 else ("nats", "bits", 0.6931)
    return (
        f"the losses of {best.scale} {names} are {factor} times what the other scales suggest, "
        f"like {here} among {there}; if so, multiply them by {1 / factor:.4f}"
    )


def units_between(bests: Mapping[str, BestLosses]) -> list[str]:
    """Returns a sentence on each two variants whose best losses differ by log2(e) = 1.4427 times
    at every scale that both have, two at least: likely bits against nats.

    Args:
        bests: best losses by the name of the variant, all under the same settings.
    """
    known = {
        name: dict(zip(best.scales.tolist(), np.log(best.losses).tolist(), strict=True))
        for name, best in list(bests.items())[:MOST_VARIANTS]
        if np.all(best.losses > 0)
    }
    said = []
    for pair in combinations(known, 2):
        shared = known[pair[0]].keys() & known[pair[1]].keys()
        one, other = sorted(pair, key=lambda name: sum(known[name][scale] for scale in shared))
        off = [known[other][scale] - known[one][scale] - BITS for scale in shared]
        if len(off) > 1 and max(map(abs, off)) < SAME_FACTOR:
            said.append(
                f"the best losses of {other} are 1.4427 times those of {one} at every "
                f"{bests[one].scale}, like bits beside nats; if so, multiply them by 0.6931"
            )
    return said


def _roughness(u: Floats, logs: Floats) -> float:
    """Returns the largest change of slope from scale to scale, per typical step."""
    slopes = np.diff(logs) / np.diff(u)
    return float(np.max(np.abs(np.diff(slopes))) * np.median(np.diff(u)))


def rising_loss(best: BestLosses, metric: str, goal: Literal["min", "max"]) -> str | None:
    """Returns from where to where the best loss rises with the scale, if it does: beyond the
    noise between seeds, or without seeds at every of three scales or more; else the first two
    scales between which it leaps."""
    if is_batch_size(best.scale):
        return None
    scales, losses = best.scales[best.inside], best.losses[best.inside]
    if len(losses) < (3 if math.isnan(best.noise) else 2):
        return None
    rise = float(losses[-1] - losses[0])
    steps = np.diff(losses) > 0
    least = max(LEAST_RISE * abs(float(losses[0])), RISE_SIGMAS * float(np.nan_to_num(best.noise)))
    if rise < least or not (steps.all() if np.isnan(best.noise) else steps.mean() > 0.7):
        leaps = np.flatnonzero(np.diff(losses) > np.maximum(LEAP * np.abs(losses[:-1]), least))
        if not len(leaps):
            return None
        part = slice(leaps[0], leaps[0] + 2)
        scales, losses = scales[part], losses[part]
    sign, verb = (1, "rises") if goal == "min" else (-1, "falls")
    return (
        f"the best {metric} {verb} with {best.scale}, from {sign * losses[0]:.4g} at "
        f"{setting(float(scales[0]))} to {sign * losses[-1]:.4g} at "
        f"{setting(float(scales[-1]))}: larger models usually do better, so check that these "
        "runs are of one task, length and unit"
    )
