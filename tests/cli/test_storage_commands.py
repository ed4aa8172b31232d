"""`sweeper merge`, `rename`, `delete` and `backup`, as a user would type them."""

from __future__ import annotations

import io
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cli_harness import Once, Sweeper

ONE = """\
name: one
question: q
workload: planted
scale: width
fixed: {steps: 3}
sweep:
  width: [32, 64]
  learning_rate: [0.01, 0.02]
"""
TWO = ONE.replace("name: one", "name: two").replace("[32, 64]", "[64, 128]")


@pytest.fixture
def stores(sweeper: Sweeper, tmp_path: Path, once: Once) -> Path:
    """Returns the folder of another store than this test's own: it has both of two studies that
    share trials, this test's own has the first."""
    (tmp_path / "one.yaml").write_text(ONE, encoding="utf-8")
    (tmp_path / "two.yaml").write_text(TWO, encoding="utf-8")
    other = tmp_path / "other"

    def make() -> None:
        for name, place in (("one", tmp_path / "store"), ("one", other), ("two", other)):
            file = tmp_path / f"{name}.yaml"
            assert sweeper("run", file, "--executor", "inline", "--store", place).code == 0

    once("two-stores", make)
    return other


def test_another_store_comes_in_and_once_only(sweeper: Sweeper, stores: Path) -> None:
    first = sweeper("merge", stores, "--dry-run")
    assert "would take in 1 study (two), 2 trials, 2 results, 6 attempts, 2 files" in first.out
    document = sweeper("merge", stores, "--json").document
    assert list(document) == [
        *("dry_run", "keep", "studies", "extended", "trials", "results", "same", "differing"),
        *("withdrawn", "attempts", "checkpoints", "files", "missing_curves"),
    ]
    assert (document["studies"], document["same"]) == (["two"], 4)
    assert sweeper("status", "two", "--json").document["done"] == 4
    assert "nothing is there that is not here" in sweeper("merge", stores).out
    assert sweeper("verify").code == 0


def test_one_differing_result_is_told_as_one(sweeper: Sweeper, stores: Path) -> None:
    with closing(sqlite3.connect(stores / "sweeper.db")) as link, link:
        link.execute(
            "update results set metrics = '{\"val_loss\": 9.5}', objective = 9.5 "
            "where trial_key = (select min(trial_key) from study_trials where study = 'one')"
        )
    refused = sweeper("merge", stores)
    assert (refused.code, "sweeper: 1 trial has another result there (" in refused.err) == (
        2,
        True,
    )


def test_differing_results_end_a_merge_until_it_is_said_which_counts(
    sweeper: Sweeper, stores: Path
) -> None:
    with closing(sqlite3.connect(stores / "sweeper.db")) as link, link:
        link.execute("update results set metrics = '{\"val_loss\": 9.5}', objective = 9.5")
    refused = sweeper("merge", stores)
    assert refused.code == 2
    assert "4 trials have another result there" in refused.err and "--keep there" in refused.err
    assert sweeper("sql", "select count(*) n from studies", "--json").document == [{"n": 1}]
    said = sweeper("merge", stores, "--keep", "there")
    assert "4 trials have another: those of the other store count" in said.out
    worst = sweeper("sql", "select min(objective) as m from results", "--json").document
    assert worst == [{"m": 9.5}]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("merge", "nowhere"), "there is no store here"),
        (("merge", "store"), "is the store itself"),
        (("merge", "other", "--keep", "both"), "'both' is not one of 'here', 'there'"),
        (("rename", "on", "x"), "did you mean 'one'?"),
        (("rename", "one", "a name"), "'a name' is not a name; use letters"),
        (("rename", "one", ""), "'' is not a name; use letters"),
        (("delete", "on", "--yes"), "did you mean 'one'?"),
        (("backup", "store"), "holds a store, which a backup does not overwrite"),
        (("backup", "other/curves"), "is not empty"),
        (("backup", "store/curves/today"), "lies inside the store"),
        (("backup", "s3://bucket/x"), "give a folder that is not there yet"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    sweeper: Sweeper, stores: Path, arguments: tuple[str, ...], says: str
) -> None:
    answer = sweeper(*arguments)
    assert answer.code in (2, 4)
    assert says in answer.err and "Traceback" not in answer.err
    assert sweeper("status", "one", "--json").document["done"] == 4


def test_a_renamed_study_answers_and_its_file_makes_it_anew(
    sweeper: Sweeper, stores: Path, tmp_path: Path
) -> None:
    assert sweeper("rename", "one", "uno", "--json").document == {"study": "one", "renamed": "uno"}
    assert sweeper("status", "uno", "--json").document["done"] == 4
    again = sweeper("run", tmp_path / "one.yaml", "--executor", "inline", "--json").document
    assert (again["run"]["reused"], again["run"]["finished"]) == (4, 0)
    said = sweeper("rename", "uno", "due")
    assert "study uno is called due now" in said.out and "name: due" in said.out


class Terminal(io.StringIO):
    """A person at a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_deletion_asks_first(
    sweeper: Sweeper, stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper("merge", stores)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    refused = sweeper("delete", "two")
    assert refused.code == 2 and "--yes" in refused.err and "2 trials, 2 results" in refused.err
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert sweeper("delete", "two").code == 2
    assert sweeper("delete", "two", "--json").code == 2
    assert "would delete study two" in sweeper("delete", "two", "--dry-run").out
    assert sweeper("status", "two", "--json").document["done"] == 4
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    done = sweeper("delete", "two")
    assert done.code == 0
    assert "deleted study two: 2 trials, 2 results, 2 files" in done.out
    assert "2 trials that other studies have too stay" in done.out.replace("\n", "")
    document = sweeper("delete", "one", "--yes", "--json").document
    assert list(document) == [
        *("study", "dry_run", "trials", "results", "shared", "files", "size")
    ]
    assert sweeper("status", "--json").document == []
    assert sweeper("verify", "--json").document["findings"] == []


def test_a_backup_is_a_store(sweeper: Sweeper, stores: Path, tmp_path: Path) -> None:
    document = sweeper("backup", "kept/today", "--json").document
    assert list(document) == [
        *("store", "backup", "rows", "files", "size", "running", "missing_curves")
    ]
    assert (document["rows"]["results"], document["files"]) == (4, 4)
    assert sweeper("verify", "--store", "kept/today").code == 0
    assert sweeper("status", "one", "--store", "kept/today", "--json").document["done"] == 4
    said = sweeper("backup", "kept/tomorrow")
    assert "sweeper verify --store kept/tomorrow" in said.out
