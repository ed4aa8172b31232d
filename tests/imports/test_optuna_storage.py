"""Storages of Optuna, as others fill them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from sweeper.errors import RequestError
from sweeper.imports.importing import Imported, import_results
from sweeper.imports.request import ImportRequest, NamePattern
from sweeper.imports.sources import place_of
from sweeper.store.store import Store

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "optimizer": CategoricalDistribution(["adam", "muon"]),
}


def fill(storage: BaseStorage, *, direction: str = "minimize") -> None:
    """Two studies, one a width: five results, one run that blew up, one pruned, one running."""
    for width in (64, 128):
        study = optuna.create_study(
            storage=storage, study_name=f"sweep_w{width}", direction=direction
        )
        study.set_user_attr("width", width)
        for power in range(5):
            params = {"lr": 2.0 ** -(power + 3), "optimizer": "adam"}
            value = 2 + (power - 2) ** 2 / 10
            study.add_trial(create_trial(params=params, distributions=SPACE, value=value))
        for state, last in ((TrialState.FAIL, math.nan), (TrialState.PRUNED, 3.0)):
            params = {"lr": 0.5 if state == TrialState.FAIL else 0.25, "optimizer": "adam"}
            trial = create_trial(
                state=state, params=params, distributions=SPACE, intermediate_values={1: last}
            )
            study.add_trial(trial)
        study.ask(SPACE)


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    path = tmp_path / "optuna.db"
    storage = RDBStorage(f"sqlite:///{path}")
    fill(storage)
    storage.engine.dispose()
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def imported(store: Store, file: Path | str, **more: Any) -> Imported:
    options: dict[str, Any] = {
        "scales": ("width",),
        "hyperparameters": ("lr",),
        "objective": "value",
    } | more
    return import_results(store, ImportRequest(file=file, study="theirs", **options))


def test_several_studies_are_read_with_their_states_in_words(store: Store, sqlite: Path) -> None:
    before = sqlite.read_bytes()
    done = imported(store, sqlite, variant=("optimizer",))
    assert done.trials == {"completed": 10, "diverged": 2, "failed": 2, "missing": 2}
    assert done.columns == {
        "optimizer": "params.optimizer",
        "width": "study_attrs.width",
        "lr": "params.lr",
    }
    assert "rows without a result by the column state: 2 pruned, 2 running" in done.notes
    assert set(store.frame("theirs")["width"]) == {64, 128}
    assert sqlite.read_bytes() == before


def test_one_study_is_chosen_by_its_name_which_may_hold_the_scale(
    store: Store, sqlite: Path
) -> None:
    pattern = NamePattern("*_w{size}", "study")
    where = (("study", "sweep_w64"),)
    done = imported(store, sqlite, scales=("size",), where=where, in_names=pattern)
    assert done.used == 8
    assert set(store.frame("theirs")["size"]) == {64}


def test_a_journal_is_read_too(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    fill(JournalStorage(JournalFileBackend(str(path))))
    assert imported(store, path).trials["completed"] == 10


def test_a_storage_that_was_maximized_needs_the_goal(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    fill(JournalStorage(JournalFileBackend(str(path))), direction="maximize")
    with pytest.raises(RequestError, match="after more of their value; say so with --goal max"):
        imported(store, path)
    assert imported(store, path, goal="max").used == 16


def test_what_is_no_storage_of_optuna_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="SQLite database, and no storage of Optuna"):
        imported(store, next((tmp_path / "store").glob("*.db")))
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"SQLite format 3\0" + b"x" * 4000)
    with pytest.raises(RequestError, match=r"broken\.db: cannot be read as a storage of Optuna"):
        imported(store, broken)
    empty = tmp_path / "empty.db"
    RDBStorage(f"sqlite:///{empty}").engine.dispose()
    with pytest.raises(RequestError, match="holds no trials"):
        imported(store, empty)


def test_urls_of_files_are_files_and_messages_hold_no_password(store: Store) -> None:
    assert place_of("sqlite:///a/b.db") == Path("a/b.db")
    assert place_of("sqlite:////a/b.db?x=1") == Path("/a/b.db")
    assert place_of("a/b.db") == Path("a/b.db")
    with pytest.raises(RequestError, match="cannot be read as a storage") as told:
        imported(store, place_of("postgresql+psycopg://me:secret@127.0.0.1:1/db"))
    assert "secret" not in str(told.value)
