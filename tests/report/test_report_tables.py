"""The tables: every number is the statement's or the store's."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from planted_studies import Planted

from sweeper.answers.view import view_study
from sweeper.report import tables
from sweeper.report.html_tables import page_tables
from sweeper.report.tables import ReportData, report_data
from sweeper.store.store import Store


@pytest.fixture(scope="module")
def answer(finished: Store) -> ReportData:
    return report_data(view_study(finished, "planted"), "learning_rate")


def test_optima_are_those_of_the_statement(answer: ReportData) -> None:
    expected = [
        (group.variant, o.scale, o.value, o.log2, o.low, o.high, o.loss, " ".join(o.flags))
        for group in sorted(answer.statement.groups, key=lambda g: answer.labels.index(g.variant))
        for o in group.optima
    ]
    columns = ["group", "scale", "value", "log2", "low", "high", "loss", "flags"]
    table = tables.optima_table(answer)[columns]
    assert list(table.itertuples(index=False, name=None)) == expected


def test_drift_claims_and_regret_are_those_of_the_statement(answer: ReportData) -> None:
    drift = tables.drift_table(answer).set_index("group")
    claims = tables.claims_table(answer).set_index("group")
    regret = tables.regret_table(answer)
    for name, group in answer.groups.items():
        assert group.drift is not None
        row = drift.loc[name]
        assert (row["slope"], row["low"], row["high"]) == (
            group.drift.slope,
            group.drift.low,
            group.drift.high,
        )
        assert claims.loc[name, "why"] == group.verdicts[0].why
        mine = regret[regret["group"] == name]
        assert mine["scale"].tolist() == [cost.scale for cost in group.regret]
        np.testing.assert_array_equal(mine["regret"], [cost.regret for cost in group.regret])


def test_points_are_the_results_of_the_store(answer: ReportData, finished: Store) -> None:
    columns = ["variant", "key", "width", "learning_rate", "loss", "seed", "outcome"]
    frame = finished.frame("planted")[columns]
    points = tables.points_table(answer)
    same = points.rename(columns={"group": "variant", "scale": "width", "value": "learning_rate"})[
        columns
    ]
    pd.testing.assert_frame_equal(
        same.sort_values(["variant", "key"], ignore_index=True),
        frame.sort_values(["variant", "key"], ignore_index=True),
        check_dtype=False,
    )
    np.testing.assert_allclose(2.0 ** points["log2"], points["value"])


def test_a_mean_with_a_diverged_seed_is_infinite() -> None:
    points = pd.DataFrame(
        {
            "group": "g",
            "scale": [8.0, 8.0, 8.0],
            "value": [0.5, 0.5, 0.25],
            "log2": [-1.0, -1.0, -2.0],
            "seed": [0, 1, 0],
            "outcome": ["completed", "diverged", "completed"],
            "loss": [1.0, math.inf, 3.0],
        }
    )
    means = tables.means_table(points)
    assert means["log2"].tolist() == [-1.0, -2.0]
    assert means["loss"].tolist() == [math.inf, 3.0]
    assert means["seeds"].tolist() == [2, 1]
    assert means["diverged"].tolist() == [1, 0]


def test_a_fit_passes_through_its_optimum(answer: ReportData) -> None:
    fits, optima = tables.fits_table(answer), tables.optima_table(answer)
    inside = optima[~optima["flags"].str.contains("censored|cliff")]
    assert len(inside) >= 5
    for _, row in inside.iterrows():
        mine = fits[(fits["group"] == row["group"]) & (fits["scale"] == row["scale"])]
        assert mine["log2"].min() <= row["log2"] <= mine["log2"].max()
        loss = np.interp(row["log2"], mine["log2"].to_numpy(), mine["loss"].to_numpy())
        assert loss == pytest.approx(row["loss"], abs=2e-3)


def test_lines_are_the_drift_and_the_claim(answer: ReportData) -> None:
    lines = tables.lines_table(answer)
    for name, group in answer.groups.items():
        assert group.drift is not None
        mine = lines[lines["group"] == name]
        drift = mine[mine["kind"] == "drift"]
        expected = [group.drift.log2_at(scale) for scale in drift["scale"]]
        np.testing.assert_allclose(drift["log2"], expected)
        assert (drift["low"] <= drift["log2"]).all() and (drift["log2"] <= drift["high"]).all()
        claim = mine[mine["kind"] == "claim"]
        base = group.optima[0]
        np.testing.assert_allclose(claim["log2"], base.log2)
        doublings = np.abs(np.log2(claim["scale"] / base.scale))
        np.testing.assert_allclose(claim["high"] - claim["log2"], 0.25 * doublings, atol=1e-12)


def test_a_refused_group_keeps_its_place_and_its_reason(store: Store) -> None:
    Planted(drifts={"fine": 0.0, "edge": 4.0}).save(store)
    answer = report_data(view_study(store, "planted"), "learning_rate")
    drift = tables.drift_table(answer).set_index("group")
    assert drift.loc["fine", "refused"] == ""
    assert "inside the grid" in str(drift.loc["edge", "refused"])
    assert math.isnan(float(str(drift.loc["edge", "slope"])))
    assert set(tables.lines_table(answer)["group"]) >= {"fine"}


def test_a_study_without_any_drift_still_has_its_optima(store: Store) -> None:
    Planted(widths=(32,)).save(store)
    answer = report_data(view_study(store, "planted"), "learning_rate")
    assert len(tables.points_table(answer)) == 32
    assert tables.optima_table(answer)["scale"].tolist() == [32, 32]
    drift = tables.drift_table(answer)
    assert drift["slope"].isna().all()
    assert drift["refused"].str.contains("at least 2").all()


def test_tuned_losses_stand_at_their_parameters(answer: ReportData) -> None:
    frontier = tables.frontier_table(answer)
    np.testing.assert_array_equal(frontier["params"], frontier["scale"] ** 2)
    np.testing.assert_array_equal(frontier["loss"], tables.optima_table(answer)["loss"])


def test_regret_is_priced_in_compute_by_the_groups_own_losses(finished: Store) -> None:
    answer = report_data(view_study(finished, "planted"), "learning_rate")
    rows = tables.regret_table(answer).set_index(["group", "scale"])
    assert rows.loc[("sp", 32.0), "compute"] == pytest.approx(1, abs=1e-6)
    assert rows.loc[("sp", 64.0), "regret"] == pytest.approx(0.05, abs=0.02)
    # 2 + n^-1/2 falls by 0.052 from 32 to 64, at four times the FLOPs: nearly all is lost.
    assert 2.5 < rows.loc[("sp", 64.0), "compute"] < 6
    assert rows.loc["mup", "compute"].to_numpy() == pytest.approx(1, abs=0.3)
    (grid,) = [grid for grid in page_tables(answer) if grid.title.startswith("Regret")]
    assert any("×" in cell for row in grid.rows for name, cell in row if name == "in compute")
