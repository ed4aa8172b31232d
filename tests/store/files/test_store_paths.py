"""Names of files, and writing them whole."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest

from sweeper.errors import StoreError
from sweeper.store.files.paths import TEMPORARY_PREFIX, Paths, temporary

KEY = "ab" + "0" * 62


def test_every_file_has_its_place_under_the_root(tmp_path: Path) -> None:
    paths = Paths(tmp_path)

    assert paths.database == tmp_path / "sweeper.db"
    assert paths.curve(KEY, 3) == tmp_path / "curves" / "ab" / f"{KEY}.3.parquet"
    checkpoint = paths.checkpoint(KEY, 123)
    assert checkpoint == tmp_path / "checkpoints" / "ab" / KEY / "step-000000123.pt"
    assert paths.step_of(checkpoint) == 123


def test_paths_survive_the_way_to_a_worker(tmp_path: Path) -> None:
    paths = Paths(tmp_path)

    assert pickle.loads(pickle.dumps(paths)) == paths


def test_a_relative_path_leads_back_to_the_file(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    relative = paths.relative(paths.curve(KEY, 1))

    assert relative == f"curves/ab/{KEY}.1.parquet"
    assert paths.absolute(relative) == paths.curve(KEY, 1)


def test_only_whole_checkpoints_are_found_the_last_step_last(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert paths.checkpoints_of(KEY) == []
    folder = paths.checkpoint_folder(KEY)
    folder.mkdir(parents=True)
    steps = (7, 2_000_000_000, 100)
    for step in steps:
        paths.checkpoint(KEY, step).touch()
    for name in (f"{TEMPORARY_PREFIX}1-step-000000009.pt", "step-9.journal.json", "step-x.pt"):
        (folder / name).touch()

    assert paths.checkpoints_of(KEY) == [paths.checkpoint(KEY, step) for step in sorted(steps)]


def test_checkpoints_that_cannot_be_listed_are_told(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.checkpoint_folder(KEY).parent.mkdir(parents=True)
    paths.checkpoint_folder(KEY).touch()

    with pytest.raises(StoreError, match=r"cannot read .*Not a directory"):
        paths.checkpoints_of(KEY)


def test_the_whole_curves_of_a_trial_are_found_the_first_attempt_first(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert paths.curves_of(KEY) == []
    folder = paths.curve(KEY, 1).parent
    folder.mkdir(parents=True)
    for attempt in (10, 2):
        paths.curve(KEY, attempt).touch()
    neighbour = "ab" + "1" * 62
    for name in (f".tmp-0-{KEY}.1.parquet", f"{KEY}.x.parquet", f"{neighbour}.1.parquet"):
        (folder / name).touch()
    paths.withdrawn(paths.curve(KEY, 3)).touch()

    assert paths.curves_of(KEY) == [paths.curve(KEY, 2), paths.curve(KEY, 10)]
    assert paths.withdrawn(paths.curve(KEY, 3)).name == f"{KEY}.3.withdrawn.parquet"


def test_the_unfinished_files_of_a_trial_are_found_and_those_of_no_other(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert paths.unfinished(KEY) == []
    with temporary(paths.curve(KEY, 1)) as curve, temporary(paths.checkpoint(KEY, 4)) as part:
        curve.touch()
        part.touch()
        assert paths.unfinished(KEY) == sorted([curve, part])
        assert paths.unfinished("ab" + "1" * 62) == []
    assert paths.unfinished(KEY) == []


def test_journals_without_their_checkpoint_are_found(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert paths.lone_journals_of(KEY) == []
    whole, lone = paths.checkpoint(KEY, 4), paths.checkpoint(KEY, 6)
    whole.parent.mkdir(parents=True)
    for path in (whole, paths.journal(whole), paths.journal(lone)):
        path.touch()
    (whole.parent / "notes.journal.json").touch()

    assert paths.lone_journals_of(KEY) == [paths.journal(lone)]


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "file.txt"

    with temporary(target) as aside:
        aside.write_text("new")
        assert aside.name.startswith(TEMPORARY_PREFIX)
        assert aside.parent == target.parent
        assert not target.exists()

    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    with pytest.raises(KeyError), temporary(target) as aside:
        aside.write_text("half")
        raise KeyError("a fault of the writer")

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_told_with_the_file_and_what_to_do(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"

    with pytest.raises(StoreError) as caught, temporary(target) as aside:
        aside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    assert f"cannot write {target}: No space left on device; check that" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "curves").write_text("")

    with (
        pytest.raises(StoreError, match=r"cannot write .*curves/file"),
        temporary(tmp_path / "curves" / "file"),
    ):
        raise AssertionError("the body must not run")
