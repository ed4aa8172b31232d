"""Every path of the store's files, and the one way to write a file whole."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import StoreError

TEMPORARY_PREFIX = ".tmp-"
"""Files under this prefix are unfinished: nobody reads them, anybody may remove old ones."""

_STEP = re.compile(r"step-(\d+)\.pt")


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
        try:
            names = [entry.name for entry in os.scandir(folder)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise disk_fault("read", folder, error) from error
        found = [folder / name for name in names if _STEP.fullmatch(name)]
        return sorted(found, key=self.step_of)

    def step_of(self, checkpoint: Path) -> int:
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
