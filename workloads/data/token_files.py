"""Token files that users bring, mapped from disk: raw ids, or ids after a header."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workloads.data.corpus import HOLD_OUT_EVERY
from workloads.workload import DataUnavailableError

Ids = NDArray[np.uint16]

MAGIC, VERSION = 20240520, 1
HEADER_BYTES = 1024
"""256 numbers of 32 bits: magic, version, number of tokens, and nothing more."""

MAGIC_WIDE = 20240801
"""Stands in front of files of the same layout with tokens of 32 bits."""

CHUNK_TOKENS = 65_536
"""Tokens of a chunk, the unit of holding out; fewer in a small file."""

_SCAN_TOKENS = 1 << 22
"""Tokens that are looked at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenFiles:
    """The tokens of one file, or of all files of a folder one after the other.

    Attributes:
        train: tokens of the chunks that are trained on.
        held_out: tokens of every 20th chunk, the first included.
        sha256: 64 hex digits over all ids, as little-endian numbers of 16 bits.
        highest: the highest id; -1 without any tokens.
        highest_place: where it is first found: path and number of the token in that file.
    """

    train: Chunks
    held_out: Chunks
    sha256: str
    highest: int
    highest_place: str


class Chunks:
    """Some chunks of files, indexed like one array; nothing is copied until it is asked for."""

    def __init__(self, files: Sequence[Ids], chunk: int, *, held_out: bool) -> None:
        """Takes the tokens of each file and the tokens of a chunk."""
        self._files, self._chunk, self._held_out = files, chunk, held_out
        self._ends = np.cumsum([len(ids) for ids in files])
        group = HOLD_OUT_EVERY * chunk
        groups, rest = divmod(int(self._ends[-1]), group)
        kept_back = groups * chunk + min(rest, chunk)
        self._length = kept_back if held_out else int(self._ends[-1]) - kept_back

    def __len__(self) -> int:
        """Returns the number of tokens."""
        return self._length

    def __getitem__(self, places: NDArray[np.int64]) -> Ids:
        """Returns the tokens at places from 0 to the length, of any shape."""
        where = self._in_files(places)
        if len(self._files) == 1:
            return self._files[0][where]
        number = np.searchsorted(self._ends, where, side="right")
        found = np.empty(where.shape, dtype=np.uint16)
        for each in np.unique(number):
            mask, ids = number == each, self._files[each]
            found[mask] = ids[where[mask] - (self._ends[each] - len(ids))]
        return found

    def pieces(self) -> Iterator[Ids]:
        """Yields all tokens in parts."""
        for start in range(0, self._length, _SCAN_TOKENS):
            yield self[np.arange(start, min(start + _SCAN_TOKENS, self._length))]

    def _in_files(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the places among the tokens of all files: a group is a chunk held out and the
        19 that follow it."""
        if self._held_out:
            return places + places // self._chunk * ((HOLD_OUT_EVERY - 1) * self._chunk)
        return places + (places // ((HOLD_OUT_EVERY - 1) * self._chunk) + 1) * self._chunk


def load_token_files(path: Path) -> TokenFiles:
    """Returns the tokens of a file, or of the files ``*.bin`` of a folder in order of their names.

    A second call in a process reads nothing, unless a file has another size or time of change.

    Raises:
        DataUnavailableError: a file is missing, unreadable or not of one of the two layouts.
    """
    try:
        paths = sorted(path.glob("*.bin")) if path.is_dir() else [path]
        if not paths:
            raise DataUnavailableError(f"the folder {path} holds no token files *.bin")
        states = tuple((each, each.stat().st_size, each.stat().st_mtime_ns) for each in paths)
        return _loaded(states)
    except OSError as error:
        raise DataUnavailableError(
            f"the token file {error.filename or path} cannot be read ({error.strerror}); give a "
            "path that every worker can read as data: bin:PATH"
        ) from error


@lru_cache(maxsize=4)
def _loaded(states: tuple[tuple[Path, int, int], ...]) -> TokenFiles:
    files = [_mapped(path, size) for path, size, _ in states]
    digest, highest, highest_place = hashlib.sha256(), -1, ""
    for (path, _, _), ids in zip(states, files, strict=True):
        for start in range(0, len(ids), _SCAN_TOKENS):
            piece = ids[start : start + _SCAN_TOKENS]
            digest.update(piece.data)
            if piece.max() > highest:
                highest, place = int(piece.max()), start + int(piece.argmax())
                highest_place = f"{path}, token {place}"
    chunk = min(CHUNK_TOKENS, max(256, sum(map(len, files)) // 200))
    return TokenFiles(
        train=Chunks(files, chunk, held_out=False),
        held_out=Chunks(files, chunk, held_out=True),
        sha256=digest.hexdigest(),
        highest=highest,
        highest_place=highest_place,
    )


def _mapped(path: Path, size: int) -> Ids:
    """Returns the ids of a file, mapped from disk, after checking its layout."""
    with path.open("rb") as file:
        head = file.read(12)
    magic, version, tokens = struct.unpack("<3i", head.ljust(12, b"\0"))
    if magic == MAGIC_WIDE:
        raise DataUnavailableError(
            f"{path} starts with the magic {magic} of tokens of 32 bits; write tokens of 16 bits, "
            f"raw or after a header with the magic {MAGIC}"
        )
    if magic == MAGIC:
        _check_header(path, size, version=version, tokens=tokens)
    elif size % 2:
        raise DataUnavailableError(
            f"{path} has {size} bytes, which is no whole number of tokens of 2 bytes; it is cut "
            "short, or is no token file"
        )
    offset = HEADER_BYTES if magic == MAGIC else 0
    if size == offset:
        return np.empty(0, dtype=np.uint16)
    return np.memmap(path, dtype="<u2", mode="r", offset=offset).view(np.ndarray)


def _check_header(path: Path, size: int, *, version: int, tokens: int) -> None:
    if version != VERSION:
        raise DataUnavailableError(
            f"{path} is a token file of version {version}; write one of version {VERSION}"
        )
    expected = HEADER_BYTES + 2 * tokens
    if size != expected:
        raise DataUnavailableError(
            f"{path} declares {tokens} tokens, which makes {expected} bytes with the header, but "
            f"has {size}; it is cut short or damaged, so copy or write it anew"
        )
