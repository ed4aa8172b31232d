"""The names of a store's files, and which of them are found."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest

from sweeper.errors import StoreError
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths
from sweeper.store.files.protocol import TEMPORARY_PREFIX

KEY = "ab" + "0" * 62


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Returns the names of the files in an empty folder."""
    return Paths(LocalFiles(tmp_path))


def put(paths: Paths, *names: str) -> None:
    for name in names:
        with paths.files.write(name) as aside:
            aside.touch()


def test_every_file_has_its_name(paths: Paths) -> None:
    assert paths.curve(KEY, 3) == f"curves/ab/{KEY}.3.parquet"
    checkpoint = paths.checkpoint(KEY, 123)
    assert checkpoint == f"checkpoints/ab/{KEY}/step-000000123.pt"
    assert paths.journal(checkpoint) == f"checkpoints/ab/{KEY}/step-000000123.journal.json"
    assert paths.step_of(checkpoint) == 123


def test_paths_survive_the_way_to_a_worker(paths: Paths) -> None:
    assert pickle.loads(pickle.dumps(paths)) == paths


def test_only_whole_checkpoints_are_found_the_last_step_last(paths: Paths) -> None:
    assert paths.checkpoints_of(KEY) == []
    steps = (7, 2_000_000_000, 100)
    put(paths, *(paths.checkpoint(KEY, step) for step in steps))
    for name in (f"{TEMPORARY_PREFIX}1-step-000000009.pt", "step-9.journal.json", "step-x.pt"):
        put(paths, paths.checkpoint_folder(KEY) + name)

    assert paths.checkpoints_of(KEY) == [paths.checkpoint(KEY, step) for step in sorted(steps)]


def test_checkpoints_that_cannot_be_listed_are_told(paths: Paths) -> None:
    put(paths, paths.checkpoint_folder(KEY).rstrip("/"))

    with pytest.raises(StoreError, match=r"cannot read .*Not a directory"):
        paths.checkpoints_of(KEY)


def test_the_whole_curves_of_a_trial_are_found_the_first_attempt_first(paths: Paths) -> None:
    assert paths.curves_of(KEY) == []
    put(paths, paths.curve(KEY, 10), paths.curve(KEY, 2))
    neighbour = "ab" + "1" * 62
    for name in (f".tmp-0-{KEY}.1.parquet", f"{KEY}.x.parquet", f"{neighbour}.1.parquet"):
        put(paths, f"curves/ab/{name}")
    put(paths, paths.withdrawn(paths.curve(KEY, 3)))

    assert paths.curves_of(KEY) == [paths.curve(KEY, 2), paths.curve(KEY, 10)]
    assert paths.withdrawn(paths.curve(KEY, 3)) == f"curves/ab/{KEY}.3.withdrawn.parquet"
    assert list(paths.withdrawn_files()) == [(KEY, f"curves/ab/{KEY}.3.withdrawn.parquet")]


def test_the_unfinished_files_of_a_trial_are_found_and_those_of_no_other(paths: Paths) -> None:
    assert paths.unfinished_of(KEY) == []
    with (
        paths.files.write(paths.curve(KEY, 1)) as curve,
        paths.files.write(paths.checkpoint(KEY, 4)) as part,
    ):
        curve.touch()
        part.touch()
        begun = sorted(map(str, (curve, part)))
        assert [paths.files.shown(name) for name in paths.unfinished_of(KEY)] == begun
        assert paths.unfinished_of("ab" + "1" * 62) == []
        found = [(key, paths.files.shown(name)) for key, name in paths.unfinished_files()]
        assert sorted(found) == [(KEY, name) for name in begun]
    assert paths.unfinished_of(KEY) == [] == list(paths.unfinished_files())


def test_journals_without_their_checkpoint_are_found(paths: Paths) -> None:
    assert paths.lone_journals_of(KEY) == []
    whole, lone = paths.checkpoint(KEY, 4), paths.checkpoint(KEY, 6)
    put(paths, whole, paths.journal(whole), paths.journal(lone))
    put(paths, paths.checkpoint_folder(KEY) + "notes.journal.json")

    assert paths.lone_journals_of(KEY) == [paths.journal(lone)]


def test_a_full_disk_is_told_with_the_file_and_what_to_do(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"

    with pytest.raises(StoreError) as caught, LocalFiles(tmp_path).write("file.txt") as aside:
        aside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    assert f"cannot write {target}: No space left on device; check that" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "curves").write_text("")

    with (
        pytest.raises(StoreError, match=r"cannot write .*curves/file"),
        LocalFiles(tmp_path).write("curves/file"),
    ):
        raise AssertionError("the body must not run")


@pytest.mark.parametrize(
    "name", ["../out.parquet", "curves/../../out.parquet", "/etc/hosts", "a\0b"]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "out.parquet").write_bytes(b"theirs")
    files = LocalFiles(tmp_path / "store")
    for touch in (files.info, files.remove, files.open, lambda n: files.rename(n, "curves/x")):
        with pytest.raises(StoreError, match="lies outside its folder"):
            touch(name)
    assert (tmp_path / "out.parquet").read_bytes() == b"theirs"


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "home"
    outside.mkdir()
    (outside / "step-000000001.pt").write_bytes(b"theirs")
    root = tmp_path / "store"
    key = "a" * 64
    (root / "checkpoints" / "aa").mkdir(parents=True)
    (root / "checkpoints" / "aa" / key).symlink_to(outside, target_is_directory=True)
    (tmp_path / "alias").symlink_to(root, target_is_directory=True)
    for place in (root, tmp_path / "alias"):  # a link to the folder itself is fine
        files = LocalFiles(place)
        assert list(Paths(files).checkpoint_folders()) == []
        with pytest.raises(StoreError, match="lies outside its folder"):
            files.remove(f"checkpoints/aa/{key}/")
        with pytest.raises(StoreError, match="lies outside its folder"):
            files.names(f"checkpoints/aa/{key}/")
    assert (outside / "step-000000001.pt").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        LocalFiles(tmp_path).open("pipe")
