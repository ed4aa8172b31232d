"""What lies on disk beside the database: curves, checkpoints, unfinished and withdrawn files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.store.files.paths import TEMPORARY_PREFIX, Paths, disk_fault

_CURVE = re.compile(r"([0-9a-f]{64})\.(\d+)\.parquet")
_WITHDRAWN = re.compile(r"([0-9a-f]{64})\.\d+\.withdrawn\.parquet")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class CurveFile:
    """The curve file of an attempt.

    Attributes:
        key: key of the trial in its name.
        attempt: number of the attempt in its name.
        path: where it is.
    """

    key: str
    attempt: int
    path: Path


def curve_files(paths: Paths) -> Iterator[CurveFile]:
    """Yields the whole curve files, sorted by key and attempt; nothing is opened.

    Raises:
        StoreError: a folder is there and cannot be read.
    """
    for folder in _folders(paths.curves):
        found = [
            CurveFile(key=match.group(1), attempt=int(match.group(2)), path=folder / name)
            for name in _names(folder)
            if (match := _CURVE.fullmatch(name)) is not None
        ]
        yield from sorted(found, key=lambda file: (file.key, file.attempt))


def withdrawn_files(paths: Paths) -> Iterator[tuple[str, Path]]:
    """Yields key and place of the curve files whose results were withdrawn, sorted.

    Raises:
        StoreError: a folder is there and cannot be read.
    """
    for folder in _folders(paths.curves):
        for name in _names(folder):
            if (match := _WITHDRAWN.fullmatch(name)) is not None:
                yield match.group(1), folder / name


def checkpoint_folders(paths: Paths) -> Iterator[tuple[str, Path]]:
    """Yields key and folder of the trials that have checkpoints on disk, sorted.

    Raises:
        StoreError: a folder is there and cannot be read.
    """
    for folder in _folders(paths.checkpoints):
        for name in _names(folder):
            if _KEY.fullmatch(name):
                yield name, folder / name


def unfinished_files(paths: Paths) -> Iterator[tuple[str | None, Path]]:
    """Yields the files that somebody began and did not finish, each with the key of the trial
    that it is of; None where its name does not say.

    Raises:
        StoreError: a folder is there and cannot be read.
    """
    below = [paths.root, *_folders(paths.curves)]
    below += [folder for _, folder in checkpoint_folders(paths)]
    for folder in below:
        for name in _names(folder):
            if name.startswith(TEMPORARY_PREFIX):
                key = _KEY.search(name) or _KEY.fullmatch(folder.name)
                yield None if key is None else key.group(), folder / name


def _folders(folder: Path) -> list[Path]:
    return [path for path in (folder / name for name in _names(folder)) if path.is_dir()]


def _names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none if it is not there or was just removed."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_fault("read", folder, error) from error
