"""What of a table is no result of its own: runs that stopped early, spellings of one value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from import_files import take, write_csv

from sweeper.answers.view import statements_of
from sweeper.errors import RequestError
from sweeper.report.page import write_report
from sweeper.store.store import Store

PLAIN: dict[str, Any] = {"variant": (), "seed": None}


def history(ends: dict[tuple[int, float], int], unit: str) -> list[dict[str, Any]]:
    """Returns the rows of runs every 100 steps up to their ends, by width and learning rate."""
    return [
        {"width": width, "lr": lr, unit: step, "loss": 3.0 + 50 / step + (lr - 0.3) ** 2}
        for (width, lr), end in ends.items()
        for step in range(100, end + 1, 100)
    ]


ENDS = {(width, lr): 300 for width in (64, 128) for lr in (0.1, 0.2, 0.4, 0.8)}


@pytest.mark.parametrize("unit", ["step", "tokens"])
def test_a_run_that_stopped_early_is_named_and_not_finished(
    store: Store, tmp_path: Path, unit: str
) -> None:
    rows = history(ENDS | {(64, 0.2): 100}, unit)
    if unit == "tokens":  # one row a run
        rows = [row for row in rows if row[unit] == 300 or (row["width"], row["lr"]) == (64, 0.2)]
    file = write_csv(tmp_path / "runs.csv", rows)

    done = take(store, file, **PLAIN, **{unit: unit})

    assert done.trials == {"completed": 7, "diverged": 0, "failed": 0, "missing": 1}
    row = rows.index(next(r for r in rows if (r["width"], r["lr"]) == (64, 0.2))) + 1
    (note,) = done.notes
    assert f"row {row} with 100 of 300 {unit.removesuffix('s')}s" in note
    assert "--any-length" in note
    frame = store.frame("theirs").set_index(["width", "lr"])
    assert frame.loc[(64, 0.2), "outcome"] == "missing"


def test_asked_for_it_is_a_result_and_every_statement_warns(store: Store, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "runs.csv", history(ENDS | {(64, 0.2): 100}, "step"))

    done = take(store, file, **PLAIN, step="step", any_length=True)

    assert done.trials["completed"] == 8 and done.notes == ()
    (statement,) = statements_of(store, "theirs")
    (group,) = statement.groups
    (warning,) = group.evidence.warnings
    assert "different length" in warning and "of 100 and 300 steps" in warning
    page = write_report(store, ["theirs"], tmp_path / "page").read_text(encoding="utf-8")
    assert warning in page


def test_rounding_divergence_and_other_scales_are_no_early_stops(
    store: Store, tmp_path: Path
) -> None:
    rows = [
        {"width": width, "lr": lr, "tokens": 1000 * width - 5 * i, "loss": 3 + lr}
        for width in (64, 128)
        for i, lr in enumerate((0.1, 0.2, 0.4))
    ]
    rows.append({"width": 64, "lr": 0.8, "tokens": 10, "loss": "nan"})
    file = write_csv(tmp_path / "runs.csv", rows)

    done = take(store, file, **PLAIN, tokens="tokens")

    assert done.trials == {"completed": 6, "diverged": 1, "failed": 0, "missing": 0}
    assert done.notes == ()


@pytest.mark.parametrize("hyperparameters", [("lr", "bs"), ("bs",)])
def test_batch_sizes_have_other_numbers_of_steps(
    store: Store, tmp_path: Path, hyperparameters: tuple[str, ...]
) -> None:
    rows = [
        {"width": 64, "lr": lr, "bs": bs, "step": step, "loss": 3 + lr / bs}
        for lr in ((0.1, 0.2) if "lr" in hyperparameters else (0.1,))
        for bs in (8, 16, 32)
        for step in (800 // bs, 1600 // bs)
    ]
    if "lr" in hyperparameters:
        del rows[-1]  # of lr 0.2 and the largest batch the second half
    file = write_csv(tmp_path / "runs.csv", rows)

    done = take(store, file, **PLAIN | {"hyperparameters": hyperparameters}, step="step")

    assert done.trials["missing"] == ("lr" in hyperparameters)


@pytest.mark.parametrize("digits", ["float32", 8, 4])
def test_values_a_rounding_apart_are_one_with_a_note(
    store: Store, tmp_path: Path, digits: str | int
) -> None:
    def spelled(value: float) -> float:
        return float(np.float32(value)) if digits == "float32" else float(f"{value:.{digits}g}")

    rates = [10.0 ** (k / 5 + 0.05) for k in range(-13, -5)]
    rows = [
        {"width": 64, "lr": spelled(lr) if seed else lr, "wd": spelled(wd) if seed else wd}
        | {"D": 12_582_912 if seed or digits != 4 else 1.258e7, "seed": seed, "loss": 3 + lr}
        for lr in rates
        for wd in (0.1, 1 / 30)
        for seed in (0, 1)
    ]
    file = write_csv(tmp_path / "runs.csv", rows)
    parts: dict[str, Any] = {"variant": (), "scales": ("width", "D"), "fixed": ("wd",)}

    done = take(store, file, **parts)

    frame = store.frame("theirs")
    assert (frame["lr"].nunique(), frame["wd"].nunique(), frame["D"].nunique()) == (8, 2, 1)
    assert frame.groupby(["lr", "wd"])["seed"].nunique().eq(2).all()
    said = " ".join(done.notes)
    assert "lr: 8 values a rounding apart" in said and "wd: " in said
    assert ("D: 1 value" in said) is (digits == 4)
    again = take(store, write_csv(tmp_path / "other.csv", rows[::-1]), **parts)
    assert again.changes.kept == 32


def test_variants_and_chosen_rows_a_rounding_apart_are_one_with_a_note(
    store: Store, tmp_path: Path
) -> None:
    third = 1 / 3
    rows = [
        {"opt": "adam", "wd": wd, "width": 64, "lr": lr, "seed": seed, "loss": 3 + lr}
        for lr in (0.1, 0.2)
        for seed, wd in enumerate((third, float(np.float32(third)), 0.3333, 0.25))
    ]
    file = write_csv(tmp_path / "runs.csv", rows)

    done = take(store, file, **PLAIN | {"variant": ("opt", "wd"), "seed": "seed"})

    assert done.variants == ("adam/0.25", f"adam/{third}")
    assert any(note.startswith("wd: 2 values a rounding apart") for note in done.notes)
    with Store.open(tmp_path / "chosen", create=True) as other:
        done = take(other, file, **PLAIN | {"seed": "seed"}, where=(("wd", f"{third}"),))
        assert done.used == 6
        assert any(note.startswith("wd: 2 values a rounding apart") for note in done.notes)


def test_replicates_may_be_told_apart_by_text(store: Store, tmp_path: Path) -> None:
    rows = [{"id": name, "width": 64, "lr": 0.1, "loss": 3.0} for name in ("k3x9", "8fq2", "12")]
    parts = PLAIN | {"seed": "id"}

    done = take(store, write_csv(tmp_path / "runs.csv", rows), **parts)

    assert done.trials["completed"] == 3 and "2 spellings such as '8fq2'" in done.notes[0]
    assert store.frame("theirs")["seed"].nunique() == 3
    more = [*rows[::-1], {**rows[0], "id": "new"}]
    again = take(store, write_csv(tmp_path / "more.csv", more), **parts)
    assert (again.changes.kept, again.changes.added) == (3, 1)


def test_results_that_differ_at_values_a_rounding_apart_are_told_as_such(
    store: Store, tmp_path: Path
) -> None:
    rows = [{"width": 64, "lr": lr, "loss": lr + 3} for lr in (0.1, float(np.float32(0.1)))]
    file = write_csv(tmp_path / "runs.csv", rows)
    with pytest.raises(RequestError, match=r"agree in width, lr \(lr .* a rounding apart\) and"):
        take(store, file, **PLAIN)
