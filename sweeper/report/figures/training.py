"""Figure: the training curve of the best trial of every scale and group."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from sweeper.report.figures import canvas
from sweeper.report.tables import SMOOTHING, ReportData

SETTLED = 0.1
"""Share of a run after which its loss decides how much of the axis is shown."""


def training_drawing(data: ReportData) -> canvas.Drawing | None:
    """Returns the training curves; None without curves."""
    if data.curves.empty:
        return None
    return canvas.Drawing(
        kind="training",
        title="Training curves",
        caption="The completed trial with the lowest loss at every scale. Faint: training loss "
        "as measured; strong: a centred running mean over 2% of the run. The steep beginning "
        "leaves the panel at the top.",
        labels=data.present(data.curves),
        draw=lambda labels: training_figure(data.curves, labels, data),
        tables={"training": data.curves},
    )


def training_figure(table: pd.DataFrame, labels: Sequence[str], data: ReportData) -> bytes:
    """Returns the figure as PNG, one panel a group.

    Args:
        table: from :func:`training_table`.
        labels: groups to draw.
        data: names of the scale and of the loss's unit.
    """
    scales = sorted(table["scale"].unique().tolist())
    colours = canvas.scale_colours(scales)
    limits = _limits(table)
    unit = f" ({data.unit})" if data.unit.startswith("nats") else ""

    def draw(figure: Figure) -> None:
        axes = canvas.panels(figure, len(labels))
        for panel, name in zip(axes, labels, strict=True):
            mine = table[table["group"] == name]
            for scale in scales:
                curve, colour = mine[mine["scale"] == scale], colours[scale]
                panel.plot(curve["tokens"], curve["train_loss"], color=colour, lw=0.5, alpha=0.25)
                panel.plot(curve["tokens"], curve["smoothed"], color=colour, lw=1.6)
            panel.set_ylim(*limits)
            panel.xaxis.set_major_formatter(canvas.quantity_ticks())
        titles = [canvas.name(name) for name in labels]
        canvas.name_panels(axes, titles, x="tokens seen", y=f"training loss{unit}")
        handles = [
            canvas.key_of(canvas.literal(f"{data.scale} {s:g}"), color=colours[s], lw=1.6)
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
