"""Every path of the store's files, the one way to write a file whole, and renaming together with
a change of the database, all or none."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sweeper.errors import StoreError

TEMPORARY_PREFIX = ".tmp-"
"""Files under this prefix are unfinished: nobody reads them, anybody may remove old ones."""

_STEP = re.compile(r"step-(\d+)\.pt")
_JOURNAL = ".journal.json"


@dataclass(frozen=True)
class Paths:
    """Names the files under one folder; plain and picklable, so workers are given it.

    Attributes:
        root: the folder, absolute; on a cluster the same one on every node.
    """

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file of a store that is a folder."""
        return self.root / "sweeper.db"

    @property
    def curves(self) -> Path:
        """The folder of all curves."""
        return self.root / "curves"

    @property
    def checkpoints(self) -> Path:
        """The folder of all checkpoints."""
        return self.root / "checkpoints"

    def curve(self, key: str, attempt: int) -> Path:
        """Returns the Parquet file of an attempt's curve."""
        return self.curves / key[:2] / f"{key}.{attempt}.parquet"

    def curves_of(self, key: str) -> list[Path]:
        """Returns the whole curve files of a trial that are on disk, the first attempt first.
        Those of withdrawn results are left out.

        Raises:
            StoreError: the folder is there and cannot be read.
        """
        name = re.compile(rf"{re.escape(key)}\.(\d+)\.parquet")
        folder = self.curves / key[:2]
        found = [
            (match, folder / match.group())
            for match in map(name.fullmatch, _names(folder))
            if match is not None
        ]
        return [path for _, path in sorted(found, key=lambda each: int(each[0].group(1)))]

    @staticmethod
    def withdrawn(curve: Path) -> Path:
        """Returns the name that a curve file gets when its result is withdrawn."""
        return curve.with_suffix(".withdrawn.parquet")

    def unfinished(self, key: str) -> list[Path]:
        """Returns the unfinished files of a trial that are on disk.

        Raises:
            StoreError: a folder is there and cannot be read.
        """
        folder, curves = self.checkpoint_folder(key), self.curves / key[:2]
        own = [folder / name for name in _names(folder) if name.startswith(TEMPORARY_PREFIX)]
        shared = [  # by trials whose keys begin alike
            curves / name
            for name in _names(curves)
            if name.startswith(TEMPORARY_PREFIX) and f"-{key}." in name
        ]
        return sorted(own + shared)

    def checkpoint_folder(self, key: str) -> Path:
        """Returns the folder of a trial's checkpoints, whichever attempt wrote them."""
        return self.checkpoints / key[:2] / key

    def checkpoint(self, key: str, step: int) -> Path:
        """Returns the checkpoint file of a trial after so many optimizer steps."""
        return self.checkpoint_folder(key) / f"step-{step:09d}.pt"

    def checkpoints_of(self, key: str) -> list[Path]:
        """Returns the whole checkpoints of a trial that are on disk, the last step last.

        Raises:
            StoreError: the folder is there and cannot be read.
        """
        folder = self.checkpoint_folder(key)
        found = [folder / name for name in _names(folder) if _STEP.fullmatch(name)]
        return sorted(found, key=self.step_of)

    def lone_journals_of(self, key: str) -> list[Path]:
        """Returns the journals of a trial whose checkpoint is not there, the last step last.

        Raises:
            StoreError: the folder is there and cannot be read.
        """
        folder = self.checkpoint_folder(key)
        names = set(_names(folder))
        stems = (name.removesuffix(_JOURNAL) for name in names if name.endswith(_JOURNAL))
        return sorted(
            folder / f"{stem}{_JOURNAL}"
            for stem in stems
            if _STEP.fullmatch(f"{stem}.pt") and f"{stem}.pt" not in names
        )

    @staticmethod
    def journal(checkpoint: Path) -> Path:
        """Returns the journal beside a checkpoint."""
        return checkpoint.with_suffix(_JOURNAL)

    @staticmethod
    def step_of(checkpoint: Path) -> int:
        """Returns the step in the name of a checkpoint that :meth:`checkpoint` named."""
        match = _STEP.fullmatch(checkpoint.name)
        assert match is not None, f"{checkpoint} is not the name of a checkpoint"
        return int(match.group(1))

    def relative(self, path: Path) -> str:
        """Returns a path under the root as the database keeps it: relative, with slashes."""
        return path.relative_to(self.root).as_posix()

    def absolute(self, relative: str) -> Path:
        """Returns the path that :meth:`relative` was given."""
        return self.root / relative


def _names(folder: Path) -> list[str]:
    """The names in a folder; none if it is not there."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_fault("read", folder, error) from error


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Yields a name beside ``path`` to write to; then the file takes its place, whole.

    The file is flushed to the disk before it is renamed, and the folder after it, so that a
    reader sees the old file or the new one, never half a file, also after a loss of power. The
    parent folder is made. If the body raises, the unfinished file is removed.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    aside = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            flush(aside)
            os.replace(aside, path)
            flush(path.parent)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise disk_fault("write", path, error) from error


def remove_files(paths: Iterable[Path]) -> None:
    """Removes files; those that are not there are left out.

    Raises:
        StoreError: one cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_fault("remove", path, error) from error


def flush(path: Path) -> None:
    """Returns once a file's bytes, or a folder's names, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder; its file system journals names by itself.
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_fault(verb: str, path: Path, error: OSError) -> StoreError:
    """Returns the error for a file that could not be read or written, and what to do."""
    reason = error.strerror or str(error)
    return StoreError(
        f"cannot {verb} {path}: {reason}; check that the disk has space and that the folder may "
        "be written, or choose another folder with --store or SWEEPER_STORE; what was recorded "
        "is kept, and the same command goes on from there"
    )


class Renaming:
    """Context that takes its renamings back if its body raises.

    It is entered before the transaction that it goes with. A process that dies between the two
    leaves a file under its new name and the database as it was, which `sweeper verify` mends.
    """

    def __init__(self) -> None:
        self._done: list[tuple[Path, Path]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            for source, target in reversed(self._done):
                os.replace(target, source)

    def move(self, source: Path, target: Path) -> None:
        """Renames a file or folder; one that is not there is left out.

        Raises:
            StoreError: its folder cannot be written.
        """
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            self._done.append((source, target))
            flush(target.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_fault("rename", source, error) from error
