"""What a store asks of the place of its files; one module beside this one is one kind of place.

The database keeps a file by its name, which is relative to the place and has slashes, such as
``curves/ab/ab12.1.parquet``. The name of a folder ends with a slash; that of the whole place is
empty. Folders come with their first file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Protocol

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
    cannot be read is skipped.
    """

    def open(self, name: str) -> BinaryIO:
        """Returns a file for reading, at any place in it.

        Raises:
            OSError: it cannot be read; FileNotFoundError if it is not there.
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
        copy that stays until the process ends."""
        ...

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files and folders that lie in a folder, sorted, and not of
        those below them; none if it is not there."""
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
            "machine reaches"
        )
    files: FileStore = opener(place)
    return files


def files_below(files: FileStore, folder: str) -> Iterator[str]:
    """Yields the names of all files in a folder and in the folders below it, sorted by folder."""
    for name in files.names(folder):
        if name.endswith("/"):
            yield from files_below(files, name)
        else:
            yield name


def watch(files: FileStore, folder: str) -> Iterator[list[str]]:
    """Yields, whenever it is asked, the files below a folder that are new or were written again
    since it was last asked; at first all of them. The caller decides when to ask again."""
    seen: dict[str, FileInfo | None] = {}
    while True:
        found = {name: files.info(name) for name in files_below(files, folder)}
        yield [name for name, info in found.items() if seen.get(name) != info]
        seen = found


def disk_fault(verb: str, where: str | Path, error: OSError) -> StoreError:
    """Returns the error for a file that could not be read or written, and what to do."""
    reason = error.strerror or str(error)
    return StoreError(
        f"cannot {verb} {where}: {reason}; check that the disk has space and that the folder may "
        "be written, or choose another folder with --store or SWEEPER_STORE; what was recorded "
        "is kept, and the same command goes on from there"
    )


def write_token(files: FileStore, token: str) -> None:
    """Writes a small file, by which others tell that they see the same place.

    Raises:
        StoreError: the place cannot be written.
    """
    with files.write(token_file(token), durable=False) as path:
        path.write_text(token, encoding="utf-8")


def read_token(files: FileStore, token: str) -> bool:
    """Returns whether a file of :func:`write_token` is there, and whole.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        with files.open(token_file(token)) as found:
            return found.read() == token.encode()
    except FileNotFoundError:
        return False


def token_file(token: str) -> str:
    """Returns the name of a token's file: that of an unfinished one, which `sweeper prune` removes
    where it is left behind."""
    return f"{TEMPORARY_PREFIX}token-{token}"
