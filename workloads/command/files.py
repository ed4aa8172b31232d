"""The files of a command, whose content decides its results: their digests and fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from workloads.command.imported import imported_files, module_files
from workloads.workload import DataUnavailableError

LEFT_OUT = frozenset({"__pycache__", "node_modules", "sweeper-results", "wandb", "mlruns"})
"""Names of folders inside folders that do not count; nor do hidden ones, stores and virtual
environments."""

MARKS = ("sweeper.db", "pyvenv.cfg")
"""Files that say of a folder that it is a store, or a virtual environment."""

MOST_FILES = 5_000
"""Files that a folder may have; more is a slip of the pen, and takes seconds to read."""

LISTED = 50
"""Digests that are kept one by one; of more files, one for each entry of the list."""

FOUND_BYTES = 16_000_000
"""Bytes of a file that counts although nobody named it."""


def named_files(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments of a command, or what of them follows a ``=``, that are files here,
    also as a module after ``-m``, with the files that these import; and those of them that are
    too large to count unless they are named."""
    given = (part for each in arguments for part in (each, each.partition("=")[2]))
    found = [part for part in dict.fromkeys(given) if _is_own(part)]
    for flag, module in pairwise(arguments):
        if flag == "-m":
            found += [*module_files(module), *module_files(f"{module}.__main__")]
    large = [name for name in found if os.stat(name).st_size > FOUND_BYTES]
    small = [name for name in found if name not in large]
    return list(dict.fromkeys([*small, *imported_files(small)])), large


def _is_own(name: str) -> bool:
    """Whether an argument is a file in the working folder, where a moved checkout has it too."""
    path = os.path.normpath(name) if name and "\0" not in name else ".."
    return not os.path.isabs(path) and not path.startswith("..") and os.path.isfile(path)


def digests(entries: Sequence[str], root: Path = Path()) -> dict[str, str]:
    """Returns the SHA-256 of every file, by name relative to the working folder, sorted.

    Args:
        entries: files, and folders, of which all files count but those of :data:`LEFT_OUT`.
        root: the working folder; by default that of this process.

    Raises:
        DataUnavailableError: one is missing, cannot be read, or is too much.
    """
    files = dict(pair for entry in entries for pair in _files(entry, root))
    return {name: _digest(name, path) for name, path in sorted(files.items())}


def fingerprint(found: Mapping[str, str]) -> str:
    """Returns the SHA-256 of names and digests; ``none`` without files."""
    if not found:
        return "none"
    text = json.dumps(dict(sorted(found.items())), separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def summary(found: Mapping[str, str], entries: Sequence[str]) -> dict[str, str]:
    """Returns what is kept with a trial, so that a change can be named: some digits of each
    digest, or, of more than :data:`LISTED` files, of each entry of the list, or, where it is that
    long, of each folder."""
    if len(found) <= LISTED:
        return {name: digest[:12] for name, digest in found.items()}
    if len(entries) > LISTED:
        entries = list(dict.fromkeys(os.path.normpath(name).split("/")[0] for name in entries))
    parts = {os.path.normpath(entry): dict[str, str]() for entry in entries}
    for name, digest in found.items():
        for entry, held in parts.items():
            if name == entry or entry == "." or name.startswith(f"{entry}/"):
                held[name] = digest
    return {entry: fingerprint(held)[:12] for entry, held in parts.items()}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Returns what differs between two summaries, a clause each."""
    altered = [name for name in now if name in before and now[name] != before[name]]
    return [
        *(f"{name} changed" for name in altered),
        *(f"{name} is new" for name in now if name not in before),
        *(f"{name} is gone" for name in before if name not in now),
    ]


def _files(entry: str, root: Path) -> Iterator[tuple[str, Path]]:
    """Yields name and place of the files of an entry."""
    given = Path(os.path.normpath(entry))
    name, path = given.name if given.is_absolute() else given.as_posix(), root / given
    if os.path.isfile(path):
        yield name, path
    elif not os.path.isdir(path):
        why = "is no file" if os.path.lexists(path) else "there is no such file or folder"
        raise DataUnavailableError(f"{entry}: {why} in {root.absolute()}, where this was called")
    else:
        for count, file in enumerate(_walk(path), 1):
            if count > MOST_FILES:
                raise DataUnavailableError(
                    f"{entry} has more than {MOST_FILES:,} files; name those that decide results"
                )
            inside = file.relative_to(path).as_posix()
            yield inside if name == "." else f"{name}/{inside}", file


def _walk(root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(root):
        here = Path(place)
        folders[:] = sorted(name for name in folders if _counts(here / name))
        for name in sorted(names):
            file = here / name
            if not name.startswith(".") and file.suffix != ".pyc" and os.path.isfile(file):
                yield file


def _counts(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in LEFT_OUT
    return not (hidden or any(os.path.lexists(folder / mark) for mark in MARKS))


def _digest(name: str, path: Path) -> str:
    try:
        seen = path.stat()
        return _digest_of(str(path.absolute()), seen.st_mtime_ns, seen.st_size, seen.st_ino)
    except OSError as fault:
        raise DataUnavailableError(f"{name}: cannot be read: {fault.strerror}") from fault


@lru_cache(maxsize=2 * MOST_FILES)
def _digest_of(path: str, *seen: int) -> str:
    """Returns the digest of a file, read again only where time, size or place have changed."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
