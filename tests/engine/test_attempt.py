"""What a worker keeps about an attempt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_studies import task_of

from sweeper.engine.attempt import AttemptLog, discard_checkpoints
from sweeper.errors import StoreError
from sweeper.outcome import Mark, Outcome
from sweeper.store.curves import read_curves
from sweeper.store.paths import Paths
from workloads.workload import Measurement

TASK = task_of({"width": 32, "learning_rate": 0.01, "steps": 10})


class OneByte:
    """A trainer of which only the saving matters."""

    def __init__(self, fault: Exception | None = None) -> None:
        self._fault = fault

    def run(self) -> Iterator[Sequence[Measurement]]:
        return iter(())

    def save(self, member: int, path: Path) -> None:
        path.write_bytes(b"x")
        if self._fault is not None:
            raise self._fault

    def device_name(self) -> str:
        return "cpu"


def at(step: int, *, mark: bool = False, status: Any = "running", **metrics: float) -> Measurement:
    values = metrics or {"train_loss": 1.0 / step}
    return Measurement(
        member=0, step=step, tokens=16 * step, metrics=values, mark=mark, status=status
    )


def close(log: AttemptLog, kind: Any = "completed") -> Outcome:
    return log.outcome(kind, device="cpu", host="here", environment={}, error=None)


def walk(log: AttemptLog, steps: range) -> None:
    for step in steps:
        log.add(at(step))
        if step % 4 == 0:
            log.add(at(step, mark=True, val_loss=2.0 / step))
    if steps[-1] == 10:
        log.add(at(10, mark=True, status="completed", val_loss=0.2))


def curve_of(paths: Paths, outcome: Outcome) -> dict[str, list[float]]:
    assert outcome.curve is not None
    frame, warnings = read_curves({"key": paths.absolute(outcome.curve)})
    assert warnings == []
    return {str(name): list(frame[name]) for name in frame.columns if name != "key"}


def test_an_outcome_tells_everything_about_the_attempt(tmp_path: Path) -> None:
    log = AttemptLog(TASK, Paths(tmp_path))
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
    curve = curve_of(Paths(tmp_path), outcome)
    assert curve["step"] == list(range(1, 11))
    assert curve["train_loss"] == [1.0 / step for step in range(1, 11)]


def test_an_unfinished_attempt_is_billed_for_what_it_did(tmp_path: Path) -> None:
    log = AttemptLog(TASK, Paths(tmp_path))
    walk(log, range(1, 5))
    assert log.fraction == 0.4
    outcome = close(log, "stopped")
    assert outcome.flops == pytest.approx(0.4 * TASK.flops)
    assert outcome.metrics == {}
    assert outcome.curve is None
    assert not list(tmp_path.rglob("*.parquet"))
    assert log.fraction == 1.0


def test_a_diverged_trial_keeps_its_curve_and_has_no_metrics(tmp_path: Path) -> None:
    log = AttemptLog(TASK, Paths(tmp_path))
    walk(log, range(1, 4))
    log.add(at(4, status="diverged"))
    outcome = close(log, "diverged")
    assert outcome.metrics == {}
    assert curve_of(Paths(tmp_path), outcome)["step"] == [1, 2, 3]


def test_a_trial_without_curve_points_has_no_curve(tmp_path: Path) -> None:
    log = AttemptLog(TASK, Paths(tmp_path))
    log.add(at(10, mark=True, status="completed", val_loss=0.2))
    assert close(log).curve is None


def test_a_metric_that_comes_late_leaves_a_gap_in_the_curve(tmp_path: Path) -> None:
    log = AttemptLog(TASK, Paths(tmp_path))
    log.add(at(1, train_loss=1.0))
    log.add(at(2, train_loss=0.5, grad_norm=3.0))
    curve = curve_of(Paths(tmp_path), close(log))
    assert [str(value) for value in curve["grad_norm"]] == ["nan", "3.0"]


def test_a_journal_lies_beside_every_checkpoint(tmp_path: Path) -> None:
    log = AttemptLog(TASK, Paths(tmp_path))
    walk(log, range(1, 5))
    log.device_seconds = 2.0
    log.save_checkpoint(OneByte(), 0)
    names = sorted(path.name for path in Paths(tmp_path).checkpoint_folder(TASK.key).iterdir())
    assert names == ["step-000000004.journal.json", "step-000000004.pt"]
    folder = Paths(tmp_path).checkpoint_folder(TASK.key)
    journal = json.loads((folder / names[0]).read_text(encoding="utf-8"))
    assert (journal["step"], journal["tokens"], journal["device_seconds"]) == (4, 64, 2.0)
    assert len(journal["curve"]) == 4


def test_the_previous_checkpoint_goes_once_the_new_one_is_whole(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    log = AttemptLog(TASK, paths)
    walk(log, range(1, 4))
    log.save_checkpoint(OneByte(), 0)
    walk(log, range(4, 6))
    with pytest.raises(RuntimeError, match="no more"):
        log.save_checkpoint(OneByte(RuntimeError("no more")), 0)
    assert [path.name for path in paths.checkpoints_of(TASK.key)] == ["step-000000003.pt"]
    log.save_checkpoint(OneByte(), 0)
    assert [path.name for path in paths.checkpoints_of(TASK.key)] == ["step-000000005.pt"]
    assert not list(paths.checkpoint_folder(TASK.key).glob("*000003*"))


def test_a_resumed_attempt_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    whole = AttemptLog(TASK, Paths(tmp_path / "whole"))
    walk(whole, range(1, 11))
    paths = Paths(tmp_path / "parts")
    first = AttemptLog(TASK, paths)
    walk(first, range(1, 7))
    first.device_seconds = 3.0
    first.save_checkpoint(OneByte(), 0)
    walk(first, range(7, 9))
    second = AttemptLog(TASK, paths)
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
    assert curve_of(paths, found) == curve_of(Paths(tmp_path / "whole"), expected)
    assert found.device_seconds == 5.0, "the seconds are those of all steps, or steps look cheap"


def test_going_back_to_a_checkpoint_forgets_what_came_after_it(tmp_path: Path) -> None:
    log = AttemptLog(TASK, Paths(tmp_path))
    walk(log, range(1, 5))
    log.device_seconds = 1.0
    log.save_checkpoint(OneByte(), 0)
    walk(log, range(5, 9))
    log.device_seconds = 2.0
    log.find_checkpoint()
    log.restore()
    assert (log.step, log.tokens, log.device_seconds) == (4, 64, 1.0)
    walk(log, range(5, 11))
    assert curve_of(Paths(tmp_path), close(log))["step"] == list(range(1, 11))


def test_a_checkpoint_without_a_journal_is_not_used(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    path = paths.checkpoint(TASK.key, 4)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    log = AttemptLog(TASK, paths)
    log.find_checkpoint()
    assert log.checkpoint is None
    assert log.resume_step == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"step": 4}', '{"curve": [], "marks": [1]}'])
def test_a_damaged_journal_is_refused_by_name(content: str, tmp_path: Path) -> None:
    log = AttemptLog(TASK, Paths(tmp_path))
    walk(log, range(1, 5))
    log.save_checkpoint(OneByte(), 0)
    (journal,) = tmp_path.rglob("*.journal.json")
    journal.write_text(content, encoding="utf-8")
    log.find_checkpoint()
    with pytest.raises(ValueError, match=r"step-000000004\.journal\.json"):
        log.restore()


def test_a_skipped_checkpoint_is_told_and_the_one_before_is_taken(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    log = AttemptLog(TASK, paths)
    walk(log, range(1, 5))
    log.save_checkpoint(OneByte(), 0)
    kept = {path: path.read_bytes() for path in paths.checkpoint_folder(TASK.key).iterdir()}
    walk(log, range(5, 7))
    log.save_checkpoint(OneByte(), 0)
    for path, content in kept.items():
        path.write_bytes(content)
    log.find_checkpoint()
    assert log.resume_step == 6
    log.skip_checkpoint("it is torn")
    assert log.resume_step == 4
    assert len(log.warnings) == 1
    assert "step-000000006.pt skipped: it is torn" in log.warnings[0]


def test_nothing_is_left_of_the_checkpoints_of_a_finished_trial(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    log = AttemptLog(TASK, paths)
    walk(log, range(1, 5))
    log.save_checkpoint(OneByte(), 0)
    (paths.checkpoint_folder(TASK.key) / ".tmp-123-step").write_bytes(b"half")
    discard_checkpoints(paths, TASK.key)
    assert not paths.checkpoint_folder(TASK.key).exists()
    discard_checkpoints(paths, TASK.key)


def test_checkpoints_that_cannot_be_removed_are_named(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    folder = paths.checkpoint_folder(TASK.key)
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"a file in the place of the folder")
    with pytest.raises(StoreError, match=r"cannot remove .*checkpoints"):
        discard_checkpoints(paths, TASK.key)
