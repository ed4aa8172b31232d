"""Figure: the training curve of the best trial of every scale and group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sweeper.report.data import Answer
from sweeper.report.figures import canvas

SMOOTHING = 0.02
"""Width of the running mean as a share of the curve's points."""

SETTLED = 0.1
"""Share of a run after which its loss decides how much of the axis is shown."""


def best_trials(points: pd.DataFrame) -> pd.DataFrame:
    """Returns the completed trial with the lowest loss of each group and scale."""
    finite = points[np.isfinite(points["loss"])]
    best = finite.groupby(["group", "scale"], sort=False)["loss"].idxmin()
    lowest: pd.DataFrame = finite[finite.index.isin(best)]
    return lowest


def training_table(best: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Returns the curves of the best trials: scale, value, seed, key, tokens, train_loss and
    smoothed (its running mean).

    Args:
        best: rows of :func:`best_trials`.
        curves: curves with the columns key, tokens and train_loss.
    """
    columns = ["group", "scale", "value", "seed", "key", "tokens", "train_loss", "smoothed"]
    if "train_loss" not in curves.columns:
        return pd.DataFrame(columns=columns)
    parts = [_smoothed(row, curves[curves["key"] == row["key"]]) for _, row in best.iterrows()]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _smoothed(row: pd.Series[Any], curve: pd.DataFrame) -> pd.DataFrame:
    known = curve.dropna(subset=["train_loss"]).sort_values("tokens")
    window = smoothing_window(len(known))
    mean = known["train_loss"].rolling(window, center=True, min_periods=1).mean()
    names = ["group", "scale", "value", "seed"]
    return known.assign(smoothed=mean, **{name: row[name] for name in names})


def smoothing_window(points: int) -> int:
    """Returns the odd number of neighbouring points that are averaged."""
    return 2 * int(SMOOTHING * points / 2 + 0.5) + 1


def training_figure(table: pd.DataFrame, labels: Sequence[str], answer: Answer) -> bytes:
    """Returns the figure as PNG, one panel a group.

    Args:
        table: from :func:`training_table`.
        labels: groups to draw.
        answer: names of the scale and of the loss's unit.
    """
    scales = sorted(table["scale"].unique().tolist())
    colours = canvas.scale_colours(scales)
    limits = _limits(table)
    unit = f" ({answer.unit})" if answer.unit.startswith("nats") else ""

    def draw(figure: Figure) -> None:
        axes = canvas.panels(figure, len(labels))
        for place, (panel, name) in enumerate(zip(axes, labels, strict=True)):
            mine = table[table["group"] == name]
            for scale in scales:
                curve, colour = mine[mine["scale"] == scale], colours[scale]
                panel.plot(curve["tokens"], curve["train_loss"], color=colour, lw=0.5, alpha=0.25)
                panel.plot(curve["tokens"], curve["smoothed"], color=colour, lw=1.6)
            panel.set_ylim(*limits)
            panel.set_title(canvas.name(name), loc="left")
            panel.xaxis.set_major_formatter(canvas.quantity_ticks())
            if place % 2 == 0:
                panel.set_ylabel(f"training loss{unit}")
            if place >= len(labels) - 2:
                panel.set_xlabel("tokens seen")
        handles = [
            canvas.key_of(canvas.plain(f"{answer.scale} {s:g}"), color=colours[s], lw=1.6)
            for s in scales
        ]
        handles.append(canvas.key_of("as measured", color="#555555", lw=0.5, alpha=0.5))
        handles.append(canvas.key_of(_smoothing_words(), color="#555555", lw=1.6))
        canvas.legend(figure, handles)

    return canvas.render(draw, height=canvas.panel_height(len(labels)))


def _smoothing_words() -> str:
    return f"running mean over {SMOOTHING:.0%} of the run"


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Returns the range of losses after the first part of each run, which falls steeply."""
    end = table.groupby(["group", "scale"])["tokens"].transform("max")
    settled = table[table["tokens"] >= SETTLED * end]
    low = min(float(table["smoothed"].min()), float(settled["train_loss"].quantile(0.002)))
    high = float(settled["smoothed"].max())
    room = (high - low) or abs(high) * 0.01 or 1.0
    return low - 0.05 * room, high + 0.1 * room
