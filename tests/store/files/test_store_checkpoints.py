"""Checkpoints and the journals beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.errors import StoreError
from sweeper.outcome import Mark
from sweeper.store.files.checkpoints import Journal, forget_older, read_journal, write_checkpoint
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths
from sweeper.store.files.sealed import seal, unseal

KEY = "ab" + "0" * 62
JOURNAL = Journal(
    key=KEY,
    step=7,
    tokens=448,
    device_seconds=1.1,
    curve=({"step": 1, "tokens": 64, "train_loss": 1 / 3}, {"step": 2, "train_loss": math.inf}),
    marks=(Mark(step=4, tokens=256, metric="val_loss", value=2 / 3),),
)


def content(path: Path) -> None:
    path.write_bytes(bytes(range(200)))


def written(tmp_path: Path, journal: Journal = JOURNAL) -> Path:
    name = Paths.checkpoint(KEY, journal.step)
    write_checkpoint(LocalFiles(tmp_path), name, journal, content)
    return tmp_path / name


def read(path: Path, key: str = KEY) -> Journal:
    """The journal of a checkpoint, under its own name wherever it lies."""
    root = path.parents[3]
    return read_journal(LocalFiles(root), path.relative_to(root).as_posix(), key=key)


def journal_of(path: Path) -> Path:
    return path.with_suffix(".journal.json")


def test_a_journal_comes_back_with_its_bits(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert read(path) == JOURNAL
    assert path.read_bytes() == bytes(range(200))
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["step-000000007.journal.json", "step-000000007.pt"]


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    bits = bytearray(path.read_bytes())
    bits[60] ^= 1
    path.write_bytes(bits)


@pytest.mark.parametrize(
    "damage", [zero, cut, flip, Path.unlink, lambda path: path.write_bytes(b"")]
)
@pytest.mark.parametrize("which", ["checkpoint", "journal"])
def test_damage_of_either_file_is_noticed(
    damage: Callable[[Path], object], which: str, tmp_path: Path
) -> None:
    path = written(tmp_path)
    damage(path if which == "checkpoint" else journal_of(path))
    with pytest.raises(ValueError, match="journal" if which == "journal" else "SHA-256|cannot be"):
        read(path)


def test_a_checkpoint_of_another_trial_or_step_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(ValueError, match="of another trial, ab000"):
        read(path, key="cd" * 32)
    other = tmp_path / Paths.checkpoint(KEY, 9)
    path.rename(other)
    journal_of(path).rename(journal_of(other))
    with pytest.raises(ValueError, match="of another step, 7"):
        read(other)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"curve": 3},
        {"curve": [[1]]},
        {"curve": [{"step": [], "tokens": 1}]},
        {"colour": "red"},
        {"tokens": "7"},
        {"device_seconds": None},
        {"marks": [{"step": "1", "tokens": 1, "metric": "m", "value": 1.0}]},
        {"marks": [1]},
    ],
)
def test_a_journal_of_another_make_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = written(tmp_path)
    beside = journal_of(path)
    beside.write_text(seal(unseal(beside.read_bytes()) | change))
    with pytest.raises(ValueError, match="cannot be used"):
        read(path)


def test_a_folder_in_the_place_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read(path)


def test_a_save_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        content(path)
        raise OSError(28, "No space left on device")

    files, name = LocalFiles(tmp_path), Paths.checkpoint(KEY, 7)
    with pytest.raises(StoreError, match="No space left"):
        write_checkpoint(files, name, JOURNAL, broken)
    assert files.names(Paths.checkpoint_folder(KEY)) == []


def test_the_newest_two_stay_and_later_ones_of_others_too(tmp_path: Path) -> None:
    paths = Paths(LocalFiles(tmp_path))
    for step in (1, 2, 3, 5, 8):
        written(tmp_path, replace(JOURNAL, step=step))
    forget_older(paths, KEY, 5)
    assert [paths.step_of(path) for path in paths.checkpoints_of(KEY)] == [3, 5, 8]
    assert len(paths.files.names(paths.checkpoint_folder(KEY))) == 6
    forget_older(paths, KEY, 5)
    assert len(paths.checkpoints_of(KEY)) == 3
    forget_older(paths, "cd" * 32, 5)
