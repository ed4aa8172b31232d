"""Histories as tables: a file a run, W&B's panels, and beside a table of the runs."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tracked import Take

from sweeper.errors import RequestError
from sweeper.imports.request import NamePattern
from sweeper.store.store import Store

RATES = (0.1, 0.2, 0.4)
NAMES = NamePattern("lr{lr}-w{width}")


def losses(lr: float) -> list[float]:
    return [4.0, 3.0, math.nan if lr == 0.4 else 2.0 + lr]


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, dict.fromkeys(n for row in rows for n in row))
            writer.writeheader()
            writer.writerows(rows)
    return path


def history(lr: float) -> list[dict[str, Any]]:
    steps = range(0, 30, 10)
    return [
        {"_step": step, "val/loss": loss, "tokens": 100 * step}
        for step, loss in zip(steps, losses(lr), strict=True)
    ]


def panel(path: Path, *, spread: float = 0.0) -> Path:
    rows = []
    for place, step in enumerate(range(0, 30, 10)):
        row: dict[str, Any] = {"Step": step}
        for lr in RATES:
            name, loss = f"lr{lr}-w64 - val/loss", losses(lr)[place]
            row |= {name: loss, f"{name}__MIN": loss - spread, f"{name}__MAX": loss + spread}
        rows.append(row)
    return table(path, rows)


def runs(path: Path, **more: str) -> Path:
    rows = [
        {"Name": f"lr{lr}-w64", "ID": f"id{lr}", "State": "finished", "lr": lr, "width": 64}
        for lr in RATES
    ]
    rows[0] |= more
    return table(path, rows)


def check(store: Store) -> None:
    """The three runs, their ends and their curves."""
    frame = store.frame("theirs").set_index("lr")
    assert frame["loss"][[0.1, 0.2]].tolist() == [2.1, 2.2]
    assert frame["outcome"].tolist() == ["completed", "completed", "diverged"]
    assert set(store.marks("theirs")["step"]) == {0, 10, 20}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_folder_with_a_table_a_run_is_read(
    store: Store, take: Take, tmp_path: Path, suffix: str
) -> None:
    for lr in RATES:
        table(tmp_path / f"h/lr{lr}-w64.{suffix}", history(lr))
    done = take(tmp_path / "h", "loss", step="_step", tokens="tokens", in_names=NAMES)
    assert done.curves == 3
    check(store)


def test_settings_may_stand_beside_a_runs_tables_or_in_them(
    store: Store, take: Take, tmp_path: Path
) -> None:
    for lr in RATES:
        folder = tmp_path / f"h/version_{lr}"
        rows = [{**row, "opt": "adam", "width": 64} for row in history(lr)]
        table(folder / "metrics.csv", rows)
        (folder / "hparams.yaml").write_text(f"lr: {lr}\n")
    take(tmp_path / "h", "loss", step="_step", variant=("opt",))
    check(store)


def test_pieces_of_one_history_are_joined(store: Store, take: Take, tmp_path: Path) -> None:
    for lr in RATES:
        rows = history(lr)
        for place in range(3):
            part = tmp_path / f"h/run-id{lr}-history:v0/000{place}.parquet"
            table(part, rows[place : place + 1])
    done = take(runs(tmp_path / "runs.csv"), "loss", step="_step", history=tmp_path / "h")
    assert done.curves == 3
    check(store)


def test_a_panel_is_a_run_a_column(store: Store, take: Take, tmp_path: Path) -> None:
    done = take(panel(tmp_path / "panel.csv"), "loss", step="Step", in_names=NAMES)
    assert done.columns["loss"] == "val/loss" and done.notes == ()
    # A panel writes NaN as it is.
    check(store)
    last = take(tmp_path / "panel.csv", "loss", in_names=NAMES, replace=True)
    assert last.trials["completed"] == 2


def test_a_panel_of_means_is_told(take: Take, tmp_path: Path) -> None:
    done = take(panel(tmp_path / "p.csv", spread=0.1), "loss", step="Step", in_names=NAMES)
    assert "the panel holds means over runs or over steps" in done.notes[0]


@pytest.mark.parametrize("kind", ["panel", "long", "folder"])
def test_histories_beside_a_table_of_runs_become_their_curves(
    store: Store, take: Take, tmp_path: Path, kind: str
) -> None:
    if kind == "panel":
        beside = panel(tmp_path / "panel.csv")
    elif kind == "long":
        rows = [{"run_id": f"id{lr}", **row} for lr in RATES for row in history(lr)]
        beside = table(tmp_path / "long.parquet", rows)
    else:
        for lr in RATES:
            table(tmp_path / f"h/id{lr}.csv", history(lr))
        table(tmp_path / "h/other.csv", history(0.1))
        beside = tmp_path / "h"
    step = "Step" if kind == "panel" else "_step"
    done = take(runs(tmp_path / "runs.csv"), "val/loss", step=step, history=beside)
    assert done.curves == 3 and done.file == "runs.csv"
    assert done.notes[0].startswith("1 history of no run in the table: 'other'") == (
        kind == "folder"
    )
    check(store)


def test_a_crashed_run_of_the_table_has_no_result(
    store: Store, take: Take, tmp_path: Path
) -> None:
    beside = panel(tmp_path / "panel.csv")
    crashed = runs(tmp_path / "runs.csv", State="crashed")
    done = take(crashed, "val/loss", step="Step", history=beside)
    assert done.trials == {"completed": 1, "diverged": 1, "failed": 1, "missing": 0}


def test_histories_that_are_not_those_of_the_runs_are_refused(take: Take, tmp_path: Path) -> None:
    table_of_runs = runs(tmp_path / "runs.csv")
    own = tmp_path / "h"
    table(own / "mine.csv", history(0.1))
    with pytest.raises(RequestError, match=r"holds no history of a run of .*, but of 'mine'"):
        take(table_of_runs, "val/loss", step="_step", history=own)
    nameless = table(tmp_path / "nameless.csv", history(0.1))
    with pytest.raises(RequestError, match="has no column that tells the runs: id, run_id"):
        take(table_of_runs, "val/loss", step="_step", history=nameless)
    with pytest.raises(RequestError, match=r"nameless\.csv: has no column that tells the runs"):
        take(nameless, "val/loss", step="_step", history=own)
    twice = runs(tmp_path / "twice.csv", Name="lr0.2-w64")
    with pytest.raises(RequestError, match=r"2 runs have the Name 'lr0\.2-w64'"):
        take(twice, "val/loss", step="Step", history=panel(tmp_path / "panel.csv"))
    ids = tmp_path / "ids"
    for lr in RATES:
        table(ids / f"id{lr}.csv", history(lr))
    assert take(twice, "val/loss", step="_step", history=ids).curves == 3
    with pytest.raises(RequestError, match="no column named 'val/los'; did you mean 'val/loss'"):
        take(table_of_runs, "val/los", step="_step", history=ids)
    words = [{"id": f"id{lr}", "_step": 1, "val/loss": "low"} for lr in RATES]
    wordy = table(tmp_path / "words.csv", words)
    with pytest.raises(RequestError, match=r"row 1, column val/loss: 'low' is no number"):
        take(table_of_runs, "val/loss", step="_step", history=wordy)
    with pytest.raises(RequestError, match="name the column of its steps with --step"):
        take(table_of_runs, "val/loss", history=own)
    with pytest.raises(RequestError, match="--history: goes with a table of runs"):
        take(own, "val/loss", step="_step", history=own)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"_step": 1.5}, "row 2, column _step: '1.5', where a step is a whole number"),
        ({"_step": "x"}, "row 2, column _step: 'x', where a step is a whole number"),
    ],
)
def test_a_step_that_is_none_is_named_with_its_row(
    take: Take, tmp_path: Path, row: dict[str, Any], says: str
) -> None:
    rows = history(0.1)
    rows[1] |= row
    table(tmp_path / "h/lr0.1-w64.csv", rows)
    with pytest.raises(RequestError, match=says) as told:
        take(tmp_path / "h", "loss", step="_step", in_names=NAMES)
    assert "lr0.1-w64.csv" in str(told.value)


def test_runs_as_json_beside_tables_are_read_as_before(take: Take, tmp_path: Path) -> None:
    folder = tmp_path / "h"
    table(folder / "notes.csv", [{"a": 1}])
    (folder / "a.json").write_text('{"lr": 0.1, "width": 64, "loss": 2.5}')
    assert take(folder, "loss").used == 1
