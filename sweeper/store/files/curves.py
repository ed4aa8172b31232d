"""Curves: what a trial measured on the way, one Parquet file an attempt."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.outcome import Outcome
from sweeper.store.files.paths import TEMPORARY_PREFIX, disk_fault, temporary
from sweeper.store.files.sealed import outcome_of, outcome_text

if TYPE_CHECKING:
    import pandas
    import pyarrow

_OUTCOME = b"sweeper.outcome"
"""Key of the outcome in the metadata of a Parquet file."""

_CONTENT = b"sweeper.content"
"""Key of the digest of the columns: Parquet's own checksums leave out their names and types."""


def write_curve(
    path: Path, columns: Mapping[str, Sequence[float]], *, outcome: Outcome | None = None
) -> None:
    """Writes a curve as one whole file.

    Args:
        path: where to, from :meth:`Paths.curve`.
        columns: values by name, all of one length: step (optimizer steps), tokens, train_loss
            and whatever else was measured. Without any, an empty curve is written.
        outcome: how the attempt ended, to be kept in the file: the result outlives the database
            and a controller that did not come to record it.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    import pyarrow  # imported here: the database alone does without it
    from pyarrow import parquet

    empty = {name: pyarrow.array([], pyarrow.int64()) for name in ("step", "tokens")}
    table = pyarrow.table({name: list(values) for name, values in columns.items()} or empty)
    with (
        temporary(path) as aside,
        parquet.ParquetWriter(aside, table.schema, write_page_checksum=True) as writer,
    ):
        writer.write_table(table)
        if outcome is not None:
            said = {_OUTCOME: outcome_text(outcome), _CONTENT: _digest(table)}
            writer.add_key_value_metadata(said)


def read_outcome(path: Path) -> Outcome | None:
    """Returns the outcome in a curve file once the whole file has been read; None if the file is
    whole and has none (it was imported, or written by a sweeper that put none there).

    Raises:
        ValueError: the file is missing or damaged, or its outcome is of a version that is not
            known here; the message is the reason.
    """
    metadata = _read(path).schema.metadata or {}
    return outcome_of(metadata[_OUTCOME]) if _OUTCOME in metadata else None


def write_curves(curves: Iterable[tuple[Path, Mapping[str, Any]]]) -> int:
    """Writes many curves, each as one whole file; returns how many.

    The disk is asked once, at the end, to keep them all: asking after every file takes ten times
    as long as writing it. So none of them may be relied on before this returns.

    Args:
        curves: place and columns of each, as :func:`write_curve` takes them.

    Raises:
        StoreError: the disk is full or a folder cannot be written.
    """
    import pyarrow  # imported here: the database alone does without it
    from pyarrow import parquet

    count = 0
    for path, columns in curves:
        aside = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pyarrow.table(dict(columns)), aside)
            os.replace(aside, path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise disk_fault("write", path, error) from error
        count += 1
    if count and hasattr(os, "sync"):  # Windows has none and keeps names in order by itself
        os.sync()
    return count


def read_curves(files: Mapping[str, Path]) -> tuple[pandas.DataFrame, list[str]]:
    """Returns the curves of several trials in one frame, and what could not be read.

    Args:
        files: file of each trial's curve, by key.

    Returns:
        A frame with the columns key, step, tokens and all others of the files (NaN where a file
        lacks one), and one warning for each file that is missing or damaged.
    """
    import pandas  # imported here: the database alone does without it

    frames: list[pandas.DataFrame] = []
    warnings: list[str] = []
    for key, path in files.items():
        try:
            curve = _read(path).to_pandas()
        except ValueError as fault:
            warnings.append(f"curve of trial {key[:12]} skipped: {path}: {fault}")
            continue
        if len(curve):
            frames.append(curve.assign(key=key))
    if not frames:
        return pandas.DataFrame(columns=["key", "step", "tokens"]), warnings
    whole = pandas.concat(frames, ignore_index=True)
    return whole[["key", *whole.columns.drop("key")]], warnings


def _read(path: Path) -> pyarrow.Table:
    """The columns, with the metadata of the file as those of the schema.

    Raises:
        ValueError: the file is missing or damaged; the message is the reason.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with path.open("rb") as source:
            file = parquet.ParquetFile(source, page_checksum_verification=True)
            table, metadata = file.read(), file.metadata.metadata or {}
            content = _digest(table)
    except FileNotFoundError as error:
        raise ValueError("it is missing") from error
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ValueError(f"it cannot be read: {' '.join(str(error).split())}") from error
    if metadata.get(_CONTENT, content) != content:
        raise ValueError("it is damaged: its columns are not those that were written")
    if (_OUTCOME in metadata) != (_CONTENT in metadata):
        raise ValueError("it is damaged: a part of what it says about itself is missing")
    return table.replace_schema_metadata(metadata)


def _digest(table: pyarrow.Table) -> bytes:
    """SHA-256 of names, types and values of all columns, in hex."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_numpy()
        digest.update(f"{name!r}{values.dtype}{len(values)}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest().encode()
