"""The pictures of an answer, each with the tables behind it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from sweeper.report import tables
from sweeper.report.data import Answer
from sweeper.report.figures.drift import DriftTables, drift_figure
from sweeper.report.figures.loss import LossTables, loss_figure
from sweeper.report.figures.regret import frontier_figure, regret_figure
from sweeper.report.figures.training import training_figure
from sweeper.report.folder import Folder, slug

MOST_PANELS = 8
"""Groups in one image; more of them go into further images."""


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


@dataclass(frozen=True, kw_only=True)
class Album:
    """Makes the pictures of one answer.

    Attributes:
        answer: the answer.
        folder: where images and tables go.
        stem: beginning of the file names.
    """

    answer: Answer
    folder: Folder
    stem: str

    def file(self, kind: str, part: int = 0) -> str:
        """Returns the name of a file of a kind, without its ending."""
        suffix = f"-{part + 1}" if part else ""
        return f"{self.stem}-{kind}-{slug(self.answer.hyperparameter)}{suffix}"

    def loss(self) -> Iterator[Picture]:
        """Yields the loss against the hyperparameter; nothing without results."""
        answer, points = self.answer, tables.points_table(self.answer)
        shown = points.dropna(subset=["log2"])
        if shown.empty:
            return
        data = LossTables(
            points=shown,
            means=tables.means_table(shown),
            fits=tables.fits_table(answer),
            optima=tables.optima_table(answer),
        )
        yield self._picture(
            "loss",
            f"{answer.metric} against {answer.hyperparameter}",
            "Points joined by thin lines are means over seeds. The thick line is the fit round "
            "the minimum, the large marker its optimum, with the 95% interval as a bar; an open "
            "marker with an arrow is a bound, because the best point lies at an edge of the grid "
            "or next to a divergence. Losses far above the minima leave the panel at the top.",
            answer.labels,
            lambda labels: loss_figure(
                data,
                labels,
                hyperparameter=answer.hyperparameter,
                scale=answer.scale,
                axis=answer.axis,
            ),
            {
                "points": data.points,
                "means": data.means,
                "fits": data.fits,
                "optima": data.optima,
            },
        )

    def drift(self) -> Iterator[Picture]:
        """Yields the optimum against the scale; nothing without optima at two scales."""
        answer = self.answer
        data = DriftTables(
            optima=tables.optima_table(answer),
            drift=tables.drift_table(answer),
            lines=tables.lines_table(answer),
            claims=tables.claims_table(answer),
        )
        if data.optima["scale"].nunique() < 2:
            return
        claimed = (
            ""
            if data.claims.empty
            else (
                " The dashed line is the claim, from the optimum that would be transferred, and "
                "its fan the tolerance."
            )
        )
        yield self._picture(
            "drift",
            f"Best {answer.hyperparameter} against {answer.scale}",
            "Optima with their 95% intervals; an arrow is an interval that the grid leaves open. "
            "The blue line is the drift; its fan shows the 95% interval of the slope, turned "
            f"round the middle of the scales.{claimed}",
            _present(answer, data.optima),
            lambda labels: drift_figure(
                data, labels, hyperparameter=answer.hyperparameter, scale=answer.scale
            ),
            {
                "optima": data.optima,
                "drift": data.drift,
                "lines": data.lines,
                "claims": data.claims,
            },
        )

    def regret(self) -> Iterator[Picture]:
        """Yields the regret per scale; nothing where no group has a base."""
        answer, data = self.answer, tables.regret_table(self.answer)
        if data.empty:
            return
        yield self._picture(
            "regret",
            "What transfer costs",
            "Loss at the setting transferred from the smallest scale with an optimum inside its "
            "grid, minus the loss at each scale's own optimum. Below the dotted line of its "
            "colour a difference is noise. Groups stand a little apart to be told apart.",
            _present(answer, data),
            lambda labels: regret_figure(data, labels, answer),
            {"regret": data},
        )

    def frontier(self) -> Iterator[Picture]:
        """Yields the tuned loss against parameters; nothing where these are unknown."""
        answer, data = self.answer, tables.frontier_table(self.answer)
        if data.empty or data["params"].nunique() < 2:
            return
        yield self._picture(
            "frontier",
            f"{answer.metric} at the optimum against size",
            "The fitted loss at each scale's own optimum.",
            _present(answer, data),
            lambda labels: frontier_figure(data, labels, answer),
            {"frontier": data},
        )

    def training(self, curves: pd.DataFrame) -> Iterator[Picture]:
        """Yields the training curves; nothing without curves.

        Args:
            curves: from :func:`training_table`.
        """
        if curves.empty:
            return
        yield self._picture(
            "training",
            "Training curves",
            "The completed trial with the lowest loss at every scale. Faint: training loss as "
            "measured; strong: a centred running mean over 2% of the run. The steep beginning "
            "leaves the panel at the top.",
            _present(self.answer, curves),
            lambda labels: training_figure(curves, labels, self.answer),
            {"training": curves},
        )

    def _picture(
        self,
        kind: str,
        title: str,
        caption: str,
        labels: Sequence[str],
        draw: Callable[[Sequence[str]], bytes],
        data: dict[str, pd.DataFrame],
    ) -> Picture:
        images = []
        for part, start in enumerate(range(0, len(labels), MOST_PANELS)):
            image = draw(labels[start : start + MOST_PANELS])
            uri = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
            images.append((self.folder.png(self.file(kind, part), image), uri))
        files = tuple(self.folder.csv(self.file(name), table) for name, table in data.items())
        return Picture(title=title, caption=caption, images=tuple(images), tables=files)


def _present(answer: Answer, table: pd.DataFrame) -> list[str]:
    """Returns the groups that a table speaks of, in the order of the study."""
    present = set(table["group"])
    return [name for name in answer.labels if name in present]
