"""The tables: every number is the statement's or the store's."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from planted_studies import Planted

from sweeper.report import tables
from sweeper.report.answer import Answer, answer_of
from sweeper.report.answers import inquire
from sweeper.store.store import Store


@pytest.fixture(scope="module")
def answer(finished: Store) -> Answer:
    return answer_of(inquire(finished, "planted"), "learning_rate")


def test_optima_are_those_of_the_statement(answer: Answer) -> None:
    assert answer.statement is not None
    expected = [
        (group.variant, o.scale, o.value, o.log2, o.low, o.high, o.loss, " ".join(o.flags))
        for group in sorted(answer.statement.groups, key=lambda g: answer.labels.index(g.variant))
        for o in group.optima
    ]
    columns = ["group", "scale", "value", "log2", "low", "high", "loss", "flags"]
    table = tables.optima_table(answer)[columns]
    assert list(table.itertuples(index=False, name=None)) == expected


def test_drift_claims_and_regret_are_those_of_the_statement(answer: Answer) -> None:
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


def test_points_are_the_results_of_the_store(answer: Answer, finished: Store) -> None:
    frame = finished.frame("planted").set_index(["variant", "key"])
    points = tables.points_table(answer)
    assert len(points) == len(frame)
    for row in points.itertuples():
        trial = frame.loc[(row.group, row.key)]
        assert (row.scale, row.value, row.loss) == (
            trial["width"],
            trial["learning_rate"],
            trial["loss"],
        )
        assert 2.0**row.log2 == pytest.approx(row.value)


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
    means = tables.means_table(points).set_index("log2")
    assert means.loc[-1.0, "loss"] == math.inf
    assert (means.loc[-1.0, "seeds"], means.loc[-1.0, "diverged"]) == (2, 1)
    assert (means.loc[-2.0, "loss"], means.loc[-2.0, "diverged"]) == (3.0, 0)


def test_a_fit_passes_through_its_optimum(answer: Answer) -> None:
    fits, optima = tables.fits_table(answer), tables.optima_table(answer)
    inside = optima[~optima["flags"].str.contains("censored|cliff")]
    assert len(inside) >= 5
    for row in inside.itertuples():
        mine = fits[(fits["group"] == row.group) & (fits["scale"] == row.scale)]
        assert mine["log2"].min() <= row.log2 <= mine["log2"].max()
        assert np.interp(row.log2, mine["log2"], mine["loss"]) == pytest.approx(row.loss, abs=2e-3)


def test_lines_are_the_drift_and_the_claim(answer: Answer) -> None:
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
    answer = answer_of(inquire(store, "planted"), "learning_rate")
    drift = tables.drift_table(answer).set_index("group")
    assert drift.loc["fine", "refused"] == ""
    assert "inside the grid" in str(drift.loc["edge", "refused"])
    assert math.isnan(float(str(drift.loc["edge", "slope"])))
    assert set(tables.lines_table(answer)["group"]) >= {"fine"}


def test_a_study_that_refuses_as_a_whole_still_has_points(store: Store) -> None:
    Planted(widths=(32,)).save(store)
    answer = answer_of(inquire(store, "planted"), "learning_rate")
    assert answer.statement is None and answer.refusal is not None
    assert "at least 2" in answer.refusal
    assert len(tables.points_table(answer)) == 32
    for table in (tables.optima_table, tables.drift_table, tables.regret_table):
        assert table(answer).empty


def test_tuned_losses_stand_at_their_parameters(answer: Answer) -> None:
    frontier = tables.frontier_table(answer)
    np.testing.assert_array_equal(frontier["params"], frontier["scale"] ** 2)
    np.testing.assert_array_equal(frontier["loss"], tables.optima_table(answer)["loss"])
