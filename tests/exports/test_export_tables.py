"""A study as CSV and as Parquet, read back by pandas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from sweeper import Store
from sweeper.errors import RequestError
from sweeper.exports import export_study

READ: dict[str, Any] = {
    "csv": pandas.read_csv,
    "parquet": pandas.read_parquet,
}


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_the_tables_have_every_trial_mark_and_step_with_all_digits(
    store: Store, rows: Any, losses: Any, tmp_path: Path, to: str
) -> None:
    done = export_study(store, "small", to, tmp_path / "out")

    assert done.trials == {"completed": 2, "diverged": 1, "dominated": 1, "failed": 1}
    assert (done.parts, done.left_out) == (("trials", "marks", "curves"), 0)
    trials = READ[to](tmp_path / "out" / f"trials.{to}").set_index("key")
    assert set(trials.index) == set(rows)
    for key, row in rows.items():
        found = trials.loc[key]
        assert (found["variant"], found["seed"]) == (row["variant"], row["seed"])
        assert (found["outcome"], found["learning_rate"]) == (row["outcome"], row["learning_rate"])
        if row["outcome"] == "completed":
            assert found["loss"] == found["metrics.val_loss"] == row["objective"]
    assert "planted bug" in trials.loc[trials["outcome"] == "failed", "error"].item()
    curves = READ[to](tmp_path / "out" / f"curves.{to}")
    told = {
        key: dict(zip(each["step"], each["train_loss"], strict=True))
        for key, each in curves.groupby("key")
    }
    assert told == {key: each for key, each in losses.items() if each}
    marks = READ[to](tmp_path / "out" / f"marks.{to}")
    last = marks[marks["step"] == 6].set_index("key")["value"].to_dict()
    ends = {key: row["objective"] for key, row in rows.items() if row["outcome"] == "completed"}
    assert last == ends
    about = json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8"))
    assert about["document"] == dict(store.study("small").document)


def test_a_folder_is_replaced_when_asked_and_only_if_an_export_wrote_it(
    store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_study(store, "small", "csv", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(RequestError, match="exists; --force overwrites it"):
        export_study(store, "small", "csv", out)
    (out / "curves.csv").unlink()
    export_study(store, "small", "csv", out, force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(RequestError, match="no export has written"):
        export_study(store, "small", "csv", mine, force=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert (mine / "thesis.tex").exists()


def test_a_curve_that_is_lost_is_told_and_the_rest_is_written(ran: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(ran, tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        name = next(iter(store.curve_files("small").values()))
        store.paths.files.remove(name)
        done = export_study(store, "small", "parquet", tmp_path / "out")
    assert len(done.warnings) == 1 and "it is missing" in done.warnings[0]
    assert len(pandas.read_parquet(tmp_path / "out" / "trials.parquet")) == 5
