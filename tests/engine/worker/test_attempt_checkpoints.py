"""The checkpoints of an attempt: kept, verified, skipped, cleared away."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from attempt_logs import OTHER, TASK, OneByte, at, saved, walk
from on_disk import OnDisk

from sweeper.engine.worker.attempt import AttemptLog
from sweeper.errors import StoreError
from sweeper.store.files.checkpoints import discard_checkpoints, read_journal
from sweeper.store.files.paths import Paths


def test_a_journal_lies_beside_every_checkpoint(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    walk(log, range(1, 5))
    log.device_seconds = 2.0
    log.save_checkpoint(OneByte(), 0)
    names = sorted(path.name for path in OnDisk(tmp_path).checkpoint_folder(TASK.key).iterdir())
    assert names == ["step-000000004.journal.json", "step-000000004.pt"]
    journal = read_journal(
        OnDisk(tmp_path).paths.files, Paths.checkpoint(TASK.key, 4), key=TASK.key
    )
    assert (journal.step, journal.tokens, journal.device_seconds) == (4, 64, 2.0)
    assert len(journal.curve) == 4
    assert [mark.step for mark in journal.marks] == [4]


def steps_on_disk(disk: OnDisk) -> list[int]:
    return disk.steps_of(TASK.key)


def test_the_newest_two_checkpoints_stay_and_older_ones_go_once_the_new_one_is_whole(
    tmp_path: Path,
) -> None:
    disk = OnDisk(tmp_path)
    log = AttemptLog(TASK, disk.paths)
    for step in (2, 3):
        log.add(at(step))
        log.save_checkpoint(OneByte(), 0)
    log.add(at(5))
    with pytest.raises(RuntimeError, match="no more"):
        log.save_checkpoint(OneByte(RuntimeError("no more")), 0)
    assert steps_on_disk(disk) == [2, 3]
    log.save_checkpoint(OneByte(), 0)
    assert steps_on_disk(disk) == [3, 5]
    assert len(list(disk.checkpoint_folder(TASK.key).iterdir())) == 4


def test_a_step_is_saved_once(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    log = AttemptLog(TASK, disk.paths)
    walk(log, range(1, 4))
    log.save_checkpoint(OneByte(), 0)
    never = OneByte(AssertionError("saved again"))
    log.save_checkpoint(never, 0)
    again = AttemptLog(TASK, disk.paths)
    again.find_checkpoint()
    again.restore()
    again.save_checkpoint(never, 0)
    assert steps_on_disk(disk) == [3]


def test_a_worker_that_was_overtaken_leaves_later_checkpoints_alone(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    stale, other = AttemptLog(TASK, disk.paths), AttemptLog(TASK, disk.paths)
    for step in (5, 7, 8):
        other.add(at(step))
        other.save_checkpoint(OneByte(), 0)
    stale.add(at(3))
    stale.save_checkpoint(OneByte(), 0)
    assert steps_on_disk(disk) == [3, 7, 8]


class Clearing(OneByte):
    """Its first save finds that another worker cleared the folder meanwhile."""

    cleared = 0

    def save(self, member: int, path: Path) -> None:
        super().save(member, path)
        if not self.cleared:
            self.cleared += 1
            shutil.rmtree(path.parent)


def test_a_folder_that_vanishes_while_it_is_written_to_is_made_again(tmp_path: Path) -> None:
    log = AttemptLog(TASK, OnDisk(tmp_path).paths)
    walk(log, range(1, 4))
    trainer = Clearing()
    log.save_checkpoint(trainer, 0)
    assert trainer.cleared == 1
    assert steps_on_disk(OnDisk(tmp_path)) == [3]


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ],
)
def test_a_full_disk_is_told_with_the_checkpoint_and_leaves_the_last_one(
    fault: Exception, tmp_path: Path
) -> None:
    disk = OnDisk(tmp_path)
    log = AttemptLog(TASK, disk.paths)
    walk(log, range(1, 3))
    log.save_checkpoint(OneByte(), 0)
    walk(log, range(3, 4))
    with pytest.raises(StoreError, match=r"cannot write .*step-000000003\.pt: .*check that the"):
        log.save_checkpoint(OneByte(fault), 0)
    assert steps_on_disk(disk) == [2]
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.parametrize("content", [b"", b"y", b"x" * 99])
def test_a_checkpoint_that_was_altered_is_told_and_the_one_before_is_taken(
    content: bytes, tmp_path: Path
) -> None:
    disk = OnDisk(tmp_path)
    log = saved(disk.paths, 4, 6)
    bad = disk.checkpoint(TASK.key, 6)
    bad.write_bytes(content)
    log.find_checkpoint()
    log.restore()
    assert (log.resume_step, log.step, log.tokens) == (4, 4, 64)
    (warning,) = log.warnings
    assert f"checkpoint {bad} skipped: it is damaged: its SHA-256" in warning
    log.find_checkpoint()
    assert len(log.warnings) == 1, "what was said once is not said again"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"step": 4}', None])
def test_without_a_whole_journal_a_checkpoint_is_told_and_not_used(
    content: str | None, tmp_path: Path
) -> None:
    disk = OnDisk(tmp_path)
    log = saved(disk.paths, 4)
    journal = disk.journal(disk.checkpoint(TASK.key, 4))
    journal.unlink()
    if content is not None:
        journal.write_text(content, encoding="utf-8")
    log.find_checkpoint()
    log.restore()
    assert log.checkpoint is None
    assert (log.resume_step, log.step) == (0, 0)
    (warning,) = log.warnings
    assert f"step-000000004.pt skipped: its journal {journal.name}" in warning


def test_a_checkpoint_that_is_gone_is_told(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    log = saved(disk.paths, 4, 6)
    gone = disk.checkpoint(TASK.key, 6)
    gone.unlink()
    log.find_checkpoint()
    assert log.resume_step == 4
    assert log.warnings == [
        f"the checkpoint of {disk.journal(gone)} is missing: lost, or never finished"
    ]
    assert not disk.journal(gone).exists()
    later = AttemptLog(TASK, disk.paths)
    later.find_checkpoint()
    assert (later.resume_step, later.warnings) == (4, [])


def test_the_checkpoint_of_another_trial_is_told_and_not_used(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    saved(disk.paths, 4)
    folder = disk.checkpoint_folder(OTHER.key)
    folder.parent.mkdir(exist_ok=True)
    disk.checkpoint_folder(TASK.key).rename(folder)
    log = AttemptLog(OTHER, disk.paths)
    log.find_checkpoint()
    assert log.checkpoint is None
    assert "is of another trial" in log.warnings[0]


def test_a_checkpoint_that_the_trainer_refuses_is_told_and_the_one_before_is_taken(
    tmp_path: Path,
) -> None:
    log = saved(OnDisk(tmp_path).paths, 4, 6)
    log.find_checkpoint()
    assert log.resume_step == 6
    log.skip_checkpoint("it is torn")
    log.restore()
    assert (log.resume_step, log.step) == (4, 4)
    assert len(log.warnings) == 1
    assert "step-000000006.pt skipped: it is torn" in log.warnings[0]
    log.skip_checkpoint("it is torn too")
    log.restore()
    assert (log.checkpoint, log.step) == (None, 0)


def test_what_a_dead_writer_left_half_written_goes_and_nothing_of_others(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    log = saved(disk.paths, 4)
    curves = disk.curve(TASK.key, 1).parent
    curves.mkdir(parents=True)
    neighbour = TASK.key[:-1] + ("0" if TASK.key[-1] != "0" else "1")
    kept = [curves / f".tmp-0123456789ab-{neighbour}.1.parquet", curves / ".tmp-1-x.parquet"]
    own = [
        curves / f".tmp-0123456789ab-{TASK.key}.1.parquet",
        disk.checkpoint_folder(TASK.key) / ".tmp-0123456789ab-step-000000006.pt",
    ]
    for path in [*kept, *own]:
        path.write_bytes(b"half")
    log.clear_unfinished()
    log.clear_unfinished()
    assert [path for path in [*kept, *own] if path.exists()] == kept
    log.find_checkpoint()
    assert log.resume_step == 4


def test_nothing_is_left_of_the_checkpoints_of_a_finished_trial(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    log = AttemptLog(TASK, disk.paths)
    walk(log, range(1, 5))
    log.save_checkpoint(OneByte(), 0)
    (disk.checkpoint_folder(TASK.key) / ".tmp-123-step").write_bytes(b"half")
    discard_checkpoints(disk.paths, TASK.key)
    assert not disk.checkpoint_folder(TASK.key).exists()
    discard_checkpoints(disk.paths, TASK.key)


def test_checkpoints_that_cannot_be_removed_are_named(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    folder = disk.checkpoint_folder(TASK.key)
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"a file in the place of the folder")
    with pytest.raises(StoreError, match=r"cannot remove .*checkpoints"):
        discard_checkpoints(disk.paths, TASK.key)
