"""One small study for all formats: trials that completed, diverged, failed and were dominated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ended_trials import finish

from sweeper import Store, load_study, run

STUDY = """\
name: small
question: Which learning rate, and where do others see it?
workload: planted
scale: width
fixed: {steps: 6, noise: 0.003, cliff: 2}
variants:
  good: {}
  bad: {misbehave: bug, sweep: {learning_rate: [0.01]}}
sweep:
  width: [32]
  learning_rate: [0.0078125, 0.015625, 0.03125, 0.5]
"""


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a store with the study, which has been run."""
    folder = tmp_path_factory.mktemp("exports")
    (folder / "small.yaml").write_text(STUDY, encoding="utf-8")
    study = load_study(folder / "small.yaml")
    with Store.open(folder / "store", create=True) as store:
        run(study, store, executor="inline")
        trials = store.frame("small")
        key = trials.loc[trials["learning_rate"] == 0.015625, "key"].item()
        store.retry("small", keys=[key])
        metrics = {"val_loss": 2.5}
        store.record(finish(store, key, "dominated", 2, metrics=metrics, step=3), objective=None)
    return folder / "store"


@pytest.fixture
def store(ran: Path) -> Iterator[Store]:
    """Yields the store, for reading."""
    with Store.open(ran, read_only=True) as opened:
        yield opened


@pytest.fixture
def rows(store: Store) -> dict[str, dict[str, Any]]:
    """Returns the trials by key as the database has them."""
    answer = store.query(
        "select t.key, m.variant, t.seed, t.learning_rate, r.outcome, r.objective, r.curve "
        "from study_trials m join trials t on t.key = m.trial_key "
        "left join results r on r.trial_key = t.key"
    )
    found = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    outcomes = [row["outcome"] for row in found]
    assert sorted(map(str, outcomes)) == [
        "None",
        "completed",
        "completed",
        "diverged",
        "dominated",
    ]
    return {row["key"]: row | {"outcome": row["outcome"] or "failed"} for row in found}


@pytest.fixture
def losses(store: Store) -> dict[str, dict[int, float]]:
    """Returns the training loss of each trial by step, as its curve file has it."""
    import pyarrow.parquet as pq

    found = {}
    for key, name in store.curve_files("small").items():
        table = pq.read_table(store.paths.files.local(name)).to_pydict()
        found[key] = dict(zip(table["step"], table.get("train_loss", []), strict=False))
    assert [len(each) for each in found.values()].count(5) == 2
    return found
