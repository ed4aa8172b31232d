"""The script that measures a large study, on a small one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.store import (
    CELLS,
    line,
    measure,
    parsed,
    results_table,
    run_command,
    write_curve_table,
)


def test_a_table_has_every_cell_once_a_seed_and_diverges_where_rates_are_large() -> None:
    table = results_table(2 * CELLS)
    cell = ["variant", "weight_decay", "width", "learning_rate"]
    assert (table.groupby(cell)["seed"].nunique() == 2).all()
    lost = table[table["state"] == "diverged"]
    assert 0.02 < len(lost) / len(table) < 0.3
    assert lost["learning_rate"].min() > table["learning_rate"].median()
    assert results_table(50).equals(results_table(50))


def test_curves_end_in_the_results(tmp_path: Path) -> None:
    table = results_table(30)
    write_curve_table(table, 5, tmp_path / "curves.parquet")
    curves = pd.read_parquet(tmp_path / "curves.parquet")
    assert len(curves) == 150
    last = curves[curves["step"] == 50]["loss"].to_numpy()
    assert np.allclose(last, table["loss"].to_numpy(), equal_nan=True)
    assert curves[curves["step"] == 10]["loss"].mean() > last[np.isfinite(last)].mean()


def test_a_command_is_measured_apart_from_the_memory_of_the_process_that_asks() -> None:
    ballast = np.ones(40_000_000)  # 305 MiB, more than the command takes
    row, text = run_command("--version", 1)
    assert text.startswith("sweeper ")
    assert row.mib is not None and 10 < row.mib < ballast.nbytes / 2**20 / 2
    assert 0 < row.processor <= 2 * row.seconds


def test_a_command_that_fails_is_no_measure() -> None:
    with pytest.raises(RuntimeError, match="failed with 2"):
        run_command("status", 1, "--no-such-option")


@pytest.mark.slow
def test_a_study_of_five_thousand_trials_is_answered_within_the_memory_goal(
    tmp_path: Path,
) -> None:
    answers = ["--answers", "status", "fit"]
    sizes = ["--trials", "5000", "--points", "1", "--turns", "1", "--peer-trials", "20"]
    options = parsed([*sizes, *answers])
    rows = {row.command: row for row in measure(options, tmp_path)}
    names = ["import", "status", "fit"]
    assert list(rows)[:3] == [f"sweeper {name}" for name in names]
    assert all(row.mib is None or row.mib < 1024 for row in rows.values())
    assert "optuna list trials" in line(rows["optuna list trials"])
