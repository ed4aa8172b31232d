"""Loss surfaces whose optima are known, and the tables of trials that a store would give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

SCALES = (32, 64, 128, 256)
OCTAVES = tuple(float(k) for k in range(-9, 0))

Shape = Callable[[float], float]
"""Loss above the minimum by octaves from the optimum."""


def parabola(curvature: float = 0.08) -> Shape:
    """Returns a symmetric basin with a second derivative in loss / octave^2."""
    return lambda t: curvature * t * t / 2


def steep_to_the_right(skew: float, curvature: float = 0.08) -> Shape:
    """Returns exp(b t) - b t - 1, scaled: the basin of a learning rate near instability."""
    return lambda t: curvature * float(np.exp(skew * t) - skew * t - 1) / skew**2


def trials(
    *,
    slope: float = 0.0,
    start: float = -5.0,
    scales: Sequence[float] = SCALES,
    octaves: Sequence[float] = OCTAVES,
    shape: Shape | None = None,
    seeds: int = 3,
    noise: float = 0.0,
    seed_effect: float = 0.0,
    cliff: float | None = None,
    draw: int = 0,
    variant: str = "mup",
) -> pd.DataFrame:
    """Returns trials of a study whose optimum moves by ``slope`` octaves per doubling.

    Args:
        slope: planted drift.
        start: log2 of the optimum at the smallest scale.
        scales, octaves: the grid.
        shape: loss above the minimum; a parabola unless given.
        seeds: runs a point.
        noise: standard deviation of a run.
        seed_effect: standard deviation of what a seed adds at all points of a scale alike.
        cliff: octaves above the optimum from which on trials diverge; None for nowhere.
        draw: seed of the noise.
        variant: name of the variant.
    """
    rng = np.random.default_rng(draw)
    rows: list[dict[str, Any]] = []
    basin = shape or parabola()
    for index, scale in enumerate(scales):
        best = start + slope * float(np.log2(scale / scales[0]))
        common = rng.standard_normal(seeds) * seed_effect
        for place in octaves:
            luck = rng.standard_normal(seeds) * noise
            gone = cliff is not None and place - best >= cliff
            for seed in range(seeds):
                loss = 3.0 - 0.2 * index + basin(place - best) + luck[seed] + common[seed]
                rows.append(
                    {
                        "variant": variant,
                        "width": scale,
                        "learning_rate": 2.0**place,
                        "seed": seed,
                        "loss": np.nan if gone else loss,
                        "outcome": "diverged" if gone else "completed",
                    }
                )
    return pd.DataFrame(rows)


def without(frame: pd.DataFrame, *, width: float, octave: float, outcome: str) -> pd.DataFrame:
    """Returns the table with all seeds of one point turned into ``missing`` or ``failed``."""
    out = frame.copy()
    cell = (out["width"] == width) & np.isclose(np.log2(out["learning_rate"]), octave)
    assert cell.any()
    out.loc[cell, "loss"] = np.nan
    out.loc[cell, "outcome"] = outcome
    return out
