"""Results that an earlier attempt left in its curve file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from attempt_logs import OTHER, TASK, close, walk
from engine_studies import task_of
from on_disk import OnDisk

from sweeper.engine.worker.attempt import AttemptLog
from sweeper.outcome import Outcome
from sweeper.store.files.curves import write_curve
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths


def finished(disk: OnDisk, *, attempt: int = 1) -> Outcome:
    """A result in its curve file, of which nobody heard."""
    log = AttemptLog(task_of(TASK.config, attempt=attempt), disk.paths)
    walk(log, range(1, 11))
    return close(log)


def test_a_result_that_nobody_recorded_is_taken_over_bit_for_bit(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    first = finished(disk)
    log = AttemptLog(task_of(TASK.config, attempt=4), disk.paths)
    found = log.adopt()
    assert found == replace(first, attempt=4)
    assert (log.ended, log.adopted, log.warnings) == (True, True, [])
    assert found.curve == disk.name(disk.curve(TASK.key, 1))


def test_the_first_whole_result_is_taken_over(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    for attempt in (2, 10, 9):
        finished(disk, attempt=attempt)
    disk.curve(TASK.key, 2).write_bytes(b"")
    log = AttemptLog(TASK, disk.paths)
    found = log.adopt()
    assert found is not None
    assert found.curve == f"curves/{TASK.key[:2]}/{TASK.key}.9.parquet"
    assert len(log.warnings) == 1
    assert f"{TASK.key}.2.parquet is not taken over: it cannot be read" in log.warnings[0]


def test_a_withdrawn_result_is_not_taken_over(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    finished(disk)
    curve = disk.curve(TASK.key, 1)
    curve.rename(disk.withdrawn(curve))
    log = AttemptLog(TASK, disk.paths)
    assert log.adopt() is None
    assert (log.ended, log.warnings) == (False, [])


def test_the_result_of_another_trial_is_not_taken_over(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    finished(disk)
    disk.curve(OTHER.key, 1).parent.mkdir(exist_ok=True)
    disk.curve(TASK.key, 1).rename(disk.curve(OTHER.key, 1))
    log = AttemptLog(OTHER, disk.paths)
    assert log.adopt() is None
    assert "it is of another trial" in log.warnings[0]


def test_a_curve_without_an_outcome_is_not_taken_over(tmp_path: Path) -> None:
    write_curve(LocalFiles(tmp_path), Paths.curve(TASK.key, 1), {"step": [1], "train_loss": [1.0]})
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    assert log.adopt() is None
    assert "it does not say how it ended" in log.warnings[0]
