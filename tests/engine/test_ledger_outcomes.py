"""The writer thread between the engine and the store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_studies import planted, trials_of
from on_disk import on_disk

from sweeper.engine.ledger import GROUP, Recorder
from sweeper.engine.proposals import Proposals
from sweeper.errors import StoreError
from sweeper.outcome import Outcome
from sweeper.store.owner import Owner
from sweeper.store.store import Store


class Slow(Store):
    """A store that counts its transactions, and can be locked, slow or broken."""

    @classmethod
    def make(cls, folder: Path) -> Slow:
        opened = cls.open(folder, create=True)
        opened.groups: list[list[str]] = []  # type: ignore[misc]
        opened.faults: list[Exception] = []  # type: ignore[misc]
        opened.gate = threading.Event()
        opened.gate.set()
        return opened

    groups: list[list[str]]
    faults: list[Exception]
    gate: threading.Event

    def record_many(self, entries: Sequence[tuple[Outcome, float | None]]) -> list[bool]:
        self.gate.wait(timeout=20)
        if self.faults:
            raise self.faults.pop(0)
        self.groups.append([outcome.key for outcome, _ in entries])
        return super().record_many(entries)


def recorder_of(store: Store, **options: Any) -> Recorder:
    return Recorder(store, metric="val_loss", retry_seconds=(0.01, 0.01), **options)


@pytest.fixture
def study_keys() -> list[str]:
    return [trial.key for trial in trials_of(planted())]


@pytest.fixture
def store(tmp_path: Path, study_keys: list[str]) -> Slow:
    study = planted()
    opened = Slow.make(tmp_path / "store")
    Proposals(study, opened)
    opened.claim(study_keys, owner=Owner.here(), lease_s=60)
    return opened


def result(key: str, loss: float = 1.0) -> Outcome:
    return Outcome(key=key, attempt=1, kind="completed", metrics={"val_loss": loss})


def test_everything_recorded_is_in_the_store_when_the_context_is_left(
    store: Slow, study_keys: list[str]
) -> None:
    with recorder_of(store) as recorder:
        for index, key in enumerate(study_keys):
            recorder.record(result(key, float(index)))
    frame = store.frame("planted").set_index("key")
    assert [frame.loc[key, "loss"] for key in study_keys] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    objectives = dict(store.query("select trial_key, objective from results").rows)
    assert objectives == {key: float(index) for index, key in enumerate(study_keys)}


def test_recording_never_waits_for_the_disk_and_keeps_the_order(
    store: Slow, study_keys: list[str]
) -> None:
    store.gate.clear()
    with recorder_of(store) as recorder:
        for key in study_keys:
            recorder.record(result(key))
        store.gate.set()
    assert [key for group in store.groups for key in group] == study_keys
    assert len(store.groups) <= 2, "what queues up behind a slow disk shares a transaction"


def test_a_group_has_a_largest_size(store: Slow, study_keys: list[str]) -> None:
    store.gate.clear()
    with recorder_of(store) as recorder:
        for _ in range(GROUP + 20):
            recorder.record(result(study_keys[0]))
        store.gate.set()
    assert max(len(group) for group in store.groups) <= GROUP
    assert sum(len(group) for group in store.groups) == GROUP + 20


def test_flush_returns_when_what_was_recorded_is_in_the_store(
    store: Slow, study_keys: list[str]
) -> None:
    with recorder_of(store) as recorder:
        recorder.record(result(study_keys[0]))
        recorder.flush()
        assert store.results_of(study_keys) == {study_keys[0]: "completed"}


def test_a_write_is_tried_again_while_the_store_is_locked(
    store: Slow, study_keys: list[str]
) -> None:
    store.faults = [StoreError("locked"), StoreError("locked")]
    faults: list[Exception] = []
    with recorder_of(store, fatal=faults.append) as recorder:
        recorder.record(result(study_keys[0]))
    assert store.results_of(study_keys) == {study_keys[0]: "completed"}
    assert faults == []


@pytest.mark.parametrize("fault", [StoreError("gone"), TypeError("not JSON")])
def test_a_store_that_stays_away_is_told_once_and_raised_at_the_end(
    fault: Exception, store: Slow, study_keys: list[str]
) -> None:
    store.faults = [fault] * 20
    faults: list[Exception] = []
    with (
        pytest.raises(type(fault), match=str(fault)),
        recorder_of(store, fatal=faults.append) as recorder,
    ):
        for key in study_keys:
            recorder.record(result(key))
            recorder.flush()
    assert faults == [fault]
    assert store.results_of(study_keys) == {}


def test_checkpoints_go_when_the_result_is_safe_and_not_before(
    store: Slow, study_keys: list[str]
) -> None:
    kept, gone = study_keys[:2]
    for key in (kept, gone):
        path = on_disk(store.paths).checkpoint(key, 5)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    with recorder_of(store) as recorder:
        recorder.record(Outcome(key=kept, attempt=1, kind="stopped"))
        recorder.record(result(gone))
    assert len(store.paths.checkpoints_of(kept)) == 1
    assert not on_disk(store.paths).checkpoint_folder(gone).exists()


def test_a_checkpoint_that_stays_behind_is_a_note_and_no_failure(
    store: Slow, study_keys: list[str]
) -> None:
    folder = on_disk(store.paths).checkpoint_folder(study_keys[0])
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"a file in the place of the folder")
    notes: list[str] = []
    with recorder_of(store, note=notes.append) as recorder:
        recorder.record(result(study_keys[0]))
        recorder.record(result(study_keys[1]))
    assert len(store.results_of(study_keys)) == 2
    assert len(notes) == 1
    assert "left over" in notes[0]
