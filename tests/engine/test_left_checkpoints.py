"""Checkpoints that are left of trials that have results: a run removes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_studies import planted, trials_of
from on_disk import on_disk

from sweeper.engine.run import Run
from sweeper.errors import StoreError
from sweeper.store.files.paths import Paths
from sweeper.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def test_checkpoints_that_a_killed_controller_left_of_a_finished_trial_are_removed(
    store: Store,
) -> None:
    study = planted()
    Run(study, store, executor="inline").execute()
    done, stranger = trials_of(study)[0].key, "0" * 64
    for key in (done, stranger):
        path = on_disk(store.paths).checkpoint(key, 3)
        path.parent.mkdir(parents=True)
        path.touch()
    assert Run(study, store, executor="inline").execute().reused == 6
    assert not on_disk(store.paths).checkpoint_folder(done).exists()
    assert on_disk(store.paths).checkpoint(stranger, 3).exists(), "it may be of another database"


def test_checkpoints_that_could_not_be_removed_at_once_go_at_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As do those of a worker that was cut off, and wrote one when its trial had been finished."""

    def refuse(paths: Paths, key: str) -> None:
        raise StoreError("the bucket is busy")

    monkeypatch.setattr("sweeper.engine.ledger.discard_checkpoints", refuse)
    study = planted()
    run = Run(study, store, executor="inline", checkpoint_seconds=0.0)
    assert run.execute().finished == 6
    assert list(store.paths.checkpoint_folders()) == []
