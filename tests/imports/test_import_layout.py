"""How an import lies in the database and in memory: in the order in which it is looked up."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy
import pyarrow
import pytest
from import_files import sweep_rows, take, write_csv
from pyarrow import parquet

from sweeper.store import studies as members
from sweeper.store.store import Store


def rows_as_they_lie(store: Store, table: str, columns: str) -> list[tuple[object, ...]]:
    return store.query(f"select {columns} from {table} order by rowid").rows


@pytest.mark.parametrize("group", [7, 5_000])
def test_imported_rows_lie_in_the_order_of_their_keys(
    tmp_path: Path, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "GROUP", group)
    rows = sweep_rows()
    for step in (10, 20):
        rows += [row | {"step": step, "loss": row["loss"] + 1 / step} for row in sweep_rows()]
    rows = [row for row in rows if "step" in row]
    with Store.open(tmp_path / "store", create=True) as store:
        done = take(store, write_csv(tmp_path / "runs.csv", rows), step="step")
        assert done.changes.added == 40
        for table, columns, count in (
            ("trials", "key", 40),
            ("results", "trial_key", 40),
            ("study_trials", "variant, trial_key", 40),
            ("marks", "trial_key, step", 80),
        ):
            lie = rows_as_they_lie(store, table, columns)
            assert len(lie) == count
            assert lie == sorted(lie, key=str), table


def test_members_are_listed_by_their_settings_and_not_as_they_lie(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", create=True) as store:
        take(store, write_csv(tmp_path / "runs.csv", sweep_rows()))
        frame = store.frame("theirs")
        place = frame[["variant", "width", "lr", "seed"]].apply(tuple, axis=1).tolist()
        assert place == sorted(place)
        assert frame["key"].tolist() != sorted(frame["key"])


def test_a_trial_with_a_corrected_result_joins_those_that_lie_there(tmp_path: Path) -> None:
    rows = sweep_rows()
    with Store.open(tmp_path / "store", create=True) as store:
        take(store, write_csv(tmp_path / "runs.csv", rows))
        rows[3]["loss"], rows[4]["loss"] = 2.5, math.inf
        done = take(store, write_csv(tmp_path / "runs.csv", rows), replace=True)
        assert (done.changes.added, done.changes.kept, done.changes.hidden) == (2, 38, 2)
        assert done.trials == {"completed": 39, "diverged": 1, "failed": 0, "missing": 0}
        account = store.account("theirs")
        assert (account.done, account.diverged, account.hidden) == (39, 1, 2)
        assert sorted(store.frame("theirs")["loss"])[0] == 2.5


RESIDENT = """
import re, sys
from pathlib import Path
from sweeper.imports.files import release_batches
from sweeper.imports.sources import open_sheet

def resident():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\\s+(\\d+)", status)[1])

small, large = (open_sheet(Path(name)) for name in sys.argv[1:])
list(small.batches(["loss"]))  # what reading itself needs is loaded
release_batches()
before = resident()
batches = list(large.batches(["loss", "lr"]))
held = resident() - before
del batches
release_batches()
print(held, resident() - before)
"""
"""Prints by how many KiB a process grows with the batches of a file, and after them."""


def test_batches_that_were_read_leave_no_memory_behind(tmp_path: Path) -> None:
    paths = [tmp_path / "small.parquet", tmp_path / "large.parquet"]
    for path, rows in zip(paths, (1_000, 1_000_000), strict=True):
        column = numpy.random.default_rng(0).random(rows)
        parquet.write_table(pyarrow.table({"loss": column, "lr": column}), path)
    code = [sys.executable, "-c", RESIDENT, *map(str, paths)]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    held, left = map(int, done.stdout.split())
    assert held > 10_000
    assert left < held / 4
