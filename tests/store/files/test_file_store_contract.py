"""What every place of files promises, a folder or not."""

from __future__ import annotations

import pickle
import sys
from itertools import islice
from pathlib import Path

import memory_files
import pytest

from sweeper.errors import RequestError, StoreError
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.protocol import FileStore, listed, open_files, watch


@pytest.fixture(params=["folder", "memory", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    """Returns an empty place of files."""
    if request.param == "folder":
        return LocalFiles(tmp_path)
    if request.param == "s3":
        return open_files(request.getfixturevalue("s3"))
    return memory_files.MemoryFiles("here:")


def put(files: FileStore, *names: str, content: bytes = b"content") -> None:
    for name in names:
        with files.write(name) as aside:
            aside.write_bytes(content)


def content_of(files: FileStore, name: str) -> bytes:
    with files.open(name) as source:
        return source.read()


def test_a_file_comes_back_with_its_bytes_and_its_size(files: FileStore) -> None:
    put(files, "a/b/file", content=b"one")

    assert content_of(files, "a/b/file") == b"one"
    assert files.local("a/b/file").read_bytes() == b"one"
    info = files.info("a/b/file")
    assert info is not None and info.size == 3


def test_a_file_is_read_at_any_place(files: FileStore) -> None:
    put(files, "file", content=b"0123456789")

    with files.open("file") as source:
        source.seek(-4, 2)
        assert source.read(2) == b"67"


def test_a_file_takes_its_place_only_when_it_is_whole(files: FileStore) -> None:
    put(files, "file", content=b"old")

    with files.write("file", durable=False) as aside:
        aside.write_bytes(b"new")
        assert content_of(files, "file") == b"old"
    files.sync()

    assert content_of(files, "file") == b"new"
    assert files.names("") == ["file"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(files: FileStore) -> None:
    put(files, "file", content=b"old")

    with pytest.raises(KeyError), files.write("file") as aside:
        aside.write_bytes(b"half")
        raise KeyError("a fault of the writer")

    assert content_of(files, "file") == b"old"
    assert files.names("") == ["file"]


def test_what_lies_in_a_folder_is_listed_and_what_lies_deeper_only_by_its_folder(
    files: FileStore,
) -> None:
    assert files.names("") == [] == files.names("no/such/")
    put(files, "b", "a/2", "a/1", "a/deep/er", "ab/1")

    assert files.names("") == ["a/", "ab/", "b"]
    assert files.names("a/") == ["a/1", "a/2", "a/deep/"]
    assert [*files.infos("")] == ["a/1", "a/2", "a/deep/er", "ab/1", "b"]
    assert [*files.infos("a/")] == ["a/1", "a/2", "a/deep/er"]
    assert files.infos("no/such/") == {}


def test_a_missing_file_is_told_and_is_nothing_to_rename_or_remove(files: FileStore) -> None:
    with pytest.raises(FileNotFoundError):
        files.open("a/file")
    assert files.info("a/file") is None
    assert not files.rename("a/file", "b/file")
    files.remove("a/file")
    files.remove("a/")
    assert files.names("b/") == []


def test_a_renamed_file_has_its_new_name_alone(files: FileStore) -> None:
    put(files, "a/file", content=b"moved")
    put(files, "b/file", content=b"was there")

    assert files.rename("a/file", "b/file")

    assert content_of(files, "b/file") == b"moved"
    assert files.names("a/") == []


def test_a_file_is_removed_alone_and_a_folder_with_all_below_it(files: FileStore) -> None:
    put(files, "a/1", "a/2", "a/deep/er", "ab/1")

    files.remove("a/1")
    assert files.names("a/") == ["a/2", "a/deep/"]
    files.remove("a/")
    assert [*files.infos("")] == ["ab/1"]


def test_a_folder_tells_of_its_files_what_each_tells_alone(files: FileStore) -> None:
    put(files, "a/1", "a/deep/er", content=b"12345")

    for name, info in files.infos("a/").items():
        alone = files.info(name)
        assert alone is not None and alone.size == info.size == 5
        # A listing may know the time of writing more exactly than the file itself.
        assert abs(alone.written - info.written) < 1


def test_a_listing_is_of_its_moment_and_what_is_opened_is_as_it_is_now(files: FileStore) -> None:
    put(files, "a/1", "a/deep/er", "ab/1", "b")
    then = listed(files, ["a/"])
    put(files, "a/2", "ab/2")
    put(files, "a/1", content=b"written again")
    files.remove("a/deep/er")

    assert then.names("a/") == ["a/1", "a/deep/"]
    assert then.names("a/deep/") == ["a/deep/er"] == [*then.infos("a/deep/")]
    assert [*then.infos("a/")] == ["a/1", "a/deep/er"]
    info = then.info("a/1")
    assert info is not None and info.size == len(b"content")
    assert then.info("a/2") is None
    assert content_of(then, "a/1") == b"written again"
    assert then.names("ab/") == ["ab/1", "ab/2"] == [*then.infos("ab/")]
    assert then.info("ab/2") is not None
    assert then.names("a/nothing/") == []


def test_a_copy_is_of_the_file_as_it_is_now_and_goes_when_it_is_released(
    files: FileStore,
) -> None:
    put(files, "a/file", content=b"old")
    first = files.local("a/file")
    assert first.read_bytes() == b"old"
    assert first.name == "file"
    assert files.local("a/file") == first

    put(files, "a/file", content=b"new")
    assert files.local("a/file").read_bytes() == b"new"
    files.release("a/")
    assert content_of(files, "a/file") == b"new"
    assert files.local("a/file").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "a/\0"])
def test_a_name_that_leads_out_of_the_place_is_refused(name: str, tmp_path: Path, s3: str) -> None:
    for files in (LocalFiles(tmp_path), open_files(s3)):
        with pytest.raises(StoreError, match="left alone"):
            files.open(name)
        with pytest.raises(StoreError, match="left alone"), files.write(name):
            raise AssertionError("the body of a write outside is reached")
        with pytest.raises(StoreError, match="left alone"):
            files.remove(name)


def test_a_file_is_younger_after_it_was_written_again(files: FileStore) -> None:
    put(files, "file")
    first = files.info("file")
    put(files, "file")
    second = files.info("file")

    assert first is not None and second is not None and first.written <= second.written


def test_a_watch_tells_what_is_new_or_was_written_again(files: FileStore) -> None:
    put(files, "a/1", "a/2", "b/1")
    changes = watch(files, "a/")

    assert next(changes) == ["a/1", "a/2"]
    assert list(islice(changes, 1)) == [[]]
    put(files, "a/1", content=b"longer than before")
    put(files, "a/deep/3", "b/2")
    files.remove("a/2")
    assert next(changes) == ["a/1", "a/deep/3"]
    put(files, "a/2")
    assert next(changes) == ["a/2"]


def test_a_message_names_the_file(files: FileStore) -> None:
    assert files.shown("a/file").endswith("a/file")
    assert files.shown("a/file") != "a/file"


def test_files_survive_the_way_to_a_worker(tmp_path: Path, s3: str) -> None:
    for files in (LocalFiles(tmp_path), open_files(s3)):
        put(files, "file")
        there = pickle.loads(pickle.dumps(files))
        assert there == files
        assert content_of(there, "file") == b"content"


def test_a_folder_is_opened_by_its_path_and_another_place_by_the_module_of_its_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sweeper.store.files.memory", memory_files)

    assert open_files(str(tmp_path)) == LocalFiles(tmp_path)
    assert open_files(f"local://{tmp_path}") == LocalFiles(tmp_path)
    assert open_files("local://near") == LocalFiles(Path.cwd() / "near")
    opened = open_files("memory://one")
    assert isinstance(opened, memory_files.MemoryFiles)
    assert open_files("memory://one") is opened is not open_files("memory://two")


@pytest.mark.parametrize("scheme", ["ftp", "paths", "protocol"])
def test_a_place_of_a_kind_that_is_not_known_is_refused(scheme: str) -> None:
    with pytest.raises(RequestError, match=rf"store: {scheme}://somewhere is no place for curves"):
        open_files(f"{scheme}://somewhere")


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    put(LocalFiles(tmp_path), "file")

    with pytest.raises(StoreError, match=r"cannot read .*file.*Not a directory"):
        LocalFiles(tmp_path).names("file/")
