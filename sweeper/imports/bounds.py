"""What a file of results may hold at most, and how its bytes are read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import RequestError, no_file
from sweeper.words import quantity

PACKED = (".gz", ".bz2", ".zst", ".lz4")
"""Names that pyarrow takes for compressed."""

UNPACK_BYTES = 1 << 22
"""How much is unpacked at a time to count the bytes of a file."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a file may hold at most; a few megabytes unpack to more than a machine holds.

    Attributes:
        bytes: of the file, and of what it unpacks to.
        text: characters of JSON that are read in one go: a list, or a line.
        columns, rows: of the table.
    """

    bytes: int = 4_000_000_000
    text: int = 100_000_000
    columns: int = 20_000
    rows: int = 20_000_000


LIMITS = Limits()


def require_bounded(path: Path, limits: Limits) -> None:
    """Refuses what may never end, and a file that is too large, before any of it is kept."""
    with reading(path):
        why = no_file(path)
        if not str(path).isprintable() and str(path) != os.fsencode(path).decode(errors="replace"):
            why = "has a name that is not UTF-8; rename it, or a folder that it is in"
        if why is None and stat.S_ISFIFO(path.stat().st_mode):
            why = "is a pipe, and a table is read twice; write it to a file, and name that"
        if why is not None:
            raise refusal(path, why)
        size = path.stat().st_size
        if size <= limits.bytes and path.suffix in PACKED:
            size = 0
            with stream(path) as source:
                while size <= limits.bytes and (piece := source.read(UNPACK_BYTES)):
                    size += len(piece)
    if size > limits.bytes:
        raise refusal(
            path,
            f"holds more than {quantity(limits.bytes, 'B')} (unpacked), which is not read; leave "
            "out columns that are not needed, and rows but the last of each run",
        )


def require_columns(path: Path | str, count: int, limits: Limits) -> None:
    """Refuses a table of so many columns if that is too many."""
    if count > limits.columns:
        raise refusal(
            path, f"has more than {limits.columns:,} columns; leave out those not needed"
        )


def require_rows(path: Path | str, count: int, limits: Limits) -> None:
    """Refuses a table of so many rows, or values in one column, if that is too many."""
    if count > limits.rows:
        raise refusal(
            path,
            f"has more than {limits.rows:,} rows or values in a column; leave out rows that are "
            "not needed, for example all but the last of each run",
        )


def refusal(path: Path | str, why: str) -> RequestError:
    """Returns the error about a file, or another place."""
    return RequestError(f"{path}: {why}")


@contextmanager
def reading(path: Path) -> Iterator[list[str]]:
    """Turns what goes wrong in reading a file into one message about it, the first of those
    that the body put in the list if it did."""
    import pyarrow

    said: list[str] = []

    try:
        yield said
    except FileNotFoundError:
        raise refusal(path, "no such file") from None
    except UnicodeDecodeError as error:
        raise refusal(path, _encoding_words(error.start)) from error
    except (OSError, EOFError, pyarrow.ArrowException) as error:
        why = " ".join(str(error).split())
        if "invalid UTF8" in why:
            raise refusal(path, _encoding_words(None)) from error
        raise refusal(path, said[0] if said else f"cannot be read: {why}") from error


def _encoding_words(byte: int | None) -> str:
    place = "" if byte is None else f" (byte {byte})"
    return f"is not UTF-8 text{place}; save it as UTF-8"


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yields each folder below one, and itself, with the names of the folders and files in it, in
    their order. Hidden folders are left out, and those that are taken from the list.

    Raises:
        RequestError: a folder cannot be looked into.
    """

    def fail(error: OSError) -> None:
        raise error

    with reading(folder):
        for place, folders, files in os.walk(folder, onerror=fail):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield Path(place), folders, sorted(files)


def stream(path: Path) -> Any:
    """The bytes of a file, decompressed if its name says that it is compressed."""
    import pyarrow

    return pyarrow.input_stream(str(path), compression="detect")


def piece(path: Path, text: str, limits: Limits) -> str:
    """Returns a text that is read in one go, unless it is too long for that."""
    if len(text) > limits.text:
        raise refusal(
            path,
            f"has more than {quantity(limits.text)} characters in one list or line; write one "
            "object a line, which are read one by one",
        )
    return text
