"""Seeds that two frontiers share: how far the luck of a seed moves both alike.

Runs of one seed often have data, order and initial values in common (common random numbers). What
these do to both sides alike cancels in a comparison; how much that is, is measured and never
assumed, since equal numbers need not mean equal luck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.analysis.points import Floats

LEAST_DOF = 4
"""Fewer degrees of freedom than this tell no correlation."""

NEARLY = 1 - 1e-12
"""Largest correlation whose Fisher's z is finite."""


@dataclass(frozen=True, kw_only=True)
class SharedSeeds:
    """What seeds do to two frontiers alike.

    Attributes:
        pairs: places (baseline, other) of the points that ran with the same seeds.
        dof: degrees of freedom behind the correlation: seeds less one, summed over the pairs.
        measured: correlation of the losses of the same seed, pooled over the pairs.
        correlation: what intervals may count on: one standard error below the measured one in
            Fisher's z, and no less than 0.
    """

    pairs: tuple[tuple[int, int], ...]
    dof: int
    measured: float
    correlation: float

    def tie(self, baseline: Floats, other: Floats) -> Floats:
        """Returns standard normal draws of the other side tied to those of the baseline.

        Args:
            baseline: draws, shape [R, K].
            other: draws independent of them, shape [R, M].
        """
        tied = other.copy()
        own = math.sqrt(1 - self.correlation**2)
        for i, j in self.pairs:
            tied[:, j] = self.correlation * baseline[:, i] + own * other[:, j]
        return tied


def shared_seeds(
    baseline: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]]
) -> SharedSeeds | None:
    """Returns what seeds do to two sides alike; None where too few are shared to tell.

    Args:
        baseline: loss by seed, by label of the point, in the order of the frontier; empty where
            a point has no loss by seed.
        other: the same of the other side; points pair up by their labels.
    """
    places = {label: index for index, label in enumerate(baseline)}
    pairs, left, right = [], [], []
    for index, (label, losses) in enumerate(other.items()):
        mine = baseline.get(label, {})
        if len(losses) > 1 and set(losses) == set(mine):
            pairs.append((places[label], index))
            left.append(_deviations(mine))
            right.append(_deviations(losses))
    dof = sum(len(part) - 1 for part in left)
    if dof < LEAST_DOF:
        return None
    one, two = np.concatenate(left), np.concatenate(right)
    spread = math.sqrt(float(one @ one) * float(two @ two))
    measured = float(one @ two) / spread if spread > 0 else 0.0
    # n values about a known mean have n degrees of freedom; Fisher's z then has variance
    # 1 / (dof - 2).
    bounded = math.atanh(float(np.clip(measured, -NEARLY, NEARLY))) - 1 / math.sqrt(dof - 2)
    return SharedSeeds(
        pairs=tuple(pairs),
        dof=dof,
        measured=measured,
        correlation=max(0.0, math.tanh(bounded)),
    )


def _deviations(losses: Mapping[int, float]) -> Floats:
    values: Sequence[float] = [losses[seed] for seed in sorted(losses)]
    return np.asarray(values, dtype=np.float64) - float(np.mean(values))
