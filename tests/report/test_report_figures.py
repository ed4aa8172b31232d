"""The figures: valid, not blank, the same bytes twice, and readable where it matters."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray
from planted_studies import Planted

from sweeper.answers.view import view_study
from sweeper.report import tables
from sweeper.report.figures import canvas
from sweeper.report.figures.drift import DriftTables, drift_figure
from sweeper.report.figures.loss import LossTables, loss_figure, loss_limits
from sweeper.report.figures.regret import frontier_figure, regret_figure
from sweeper.report.figures.training import training_figure
from sweeper.report.tables import ReportData, best_trials, report_data, training_table
from sweeper.store.files.curves import read_curves
from sweeper.store.store import Store

STRIP = (0xF0, 0xF0, 0xF0)


def pixels(image: bytes) -> NDArray[np.uint8]:
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    return (imread(io.BytesIO(image), format="png")[..., :3] * 255).round().astype(np.uint8)


def loss_tables(answer: ReportData) -> LossTables:
    points = tables.points_table(answer)
    return LossTables(
        points=points,
        means=tables.means_table(points),
        fits=tables.fits_table(answer),
        optima=tables.optima_table(answer),
    )


def draw_loss(answer: ReportData) -> bytes:
    return loss_figure(
        loss_tables(answer),
        answer.labels,
        hyperparameter="learning_rate",
        scale="width",
        axis=answer.axis,
    )


def draw_drift(answer: ReportData) -> bytes:
    data = DriftTables(
        optima=tables.optima_table(answer),
        drift=tables.drift_table(answer),
        lines=tables.lines_table(answer),
        claims=tables.claims_table(answer),
    )
    return drift_figure(data, answer.labels, hyperparameter="learning_rate", scale="width")


def draw_regret(answer: ReportData) -> bytes:
    return regret_figure(tables.regret_table(answer), answer.labels, answer)


def draw_frontier(answer: ReportData) -> bytes:
    return frontier_figure(tables.frontier_table(answer), answer.labels, answer)


@pytest.fixture(scope="module")
def answer(finished: Store) -> ReportData:
    return report_data(view_study(finished, "planted"), "learning_rate")


@pytest.mark.parametrize("draw", [draw_loss, draw_drift, draw_regret, draw_frontier])
def test_a_figure_is_not_blank(answer: ReportData, draw: Callable[[ReportData], bytes]) -> None:
    image = draw(answer)
    if draw is draw_frontier:  # all are rendered by one function
        assert image == draw(answer), "the same bytes twice"
    assert b"matplotlib" not in image
    shape = pixels(image)
    assert shape.shape[1] == pytest.approx(canvas.WIDTH * canvas.DPI, abs=1)
    # Every third of the width shows ink of several colours, so no panel is empty.
    for part in np.array_split(shape, 3, axis=1):
        assert part.std() > 10
        assert len(np.unique(part.reshape(-1, 3), axis=0)) > 50


def test_training_curves_are_drawn_from_the_stores_files(
    finished: Store, answer: ReportData
) -> None:
    points = tables.points_table(answer)
    best = best_trials(points)
    assert len(best) == 6
    lowest = points.groupby(["group", "scale"])["loss"].min()
    assert best.set_index(["group", "scale"])["loss"].to_dict() == lowest.to_dict()
    files = finished.curve_files("planted")
    curves, warnings = read_curves(finished.paths.files, {key: files[key] for key in best["key"]})
    assert warnings == []
    table = training_table(best, curves)
    assert len(table) == 6 * 50
    image = training_figure(table, answer.labels, answer)
    assert image == training_figure(table, answer.labels, answer)
    assert pixels(image).std() > 10


def test_a_smoothed_curve_is_a_centred_running_mean() -> None:
    steps = np.arange(200)
    losses = np.random.default_rng(0).standard_normal(200)
    curves = pd.DataFrame({"key": "k", "tokens": steps, "train_loss": losses})
    best = pd.DataFrame({"group": ["g"], "scale": [8.0], "value": [1.0], "seed": [0], "key": "k"})
    table = training_table(best, curves)
    # Two percent of 200 points: two neighbours on each side.
    expected = np.convolve(losses, np.ones(5) / 5, mode="valid")
    np.testing.assert_allclose(table["smoothed"][2:-2], expected)
    assert table["smoothed"][0] == pytest.approx(losses[:3].mean())


def test_limits_show_every_minimum_and_leave_the_wall_out() -> None:
    log2 = np.arange(-9.0, -1.0)
    losses = {32: 3 + 0.05 * (log2 + 5) ** 2, 64: 2 + 0.05 * (log2 + 6) ** 2}
    losses[64][-1] = 40.0
    means = pd.concat(
        pd.DataFrame({"group": "g", "scale": scale, "log2": log2, "loss": loss})
        for scale, loss in losses.items()
    )
    low, high = loss_limits(means)
    assert 1.8 < low < 2.0
    assert 3.2 < high < 4.0


def test_limits_of_equal_or_no_losses_are_a_range() -> None:
    same = pd.DataFrame({"group": "g", "scale": 8, "log2": [0.0, 1.0], "loss": [2.0, 2.0]})
    low, high = loss_limits(same)
    assert low < 2.0 < high
    low, high = loss_limits(same.assign(loss=math.inf))
    assert math.isfinite(low) and low < high


def strip_pixels(answer: ReportData) -> int:
    return int((pixels(draw_loss(answer)) == STRIP).all(axis=-1).sum())


def test_only_a_diverged_trial_makes_the_strip_of_crosses(store: Store) -> None:
    Planted(name="tame", octaves=tuple(range(-8, -2)), drifts={"mup": 0.0}).save(store)
    Planted(name="wild", drifts={"sp": -1.0}).save(store)
    tame, wild = (report_data(view_study(store, n), "learning_rate") for n in ("tame", "wild"))
    assert not np.isinf(tables.points_table(tame)["loss"]).any()
    assert np.isinf(tables.points_table(wild)["loss"]).any()
    assert strip_pixels(tame) < 200  # the grey of antialiased lines
    assert strip_pixels(wild) > 5000


def test_a_bound_looks_different_from_an_optimum(store: Store) -> None:
    Planted(octaves=tuple(range(-9, -2)), drifts={"up": 1.0}).save(store)
    answer = report_data(view_study(store, "planted"), "learning_rate")
    data = loss_tables(answer)
    assert "censored_high" in data.optima["flags"].iloc[-1]
    names = {"hyperparameter": "learning_rate", "scale": "width", "axis": "loss"}
    plain = LossTables(
        points=data.points, means=data.means, fits=data.fits, optima=data.optima.assign(flags="")
    )
    assert loss_figure(data, ["up"], **names) != loss_figure(plain, ["up"], **names)


def test_names_with_odd_characters_are_drawn_as_they_are(store: Store) -> None:
    # Warnings are errors here: a missing glyph or a broken formula would show.
    drifts = {"a $x_{2}$ <b>": 0.0, "_hidden 実験 \U0001f600 " + "long " * 20: -0.5}
    Planted(drifts=drifts).save(store)
    answer = report_data(view_study(store, "planted"), "learning_rate")
    for draw in (draw_loss, draw_drift, draw_regret, draw_frontier):
        assert pixels(draw(answer)).std() > 10


def test_a_users_own_style_does_not_reach_the_figures(answer: ReportData) -> None:
    import matplotlib

    usual = draw_regret(answer)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert draw_regret(answer) == usual
