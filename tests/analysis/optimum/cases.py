"""Curves of the tables in tests/fixtures/cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from planted import steep_to_the_right, trials

from sweeper.analysis.optimum.curve import Curve, measured_curves

CASES = Path(__file__).parents[2] / "fixtures/cases"


def curves_of(name: str, variant: str | None = None) -> tuple[Curve, ...]:
    """Returns the curves of one variant of a table, or of all where it has none."""
    frame = pd.read_csv(CASES / f"{name}.csv")
    if variant is not None:
        frame = frame[frame["variant"] == variant]
    outcome = np.where(np.isfinite(frame["loss"]), "completed", "diverged")
    return measured_curves(frame.assign(outcome=outcome), scale="width", hyperparameter="lr")


def curve_of(losses: dict[float, list[float]], scale: float = 128.0) -> Curve:
    """Returns a curve from losses by log2 of the rate, one a seed."""
    runs = tuple(np.array(run, dtype=np.float64) for run in losses.values())
    return Curve(
        scale=scale,
        label=f"width {scale:g}",
        log2=np.array(list(losses), dtype=np.float64),
        means=np.array([run.mean() for run in runs]),
        runs=runs,
        seeds=tuple(tuple(range(len(run))) for run in runs),
        holes=np.array([]),
        answered=sum(map(len, runs)),
        declared=sum(map(len, runs)),
    )


def steep_curves(skew: float, step: float) -> Iterator[tuple[Curve, ...]]:
    """Yields the curves of groups with a steep side to the right, wherever the grid lies."""
    octaves = np.arange(-9, 0, step).tolist()
    for start in (-5.9, -5.5, -5.1, -4.7):
        frame = trials(shape=steep_to_the_right(skew), octaves=octaves, start=start, noise=0.002)
        yield measured_curves(frame, scale="width", hyperparameter="learning_rate")
