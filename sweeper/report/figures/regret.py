"""Figures with one line a group: the regret of transfer, and the tuned loss against size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeper.report.figures import canvas
from sweeper.report.tables import ReportData, as_metric, frontier_table, regret_table

HEIGHT = 4.3
DODGE = 0.03
"""Octaves of the scale between two groups, so that equal regrets do not hide each other."""


def regret_drawing(data: ReportData) -> canvas.Drawing | None:
    """Returns the regret per scale; None where no group has a base."""
    regret = regret_table(data)
    if regret.empty:
        return None
    return canvas.Drawing(
        kind="regret",
        title="What transfer costs",
        caption="Loss at the setting transferred from the smallest scale with an optimum inside "
        "its grid, minus the loss at each scale's own optimum. Below the dotted line of its "
        "colour a difference is noise. Groups stand a little apart to be told apart.",
        labels=data.present(regret),
        draw=lambda labels: regret_figure(regret, labels, data),
        tables={"regret": regret},
    )


def frontier_drawing(data: ReportData) -> canvas.Drawing | None:
    """Returns the tuned loss against parameters; None where these are unknown."""
    frontier = frontier_table(data)
    if frontier.empty or frontier["params"].nunique() < 2:
        return None
    return canvas.Drawing(
        kind="frontier",
        title=f"{data.metric} at the optimum against size",
        caption="The fitted loss at each scale's own optimum.",
        labels=data.present(frontier),
        draw=lambda labels: frontier_figure(frontier, labels, data),
        tables={"frontier": frontier},
    )


def regret_figure(regret: pd.DataFrame, labels: Sequence[str], data: ReportData) -> bytes:
    """Returns the regret per scale as PNG.

    Args:
        regret: from :func:`regret_table`.
        labels: groups to draw.
        data: names of the scale and of the loss's unit.
    """
    scales = sorted(regret["scale"].unique().tolist())
    top = _top(regret)
    styles = canvas.group_styles(labels)
    shown = [name for name in labels if (regret["group"] == name).any()]

    def draw(figure: Figure) -> None:
        panel = figure.subplots()
        canvas.scale_ticks(panel, scales)
        panel.axhline(0, color="#888888", lw=0.8)
        for place, name in enumerate(shown):
            rows = regret[regret["group"] == name]
            aside = 2.0 ** (DODGE * (place - (len(shown) - 1) / 2))
            _draw_regret(panel, rows.assign(scale=rows["scale"] * aside), styles[name], top)
        panel.set_ylim(-0.05 * top, 1.1 * top)
        panel.set_xlabel(canvas.literal(f"{data.scale} (log2 axis)"))
        panel.set_ylabel(canvas.literal(f"regret of transfer{_unit(data)}"))
        canvas.legend(figure, _regret_handles(regret, shown, styles), columns=3)

    return canvas.render(draw, height=HEIGHT + 0.22 * np.ceil(len(shown) / 3))


def _unit(data: ReportData) -> str:
    return f" ({data.unit})" if data.unit else f" in {data.metric}"


def _top(regret: pd.DataFrame) -> float:
    shown = regret[["regret", "floor"]].to_numpy(dtype=float)
    finite = shown[np.isfinite(shown)]
    return max(float(finite.max(initial=0.0)), 1e-6)


def _draw_regret(panel: Axes, rows: pd.DataFrame, look: dict[str, Any], top: float) -> None:
    known = rows[rows["certainty"].isin(["measured", "at_least"])]
    panel.plot(known["scale"], known["regret"], lw=1.6, ms=6, **look)
    panel.plot(rows["scale"], rows["floor"], color=look["color"], lw=0.9, ls=(0, (1, 2)))
    bound = known[known["certainty"] == "at_least"]
    colour = {"color": look["color"], "ls": "", "zorder": 4}
    panel.plot(bound["scale"], bound["regret"] + 0.04 * top, marker="$\\uparrow$", ms=9, **colour)
    lost = rows[rows["certainty"] == "infinite"]
    panel.plot(lost["scale"], np.full(len(lost), 1.05 * top), marker="x", ms=7, mew=2, **colour)


def _regret_handles(
    regret: pd.DataFrame, labels: Sequence[str], styles: dict[str, dict[str, Any]]
) -> list[Any]:
    handles = [canvas.key_of(canvas.name(name), lw=1.6, **styles[name]) for name in labels]
    grey = {"color": "#555555"}
    handles.append(canvas.key_of("noise floor, same colour", lw=0.9, ls=(0, (1, 2)), **grey))
    if (regret["certainty"] == "at_least").any():
        handles.append(canvas.key_of("at least", marker="$\\uparrow$", ms=9, ls="", **grey))
    if (regret["certainty"] == "infinite").any():
        handles.append(canvas.key_of("diverges", marker="x", ms=7, mew=2, ls="", **grey))
    return handles


def frontier_figure(frontier: pd.DataFrame, labels: Sequence[str], data: ReportData) -> bytes:
    """Returns the tuned loss against parameters as PNG.

    Args:
        frontier: from :func:`frontier_table`.
        labels: groups to draw.
        data: names of the scale and of the metric.
    """
    styles = canvas.group_styles(labels)

    def draw(figure: Figure) -> None:
        panel = figure.subplots()
        panel.set_xscale("log")
        for name in labels:
            rows = frontier[frontier["group"] == name].sort_values("params")
            rows = as_metric(rows, data.sign)
            panel.plot(rows["params"], rows["loss"], lw=1.6, ms=6, **styles[name])
            bound = rows[rows["censored"].astype(bool)]
            open_look = styles[name] | {"mfc": "white", "linestyle": ""}
            panel.plot(bound["params"], bound["loss"], ms=6, zorder=4, **open_look)
        panel.set_xlabel("parameters")
        panel.set_ylabel(canvas.literal(f"{data.axis}, at the optimum"))
        handles = [canvas.key_of(canvas.name(name), lw=1.6, **styles[name]) for name in labels]
        if frontier["censored"].any():
            open_look = {"marker": "o", "mfc": "white", "color": "#555555", "ls": ""}
            handles.append(canvas.key_of("best of the grid: the optimum is outside", **open_look))
        canvas.legend(figure, handles, columns=3)

    return canvas.render(draw, height=HEIGHT + 0.22 * np.ceil(len(labels) / 3))
