"""Figure: sizes of updates and activations over the scale, of a coordinate check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeper.report.figures import canvas

Line = Sequence[float]
"""A value at each size."""

Lines = Mapping[str, Mapping[int, Line]]
"""Values over the sizes by what they are of and by step."""

FAINTEST = 0.25
"""Opacity of the first of many steps."""

LEAST = 2.2
"""Factor that an axis shows up and down at least, so that three powers of two are on it."""


def check_figure(
    panels: Mapping[str, Lines], sizes: Mapping[str, Line], scale: str, tolerance: float
) -> bytes:
    """Returns the figure as PNG, one panel a variant: every line is one role or activation after
    one step, over its value at the smallest size, and all of them have to be level.

    Args:
        panels: lines by variant.
        sizes: by variant.
        scale: what the sizes are.
        tolerance: slope that still passes; shown as a band.
    """
    kinds = sorted({kind for lines in panels.values() for kind in lines})
    steps = sorted({step for lines in panels.values() for each in lines.values() for step in each})
    looks = canvas.group_styles(kinds)

    def draw(figure: Figure) -> None:
        axes = canvas.panels(figure, len(panels), share=False)
        for panel, (variant, lines) in zip(axes, panels.items(), strict=True):
            _band(panel, sizes[variant], tolerance)
            for kind, by_step in lines.items():
                for step, values in by_step.items():
                    strong = FAINTEST + (1 - FAINTEST) * (steps.index(step) + 1) / len(steps)
                    look = {**looks[kind], "alpha": strong, "markersize": 3.5}
                    panel.plot(list(sizes[variant]), list(values), lw=1.3, **look)
            panel.set_yscale("log", base=2)
            low, high = panel.get_ylim()
            panel.set_ylim(min(low, 1 / LEAST), max(high, LEAST))
            canvas.scale_ticks(panel, sizes[variant])
        titles = [canvas.name(name) for name in panels]
        canvas.name_panels(axes, titles, x=canvas.literal(scale), y="over the smallest size")
        handles = [canvas.key_of(canvas.literal(kind), **looks[kind]) for kind in kinds]
        if len(steps) > 1:
            after = f"fainter: after {', '.join(map(str, steps[:-1]))} of {steps[-1]} steps"
            handles.append(canvas.key_of(after, color="none"))
        if handles:
            canvas.legend(figure, handles, columns=3)

    return canvas.render(draw, height=canvas.panel_height(len(panels)))


def _band(panel: Axes, sizes: Line, tolerance: float) -> None:
    """Shades where lines of a slope within the tolerance lie."""
    high = [(size / sizes[0]) ** tolerance for size in sizes]
    panel.fill_between(list(sizes), [1 / each for each in high], high, color="#eeeeee", zorder=0)
