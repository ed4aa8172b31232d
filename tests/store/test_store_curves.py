"""Curves in Parquet files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pyarrow import parquet

from sweeper.errors import StoreError
from sweeper.store.curves import read_curves, write_curve


def test_curves_of_several_trials_come_back_in_one_frame(tmp_path: Path) -> None:
    files = {"aa": tmp_path / "aa" / "aa.1.parquet", "bb": tmp_path / "bb" / "bb.2.parquet"}
    write_curve(files["aa"], {"step": [1, 2], "tokens": [64, 128], "train_loss": [3.5, 3.25]})
    write_curve(files["bb"], {"step": [1], "tokens": [64], "learning_rate": [0.5]})

    frame, warnings = read_curves(files)

    assert warnings == []
    assert list(frame.columns) == ["key", "step", "tokens", "train_loss", "learning_rate"]
    assert frame["key"].tolist() == ["aa", "aa", "bb"]
    assert frame["step"].tolist() == [1, 2, 1]
    assert frame["train_loss"].tolist()[:2] == [3.5, 3.25]
    assert math.isnan(frame["train_loss"].tolist()[2])


def test_a_curve_is_plain_parquet_with_integers_and_doubles(tmp_path: Path) -> None:
    path = tmp_path / "curve.parquet"
    write_curve(path, {"step": [1, 2], "train_loss": [3.5, math.nan]})

    table = parquet.read_table(path)

    assert [str(kind) for kind in table.schema.types] == ["int64", "double"]
    assert [item.name for item in tmp_path.iterdir()] == ["curve.parquet"]


def test_missing_and_damaged_curves_are_named_and_the_others_read(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.parquet" for name in ("good", "gone", "empty", "half")}
    for name in ("good", "half"):
        write_curve(files[name], {"step": [1], "tokens": [64], "train_loss": [3.5]})
    files["half"].write_bytes(files["half"].read_bytes()[:100])
    files["empty"].touch()
    files["folder"] = tmp_path

    frame, warnings = read_curves(files)

    assert frame["key"].tolist() == ["good"]
    assert len(warnings) == 4
    for name, warning in zip(("gone", "empty", "half", "folder"), warnings, strict=True):
        assert f"curve of trial {name} skipped" in warning
        assert str(files[name]) in warning


def test_no_curve_at_all_is_an_empty_frame_with_its_columns(tmp_path: Path) -> None:
    frame, warnings = read_curves({})

    assert frame.empty
    assert list(frame.columns) == ["key", "step", "tokens"]
    assert warnings == []


def test_a_curve_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="cannot write"):
        write_curve(tmp_path / "file" / "curve.parquet", {"step": [1]})
