"""Curves in Parquet files."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from memory_files import MemoryFiles
from pyarrow import parquet

from sweeper.errors import StoreError
from sweeper.outcome import Mark, Outcome
from sweeper.store.files.curves import (
    read_arrays,
    read_curves,
    read_outcome,
    write_curve,
    write_curves,
)
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.protocol import FileStore
from sweeper.store.files.sealed import seal, unseal


@pytest.fixture(params=["folder", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    """Returns an empty place of files."""
    return LocalFiles(tmp_path) if request.param == "folder" else MemoryFiles("here:")


def test_curves_of_several_trials_come_back_in_one_frame(files: FileStore) -> None:
    names = {"aa": "aa/aa.1.parquet", "bb": "bb/bb.2.parquet"}
    write_curve(
        files, names["aa"], {"step": [1, 2], "tokens": [64, 128], "train_loss": [3.5, 3.25]}
    )
    write_curve(files, names["bb"], {"step": [1], "tokens": [64], "learning_rate": [0.5]})

    frame, warnings = read_curves(files, names)

    assert warnings == []
    assert list(frame.columns) == ["key", "step", "tokens", "train_loss", "learning_rate"]
    assert frame["key"].tolist() == ["aa", "aa", "bb"]
    assert frame["step"].tolist() == [1, 2, 1]
    assert frame["train_loss"].tolist()[:2] == [3.5, 3.25]
    assert math.isnan(frame["train_loss"].tolist()[2])


def test_a_curve_is_plain_parquet_with_integers_and_doubles(tmp_path: Path) -> None:
    path = tmp_path / "curve.parquet"
    write_curve(LocalFiles(tmp_path), path.name, {"step": [1, 2], "train_loss": [3.5, math.nan]})

    table = parquet.read_table(path)

    assert [str(kind) for kind in table.schema.types] == ["int64", "double"]
    assert [item.name for item in tmp_path.iterdir()] == ["curve.parquet"]


def test_missing_and_damaged_curves_are_named_and_the_others_read(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    names = {name: f"{name}.parquet" for name in ("good", "gone", "empty", "half")}
    for name in ("good", "half"):
        write_curve(files, names[name], {"step": [1], "tokens": [64], "train_loss": [3.5]})
    half = tmp_path / names["half"]
    half.write_bytes(half.read_bytes()[:100])
    (tmp_path / names["empty"]).touch()
    names["folder"] = ""

    frame, warnings = read_curves(files, names)

    assert frame["key"].tolist() == ["good"]
    assert len(warnings) == 4
    for name, warning in zip(("gone", "empty", "half", "folder"), warnings, strict=True):
        assert f"curve of trial {name} skipped" in warning
        assert files.shown(names[name]) in warning


OUTCOME = Outcome(
    key="ab" * 32,
    attempt=2,
    kind="completed",
    metrics={"val_loss": 1 / 3},
    marks=(Mark(step=2, tokens=128, metric="val_loss", value=1 / 3),),
    step=2,
)


def test_an_outcome_is_kept_in_its_curve(files: FileStore) -> None:
    columns: dict[str, list[float]] = {"step": [1, 2], "train_loss": [3.5, math.nan]}
    write_curve(files, "curve.parquet", columns, outcome=OUTCOME)

    assert read_outcome(files, "curve.parquet") == OUTCOME
    frame, warnings = read_curves(files, {"ab": "curve.parquet"})
    assert warnings == []
    assert frame["step"].tolist() == [1, 2]


def test_a_curve_without_rows_keeps_its_outcome_and_adds_nothing(files: FileStore) -> None:
    names = {"aa": "aa.parquet", "bb": "bb.parquet"}
    write_curve(files, names["aa"], {}, outcome=OUTCOME)
    write_curve(files, names["bb"], {"step": [1], "tokens": [64], "train_loss": [3.5]})

    assert read_outcome(files, names["aa"]) == OUTCOME
    frame, warnings = read_curves(files, names)
    assert (frame["key"].tolist(), warnings) == (["bb"], [])
    assert [str(kind) for kind in frame.dtypes[1:]] == ["int64", "int64", "float64"]
    empty, warnings = read_curves(files, {"aa": names["aa"]})
    assert (list(empty.columns), len(empty), warnings) == (["key", "step", "tokens"], 0, [])


def test_a_curve_may_have_no_outcome(files: FileStore) -> None:
    write_curve(files, "one.parquet", {"step": [1]})
    assert write_curves(files, [("two.parquet", {"step": [1]})]) == 1

    assert read_outcome(files, "one.parquet") is None
    assert read_outcome(files, "two.parquet") is None


def test_an_outcome_of_another_version_is_refused(tmp_path: Path) -> None:
    files, path = LocalFiles(tmp_path), tmp_path / "curve.parquet"
    write_curve(files, path.name, {"step": [1]}, outcome=OUTCOME)
    table, said = parquet.read_table(path), dict(parquet.read_metadata(path).metadata)
    newer = unseal(said[b"sweeper.outcome"]) | {"version": 2}
    with parquet.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(said | {b"sweeper.outcome": seal(newer)})

    with pytest.raises(ValueError, match="version 2, and this sweeper knows version 1"):
        read_outcome(files, "curve.parquet")


def test_no_damage_of_a_curve_file_goes_unnoticed(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    path, bad = tmp_path / "curve.parquet", tmp_path / "bad.parquet"
    values = [3.5 + index / 7 for index in range(200)]
    columns = {"step": list(range(200)), "train_loss": values}
    write_curve(files, path.name, columns, outcome=OUTCOME)
    whole = path.read_bytes()
    kept = parquet.read_table(path)
    draw = random.Random(7)

    damaged = [b"", whole[:-1], whole[: len(whole) // 2], bytes(len(whole)), whole[1:]]
    for place in draw.sample(range(len(whole)), 150):
        damaged.append(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
    unnoticed = 0
    for content in damaged:
        bad.write_bytes(content)
        try:
            found = read_outcome(files, bad.name)
        except ValueError as fault:
            assert str(fault).startswith(("it ", "its "))
            continue
        unnoticed += 1
        assert found in (OUTCOME, None), "None where all metadata are gone, and the columns whole"
        assert parquet.read_table(bad).equals(kept)
    assert unnoticed < 50, "what is left are bits of the footer that say nothing about the data"


def test_no_curve_at_all_is_an_empty_frame_with_its_columns(files: FileStore) -> None:
    frame, warnings = read_curves(files, {})

    assert frame.empty
    assert list(frame.columns) == ["key", "step", "tokens"]
    assert warnings == []


def test_a_curve_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="cannot write"):
        write_curve(LocalFiles(tmp_path), "file/curve.parquet", {"step": [1]})


ARRAYS = {"phi": np.array([-1.5, 0.1, math.nan]), "psi": np.arange(6.0).reshape(2, 3)}


def test_what_was_recorded_of_a_whole_run_comes_back_bit_for_bit(files: FileStore) -> None:
    outcome = Outcome(key="k", attempt=1, kind="completed", curve="a.parquet")
    write_curve(files, "a.parquet", {"step": [1]}, outcome=outcome, arrays=ARRAYS)
    write_curve(files, "b.parquet", {"step": [1]}, outcome=outcome)

    found = read_arrays(files, "a.parquet")

    assert found.keys() == ARRAYS.keys()
    for name, each in ARRAYS.items():
        np.testing.assert_array_equal(found[name], each)
    assert read_outcome(files, "a.parquet") == outcome
    assert read_arrays(files, "b.parquet") == {}


def test_arrays_that_were_altered_are_damage_to_every_reader(tmp_path: Path) -> None:
    files, path = LocalFiles(tmp_path), tmp_path / "a.parquet"
    outcome = Outcome(key="k", attempt=1, kind="completed", curve="a.parquet")
    write_curve(files, path.name, {"step": [1]}, outcome=outcome, arrays=ARRAYS)
    place = path.read_bytes().index(b'"shape": [2, 3]')
    content = bytearray(path.read_bytes())
    content[place : place + 15] = b'"shape": [3, 2]'
    path.write_bytes(content)
    for read in (read_arrays, read_outcome):
        with pytest.raises(ValueError, match="its arrays cannot be read"):
            read(files, path.name)


READING = """
import os, sys, pandas
from pathlib import Path
from pyarrow import parquet
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.curves import read_curves
before = len(os.listdir("/proc/self/task"))
frame, warnings = read_curves(LocalFiles(Path(sys.argv[1])), {"key": "curve.parquet"})
assert len(frame) == 3 and not warnings, warnings
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no /proc tells of threads")
def test_reading_leaves_no_thread_that_may_abort_the_end_of_the_program(tmp_path: Path) -> None:
    columns = {"step": [1, 2, 3], "tokens": [1, 2, 3], "val_loss": [0.3, 0.2, 0.1]}
    write_curve(LocalFiles(tmp_path), "curve.parquet", columns)
    done = subprocess.run(
        [sys.executable, "-c", READING, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"
