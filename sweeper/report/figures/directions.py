"""Figure: the change of the loss along the leading directions and along the rest, a scale a
colour, and how alike scales are direction by direction."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeper.answers import Decomposed
from sweeper.report.figures import canvas


def directions_figure(group: Decomposed, *, hyperparameter: str, scale: str) -> bytes:
    """Returns the figure of a group as PNG: the whole change and that along the leading
    directions over the hyperparameter, what they leave, the change by direction at the best
    point, and the difference to the largest scale for every k.

    Args:
        group: with an answer.
        hyperparameter, scale: names for axes and legend.
    """
    colours = canvas.scale_colours([each.scale for each in group.scales])

    def draw(figure: Figure) -> None:
        curves, rests, profile, alike = canvas.panels(figure, 4, share=False)
        for each in group.scales:
            look = {"color": colours[each.scale]}
            curves.plot(each.log2, each.phi[:, -1], marker="o", markersize=3, **look)
            if each.kappa is not None and each.common is not None:
                curves.plot(each.common, each.kappa.top, linestyle="--", **look)
                rests.plot(each.common, each.kappa.rest, marker="o", markersize=3, **look)
            steps = np.abs(np.diff(each.phi[each.best], prepend=0.0))
            profile.plot(np.arange(1, len(steps) + 1), steps, **look)
            if each.shares is not None:
                alike.plot(np.arange(1, len(each.shares) + 1), each.shares, **look)
        if not rests.has_data():
            said = "no numbers of leading directions"
            rests.text(0.5, 0.5, said, transform=rests.transAxes, ha="center")
        x = canvas.literal(f"log2 {hyperparameter}")
        _named(curves, "change of the loss; dashed: leading directions", x, "nats")
        _named(rests, "what the leading directions leave", x, "nats")
        _named(profile, "size of the change along direction k", "k", "nats")
        _named(alike, "difference to the largest scale", "k", "share of the change")
        for axes in (profile, alike):
            axes.set_xscale("log", base=2)
        profile.set_yscale("log")
        handles = [
            canvas.key_of(canvas.literal(f"{scale} {each.scale:g}"), color=colours[each.scale])
            for each in group.scales
        ]
        canvas.legend(figure, handles)

    return canvas.render(draw, height=canvas.panel_height(4))


def directions_table(group: Decomposed) -> pd.DataFrame:
    """Returns what is behind the figure: a row for every scale, point and k."""
    rows = [
        pd.DataFrame(
            {
                "group": group.label,
                "scale": each.scale,
                "log2": x,
                "k": np.arange(1, len(phi) + 1),
                "phi": phi,
                "change": change,
            }
        )
        for each in group.scales
        for x, phi, change in zip(each.log2, each.phi, each.change, strict=True)
    ]
    return pd.concat(rows, ignore_index=True)


def _named(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
