"""Frontiers of loss against compute, and how much compute one saves over another.

The compute multiplier of a point is the compute at which the baseline reaches the point's loss,
over the point's own compute: 2 means that the baseline needs twice as much. Compute is read off
the baseline by interpolating ln compute piecewise linearly in ln loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import chdtri

from sweeper.analysis.compute.law import Law
from sweeper.analysis.optimum import Floats
from sweeper.errors import AnalysisRefusal

REACH = 8.0
"""How many times beyond the cheapest and the dearest point of a frontier compute is read at most;
further out nothing that was measured bears on a law of a few points."""


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """One tuned loss and what it cost.

    Attributes:
        label: how tables name it, for example ``width 128``.
        compute: cost of one run: FLOPs, or seconds.
        loss: tuned loss, positive.
        error: standard error of the loss; NaN where it is unknown.
        bound: True where the loss is an upper bound, its optimum being at an edge of the grid.
        by_seed: the loss of each seed; empty where the seeds do not tell one.
    """

    label: str
    compute: float
    loss: float
    error: float = math.nan
    bound: bool = False
    by_seed: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frontier:
    """Tuned losses against compute, made by :func:`frontier_of`.

    Attributes:
        name: how messages name it.
        points: the best point of every compute, cheapest first.
        dof: degrees of freedom behind their errors; infinite if the errors are known.
        dominated: labels of the points that are no better than a cheaper one; the frontier
            passes them by.
    """

    name: str
    points: tuple[FrontierPoint, ...]
    dof: float
    dominated: tuple[str, ...]
    ln_compute: Floats = field(repr=False)
    ln_loss: Floats = field(repr=False)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest loss between which nothing is extrapolated."""
        return float(np.exp(self.ln_loss.min())), float(np.exp(self.ln_loss[0]))

    def holds(self, loss: float) -> bool:
        """Returns whether a loss lies between those of the frontier; float noise apart."""
        low, high = self.range
        return low * (1 - 1e-12) <= loss <= high * (1 + 1e-12)

    def compute_at(self, loss: float) -> float:
        """Returns the compute at which the frontier reaches a positive loss."""
        place = np.array([[math.log(loss)]])
        return math.exp(read_compute(self.ln_compute, self.ln_loss[None, :], place)[0, 0])

    @property
    def noisy(self) -> bool:
        """Whether the errors of all points are known."""
        return bool(np.isfinite([point.error for point in self.points]).all())

    def drawn(self, normals: Floats, levels: Floats) -> Floats:
        """Returns ln losses with their noise, shape [R, K]; the errors have to be known.

        The noise level of a draw is what the degrees of freedom leave open, so that percentiles
        widen as Student's t does.

        Args:
            normals: standard normal draws, shape [R, K].
            levels: quantile of chi2 that sets the noise level of each draw, shape [R].
        """
        spread = np.ones(len(levels))
        if math.isfinite(self.dof):
            # chdtri inverts the upper tail.
            spread = np.sqrt(self.dof / chdtri(self.dof, 1 - levels))
        # Relative errors of losses are small, so that ln (L + e) is ln L + e / L.
        relative = np.array([point.error for point in self.points]) / np.exp(self.ln_loss)
        return np.asarray(self.ln_loss + spread[:, None] * normals * relative)


def frontier_of(name: str, points: Sequence[FrontierPoint], *, dof: float = math.inf) -> Frontier:
    """Returns the frontier of points in any order.

    Args:
        name: how messages name it.
        points: tuned losses; of two with one compute the better counts.
        dof: degrees of freedom behind their errors.

    Raises:
        AnalysisRefusal: no points, or a compute or loss that is not positive and finite.
    """
    if not points:
        raise AnalysisRefusal(f"{name}: no tuned loss to compare")
    for point in points:
        for what, value in (("compute", point.compute), ("loss", point.loss)):
            if not (math.isfinite(value) and value > 0):
                raise AnalysisRefusal(
                    f"{name}, {point.label}: {what} = {value:g}; multipliers are read in "
                    f"logarithms, so {what} must be positive and finite"
                )
    best: dict[float, FrontierPoint] = {}
    for point in sorted(points, key=lambda p: (p.compute, p.loss, p.label)):
        best.setdefault(point.compute, point)
    ordered = list(best.values())
    lowest = np.minimum.accumulate([point.loss for point in ordered])
    dominated = [p.label for p, least in zip(ordered[1:], lowest, strict=False) if p.loss >= least]
    return Frontier(
        name=name,
        points=tuple(ordered),
        dof=dof,
        dominated=tuple(dominated),
        ln_compute=np.log([point.compute for point in ordered]),
        ln_loss=np.log([point.loss for point in ordered]),
    )


