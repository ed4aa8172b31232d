"""What cells mean, in files of every kind."""

from __future__ import annotations

import decimal
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from import_files import take
from pyarrow import parquet

from sweeper.errors import RequestError
from sweeper.imports.cells import STATE_WORDS, STATES, as_cell, coded, measured, state, word
from sweeper.imports.sources import open_sheet
from sweeper.store.store import Store


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1e-3", 0.001),
        (" 0.0010 ", 0.001),
        ("+.5", 0.5),
        ("64", 64),
        (64.0, 64),
        ("007", 7),
        ("9007199254740993", 9007199254740993),
        ("1e300", 1e300),
        ("123e4567", "123e4567"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("nan", "nan"),
        ("True", True),
        ("false", False),
        ("", None),
        ("  ", None),
        (None, None),
        (math.nan, None),
        (decimal.Decimal("0.001"), 0.001),
        ("mup+wd", "mup+wd"),
    ],
)
def test_a_cell_has_one_form(cell: Any, value: Any) -> None:
    found = as_cell(cell)

    assert found == value and type(found) is type(value)


def test_a_words_meaning_does_not_depend_on_its_case() -> None:
    assert [state(text) for text in ("Finished", " CRASHED ", "NaN", "running", None)] == [
        "completed",
        "failed",
        "diverged",
        "missing",
        "missing",
    ]
    assert state("perhaps") is None
    trackers = {
        "completed": "TERMINATED COMPLETE FINISHED finished TrialState.COMPLETE",
        "failed": "ERROR PRUNED FAIL FAILED KILLED crashed failed killed preempted TIMED_OUT",
        "missing": "PENDING RUNNING PAUSED WAITING SCHEDULED running preempting RunStatus.RUNNING",
    }
    for meaning, words in trackers.items():  # of Ray, Optuna, MLflow and W&B
        assert {state(each) for each in words.split()} == {meaning}
    assert all(each in STATE_WORDS for words in STATES.values() for each in words)
    assert (word(True), word(0.5), word("SP")) == ("true", "0.5", "SP")


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["b", None, "a", "b"]),
        pa.array(["b", None, "a", "b"], pa.large_string()),
        pa.array(["b", None, "a", "b"]).dictionary_encode(),
        pa.array(["b", "", " a", "b "]),
    ],
)
def test_a_column_is_told_apart_by_its_distinct_cells(array: pa.Array) -> None:
    codes, cells = coded(array)

    assert cells == ["b", None, "a"]
    assert codes.tolist() == [0, 1, 2, 0]


def test_columns_of_any_type_have_cells() -> None:
    assert coded(pa.array([True, False, None]))[1] == [True, False, None]
    assert coded(pa.array([None, None]))[1] == [None]
    assert coded(pa.array([[1, 2], None]))[1] == ["[1, 2]", None]
    assert coded(pa.array([1.5, math.nan, 2.0]))[1] == [1.5, None, 2]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([" 2.5", "", "NaN", "-inf", "1e1"]),
        pa.array(["2.5", None, "nan", "-Infinity", "10"]).dictionary_encode(),
        pa.array([2.5, None, math.nan, -math.inf, 10.0]),
        pa.array([2.5, None, math.nan, -math.inf, 10.0], pa.float32()),
    ],
)
def test_measurements_keep_what_is_empty_apart_from_what_is_not_finite(array: pa.Array) -> None:
    values, empty, wrong = measured(array)

    assert wrong is None and empty.tolist() == [False, True, False, False, False]
    assert np.array_equal(values[~empty], [2.5, math.nan, -math.inf, 10], equal_nan=True)


def test_the_first_cell_that_is_no_measurement_is_found() -> None:
    assert measured(pa.array(["1", "", "two", "three"]))[2] == 2
    assert measured(pa.array([None, True]))[2] == 1
    assert measured(pa.array([None, None]))[2] is None
    assert measured(pa.array([decimal.Decimal("2.5")]))[0].tolist() == [2.5]


def test_nested_columns_of_a_parquet_file_have_dotted_names(tmp_path: Path) -> None:
    rows = [
        {"config": {"opt": {"lr": lr}, "width": 64}, "loss": lr, "tags": ["a", "b"]}
        for lr in (0.5, 0.25)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "nested")

    assert open_sheet(tmp_path / "nested").names == (
        "config.opt.lr",
        "config.width",
        "loss",
        "tags",
    )
    with Store.open(tmp_path / "store", create=True) as store:
        done = take(store, tmp_path / "nested", variant=(), seed=None, fixed=("tags",))
        assert done.columns == {"lr": "config.opt.lr", "width": "config.width"}
        assert store.frame("theirs")["tags"].unique().tolist() == ["['a', 'b']"]


def test_many_rows_come_in_batches_and_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.imports.files.BLOCK_BYTES", 200)
    lines = [f"64,{index},2.5" for index in range(1, 201)]
    file = tmp_path / "runs.csv"
    file.write_text("\n".join(["width,lr,loss", *lines]) + "\n", encoding="utf-8")

    with Store.open(tmp_path / "store", create=True) as store:
        assert take(store, file, variant=(), seed=None).used == 200
        file.write_text(file.read_text(encoding="utf-8") + "64,-1,2\n", encoding="utf-8")
        with pytest.raises(RequestError, match="row 201, column lr: -1"):
            take(store, file, variant=(), seed=None)
        file.write_text("\n".join(["width,lr,loss", *lines, "64,150,9"]), encoding="utf-8")
        with pytest.raises(RequestError, match="rows 150 and 201 agree in width, lr"):
            take(store, file, variant=(), seed=None)
