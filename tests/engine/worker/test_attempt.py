"""What a worker keeps about an attempt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attempt_logs import TASK, OneByte, at, close, curve_of, walk
from on_disk import OnDisk

from sweeper.engine.worker.attempt import AttemptLog
from sweeper.outcome import Mark
from sweeper.store.files.curves import read_outcome
from sweeper.store.files.local import LocalFiles


def test_an_outcome_tells_everything_about_the_attempt(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    walk(log, range(1, 11))
    log.device_seconds = 1.5
    outcome = close(log)
    assert (outcome.key, outcome.attempt, outcome.kind) == (TASK.key, 1, "completed")
    assert (outcome.step, outcome.tokens, outcome.flops) == (10, 160, TASK.flops)
    assert outcome.metrics == {"val_loss": 0.2}
    assert outcome.marks == (
        Mark(step=4, tokens=64, metric="val_loss", value=0.5),
        Mark(step=8, tokens=128, metric="val_loss", value=0.25),
        Mark(step=10, tokens=160, metric="val_loss", value=0.2),
    )
    assert outcome.device_seconds == 1.5
    assert log.ended
    curve = curve_of(OnDisk(tmp_path).paths, outcome)
    assert curve["step"] == list(range(1, 11))
    assert curve["train_loss"] == [1.0 / step for step in range(1, 11)]


def test_an_unfinished_attempt_is_billed_for_what_it_did(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    walk(log, range(1, 5))
    assert log.fraction == 0.4
    outcome = close(log, "stopped")
    assert outcome.flops == pytest.approx(0.4 * TASK.flops)
    assert outcome.metrics == {}
    assert outcome.curve is None
    assert not list(tmp_path.rglob("*.parquet"))
    assert log.fraction == 1.0


def test_a_diverged_trial_keeps_its_curve_and_has_no_metrics(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    walk(log, range(1, 4))
    log.add(at(4, status="diverged"))
    outcome = close(log, "diverged")
    assert outcome.metrics == {}
    assert curve_of(OnDisk(tmp_path).paths, outcome)["step"] == [1, 2, 3]


def test_a_trial_without_curve_points_has_an_empty_curve_with_its_outcome(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    log.add(at(10, mark=True, status="completed", val_loss=0.2))
    outcome = close(log)
    assert curve_of(OnDisk(tmp_path).paths, outcome) == {"step": [], "tokens": []}
    assert outcome.curve is not None
    assert read_outcome(LocalFiles(tmp_path), outcome.curve) == outcome


def test_numbers_of_other_libraries_become_plain_ones_with_their_bits(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    log.add(at(1, train_loss=np.float32(0.1)))  # type: ignore[arg-type]
    log.save_checkpoint(OneByte(), 0)
    log.add(at(10, mark=True, status="completed", val_loss=np.float32(0.7)))  # type: ignore[arg-type]
    outcome = close(log)
    assert outcome.metrics == {"val_loss": float(np.float32(0.7))}
    assert [type(value) for value in outcome.metrics.values()] == [float]
    assert curve_of(OnDisk(tmp_path).paths, outcome)["train_loss"] == [float(np.float32(0.1))]


def test_a_metric_that_comes_late_leaves_a_gap_in_the_curve(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    log.add(at(1, train_loss=1.0))
    log.add(at(2, train_loss=0.5, grad_norm=3.0))
    curve = curve_of(OnDisk(tmp_path).paths, close(log))
    assert [str(value) for value in curve["grad_norm"]] == ["nan", "3.0"]


def test_a_resumed_attempt_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    whole = AttemptLog(TASK, OnDisk(tmp_path / "whole").paths)
    walk(whole, range(1, 11))
    disk = OnDisk(tmp_path / "parts")
    first = AttemptLog(TASK, disk.paths)
    walk(first, range(1, 7))
    first.device_seconds = 3.0
    first.save_checkpoint(OneByte(), 0)
    walk(first, range(7, 9))
    second = AttemptLog(TASK, disk.paths)
    second.find_checkpoint()
    assert second.resume_step == 6
    second.restore()
    second.device_seconds += 2.0
    walk(second, range(7, 11))
    expected, found = close(whole), close(second)
    assert found.marks == expected.marks
    assert (found.metrics, found.step, found.flops) == (
        expected.metrics,
        expected.step,
        expected.flops,
    )
    assert curve_of(disk.paths, found) == curve_of(OnDisk(tmp_path / "whole").paths, expected)
    assert found.device_seconds == 5.0, "the seconds are those of all steps, or steps look cheap"


def test_going_back_to_a_checkpoint_forgets_what_came_after_it(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    walk(log, range(1, 5))
    log.device_seconds = 1.0
    log.save_checkpoint(OneByte(), 0)
    walk(log, range(5, 9))
    log.device_seconds = 2.0
    log.find_checkpoint()
    log.restore()
    assert (log.step, log.tokens, log.device_seconds) == (4, 64, 1.0)
    walk(log, range(5, 11))
    assert curve_of(OnDisk(tmp_path).paths, close(log))["step"] == list(range(1, 11))
