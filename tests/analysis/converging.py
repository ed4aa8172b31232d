"""Trials of studies whose loss and optimum converge as powers of the width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sweeper.answers.drift import DriftGroup, drift_statement

WIDTHS = tuple(2.0 ** (k / 2) for k in range(15, 29))
"""Half octaves from 2^7.5 to 2^14."""


def converging(
    *,
    loss: tuple[float, float, float],
    optimum: tuple[float, float, float],
    widths: Sequence[float] = WIDTHS,
    curvature: float = 0.05,
    noise: float = 0.0,
    seeds: int = 3,
    draw: int = 0,
    octaves: Sequence[float] = tuple(np.arange(-11, -3.9, 0.5)),
    variant: str = "mup",
) -> pd.DataFrame:
    """Returns trials with loss = E + A n^-alpha and log2 optimum = x + B n^-beta.

    Args:
        loss: E, A, alpha.
        optimum: x, B, beta.
        widths, octaves: the grid.
        curvature: second derivative of the loss, per octave^2.
        noise: standard deviation of a run.
        seeds: runs a point.
        draw: seed of the noise.
        variant: name of the variant.
    """
    rng = np.random.default_rng(draw)
    rows: list[dict[str, Any]] = []
    for width in widths:
        best = optimum[0] + optimum[1] * width ** -optimum[2]
        tuned = loss[0] + loss[1] * width ** -loss[2]
        for place in octaves:
            for seed in range(seeds):
                luck = noise * rng.standard_normal()
                rows.append(
                    {
                        "variant": variant,
                        "width": width,
                        "learning_rate": 2.0**place,
                        "seed": seed,
                        "loss": tuned + curvature / 2 * (place - best) ** 2 + luck,
                        "outcome": "completed",
                        "flops": 3e6 * width**2,
                    }
                )
    return pd.DataFrame(rows)


def group_of(frame: pd.DataFrame, **options: Any) -> DriftGroup:
    """Returns the only group of a study, its optima read by a spline."""
    given: dict[str, Any] = {
        "study": "converging",
        "scale": "width",
        "hyperparameter": "learning_rate",
        "estimator": "spline",
        "resamples": 200,
    }
    (group,) = drift_statement(frame, **(given | options)).groups
    return group
