"""The commands on a PostgreSQL store, files in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import Sweeper

pytestmark = pytest.mark.postgres


def test_a_study_runs_and_answers_on_postgresql(
    sweeper: Sweeper, study: Path, postgres: str, tmp_path: Path
) -> None:
    run = sweeper("run", study, "--executor", "inline", "--store", postgres, "--json")
    assert run.document["run"]["finished"] == 72
    again = sweeper("run", study, "--executor", "inline", "--store", postgres, "--json")
    assert again.document["run"]["finished"] == 0
    status = sweeper("status", "planted", "--store", postgres, "--json").document
    assert status["done"] + status["diverged"] == status["declared"] == 72
    rows = sweeper("sql", "select count(*) n from marks", "--store", postgres, "--json")
    assert rows.document[0]["n"] == status["done"]
    out = tmp_path / "page"
    assert sweeper("report", "planted", "--store", postgres, "--out", out).code == 0
    assert list((tmp_path / "files" / "curves").rglob("*.parquet"))


def test_both_databases_give_the_same_answer(
    sweeper: Sweeper, finished: Path, postgres: str
) -> None:
    sweeper("run", finished, "--executor", "inline", "--store", postgres)
    here = sweeper("drift", "planted", "--json").document
    assert sweeper("drift", "planted", "--store", postgres, "--json").document == here
