"""A place of files that is no folder: what an object store has to do, in one module."""

from __future__ import annotations

import io
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sweeper.store.files.protocol import FileInfo


class MemoryFiles:
    """Files of this process, by name; see :class:`FileStore`.

    Attributes:
        place: what it is called in messages.
        contents: the bytes of every file.
        times: when each was written, in seconds since 1970.
    """

    lists_late = False

    def __init__(self, place: str) -> None:
        self.place = place
        self.contents: dict[str, bytes] = {}
        self.times: dict[str, float] = {}
        self._copies = Path(tempfile.mkdtemp(prefix="sweeper-memory-"))
        weakref.finalize(self, shutil.rmtree, self._copies, ignore_errors=True)

    def open(self, name: str) -> BinaryIO:
        if name not in self.contents:
            raise FileNotFoundError(name)
        return io.BytesIO(self.contents[name])

    @contextmanager
    def write(self, name: str, *, durable: bool = True) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="sweeper-memory-") as folder:
            aside = Path(folder) / "file"
            yield aside
            self.put(name, aside.read_bytes())

    def put(self, name: str, content: bytes) -> None:
        self.contents[name], self.times[name] = content, time.time()

    def sync(self) -> None:
        pass

    def local(self, name: str) -> Path:
        if name not in self.contents:
            raise FileNotFoundError(name)
        copy = self._copies / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(self.contents[name])
        return copy

    def release(self, name: str) -> None:
        copies = self._copies / name
        shutil.rmtree(copies) if copies.is_dir() else copies.unlink(missing_ok=True)

    def infos(self, folder: str) -> dict[str, FileInfo]:
        below = sorted(name for name in self.contents if name.startswith(folder))
        return {name: info for name in below if (info := self.info(name)) is not None}

    def names(self, folder: str) -> list[str]:
        below = (name[len(folder) :] for name in self.contents if name.startswith(folder))
        return sorted({folder + "".join(name.partition("/")[:2]) for name in below})

    def info(self, name: str) -> FileInfo | None:
        if name not in self.contents:
            return None
        return FileInfo(size=len(self.contents[name]), written=self.times[name])

    def rename(self, source: str, target: str) -> bool:
        if source not in self.contents:
            return False
        self.put(target, self.contents.pop(source))
        return True

    def remove(self, name: str) -> None:
        gone = [each for each in self.contents if each == name or self._below(each, name)]
        for each in gone:
            del self.contents[each]

    def shown(self, name: str) -> str:
        return f"{self.place}{name}"

    @staticmethod
    def _below(name: str, folder: str) -> bool:
        return folder.endswith("/") and name.startswith(folder)


class LateFiles(MemoryFiles):
    """Files whose listings lack some that are there, and have some that are gone.

    Attributes:
        unlisted: those that are there and not listed.
        ghosts: those that are listed and not there.
    """

    lists_late = True

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.unlisted: set[str] = set()
        self.ghosts: set[str] = set()

    def names(self, folder: str) -> list[str]:
        seen = MemoryFiles(self.place)
        seen.contents = dict.fromkeys(({*self.contents} - self.unlisted) | self.ghosts, b"")
        return seen.names(folder)


_PLACES: dict[str, MemoryFiles] = {}


def open_place(place: str) -> MemoryFiles:
    """Returns the files at a place, the same ones every time that it is opened."""
    return _PLACES.setdefault(place, MemoryFiles(place))
