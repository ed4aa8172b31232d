"""Figure: loss over two hyperparameters, one panel a group and scale, colours for the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from sweeper.report.figures import canvas
from sweeper.report.tables import ReportData, heat_table, joint_table

COLOURS = "viridis"
GAMMA = 0.5
"""Power of the colour scale: it spreads small losses above the minimum, where the basin is."""

LEVELS = 6
"""Losses that are named beside the colours, evenly apart in colour."""

SHOWN_SHARE = 0.5
"""Share of the cells of a typical panel whose loss lies within the colours; walls leave them."""

MARK = "#d7191c"
"""Colour of the optimum, far from every colour of the scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeatTables:
    """What the figure shows; the tables of the same names in :mod:`tables`."""

    heat: pd.DataFrame
    joint: pd.DataFrame


def heat_drawing(data: ReportData) -> canvas.Drawing | None:
    """Returns the loss over the hyperparameter and the first that is tuned along; None where none
    is, or without results."""
    if not data.tuned:
        return None
    tables = HeatTables(heat=heat_table(data), joint=joint_table(data))
    if not np.isfinite(tables.heat["loss"]).any():
        return None
    other = data.tuned[0]
    places = {
        f"{group}, {data.scale} {scale:g}": (str(group), float(scale))
        for group, scale in tables.heat[["group", "scale"]].drop_duplicates().to_numpy().tolist()
    }
    said = f"{data.together} " if data.together else ""
    away = "above the lowest" if data.sign > 0 else "below the highest"
    return canvas.Drawing(
        kind="heat",
        title=f"{data.metric} over {data.hyperparameter} and {other}",
        caption=f"{said}Colours are how far the seed means lie {away} of the panel, the same in "
        "all panels; cells beyond them have the last. A cross is a cell in which a run "
        "diverged, an empty cell has no result. The dashed line is the best "
        f"{other} at every {data.hyperparameter}. The dot is the joint optimum, its bars are the "
        "95% intervals; an open dot is a bound.",
        labels=tuple(places),
        draw=lambda labels: heat_figure(
            tables,
            [places[label] for label in labels],
            names=(data.hyperparameter, other),
            scale=data.scale,
            axis=f"{data.axis} {away}",
        ),
        tables=vars(tables),
    )


def heat_figure(
    tables: HeatTables,
    places: Sequence[tuple[str, float]],
    *,
    names: tuple[str, str],
    scale: str,
    axis: str,
) -> bytes:
    """Returns the figure as PNG.

    Args:
        tables: what to draw; all panels share the limits and colours of all tables.
        places: group and scale of each panel.
        names: the hyperparameter along the panel, and the one up it.
        scale: name of the scale, for titles.
        axis: what the colours say.
    """
    norm = PowerNorm(GAMMA, vmin=0.0, vmax=_top(tables.heat), clip=True)

    def draw(figure: Figure) -> None:
        axes = canvas.panels(figure, len(places))
        for panel, (group, value) in zip(axes, places, strict=True):
            _draw_panel(panel, tables, group, value, norm)
        titles = [canvas.name(f"{group}, {scale} {value:g}") for group, value in places]
        x, y = (canvas.literal(f"{name} (log2 axis)") for name in names)
        canvas.name_panels(axes, titles, x=x, y=y)
        colours = figure.colorbar(axes[0].collections[0], ax=axes, extend="max", pad=0.02)
        levels = np.asarray(norm.inverse(np.linspace(0.0, 1.0, LEVELS))).tolist()
        colours.set_ticks(levels, labels=[f"{level:.2g}" for level in levels])
        colours.set_label(canvas.literal(axis))
        canvas.legend(figure, _handles(tables))

    return canvas.render(draw, height=canvas.panel_height(len(places)))


def _top(heat: pd.DataFrame) -> float:
    """Returns the loss above the minimum at which the colours end."""
    finite = heat[np.isfinite(heat["above"])]
    tops = finite.groupby(["group", "scale"])["above"].quantile(SHOWN_SHARE)
    return float(tops.median()) or 1.0


def _of(table: pd.DataFrame, group: str, scale: float) -> pd.DataFrame:
    return table[(table["group"] == group) & (table["scale"] == scale)]


def _draw_panel(
    panel: Axes, tables: HeatTables, group: str, scale: float, norm: PowerNorm
) -> None:
    heat = _of(tables.heat, group, scale)
    cells = heat.pivot(index="other_log2", columns="log2", values="above")
    x, y = cells.columns.to_numpy(dtype=float), cells.index.to_numpy(dtype=float)
    above = np.ma.masked_invalid(cells.to_numpy(dtype=float))
    panel.pcolormesh(_edges(x), _edges(y), above, cmap=f"{COLOURS}_r", norm=norm)
    lost = heat[np.isinf(heat["loss"])]
    panel.plot(lost["log2"], lost["other_log2"], ls="", marker="x", ms=6, mew=1.4, color="#777777")
    path = heat.dropna(subset=["best_other_log2"]).drop_duplicates("log2").sort_values("log2")
    panel.plot(path["log2"], path["best_other_log2"], ls="--", lw=1.4, color=MARK)
    panel.grid(visible=False)
    panel.set_xlim(_edges(x)[0], _edges(x)[-1])
    panel.set_ylim(_edges(y)[0], _edges(y)[-1])
    canvas.power_ticks(panel.xaxis, *panel.get_xlim())
    canvas.power_ticks(panel.yaxis, *panel.get_ylim())
    for _, optimum in _of(tables.joint, group, scale).iterrows():
        _draw_optimum(panel, optimum)


def _edges(places: np.ndarray) -> np.ndarray:
    """Returns the edges of the cells round rising places, half way between neighbours."""
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    middle = (places[1:] + places[:-1]) / 2
    first, last = places[0] - (middle[0] - places[0]), places[-1] + (places[-1] - middle[-1])
    return np.concatenate([[first], middle, [last]])


def _draw_optimum(panel: Axes, optimum: pd.Series[Any]) -> None:
    place = (optimum["log2"], optimum["other_log2"])
    ends = (panel.get_xlim(), panel.get_ylim())
    for axis, name in enumerate(("", "other_")):
        low, high = (optimum[f"{name}{side}"] for side in ("low", "high"))
        low, high = max(low, ends[axis][0]), min(high, ends[axis][1])
        bar = ([low, high], [place[1]] * 2) if axis == 0 else ([place[0]] * 2, [low, high])
        panel.plot(*bar, color=MARK, lw=2.0, solid_capstyle="butt", zorder=4)
    bound = canvas.is_bound(str(optimum["flags"])) or math.isnan(optimum["low"])
    face = "white" if bound else MARK
    panel.plot(
        *place, marker="o", ms=8, mew=1.4, mfc=face, mec=MARK if bound else "white", zorder=5
    )


def _handles(tables: HeatTables) -> list[Any]:
    handles = []
    if len(tables.joint):
        best = {"color": MARK, "marker": "o", "ms": 8, "lw": 2.0}
        handles.append(canvas.key_of("joint optimum, 95% intervals", mec="white", **best))
    handles.append(canvas.key_of("best at every value", color=MARK, ls="--", lw=1.4))
    if np.isinf(tables.heat["loss"]).any():
        grey = {"color": "#777777", "ls": ""}
        handles.append(canvas.key_of("diverged", marker="x", ms=6, mew=1.4, **grey))
    return handles
