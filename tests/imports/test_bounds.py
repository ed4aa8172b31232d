"""What a file of results may hold at most: told before any of it is kept."""

from __future__ import annotations

import bz2
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from import_files import take
from pyarrow import parquet

from sweeper.errors import RequestError
from sweeper.imports.bounds import Limits
from sweeper.imports.sources import open_sheet
from sweeper.store.store import Store

LIMITS = Limits(bytes=10_000, text=2_000, columns=5, rows=100)

Write = Callable[[Path], object]


@pytest.fixture
def own(tmp_path: Path) -> Store:
    """Returns a store on SQLite: what is refused is refused before the database is asked."""
    return Store.open(tmp_path / "store", create=True)


def _table(path: Path, columns: dict[str, list[object]]) -> None:
    parquet.write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("a.csv", lambda p: p.write_bytes(b"x,y\n" + b"1,2\n" * 3_000), "more than 10 kB"),
        ("a.csv.gz", lambda p: p.write_bytes(gzip.compress(b"x" * 20_000)), "more than 10 kB"),
        ("a.csv.bz2", lambda p: p.write_bytes(bz2.compress(b"x" * 20_000)), "more than 10 kB"),
        ("a.csv", lambda p: p.write_text("x,y\n" + "1,2\n" * 101), "more than 100 rows"),
        ("a.csv", lambda p: p.write_text("a,b,c,d,e,f\n"), "more than 5 columns"),
        ("a.jsonl", lambda p: p.write_text('{"x": 1}\n' * 101), "more than 100 rows"),
        ("a.jsonl", lambda p: p.write_text('{"x": "%s"}\n' % ("y" * 2_000)), "list or line"),
        ("a.json", lambda p: p.write_text("[" + '{"x": 1},\n' * 300), "one object a line"),
        ("a.json", lambda p: p.write_text('{"x":\n1}\n' * 300), "one object a line"),
        ("a.json", lambda p: p.write_text('{"x":' * 300), "record 1 is not JSON: "),
        ("a.json", lambda p: p.write_text('{"x": %s}' % ("1" * 1_000)), "row 1, column x"),
        ("a.parquet", lambda p: _table(p, {"x": [1] * 101}), "more than 100 rows"),
        ("a.parquet", lambda p: _table(p, {"x": [[1] * 101]}), "more than 100 rows or values"),
        ("a.parquet", lambda p: _table(p, {"x": ["y" * 20_000]}), "kB, at most 10 kB are read"),
    ],
)
def test_what_is_too_much_is_refused(name: str, write: Write, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(RequestError) as caught:
        sheet = open_sheet(path, LIMITS)
        assert sum(len(batch["x"]) for batch in sheet.batches(["x"])) < 100
        raise RequestError("row 1, column x")  # nothing was too much
    assert says in str(caught.value)


@pytest.mark.parametrize("digits", [400, 5_000])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_a_number_of_many_digits_is_told_in_few(
    own: Store, name: str, digits: int, tmp_path: Path
) -> None:
    number = "1" * digits
    record = f'{{"width": {number}, "lr": 0.1, "loss": 3}}'
    text = {"a.csv": f"width,lr,loss\n{number},0.1,3\n", "a.json": f"[{record}]"}
    (tmp_path / name).write_text(text.get(name, record))
    with pytest.raises(RequestError) as caught:
        take(own, tmp_path / name, variant=(), seed=None)
    assert len(str(caught.value)) < 400


def test_pipes_and_devices_are_no_tables(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "a.json").write_text('{"width": 1}')
    os.mkfifo(runs / "b.json")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(RequestError, match=r"is a (pipe|device or socket) and no file"):
            open_sheet(path)
    assert open_sheet(runs).names == ("Name", "width")


def test_words_that_many_rows_repeat_are_read_as_any_others(own: Store, tmp_path: Path) -> None:
    rows = 6
    columns = {
        "optimizer": ["adam", None, "muon"] * 2,
        "width": pa.array(["64", "128"] * 3).dictionary_encode(),
        "lr": ["0.1", " 1e-1 "] * 3,
        "loss": ["3.0", "nan", "", "2.5", "2.0", "1"],
        "seed": list(range(rows)),
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    done = take(own, tmp_path / "a.parquet", variant=(), fixed=("optimizer",))
    assert done.rows == done.used == rows
    assert {k: n for k, n in done.trials.items() if n} == {
        "completed": 4,
        "diverged": 1,
        "missing": 1,
    }
