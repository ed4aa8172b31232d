"""What a store asks of the place of its files; one module beside this one is one kind of place.

The database keeps a file by its name, which is relative to the place and has slashes, such as
``curves/ab/ab12.1.parquet``. The name of a folder ends with a slash; that of the whole place is
empty. Folders come with their first file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from sweeper.errors import RequestError, StoreError

TEMPORARY_PREFIX = ".tmp-"
"""Files under this prefix are unfinished: nobody reads them, anybody may remove old ones."""

_SCHEME = re.compile(r"([a-z][a-z0-9_]*)://", re.IGNORECASE)


@dataclass(frozen=True)
class FileInfo:
    """What is known of a file without reading it.

    Attributes:
        size: bytes.
        written: when it was written, in seconds since 1970.
    """

    size: int
    written: float


class FileStore(Protocol):
    """Holds the files of a store. It is plain and picklable, since workers are given it.

    Whatever is out of reach, full or not writable is a StoreError that says what to do; its
    cause is the OSError. :meth:`open` alone raises the OSError itself, because a file that
    cannot be read is skipped; where nothing is known of the file, since its place is away, it
    is a StoreError there, too.
    """

    @property
    def lists_late(self) -> bool:
        """Whether a listing may lack what was written before it was asked for, or still have what
        was removed; :meth:`info` and :meth:`open` know better."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Returns a file for reading, at any place in it.

        Raises:
            OSError: it cannot be read; FileNotFoundError if it is not there.
            StoreError: the place of the files is away.
        """
        ...

    def write(self, name: str, *, durable: bool = True) -> AbstractContextManager[Path]:
        """Yields a file of this machine to write to; at the end it takes its place, whole.

        A reader sees the old file or the new one, never half a file. If the body raises, the
        old one stays and nothing is left of the new one.

        Args:
            name: what the file is called.
            durable: make sure that it outlives a loss of power before this ends. Of many files
                it is faster to ask once, by :meth:`sync`.
        """
        ...

    def sync(self) -> None:
        """Returns once every file that was written outlives a loss of power."""
        ...

    def local(self, name: str) -> Path:
        """Returns a file of this machine with the same bytes, for reading: the file itself, or a
        copy that stays until it is released or the process ends.

        Raises:
            FileNotFoundError: it is not there, if it has to be copied.
        """
        ...

    def release(self, name: str) -> None:
        """Says that the copies that :meth:`local` made of a file, or of those in a folder, are no
        longer read here."""
        ...

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files and folders that lie in a folder, sorted, and not of
        those below them; none if it is not there."""
        ...

    def infos(self, folder: str) -> dict[str, FileInfo]:
        """Returns size and age of the files in a folder and of those below it, by name, sorted;
        none if it is not there. One question, however many there are."""
        ...

    def info(self, name: str) -> FileInfo | None:
        """Returns size and age of a file; None if it is not there. Of a folder that is there it
        may be None, too."""
        ...

    def rename(self, source: str, target: str) -> bool:
        """Gives a file another name; returns False if it is not there."""
        ...

    def remove(self, name: str) -> None:
        """Removes a file, or a folder and all that lies below it; what is not there is left
        out."""
        ...

    def shown(self, name: str) -> str:
        """Returns where a file is, for messages."""
        ...


def open_files(place: str) -> FileStore:
    """Returns the files at a place.

    Args:
        place: a folder, absolute, or ``SCHEME://`` and anything. The module of this package that
            is called like the scheme opens it, by a function ``open_place(place)``.

    Raises:
        RequestError: there is no such module.
    """
    scheme = _SCHEME.match(place)
    name = f"sweeper.store.files.{'local' if scheme is None else scheme[1].lower()}"
    opener = getattr(import_module(name), "open_place", None) if find_spec(name) else None
    if opener is None:
        shown = re.sub("//[^/]*@", "//***@", place)  # it may hold a password
        raise RequestError(
            f"store: {shown} is no place for curves and checkpoints; give a folder, which every "
            "machine reaches, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
        )
    files: FileStore = opener(place)
    return files


def watch(files: FileStore, folder: str) -> Iterator[list[str]]:
    """Yields, whenever it is asked, the files below a folder that are new or were written again
    since it was last asked; at first all of them. The caller decides when to ask again."""
    seen: dict[str, FileInfo] = {}
    while True:
        found = files.infos(folder)
        yield [name for name, info in found.items() if seen.get(name) != info]
        seen = found


def listed(files: FileStore, folders: Iterable[str]) -> FileStore:
    """Returns files whose names, sizes and ages are those of this moment: what looks through all
    of a store asks once, and not once a file. Whatever opens or changes a file sees it as it is.

    Args:
        files: where they are.
        folders: those whose files are listed now, with all below them; others as they are asked
            for.
    """
    return cast(FileStore, _Listed(files, folders))


class _Listed:
    def __init__(self, files: FileStore, folders: Iterable[str]) -> None:
        self._files = files
        self._folders = tuple(folders)
        self._infos: dict[str, FileInfo] = {}
        self._names: dict[str, set[str]] = {}
        for folder in self._folders:
            self._infos |= files.infos(folder)
        for name in self._infos:
            self._enter(name)

    def _enter(self, name: str) -> None:
        folder = name.rstrip("/").rpartition("/")[0]
        if folder:
            beside = self._names.setdefault(f"{folder}/", set())
            if name not in beside:
                beside.add(name)
                self._enter(f"{folder}/")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def names(self, folder: str) -> list[str]:
        """Returns what lay in a folder."""
        if folder.startswith(self._folders):
            return sorted(self._names.get(folder, ()))
        return self._files.names(folder)

    def infos(self, folder: str) -> dict[str, FileInfo]:
        """Returns size and age of what lay in a folder and below it."""
        if not folder.startswith(self._folders):
            return self._files.infos(folder)
        found: dict[str, FileInfo] = {}
        for name in self.names(folder):
            found |= self.infos(name) if name.endswith("/") else {name: self._infos[name]}
        return found

    def info(self, name: str) -> FileInfo | None:
        """Returns size and age that a file had; None if it was not there."""
        if name.startswith(self._folders):
            return self._infos.get(name)
        return self._files.info(name)


def disk_fault(verb: str, where: str | Path, error: OSError) -> StoreError:
    """Returns the error for a file that could not be read or written, and what to do."""
    reason = error.strerror or str(error)
    return StoreError(
        f"cannot {verb} {where}: {reason}; check that the disk has space and that the folder may "
        "be written, or choose another folder with --store or SWEEPER_STORE; what was recorded "
        "is kept, and the same command goes on from there"
    )
