"""Figure: sizes of updates and activations over the scale, of a coordinate check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from sweeper.report.figures import canvas

Line = Sequence[float]
"""A value at each size."""


def check_figure(
    panels: Mapping[str, Mapping[str, Mapping[int, Line]]],
    sizes: Mapping[str, Sequence[float]],
    scale: str,
) -> bytes:
    """Returns the figure as PNG, one panel a variant: every line is one layer after one step, and
    all of them have to be level.

    Args:
        panels: by variant, by what a line shows, by step: its values over the sizes.
        sizes: by variant.
        scale: what the sizes are.
    """
    kinds = sorted({kind for lines in panels.values() for kind in lines})
    steps = sorted({step for lines in panels.values() for each in lines.values() for step in each})
    styles = canvas.group_styles(kinds)
    faint = {step: 0.25 + 0.75 * (place + 1) / len(steps) for place, step in enumerate(steps)}

    def draw(figure: Figure) -> None:
        axes = canvas.panels(figure, len(panels), share=False)
        for panel, (variant, lines) in zip(axes, panels.items(), strict=True):
            for kind, by_step in lines.items():
                for step, values in by_step.items():
                    look = {**styles[kind], "alpha": faint[step], "markersize": 3.5}
                    panel.plot(list(sizes[variant]), list(values), lw=1.3, **look)
            panel.set_yscale("log", base=2)
            canvas.scale_ticks(panel, sizes[variant])
        titles = [canvas.name(name) for name in panels]
        canvas.name_panels(axes, titles, x=canvas.literal(scale), y="over the smallest size")
        handles = [canvas.key_of(canvas.literal(kind), **styles[kind]) for kind in kinds]
        canvas.legend(figure, handles, columns=3)

    return canvas.render(draw, height=canvas.panel_height(len(panels)))
