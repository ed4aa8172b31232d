"""Runs of a tracker as rows: a row a run, or a row a step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sweeper.errors import RequestError
from sweeper.imports.bounds import Limits
from sweeper.imports.sheet import Sheet, Wanted
from sweeper.imports.trackers.runs import CURVE, Run, Series, Tracked, sheet_of_runs

ASKED = ("lr", "loss", "tokens")


def logged(name: str, losses: list[float], *, state: str = "finished", **said: str) -> Run:
    run = Run(name=name, said={"state": state, **said})
    for step, loss in enumerate(losses, start=1):
        run.log("loss", 10 * step, loss, follow=True)
        if step % 2:
            run.log("tokens", 10 * step, 1000.0 * step, follow=True)
    return run


def sheet(*runs: Run, **wanted: Any) -> Sheet:
    asked = Wanted(names=ASKED, settings=("lr",), objective="loss", **wanted)
    return sheet_of_runs(
        Tracked(path="there", runs=list(runs), step="step", state="state"), asked, Limits()
    )


def rows(found: Sheet, *names: str) -> list[tuple[Any, ...]]:
    batches = found.batches(names)
    return [row for b in batches for row in zip(*(b[n].to_pylist() for n in names), strict=True)]


def test_a_run_is_a_row_with_its_last_values() -> None:
    found = sheet(logged("a", [3.0, 2.0], lr="0.1"), logged("b", [3.0, math.nan], lr="0.2"))
    assert found.names == ("state", "lr", "loss", "tokens")
    assert rows(found, "lr", "loss", "tokens") == [
        ("0.1", "2.0", "1000.0"),
        ("0.2", "nan", "1000.0"),
    ]
    assert [found.place(row) for row in (1, 2)] == ["run a", "run b"]


def test_with_steps_a_row_is_a_step_and_other_metrics_are_as_last_known() -> None:
    found = sheet(logged("a", [3.0, 2.0, 1.0], lr="0.1"), logged("b", [5.0], lr="1"), step="step")
    assert rows(found, "lr", "step", "loss", "tokens") == [
        ("0.1", 10, 3.0, 1000.0),
        ("0.1", 20, 2.0, 1000.0),
        ("0.1", 30, 1.0, 3000.0),
        ("1", 10, 5.0, 1000.0),
    ]
    assert [found.run_of(row) for row in (1, 3, 4)] == ["a", "a", "b"]  # type: ignore[misc]


def test_a_metric_may_be_the_steps() -> None:
    found = sheet(logged("a", [3.0, 2.0, 1.0], lr="0.1"), step="tokens")
    assert rows(found, "tokens", "loss") == [(1000.0, 2.0), (3000.0, 1.0)]


def test_of_a_run_without_a_result_one_row_is_left_and_of_a_diverged_one_the_curve() -> None:
    found = sheet(
        logged("a", [3.0, 2.0], lr="0.1", state="crashed"),
        logged("b", [3.0, 2.0], lr="0.2", state="running"),
        logged("c", [3.0, math.nan], lr="0.4", state="crashed"),
        logged("d", [3.0], lr="0.8", state="crashed", **{"config.outcome": "diverged"}),
        step="step",
    )
    states = [(state, step) for state, step, _ in rows(found, "state", "step", "loss")]
    diverged = [("diverged", step) for step in (10, 20, 10)]
    assert states == [("crashed", 20), ("running", 20), *diverged]
    own = sheet(logged("a", [3.0, 2.0], lr="0.1", state="crashed"), step="step", outcome="x")
    assert len(rows(own, "step")) == 2  # somebody else says how it ended


def test_runs_without_settings_and_result_are_left_out_and_told() -> None:
    parent, crashed = Run(name="parent", said={"state": "finished"}), logged("c", [], lr="0.4")
    found = sheet(logged("a", [3.0], lr="0.1"), parent, crashed)
    assert [row[0] for row in rows(found, "lr")] == ["0.1", "0.4"]
    assert found.notes == ("left out: 1 run without a result and without all settings: parent",)
    assert len(rows(sheet(parent), "state")) == 1  # what is missing is said where it is read


def test_runs_of_different_length_are_told_where_no_steps_are_asked_for() -> None:
    runs = logged("a", [3.0] * 3, lr="0.1"), logged("b", [3.0] * 9, lr="0.2")
    (note,) = sheet(*runs).notes
    assert note.startswith("runs end at different steps, 30 to 90") and "--step step" in note
    assert sheet(*runs, step="step").notes == ()


def test_a_long_series_is_thinned_evenly_and_keeps_its_end() -> None:
    series = Series(limit=100)
    for step in range(1001):
        series.add(step, float(step))
    steps, values = series.curve()
    assert series.is_thinned and 50 <= len(steps) <= 101
    assert np.array_equal(steps, values)
    assert set(np.diff(steps[:-1])) == {16} and steps[-1] == 1000
    run = Run(name="a", said={"lr": "1"})
    for step in range(3 * CURVE):
        run.log("loss", step, 1.0, follow=True)
    (note,) = sheet(run, step="step").notes
    assert "1 curve of up to 30,000 points thinned evenly to at most 10,000" in note


def test_a_step_that_was_logged_again_counts_by_its_later_value_wherever_it_stands() -> None:
    run = Run(name="a", said={"lr": "1"})
    for step, value in ((1, 9.0), (2, 8.0), (3, 7.0), (2, 5.0), (3, 4.0), (1, 6.0)):
        run.log("loss", step, value, follow=True)
    assert run.last["loss"] == 4.0 and run.length == 3
    assert rows(sheet(run, step="step"), "step", "loss") == [(1, 6.0), (2, 5.0), (3, 4.0)]


def test_no_runs_and_too_many_rows_are_refused() -> None:
    with pytest.raises(RequestError, match="there: holds no runs"):
        sheet()
    tracked = Tracked(path="there", runs=[logged("a", [1.0] * 5, lr="1")], step="step")
    asked = Wanted(names=ASKED, objective="loss", step="step")
    with pytest.raises(RequestError, match="more than 4 rows"):
        sheet_of_runs(tracked, asked, Limits(rows=4))


def test_the_digest_is_that_of_what_was_read() -> None:
    one = sheet(logged("a", [3.0], lr="0.1")).digest()
    assert one == sheet(logged("z", [3.0], lr="0.1")).digest()
    assert one != sheet(logged("a", [3.5], lr="0.1")).digest()
