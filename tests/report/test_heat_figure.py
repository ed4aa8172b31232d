"""The heat map of two hyperparameters: its cells, its optimum, and what is marked."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_studies import Made
from matplotlib.image import imread

from sweeper.answers.view import view_study
from sweeper.report.figures.heat import heat_drawing
from sweeper.report.page import write_report
from sweeper.report.tables import ReportData, heat_table, joint_table, points_table, report_data
from sweeper.store.store import Store

RATES, DECAYS = [2.0**k for k in range(-7, -1)], [2.0**k for k in range(-6, 0)]


def loss(config: Any, seed: int) -> float:
    """Returns a basin whose best decay falls by half an octave with each octave of the rate, and
    a cliff."""
    doublings = math.log2(config["width"] / 64)
    t = math.log2(config["learning_rate"]) + 4.3 + 0.5 * doublings
    across = math.log2(config["weight_decay"]) + 3.4 + 0.5 * t
    if t > 2:
        return math.inf
    return 3 + 0.03 * t**2 + 0.03 * across**2 + 0.002 * seed


@pytest.fixture
def data(store: Store) -> ReportData:
    axes = {"width": [64, 128], "learning_rate": RATES, "weight_decay": DECAYS}
    Made(axes=axes, loss=loss).save(store)
    return report_data(view_study(store, "made"), "learning_rate")


def test_cells_are_seed_means_above_the_lowest_and_know_the_profile(data: ReportData) -> None:
    table = heat_table(data)
    assert len(table) == 2 * 36
    assert (table.groupby("scale")["above"].min() == 0).all()
    assert np.isinf(table.loc[table["log2"] == -2, "loss"]).all()
    inside = table[(table["scale"] == 64) & (table["log2"] == -4)]
    assert inside["best_other_log2"].to_numpy() == pytest.approx(-3.4 - 0.15, abs=1e-6)
    assert inside["loss"].min() == pytest.approx(3 + 0.0027 + 0.03 * 0.45**2 + 0.001)


def test_the_joint_optimum_of_every_scale_is_in_its_table(data: ReportData) -> None:
    table = joint_table(data)
    assert table["scale"].tolist() == [64, 128]
    assert table["log2"].to_numpy() == pytest.approx([-4.3, -4.8], abs=0.1)
    assert table["other_log2"].to_numpy() == pytest.approx(-3.4, abs=0.1)
    assert (table["low"] <= table["log2"]).all() and (table["log2"] <= table["high"]).all()


def test_points_of_the_loss_figure_are_those_of_the_profile(data: ReportData) -> None:
    points = points_table(data)
    assert len(points) == 2 * 6 * 2
    near = points[(points["scale"] == 64) & (points["log2"] == -4) & (points["seed"] == 0)]
    assert near["loss"].item() == pytest.approx(3 + 0.03 * 0.09)


def test_the_figure_has_a_panel_a_scale(data: ReportData) -> None:
    drawing = heat_drawing(data)
    assert drawing is not None
    assert drawing.labels == ("only, width 64", "only, width 128")
    assert "tuned together, the best learning_rate falls with the width" in drawing.caption
    image = drawing.draw(drawing.labels)
    colours = (imread(io.BytesIO(image), format="png")[..., :3] * 255).round().astype(np.uint8)
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 50
    assert (colours == (0xD7, 0x19, 0x1C)).all(axis=-1).sum() > 100


def test_one_hyperparameter_has_no_heat_map(store: Store) -> None:
    axes = {"width": [64, 128], "learning_rate": RATES}
    Made(axes=axes, loss=lambda c, s: loss({**c, "weight_decay": 2.0**-3.4}, s)).save(store)
    assert heat_drawing(report_data(view_study(store, "made"), "learning_rate")) is None


def test_the_page_shows_it_with_the_value_of_the_other_at_each_optimum(
    data: ReportData, store: Store, tmp_path: Path
) -> None:
    page = write_report(store, ["made"], tmp_path / "report").read_text()
    assert (tmp_path / "report" / "made-heat-learning_rate.png").exists()
    assert "its weight_decay" in page
    assert "weight_decay tuned at every learning_rate" in page
