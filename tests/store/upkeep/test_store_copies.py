"""A file that is copied arrives as it was, or the copy is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeper.errors import StoreError
from sweeper.store.files.local import LocalFiles
from sweeper.store.upkeep.copies import alike, copy_checked


@dataclass(frozen=True)
class BadDisk(LocalFiles):
    """A folder on a disk that turns the last byte of what is written."""

    @contextmanager
    def write(self, name: str, *, durable: bool = True) -> Iterator[Path]:
        with super().write(name, durable=durable) as aside:
            yield aside
            content = aside.read_bytes()
            aside.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_file_that_arrives_changed_is_told_and_one_that_is_there_is_not_copied_again(
    tmp_path: Path,
) -> None:
    old, new = LocalFiles(tmp_path / "old"), LocalFiles(tmp_path / "new")
    with old.write("curves/ab/x") as aside:
        aside.write_bytes(bytes(range(256)) * 9000)
    with pytest.raises(StoreError, match="did not arrive as it is at"):
        copy_checked(old, "curves/ab/x", BadDisk(tmp_path / "bad"))

    copy_checked(old, "curves/ab/x", new, "curves/ab/y")
    assert alike(old, new, "curves/ab/x", "curves/ab/y")
    before = new.local("curves/ab/y").stat()
    copy_checked(old, "curves/ab/x", new, "curves/ab/y")
    assert new.local("curves/ab/y").stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(FileNotFoundError):
        copy_checked(old, "curves/ab/z", new)
