"""The pictures of a hyperparameter, drawn and written with the tables behind them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.drift import drift_drawing
from sweeper.report.figures.heat import heat_drawing
from sweeper.report.figures.loss import loss_drawing
from sweeper.report.figures.regret import frontier_drawing, regret_drawing
from sweeper.report.figures.training import training_drawing
from sweeper.report.folder import Folder, slug
from sweeper.report.tables import ReportData, as_metric

MOST_PANELS = 8
"""Groups in one image; more of them go into further images."""

Drawings = Sequence[Callable[[ReportData], Drawing | None]]

ANSWER: Drawings = (drift_drawing, loss_drawing, heat_drawing)
"""Figures shown before the tables: the answer with its verdicts, then what it rests on."""

DETAILS: Drawings = (regret_drawing, frontier_drawing, training_drawing)
"""Further figures, shown after the tables."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure of the page.

    Attributes:
        title: what it shows, as a heading.
        caption: how to read it.
        images: file name and data URI of each image.
        tables: names of the CSV files behind it.
    """

    title: str
    caption: str
    images: tuple[tuple[str, str], ...]
    tables: tuple[str, ...]


def draw_pictures(
    drawings: Drawings, data: ReportData, folder: Folder, stem: str
) -> list[Picture]:
    """Returns those of some figures that there is anything to show in; writes their files.

    Args:
        drawings: what to draw.
        data: what is drawn.
        folder: where images and tables go.
        stem: beginning of the file names.
    """
    made = [drawing(data) for drawing in drawings]
    return [_picture(each, data, folder, stem) for each in made if each]


def _picture(drawing: Drawing, data: ReportData, folder: Folder, stem: str) -> Picture:
    def file(kind: str, part: int = 0) -> str:
        return f"{stem}-{kind}-{slug(data.hyperparameter)}{f'-{part + 1}' if part else ''}"

    images = []
    for part, start in enumerate(range(0, len(drawing.labels), MOST_PANELS)):
        image = drawing.draw(drawing.labels[start : start + MOST_PANELS])
        uri = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
        images.append((folder.png(file(drawing.kind, part), image), uri))
    tables = {file(name): as_metric(table, data.sign) for name, table in drawing.tables.items()}
    files = tuple(folder.csv(name, table) for name, table in tables.items())
    return Picture(
        title=drawing.title, caption=drawing.caption, images=tuple(images), tables=files
    )
