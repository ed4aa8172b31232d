"""The canvas: one look for all figures, and the same bytes for the same data.

Figures are made without pyplot, so that nothing is kept between two of them, in matplotlib's
default style whatever the user's own configuration says.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

from sweeper.words import quantity

DPI = 130
WIDTH = 10.0
"""Inches; shown about as many pixels wide as a text column, 10 points read as body text."""

STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
GROUP_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's palette, told apart with every kind of colour vision."""

GROUP_LINES = ("-", "--", ":", "-.")
DARKEST, LIGHTEST = 0.0, 0.82
"""Range of viridis that is used; beyond it yellow is lost on white."""

MOST_TICKS = 11
LONGEST_NAME = 48
"""Characters of a group's name that fit above a panel."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure of the page before it is drawn.

    Attributes:
        kind: part of the names of its images.
        title: what it shows, as a heading.
        caption: how to read it.
        labels: groups that it has to show.
        draw: returns an image of some of them as PNG.
        tables: what is behind it, by the name of its CSV file.
    """

    kind: str
    title: str
    caption: str
    labels: Sequence[str]
    draw: Callable[[Sequence[str]], bytes]
    tables: Mapping[str, pd.DataFrame]


def render(draw: Callable[[Figure], None], *, height: float, width: float = WIDTH) -> bytes:
    """Returns a figure as PNG, without a date or version in it.

    Args:
        draw: draws on the empty figure.
        height, width: size in inches.
    """
    with style.context(["default", dict(STYLE)]):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def panels(figure: Figure, count: int, *, share: bool = True) -> list[Axes]:
    """Returns axes for so many panels, two in a row; shared axes can be compared at a glance."""
    columns = min(2, count)
    grid = figure.subplots(
        math.ceil(count / columns), columns, sharex=share, sharey=share, squeeze=False
    )
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.remove()
    for axis in axes[max(0, count - columns) : count]:
        axis.xaxis.set_tick_params(labelbottom=True)
    return axes[:count]


def name_panels(axes: Sequence[Axes], titles: Sequence[str], *, x: str, y: str) -> None:
    """Gives panels their titles, and names the axes at the left and the lower edge."""
    for place, (panel, title) in enumerate(zip(axes, titles, strict=True)):
        panel.set_title(title, loc="left")
        if place % 2 == 0:
            panel.set_ylabel(y)
        if place >= len(axes) - 2:
            panel.set_xlabel(x)


def is_bound(flags: str) -> bool:
    """Returns whether an optimum of such flags is only a bound."""
    return bool({"censored_low", "censored_high", "cliff"} & set(flags.split()))


def panel_height(count: int) -> float:
    """Returns the height in inches of a figure with so many panels and a legend."""
    return 1.0 + 3.5 * math.ceil(count / 2)


def scale_colours(scales: Sequence[float]) -> dict[float, Any]:
    """Returns one colour a scale, darkest for the smallest: lightness rises with the scale."""
    steps = np.linspace(DARKEST, LIGHTEST, max(2, len(scales)))
    return dict(zip(scales, matplotlib.colormaps["viridis"](steps), strict=False))


def scale_markers(scales: Sequence[float]) -> dict[float, str]:
    """Returns one marker a scale, for readers and printers without colour."""
    return {scale: MARKERS[place % len(MARKERS)] for place, scale in enumerate(scales)}


def group_styles(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns colour, dash and marker of each group."""
    hues = len(GROUP_COLOURS)
    return {
        name: {
            "color": GROUP_COLOURS[place % hues],
            "linestyle": GROUP_LINES[place // hues % len(GROUP_LINES)],
            "marker": MARKERS[place % len(MARKERS)],
        }
        for place, name in enumerate(labels)
    }


@functools.cache
def _drawable(character: str) -> bool:
    return bool(get_font(findfont("DejaVu Sans")).get_char_index(ord(character)))


def literal(text: str) -> str:
    """Returns text that matplotlib draws as it stands.

    A dollar would start a formula and a leading underscore hides a legend's entry; a character
    that the font lacks becomes a box.
    """
    seen = "".join(c if c == "\n" or _drawable(c) else "\N{WHITE SQUARE}" for c in text)
    return seen.replace("$", r"\$").replace("_", "\N{ZERO WIDTH SPACE}_", text.startswith("_"))


def name(label: str) -> str:
    """Returns a group's label as a figure shows it, cut where it would run into its neighbour."""
    whole = len(label) <= LONGEST_NAME
    return literal(label if whole else label[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}")


def power_ticks(axis: Any, low: float, high: float) -> None:
    """Labels an axis of log2 values as powers of two, on whole octaves (fewer where crowded)."""
    step = 1
    while (high - low) / step > MOST_TICKS:
        step *= 2
    places = np.arange(math.ceil(low / step) * step, high + 1e-9, step)
    labels = [f"$2^{{{place:g}}}$" for place in places]
    axis.set_major_locator(FixedLocator(places.tolist()))
    axis.set_major_formatter(FixedFormatter(labels))


def scale_ticks(axes: Axes, scales: Sequence[float]) -> None:
    """Gives axes a log2 axis of the scale with a tick at every measured value."""
    axes.set_xscale("log", base=2)
    thinned = list(scales)[:: max(1, math.ceil(len(scales) / MOST_TICKS))]
    axes.xaxis.set_major_locator(FixedLocator(thinned))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{scale:g}" for scale in thinned]))
    axes.xaxis.set_minor_locator(FixedLocator([]))


def quantity_ticks() -> FuncFormatter:
    """Returns a formatter that writes 200000 as ``200 k``."""
    return FuncFormatter(lambda value, _: quantity(value))


def key_of(label: str, **look: Any) -> Line2D:
    """Returns a legend's handle."""
    return Line2D([], [], label=label, **look)


def legend(figure: Figure, handles: Sequence[Any], *, columns: int = 6) -> None:
    """Puts a legend below all panels, where it can hide no data."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=min(columns, len(handles)),
        handletextpad=0.5,
        columnspacing=1.4,
    )
