"""Figure: the optimum against the scale, with the drift, its interval and the claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sweeper.report.figures import canvas
from sweeper.report.tables import (
    ReportData,
    claims_table,
    drift_table,
    lines_table,
    optima_table,
)
from sweeper.words import signed, signed_interval

DRIFT_COLOUR = "#0072b2"
CLAIM_COLOUR = "#e69f00"
POINT_COLOUR = "#222222"
STROKES = (
    ("claim", CLAIM_COLOUR, "--"),
    ("drift", DRIFT_COLOUR, "-"),
    ("bend", DRIFT_COLOUR, ":"),
)
"""Kind of line, its colour and dash."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DriftTables:
    """What the figure shows; the tables of the same names in :mod:`tables`."""

    optima: pd.DataFrame
    drift: pd.DataFrame
    lines: pd.DataFrame
    claims: pd.DataFrame


def drift_drawing(data: ReportData) -> canvas.Drawing | None:
    """Returns the optimum against the scale; None without optima at two scales."""
    tables = DriftTables(
        optima=optima_table(data),
        drift=drift_table(data),
        lines=lines_table(data),
        claims=claims_table(data),
    )
    if tables.optima["scale"].nunique() < 2:
        return None
    caption = (
        "Optima with their 95% intervals; an arrow is an interval that the grid leaves open. "
        "The blue line is the drift; its fan shows the 95% interval of the slope, turned "
        "round the middle of the scales."
    )
    if (tables.lines["kind"] == "bend").any():
        caption += " The dotted curve is the drift as it bends."
    if not tables.claims.empty:
        caption += (
            " The dashed line is the claim, from the optimum that would be transferred, and "
            "its fan the tolerance."
        )
    return canvas.Drawing(
        kind="drift",
        title=f"Best {data.hyperparameter} against {data.scale}",
        caption=caption,
        labels=data.present(tables.optima),
        draw=lambda labels: drift_figure(
            tables, labels, hyperparameter=data.hyperparameter, scale=data.scale
        ),
        tables=vars(tables),
    )


def drift_figure(
    tables: DriftTables, labels: Sequence[str], *, hyperparameter: str, scale: str
) -> bytes:
    """Returns the figure as PNG, one panel a group.

    Args:
        tables: what to draw; all panels share the limits of all tables.
        labels: groups to draw.
        hyperparameter, scale: names for the axes.
    """
    scales = sorted(tables.optima["scale"].unique().tolist())
    limits = _limits(tables)

    def draw(figure: Figure) -> None:
        axes = canvas.panels(figure, len(labels))
        for panel, name in zip(axes, labels, strict=True):
            canvas.scale_ticks(panel, scales)
            margin = 2.0 ** (0.06 * max(1.0, float(np.log2(scales[-1] / scales[0]))))
            panel.set_xlim(scales[0] / margin, scales[-1] * margin)
            panel.set_ylim(*limits)
            canvas.power_ticks(panel.yaxis, *limits)
            _draw_panel(panel, tables, name, limits)
        x, y = canvas.literal(f"{scale} (log2 axis)"), canvas.literal(f"best {hyperparameter}")
        canvas.name_panels(axes, [_title(tables, name) for name in labels], x=x, y=y)
        canvas.legend(figure, _handles(tables))

    return canvas.render(draw, height=canvas.panel_height(len(labels)))


def _limits(tables: DriftTables) -> tuple[float, float]:
    """Returns the range of log2 values with all optima and their closed intervals."""
    ends = tables.optima[["log2", "low", "high"]].to_numpy(dtype=float)
    low, high = float(ends[np.isfinite(ends)].min()), float(ends[np.isfinite(ends)].max())
    room = max(1.0, high - low)
    return low - 0.12 * room, high + 0.12 * room


def _title(tables: DriftTables, name: str) -> str:
    """Returns the group, its slope with interval, and the verdicts in words."""
    head = canvas.name(name)
    drift = tables.drift[tables.drift["group"] == name].iloc[0]
    if np.isnan(drift["slope"]):
        return f"{head}\nno drift: the page says why"
    interval = signed_interval(drift["low"], drift["high"])
    slope = f"slope {signed(drift['slope'])}, 95% interval {interval}"
    bent = tables.lines[(tables.lines["group"] == name) & (tables.lines["kind"] == "bend")]
    slope += "" if bent.empty else f"\nbends by {signed(bent['rule'].iloc[0])} per doubling"
    verdicts = [
        f"claim {row['exponent']:g} ± {row['tolerance']:g} {_ruling(row['verdict'])}"
        for _, row in tables.claims[tables.claims["group"] == name].iterrows()
    ]
    return "\n".join([head, slope, *verdicts])


def _ruling(verdict: str) -> str:
    """Returns a verdict as the end of a sentence about the claim."""
    return {"broken": "is broken", "inconclusive": "is inconclusive"}.get(verdict, verdict)


def _draw_panel(panel: Axes, tables: DriftTables, name: str, limits: tuple[float, float]) -> None:
    lines = tables.lines[tables.lines["group"] == name]
    for kind, colour, dash in STROKES:
        part = lines[lines["kind"] == kind]
        for _, line in part.groupby("rule", sort=False):
            far = limits[1] - limits[0]
            low = line["low"].clip(lower=limits[0] - far)
            high = line["high"].clip(upper=limits[1] + far)
            panel.fill_between(line["scale"], low, high, color=colour, alpha=0.2, lw=0)
            panel.plot(line["scale"], line["log2"], color=colour, ls=dash, lw=1.8)
    for _, optimum in tables.optima[tables.optima["group"] == name].iterrows():
        _draw_optimum(panel, optimum, limits)


def _draw_optimum(panel: Axes, optimum: pd.Series[Any], limits: tuple[float, float]) -> None:
    x, censored = optimum["scale"], canvas.is_bound(str(optimum["flags"]))
    low, high = max(optimum["low"], limits[0]), min(optimum["high"], limits[1])
    panel.plot([x, x], [low, high], color=POINT_COLOUR, lw=1.4, zorder=3)
    for end, open_side, arrow in ((low, optimum["low"], "v"), (high, optimum["high"], "^")):
        mark, size = (arrow, 6) if np.isinf(open_side) else ("_", 9)
        panel.plot(x, end, marker=mark, ms=size, color=POINT_COLOUR, zorder=3, clip_on=False)
    face = "white" if censored else POINT_COLOUR
    panel.plot(x, optimum["log2"], marker="o", ms=7, mfc=face, mec=POINT_COLOUR, mew=1.5, zorder=4)


def _handles(tables: DriftTables) -> list[Any]:
    dot = {"marker": "o", "ms": 7, "color": POINT_COLOUR}
    handles: list[Any] = [canvas.key_of("optimum, 95% interval", lw=1.4, **dot)]
    if tables.optima["flags"].map(canvas.is_bound).any():
        handles.append(canvas.key_of("bound only", ls="", mfc="white", **dot))
    kinds = set(tables.lines["kind"])
    if "drift" in kinds:
        handles.append(canvas.key_of("drift", color=DRIFT_COLOUR, lw=1.8))
        handles.append(Patch(color=DRIFT_COLOUR, alpha=0.2, lw=0, label="95% of its slope"))
    if "bend" in kinds:
        handles.append(canvas.key_of("as it bends", color=DRIFT_COLOUR, ls=":", lw=1.8))
    if "claim" in kinds:
        handles.append(canvas.key_of("claim", color=CLAIM_COLOUR, ls="--", lw=1.8))
        handles.append(Patch(color=CLAIM_COLOUR, alpha=0.2, lw=0, label="its tolerance"))
    return handles
