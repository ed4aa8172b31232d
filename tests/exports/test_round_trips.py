"""What a format was given, ``sweeper import`` reads back: the same trials, results and ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest

from sweeper.exports import export_study
from sweeper.imports.importing import import_results
from sweeper.imports.request import ImportRequest
from sweeper.store.store import Store

ENDS = {"completed": "completed", "diverged": "diverged"}
"""How a trial ended as an import knows it; all others failed."""

OPTIONS: dict[str, dict[str, Any]] = {
    "csv": {"objective": "metrics.val_loss", "outcome": "outcome"},
    "parquet": {"objective": "metrics.val_loss", "outcome": "outcome"},
    "mlflow": {"step": "step"},
    "optuna": {"objective": "value"},
    "tensorboard": {"step": "step", "outcome": "outcome"},
    "wandb": {"step": "_step", "outcome": "outcome"},
}


def table(frame: pandas.DataFrame) -> pandas.DataFrame:
    """A study's trials as far as an import knows them."""
    found = frame[["variant", "width", "learning_rate", "seed", "outcome", "loss"]].copy()
    found["outcome"] = [ENDS.get(each, "failed") for each in found["outcome"]]
    found.loc[found["outcome"] != "completed", "loss"] = None
    return found.sort_values(["variant", "learning_rate"]).reset_index(drop=True)


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.filterwarnings("ignore::Warning")  # those of the clients that write
def test_an_exported_study_is_imported_as_it_was(store: Store, tmp_path: Path, kind: str) -> None:
    file = Path(export_study(store, "small", kind, tmp_path / "out").file)
    if kind in ("csv", "parquet"):
        file = file / f"trials.{kind}"
    usual = {"objective": "val_loss", "seed": "seed", "variant": ("variant",)}
    request = ImportRequest(
        file=file,
        study="back",
        scales=("width",),
        hyperparameters=("learning_rate",),
        any_length=True,
        **usual | OPTIONS[kind],
    )
    with Store.open(tmp_path / "store", create=True) as other:
        import_results(other, request)
        back = other.frame("back")
    exact = {"rtol": 1e-6} if kind == "tensorboard" else {"check_exact": True}
    here, there = table(store.frame("small")), table(back)
    pandas.testing.assert_frame_equal(here, there, check_dtype=False, **exact)


def test_the_curves_of_exported_tables_are_read_by_key(
    store: Store,
    tmp_path: Path,
    rows: dict[str, dict[str, Any]],
    losses: dict[str, dict[int, float]],
) -> None:
    folder = Path(export_study(store, "small", "csv", tmp_path / "out").file)
    request = ImportRequest(
        file=folder / "trials.csv",
        history=folder / "curves.csv",
        study="back",
        scales=("width",),
        hyperparameters=("learning_rate",),
        variant=("variant",),
        objective="train_loss",
        step="step",
        outcome="outcome",
        any_length=True,
    )
    with Store.open(tmp_path / "store", create=True) as other:
        done = import_results(other, request)
        marks = other.marks("back")
    kept = [key for key, row in rows.items() if row["outcome"] in ENDS]
    assert done.curves == len(kept) == 3
    assert set(marks["value"]) <= {loss for key in kept for loss in losses[key].values()}
    assert set(marks["step"]) == {step for key in kept for step in losses[key]}
