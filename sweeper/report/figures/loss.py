"""Figure: loss against the hyperparameter, one panel a group, one colour a scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from sweeper.answers import tuned_words
from sweeper.report.figures import canvas
from sweeper.report.tables import (
    ReportData,
    fits_table,
    means_table,
    optima_table,
    points_table,
)

NEAR_OCTAVES = 2.5
"""Points this near to a curve's minimum decide how much of the loss axis is shown."""

NEAR_SHARE = 0.8
"""Share of those points that is shown at the least: the cliff may leave the panel."""

SAME_PLACE = 6
"""Decimals of log2 to which the places of points and of runs that blew up are compared."""

ROW = 0.036
"""Height of a row of the strip of diverged points, as a share of the panel."""

OUTSIDE = {1: (r"$\uparrow$", "above the axis"), -1: (r"$\downarrow$", "below the axis")}
"""Marker of a point too bad for the panel, and its key, by the sign of the metric."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LossTables:
    """What the figure shows; the tables of the same names in :mod:`tables`."""

    points: pd.DataFrame
    means: pd.DataFrame
    fits: pd.DataFrame
    optima: pd.DataFrame


def loss_drawing(data: ReportData) -> canvas.Drawing | None:
    """Returns the loss against the hyperparameter; None without results."""
    points = points_table(data).dropna(subset=["log2"])
    if points.empty:
        return None
    tables = LossTables(
        points=points,
        means=means_table(points),
        fits=fits_table(data),
        optima=optima_table(data),
    )
    return canvas.Drawing(
        kind="loss",
        title=f"{data.metric} against {data.hyperparameter}",
        caption="Points joined by thin lines are means over seeds. The thick line is the fit "
        "round the minimum, the large marker its optimum, with the 95% interval as a bar; an "
        "open marker with an arrow is a bound, because the best point lies at an edge of the "
        "grid or next to a divergence. What is far worse leaves the panel at the "
        f"{'top' if data.sign > 0 else 'bottom'}."
        + (f" {tuned_words(data.tuned, data.hyperparameter)}." if data.tuned else ""),
        labels=data.labels,
        draw=lambda labels: loss_figure(
            tables,
            labels,
            hyperparameter=data.hyperparameter,
            scale=data.scale,
            axis=data.axis,
            sign=data.sign,
            limits=loss_limits(_in_basins(tables.means, data)),
        ),
        tables=vars(tables),
    )


def _in_basins(means: pd.DataFrame, data: ReportData) -> pd.DataFrame:
    """Returns the points without those whose runs blew up; all of them where nothing is left."""
    blown = {
        (name, blow_up.label, round(place, SAME_PLACE))
        for name, group in data.groups.items()
        for blow_up in group.blow_ups
        for place in blow_up.places
    }
    points = zip(means["group"], means["scale"], means["log2"], strict=True)
    kept = [
        (name, f"{data.scale} {scale:g}", round(log2, SAME_PLACE)) not in blown
        for name, scale, log2 in points
    ]
    return means[kept] if any(kept) else means


@dataclass(frozen=True, kw_only=True, eq=False)
class _Frame:
    """What all panels share."""

    scales: list[float]
    colours: dict[float, Any]
    markers: dict[float, str]
    x: tuple[float, float]
    y: tuple[float, float]
    strip: list[float]
    sign: int

    @property
    def data_top(self) -> float:
        """Upper end of the loss axis that is left to losses, below the strip."""
        return self.y[1] - (self.y[1] - self.y[0]) * ROW * (len(self.strip) + bool(self.strip))


def loss_figure(
    tables: LossTables,
    labels: Sequence[str],
    *,
    hyperparameter: str,
    scale: str,
    axis: str,
    sign: int = 1,
    limits: tuple[float, float] | None = None,
) -> bytes:
    """Returns the figure as PNG.

    Args:
        tables: what to draw; all panels share the limits of all tables.
        labels: groups to draw, one panel each.
        hyperparameter, scale: names for axis and legend.
        axis: name of the metric with its unit.
        sign: -1 where the losses are minus the metric; it is drawn upwards then.
        limits: least and largest loss that is shown; None takes :func:`loss_limits` of all means.
    """
    frame = _frame(tables, sign, limits or loss_limits(tables.means))

    def draw(figure: Figure) -> None:
        axes = canvas.panels(figure, len(labels))
        for panel, name in zip(axes, labels, strict=True):
            _draw_panel(panel, tables, name, frame)
        x, y = canvas.literal(f"{hyperparameter} (log2 axis)"), canvas.literal(axis)
        canvas.name_panels(axes, [canvas.name(name) for name in labels], x=x, y=y)
        canvas.legend(figure, _handles(tables, frame, scale))

    return canvas.render(draw, height=canvas.panel_height(len(labels)))


def _frame(tables: LossTables, sign: int, limits: tuple[float, float]) -> _Frame:
    scales = sorted(tables.means["scale"].unique().tolist())
    log2 = tables.means["log2"]
    diverged = tables.means[np.isinf(tables.means["loss"])]
    strip = sorted(diverged["scale"].unique().tolist())
    low, high = limits
    share = 1 - ROW * (len(strip) + bool(strip))
    return _Frame(
        scales=scales,
        colours=canvas.scale_colours(scales),
        markers=canvas.scale_markers(scales),
        x=(float(log2.min()) - 0.6, float(log2.max()) + 0.6),
        y=(low, low + (high - low) / share),
        strip=strip,
        sign=sign,
    )


def loss_limits(means: pd.DataFrame) -> tuple[float, float]:
    """Returns the range of losses in which every curve is readable near its minimum.

    The lowest losses of all curves are in it, and of each curve most of the points near its
    minimum; a wall of any height beyond them leaves the panel through the top.
    """
    finite = means[np.isfinite(means["loss"])]
    if finite.empty:
        return 0.0, 1.0
    tops = [_top(curve) for _, curve in finite.groupby(["group", "scale"])]
    low, high = float(finite["loss"].min()), max(tops)
    room = (high - low) or abs(high) * 0.01 or 1.0
    return low - 0.07 * room, high + 0.07 * room


def _top(curve: pd.DataFrame) -> float:
    best = curve["log2"].to_numpy()[int(curve["loss"].argmin())]
    near = curve[(curve["log2"] - best).abs() <= NEAR_OCTAVES]
    return float(near["loss"].quantile(NEAR_SHARE, interpolation="higher"))


def _draw_panel(panel: Axes, tables: LossTables, name: str, frame: _Frame) -> None:
    panel.set_xlim(*frame.x)
    panel.set_ylim(*frame.y[:: frame.sign])
    if frame.sign < 0:
        panel.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{0 - loss:g}"))
    canvas.power_ticks(panel.xaxis, *frame.x)
    means = _of(tables.means, name)
    if np.isinf(means["loss"]).any():
        panel.axhspan(frame.data_top, frame.y[1], color="#f0f0f0", zorder=0.5)
        place, side = ((0.01, 0.985), "top") if frame.sign > 0 else ((0.01, 0.015), "bottom")
        panel.annotate("diverged", place, xycoords="axes fraction", va=side, color="#555555")
    if means.empty:
        panel.text(0.5, 0.5, "no result yet", transform=panel.transAxes, ha="center")
    for scale in frame.scales:
        _draw_runs(panel, _of(tables.points, name, scale), frame, scale)
        _draw_means(panel, _of(means, name, scale), frame, scale)
        fit = _of(tables.fits, name, scale)
        panel.plot(fit["log2"], fit["loss"], color=frame.colours[scale], lw=2.2, zorder=3)
    for _, optimum in _of(tables.optima, name).iterrows():
        _draw_optimum(panel, optimum, frame)


def _of(table: pd.DataFrame, name: str, scale: float | None = None) -> pd.DataFrame:
    rows = table[table["group"] == name]
    return rows if scale is None else rows[rows["scale"] == scale]


def _draw_runs(panel: Axes, runs: pd.DataFrame, frame: _Frame, scale: float) -> None:
    shown = runs[runs["loss"] <= frame.data_top]
    panel.scatter(
        shown["log2"],
        shown["loss"],
        s=14,
        color=frame.colours[scale],
        marker=frame.markers[scale],
        alpha=0.35,
        linewidths=0,
        zorder=2,
    )


def _draw_means(panel: Axes, means: pd.DataFrame, frame: _Frame, scale: float) -> None:
    colour, marker = frame.colours[scale], frame.markers[scale]
    finite = means["loss"].where(np.isfinite(means["loss"]))
    (line,) = panel.plot(means["log2"], finite, color=colour, lw=0.9, alpha=0.75, zorder=2.5)
    # Cut at the strip: a line that ran on behind it would seem to lead to a diverged point.
    corner, width = (frame.x[0], frame.y[0]), frame.x[1] - frame.x[0]
    below = Rectangle(corner, width, frame.data_top - frame.y[0], transform=panel.transData)
    line.set_clip_path(below)
    shown = means[means["loss"] <= frame.data_top]
    panel.plot(shown["log2"], shown["loss"], ls="", marker=marker, ms=4.2, color=colour, zorder=3)
    above = means[(means["loss"] > frame.data_top) & np.isfinite(means["loss"])]
    panel.plot(
        above["log2"],
        np.full(len(above), frame.data_top - 0.02 * (frame.y[1] - frame.y[0])),
        ls="",
        marker=OUTSIDE[frame.sign][0],
        ms=8,
        mew=0.4,
        color=colour,
        zorder=4,
    )
    lost = means[np.isinf(means["loss"])]
    if len(lost):
        row = frame.y[1] - (frame.y[1] - frame.y[0]) * ROW * (frame.strip.index(scale) + 0.9)
        panel.plot(
            lost["log2"], np.full(len(lost), row), ls="", marker="x", ms=5.5, mew=1.6, color=colour
        )


def _draw_optimum(panel: Axes, optimum: pd.Series[Any], frame: _Frame) -> None:
    censored = canvas.is_bound(str(optimum["flags"]))
    colour, x, y = frame.colours[optimum["scale"]], optimum["log2"], optimum["loss"]
    low, high = max(optimum["low"], frame.x[0]), min(optimum["high"], frame.x[1])
    panel.plot([low, high], [y, y], color=colour, lw=2.2, solid_capstyle="butt", zorder=4)
    for end, open_side, arrow in ((low, optimum["low"], "<"), (high, optimum["high"], ">")):
        mark, size = (arrow, 7) if math.isinf(open_side) else ("|", 11)
        panel.plot(end, y, marker=mark, ms=size, mew=1.8, color=colour, zorder=4, clip_on=False)
    panel.plot(
        x,
        y,
        marker="o",
        ms=8,
        mew=1.6,
        mfc="white" if censored else colour,
        mec=colour if censored else "black",
        zorder=5,
    )


def _handles(tables: LossTables, frame: _Frame, scale: str) -> list[Any]:
    handles = [
        canvas.key_of(
            canvas.literal(f"{scale} {value:g}"),
            color=frame.colours[value],
            marker=frame.markers[value],
            lw=1.5,
        )
        for value in frame.scales
    ]
    grey = {"color": "#555555", "ls": ""}
    if tables.points.duplicated(["group", "scale", "log2"]).any():
        handles.append(canvas.key_of("one run", marker="o", ms=3.5, alpha=0.5, **grey))
    if len(tables.fits):
        handles.append(canvas.key_of("fit near the optimum", color="#555555", lw=2.2))
    if len(tables.optima):
        best = {"marker": "o", "ms": 9, "color": "#555555", "lw": 2.2}
        handles.append(canvas.key_of("optimum, 95% interval", mec="black", **best))
    if tables.optima["flags"].str.contains("censored|cliff").any():
        handles.append(canvas.key_of("bound only", marker="o", ms=9, mfc="white", **grey))
    if frame.strip:
        handles.append(canvas.key_of("diverged", marker="x", ms=6, mew=1.6, **grey))
    if (tables.means["loss"].replace(np.inf, np.nan) > frame.data_top).any():
        marker, words = OUTSIDE[frame.sign]
        handles.append(canvas.key_of(words, marker=marker, ms=8, mew=0.4, **grey))
    return handles
