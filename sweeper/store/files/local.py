"""The files of a store in a local folder, or in one that the machines of a cluster share."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import BinaryIO, ClassVar

from sweeper.errors import StoreError
from sweeper.store.files.protocol import TEMPORARY_PREFIX, FileInfo, disk_fault


@dataclass(frozen=True)
class LocalFiles:
    """The files under a folder (see :class:`protocol.FileStore`).

    Attributes:
        root: the folder, absolute; on a cluster the same one on every node.
    """

    lists_late: ClassVar[bool] = False

    root: Path

    def open(self, name: str) -> BinaryIO:
        """Returns a file for reading; what is none, such as a pipe, would be waited for."""
        path = self.local(name)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError("it is no regular file")
        return path.open("rb")

    @contextmanager
    def write(self, name: str, *, durable: bool = True) -> Iterator[Path]:
        """Yields a name beside the file to write to; then that takes its place.

        It is flushed to the disk before it is renamed, and the folder after it, so that a loss
        of power, too, leaves the old file or the new one.
        """
        path = self.local(name)
        aside = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}-{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield aside
                if durable:
                    flush(aside)
                os.replace(aside, path)
                if durable:
                    flush(path.parent)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise disk_fault("write", path, error) from error

    def sync(self) -> None:
        """Returns once the disk has all that was written: for many files in a tenth of the time
        of asking after each."""
        if hasattr(os, "sync"):  # Windows has none and keeps names in order by itself
            os.sync()

    def local(self, name: str) -> Path:
        """Returns the file itself.

        Raises:
            StoreError: it lies outside the folder, by ``..`` or a link on the way.
        """
        path = self.root / name
        parts = Path(name).parts
        folders = parts if name.endswith("/") else parts[:-1]
        steps = accumulate(folders, lambda folder, part: folder / part, initial=self.root)
        linked = any(os.path.islink(step) for step in islice(steps, 1, None))
        if (
            ".." in parts
            or "\0" in name
            or not path.is_relative_to(self.root)
            or (linked and self._leaves(path))
        ):
            raise StoreError(
                f"store {self.root}: the file {name!r} lies outside its folder, so it is left "
                "alone; this store was made or changed by something else than sweeper"
            )
        return path

    def _leaves(self, path: Path) -> bool:
        return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))

    def release(self, name: str) -> None:
        """Returns: the files themselves were read."""

    def names(self, folder: str) -> list[str]:
        """Returns what lies in a folder, sorted."""
        path = self.local(folder)
        try:
            with os.scandir(path) as entries:
                return sorted(
                    f"{folder}{entry.name}{'/' if entry.is_dir(follow_symlinks=False) else ''}"
                    for entry in entries
                )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise disk_fault("read", path, error) from error

    def infos(self, folder: str) -> dict[str, FileInfo]:
        """Returns size and age of the files in a folder and below it."""
        found: dict[str, FileInfo] = {}
        folders = [folder]
        while folders:
            each = folders.pop()
            path = self.local(each)
            try:
                with os.scandir(path) as entries:
                    for entry in entries:
                        name = f"{each}{entry.name}"
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(f"{name}/")
                        else:
                            with suppress(FileNotFoundError):  # removed just now
                                found[name] = _info(_stat(entry))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise disk_fault("read", path, error) from error
        return dict(sorted(found.items()))

    def info(self, name: str) -> FileInfo | None:
        """Returns size and age of a file or folder; None if it is not there."""
        path = self.local(name)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise disk_fault("read", path, error) from error
        return _info(found)

    def rename(self, source: str, target: str) -> bool:
        """Renames a file, within its file system; returns False if it is not there."""
        old, new = self.local(source), self.local(target)
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            os.replace(old, new)
            flush(new.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk_fault("rename", old, error) from error
        return True

    def remove(self, name: str) -> None:
        """Removes a file, or a folder with all that is in it."""
        path = self.local(name)
        try:
            if name.endswith("/"):
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # somebody else was faster
        except OSError as error:
            raise disk_fault("remove", path, error) from error

    def shown(self, name: str) -> str:
        """Returns the path."""
        return str(self.local(name))


def _info(found: os.stat_result) -> FileInfo:
    return FileInfo(size=found.st_size, written=found.st_mtime)


def _stat(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError:
        return entry.stat(follow_symlinks=False)  # a link to nothing


def open_place(place: str) -> LocalFiles:
    """Returns the files under a folder, which may be written ``local://FOLDER``."""
    return LocalFiles(Path(re.sub("^local://", "", place, flags=re.IGNORECASE)).absolute())


def flush(path: Path) -> None:
    """Returns once a file's bytes, or a folder's names, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder; its file system journals names by itself.
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
