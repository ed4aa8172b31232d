"""Tokens on disk, prepared once and shared by all processes of a machine.

They lie in the folder SWEEPER_CACHE, else ``sweeper`` in XDG_CACHE_HOME, else
``~/.cache/sweeper``, and can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from hashlib import _Hash

Ids = NDArray[Any]
"""Tokens, [n], of an unsigned integer type."""

Pieces = Callable[[], Iterable[Ids]]
"""Makes the tokens of a stream, piece by piece, anew at every call."""

HEADER_BYTES = 512
"""One line of JSON, filled up with spaces; the tokens of one stream after the other follow."""


def tokens_on_disk(name: str, dtype: DTypeLike, streams: Sequence[Pieces]) -> list[Ids]:
    """Returns streams of tokens, read-only and mapped from the file of a name.

    A file that is missing or damaged is made: under another name first, so that another process
    never sees half of it. Where none can be kept, the tokens are held in memory, with a warning.

    Args:
        name: name of the file; says all that the tokens depend on.
        dtype: number format of a token.
        streams: one or more.
    """
    try:
        path = folder() / name
        found = _opened(path, np.dtype(dtype), len(streams))
        if found is None:
            _write(path, np.dtype(dtype), streams)
            found = _opened(path, np.dtype(dtype), len(streams))
        if found is None:
            raise OSError(f"{path} does not hold what was written")
    except OSError as error:
        warnings.warn(
            f"tokens cannot be kept on disk ({error}), so every process holds its own in memory; "
            "set SWEEPER_CACHE to a folder that can be written",
            RuntimeWarning,
            stacklevel=2,
        )
        return [tokens_in_memory(pieces(), dtype) for pieces in streams]
    return found


def tokens_in_memory(pieces: Iterable[Ids], dtype: DTypeLike) -> Ids:
    """Returns the tokens of a stream in memory, read-only."""
    tokens = np.concatenate([np.empty(0, dtype), *pieces]).astype(dtype, copy=False)
    tokens.flags.writeable = False
    return tokens


def folder() -> Path:
    """Returns the folder of the prepared tokens.

    Raises:
        OSError: no variable names one, and there is no home folder.
    """
    own, shared = os.environ.get("SWEEPER_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if own:
        return Path(own).expanduser().absolute() / "tokens"
    try:
        root = Path(shared) if os.path.isabs(shared) else Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(f"no folder for them: {error}") from error
    return root / "sweeper" / "tokens"


def _opened(path: Path, dtype: np.dtype[Any], number: int) -> list[Ids] | None:
    """Returns the streams of a file, or None if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(HEADER_BYTES))
        sizes, size = [int(each) for each in header["sizes"]], path.stat().st_size
        if size != HEADER_BYTES + sum(sizes) * dtype.itemsize or len(sizes) != number:
            raise ValueError(f"{size} bytes do not hold {sizes} tokens")
        tokens = np.memmap(path, dtype, mode="r", offset=HEADER_BYTES, shape=(sum(sizes),))
        if _digest(hashlib.sha256(tokens.data), sizes) != header["sha256"]:
            raise ValueError("its checksum is another")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"the prepared tokens {path} are damaged ({error}) and are made anew",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
    return list(np.split(tokens.view(np.ndarray), np.cumsum(sizes)[:-1]))


def _write(path: Path, dtype: np.dtype[Any], streams: Sequence[Pieces]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            _fill(file, dtype, streams)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _fill(file: BinaryIO, dtype: np.dtype[Any], streams: Sequence[Pieces]) -> None:
    digest, sizes = hashlib.sha256(), []
    file.seek(HEADER_BYTES)
    for pieces in streams:
        sizes.append(0)
        for piece in pieces():
            raw = piece.astype(dtype, copy=False).tobytes()
            digest.update(raw)
            file.write(raw)
            sizes[-1] += len(piece)
    file.seek(0)
    header = json.dumps({"sizes": sizes, "sha256": _digest(digest, sizes)})
    file.write(header.ljust(HEADER_BYTES - 1).encode() + b"\n")


def _digest(of_tokens: _Hash, sizes: Sequence[int]) -> str:
    """Returns the checksum of a file: its tokens, and how many belong to each stream."""
    of_tokens.update(json.dumps(list(sizes)).encode())
    return of_tokens.hexdigest()
