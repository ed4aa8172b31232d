"""What the analysis reads off the runs of a group: intervals of optima, verdicts on claims."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweeper.analysis import (
    DEFAULT,
    Claim,
    Optimum,
    Verdict,
    judge,
    measure_drift,
    optima_of,
)
from sweeper.errors import AnalysisRefusal

RESAMPLES = 300
"""Resampled curves behind an interval: its half width is right within a twentieth."""

HEAVY = 0.5
"""Share of the largest part in the variance of a slope from which on a scale matters for it."""


@dataclass(frozen=True)
class Reading:
    """The optima of a group along one hyperparameter.

    Attributes:
        optima: one a scale that could be analysed, smallest scale first.
    """

    optima: tuple[Optimum, ...]

    @classmethod
    def of(
        cls,
        rows: Iterable[Sequence[float]],
        tuned: int,
        index: int,
        *,
        estimator: str = DEFAULT,
        resamples: int = RESAMPLES,
    ) -> Reading:
        """Returns what runs say, other hyperparameters tuned at every value.

        Args:
            rows: scale, value of every tuned hyperparameter, seed and loss of every run: +inf
                where it diverged, NaN where it failed.
            tuned: the number of tuned hyperparameters.
            index: whose optima are read.
            estimator, resamples: as in :func:`sweeper.analysis.optima_of`.
        """
        names = [f"tuned{number}" for number in range(tuned)]
        frame = pd.DataFrame(rows, columns=["scale", *names, "seed", "loss"], dtype=float)
        ended = np.where(np.isposinf(frame["loss"]), "diverged", "completed")
        frame["outcome"] = np.where(frame["loss"].isna(), "failed", ended)
        try:
            located = optima_of(
                frame,
                scale="scale",
                hyperparameter=names[index],
                others=[name for name in names if name != names[index]],
                estimator=estimator,
                allow_holes=True,
                resamples=resamples,
            )
        except AnalysisRefusal:
            return cls(())
        return cls(located.optima)

    def half_width(self, scale: float) -> float:
        """Returns half the 95% interval of an optimum, octaves: infinite where it has none."""
        halves = (
            max(each.high - each.log2, each.log2 - each.low)
            for each in self.optima
            if each.scale == scale and each.located and not each.censored
        )
        return next(halves, math.inf)

    def verdicts(self, claims: Sequence[tuple[float, float]]) -> list[Verdict]:
        """Returns the verdict on each claim, given as exponent and tolerance; nothing where there
        is no drift to judge."""
        try:
            drift = measure_drift(self.optima)
        except AnalysisRefusal:
            return []
        return [judge(Claim(exponent=e, tolerance=t), drift, self.optima) for e, t in claims]

    def weights(self) -> dict[float, float]:
        """Returns by how much each scale widens the interval of the slope: its part in the
        variance; infinite where noise leaves the interval of an optimum open. Optima that are
        bounds are left out: more seeds do not move an edge."""
        u = {each.scale: math.log2(each.scale) for each in self.optima if not each.censored}
        middle = sum(u.values()) / max(len(u), 1)
        return {
            scale: ((place - middle) * self.half_width(scale)) ** 2
            for scale, place in u.items()
            if place != middle
        }
