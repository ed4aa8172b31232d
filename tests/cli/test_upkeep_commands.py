"""`sweeper retry`, `prune`, `verify` and `status`, as a user would type them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from cli_harness import Sweeper

from sweeper.store.store import Store

SMALL = """\
name: small
question: q
workload: planted
scale: width
fixed: {steps: 3, misbehave: none}
sweep:
  width: [32]
  learning_rate: [0.01, 0.02]
"""


@pytest.fixture
def small(sweeper: Sweeper, tmp_path: Path) -> Path:
    """Returns the file of a study of two trials that has been run."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.replace(", misbehave: none", ""), encoding="utf-8")
    sweeper("run", path, "--executor", "inline")
    assert sweeper("status", "small", "--json").document["done"] == 2
    return path


@pytest.fixture
def failed(sweeper: Sweeper, tmp_path: Path) -> Path:
    """Returns the file of a study of two trials that both failed."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.replace("none", "bug"), encoding="utf-8")
    sweeper("run", path, "--executor", "inline")
    assert sweeper("status", "small", "--json").document["failed"] == 2
    return path


def test_status_has_the_keys_that_are_promised_and_says_how_to_go_on(
    sweeper: Sweeper, failed: Path
) -> None:
    document = sweeper("status", "small", "--json").document
    said = sweeper("status", "small").out

    assert list(document) == [
        "study",
        "declared",
        "done",
        "diverged",
        "running",
        "pending",
        "failed",
        "hidden",
        "causes",
        "dominated",
        "ceiling",
        "stopped",
        "paused",
        "wishes",
        "controllers",
    ]
    assert [(cause["cause"], cause["count"]) for cause in document["causes"]] == [
        ("bug: RuntimeError: planted bug", 2)
    ]
    assert "sweeper retry small" in said
    assert max(map(len, said.splitlines())) <= 100


def test_retry_makes_failed_trials_pending_and_says_what_to_run(
    sweeper: Sweeper, failed: Path
) -> None:
    answer = sweeper("retry", failed)

    assert answer.code == 0
    assert "small: 2 trials failed before: pending again" in answer.out
    assert f"next: sweeper run {failed}" in answer.out.replace("\n", "")
    status = sweeper("status", "small", "--json").document
    assert (status["pending"], status["failed"], status["causes"]) == (2, 0, [])
    assert "no trial has failed; nothing was changed" in sweeper("retry", "small").out


def test_a_plain_run_repeats_no_failure_and_a_retried_one_runs_again(
    sweeper: Sweeper, failed: Path
) -> None:
    count = "select count(*) as n from attempts"
    assert sweeper("run", failed, "--executor", "inline").code == 1
    assert sweeper("sql", count, "--json").document == [{"n": 2}]

    sweeper("retry", failed)
    sweeper("run", failed, "--executor", "inline")

    assert sweeper("sql", count, "--json").document == [{"n": 4}]


def test_a_result_that_is_withdrawn_by_its_key_is_trained_again(
    sweeper: Sweeper, small: Path
) -> None:
    keys = [row["key"] for row in sweeper("sql", "select key from trials", "--json").document]

    answer = sweeper("retry", "small", "--key", keys[0][:10], "--json")

    assert answer.document == {
        "study": "small",
        "failed": [],
        "withdrawn": [keys[0]],
        "pending": [],
    }
    again = sweeper("run", small, "--executor", "inline", "--json").document["run"]
    assert (again["reused"], again["finished"]) == (1, 1)
    assert sweeper("verify").code == 0
    refused = sweeper("retry", "small", "--key", "abc")
    assert refused.code == 2
    assert "6 to 64 digits" in refused.err
    assert "Traceback" not in refused.err


def test_prune_says_what_it_would_remove_and_removes_it(sweeper: Sweeper, small: Path) -> None:
    key = sweeper("sql", "select key from trials", "--json").document[0]["key"]
    sweeper("retry", "small", "--key", key)

    assert "nothing to remove" in sweeper("prune").out
    assert "would remove 1 file" in sweeper("prune", "--withdrawn", "--dry-run").out
    document = sweeper("prune", "small", "--withdrawn", "--json").document
    assert (document["study"], document["dry_run"], document["files"]) == ("small", False, 1)
    assert document["bytes"] == document["kinds"]["withdrawn"]["bytes"] > 0
    assert sweeper("prune", "--withdrawn", "--json").document["files"] == 0


def test_verify_finds_reports_and_mends(sweeper: Sweeper, small: Path, tmp_path: Path) -> None:
    assert "everything is whole and agrees" in sweeper("verify").out
    with sqlite3.connect(tmp_path / "store" / "sweeper.db") as link:
        link.execute("update trials set width = 7")
        link.execute("delete from marks")
        link.execute("delete from results")
    link.close()

    report = sweeper("verify")
    assert report.code == 1
    assert "of which `sweeper verify --repair` mends" in report.out
    document = sweeper("verify", "small", "--json").document
    assert document["checked"] == {"trials": 2, "results": 0, "curves": 2, "checkpoints": 0}
    assert document["left"] == len(document["findings"]) == 6
    assert {finding["kind"] for finding in document["findings"]} == {
        "columns",
        "attempt",
        "unrecorded",
    }
    mended = sweeper("verify", "--repair")
    assert mended.code == 0
    assert "6 faults, all mended" in mended.out
    assert sweeper("verify", "--json").document["findings"] == []
    assert sweeper("status", "small", "--json").document["done"] == 2


def test_a_damaged_database_ends_verify_and_run_with_exit_code_4(
    sweeper: Sweeper, small: Path, tmp_path: Path
) -> None:
    file = tmp_path / "store" / "sweeper.db"
    Store.open(tmp_path / "store", create=True).close()
    file.write_bytes(file.read_bytes()[:8192] + b"\xff" * (file.stat().st_size - 8192))
    before = file.read_bytes()

    for command in (("verify",), ("verify", "--repair"), ("run", small, "--executor", "inline")):
        answer = sweeper(*command)
        assert answer.code == 4
        assert "run the studies again" in answer.err.replace("\n", " ")
        assert "Traceback" not in answer.err
    assert file.read_bytes() == before


def test_a_lost_database_costs_no_training(sweeper: Sweeper, small: Path, tmp_path: Path) -> None:
    loss = "select trial_key, objective from results order by trial_key"
    before = sweeper("sql", loss, "--json").document
    for file in (tmp_path / "store").glob("sweeper.db*"):
        file.unlink()

    again = sweeper("run", small, "--executor", "inline", "--json")

    assert again.document["run"]["finished"] == 2
    assert sweeper("sql", loss, "--json").document == before
    assert sweeper("verify").code == 0