def require_baseline(baseline: Frontier) -> None:
    """Checks that multipliers can be read off a frontier.

    Raises:
        AnalysisRefusal: fewer than two points whose loss falls with compute.
    """
    kept = len(baseline.points) - len(baseline.dominated)
    if kept < 2:
        count = len(baseline.points)
        why = (
            "it has one point" if count == 1 else f"none of its {count} points beats the cheapest"
        )
        raise AnalysisRefusal(
            f"{baseline.name} cannot be a baseline: {why}, and a multiplier needs two points "
            "between which the loss falls with compute; add a scale, or swap baseline and other"
        )


def read_compute(ln_compute: Floats, ln_loss: Floats, at: Floats) -> Floats:
    """Returns ln compute at ln losses ``at`` [R, M] on R frontiers, shape [R, M].

    A point that is no better than a cheaper one is passed by. Beyond the ends the first and the
    last stretch go on. NaN where no two points are left.

    Args:
        ln_compute: rising, shape [K].
        ln_loss: losses of R frontiers there, shape [R, K].
        at: where to read, shape [R, M].
    """
    count, size = ln_loss.shape
    rows, index = np.arange(count)[:, None], np.arange(size)
    lowest = np.minimum.accumulate(ln_loss, axis=1)
    kept = np.ones((count, size), dtype=bool)
    kept[:, 1:] = lowest[:, 1:] < lowest[:, :-1]
    last = np.maximum.accumulate(np.where(kept, index, -1), axis=1)
    second = np.argmax(np.cumsum(kept, axis=1) == 2, axis=1)
    passed = np.sum(lowest[:, None, :] > at[:, :, None], axis=2)
    right = np.clip(passed, second[:, None], last[:, -1:])
    left = last[rows, np.maximum(right - 1, 0)]
    run = ln_loss[rows, right] - ln_loss[rows, left]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (at - ln_loss[rows, left]) / run
        place = ln_compute[left] + share * (ln_compute[right] - ln_compute[left])
    enough = (kept.sum(axis=1) >= 2)[:, None]
    return np.where(enough, place, np.nan)


def compute_lost(source: Frontier | Law, *, loss: float, regret: float) -> tuple[float, bool]:
    """Returns the factor of compute that a regret throws away, and whether it is extrapolated.

    A tuned run that is no better than the transferred one needs 1 / factor of the compute. The
    factor is NaN where that lies more than :data:`REACH` times beyond a frontier.

    Args:
        source: the tuned frontier, or a law of one scale that was fitted to compute.
        loss: tuned loss, in the unit of the frontier.
        regret: transferred minus tuned loss; infinite and NaN lead to the same.

    Raises:
        AnalysisRefusal: the loss of the frontier does not fall with compute.
    """
    if not math.isfinite(regret):
        return regret, False
    if isinstance(source, Frontier):
        require_baseline(source)
        tuned, needed = source.compute_at(loss), source.compute_at(loss + regret)
        first, last = np.exp(source.ln_compute[[0, -1]]) * (1 / REACH, REACH)
        factor = tuned / needed if first <= needed and tuned <= last else math.nan
        return factor, not (source.holds(loss) and source.holds(loss + regret))
    tuned, needed = source.scale_at(loss), source.scale_at(loss + regret)
    extrapolated = not source.within(tuned, needed)
    return (tuned / needed if math.isfinite(tuned) else math.nan), extrapolated
