"""Curves: what a trial measured on the way, one Parquet file an attempt."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.outcome import Outcome
from sweeper.store.files.protocol import FileStore
from sweeper.store.files.sealed import outcome_of, outcome_text, seal, unseal

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import pyarrow
    from numpy.typing import NDArray

_OUTCOME = b"sweeper.outcome"
"""Key of the outcome in the metadata of a Parquet file."""

_CONTENT = b"sweeper.content"
"""Key of the digest of the columns: Parquet's own checksums leave out their names and types."""

_ARRAYS = b"sweeper.arrays"
"""Key of what was recorded of the whole run, as sealed JSON."""


def write_curve(
    files: FileStore,
    name: str,
    columns: Mapping[str, Sequence[float]],
    *,
    outcome: Outcome | None = None,
    arrays: Mapping[str, NDArray[np.float64]] | None = None,
) -> None:
    """Writes a curve as one whole file.

    Args:
        files: where to.
        name: what it is called, from :meth:`Paths.curve`.
        columns: values by name, all of one length: step (optimizer steps), tokens, train_loss
            and whatever else was measured. Without any, an empty curve is written.
        outcome: how the attempt ended, to be kept in the file: the result outlives the database
            and a controller that did not come to record it.
        arrays: what was recorded of the whole run, by name; see :func:`read_arrays`.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    import pyarrow  # imported here: the database alone does without it
    from pyarrow import parquet

    empty = {name: pyarrow.array([], pyarrow.int64()) for name in ("step", "tokens")}
    table = pyarrow.table({column: list(each) for column, each in columns.items()} or empty)
    with (
        files.write(name) as aside,
        aside.open("wb") as file,  # pyarrow takes no path that is not UTF-8
        parquet.ParquetWriter(file, table.schema, write_page_checksum=True) as writer,
    ):
        writer.write_table(table)
        if outcome is not None:
            said = {_OUTCOME: outcome_text(outcome), _CONTENT: _digest(table)}
            writer.add_key_value_metadata(said)
        if arrays:
            writer.add_key_value_metadata({_ARRAYS: _arrays_text(arrays)})


def read_outcome(files: FileStore, name: str) -> Outcome | None:
    """Returns the outcome in a curve file once the whole file has been read; None if the file is
    whole and has none (it was imported, or written by a sweeper that put none there).

    Raises:
        ValueError: the file is missing or damaged, or its outcome is of a version that is not
            known here; the message is the reason.
    """
    metadata = _read(files, name).schema.metadata or {}
    return outcome_of(metadata[_OUTCOME]) if _OUTCOME in metadata else None


def read_arrays(files: FileStore, name: str) -> dict[str, NDArray[np.float64]]:
    """Returns what a curve file holds of the whole run beside the curve, by name, bit for bit;
    empty if nothing was recorded.

    Raises:
        ValueError: the file is missing or damaged; the message is the reason.
    """
    metadata = _read(files, name).schema.metadata or {}
    return _arrays_of(metadata[_ARRAYS]) if _ARRAYS in metadata else {}


def write_curves(files: FileStore, curves: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Writes many curves, each as one whole file; returns how many.

    The files are asked once, at the end, to keep them all: asking after every file takes ten
    times as long as writing it. So none of them may be relied on before this returns.

    Args:
        files: where to.
        curves: name and columns of each, as :func:`write_curve` takes them.

    Raises:
        StoreError: the disk is full or a folder cannot be written.
    """
    import pyarrow  # imported here: the database alone does without it
    from pyarrow import parquet

    count = 0
    for name, columns in curves:
        with files.write(name, durable=False) as aside, aside.open("wb") as file:
            parquet.write_table(pyarrow.table(dict(columns)), file)
        count += 1
    if count:
        files.sync()
    return count


def read_curves(files: FileStore, names: Mapping[str, str]) -> tuple[pandas.DataFrame, list[str]]:
    """Returns the curves of several trials in one frame, and what could not be read.

    Args:
        files: where the curves are.
        names: file of each trial's curve, by key.

    Returns:
        A frame with the columns key, step, tokens and all others of the files (NaN where a file
        lacks one), and one warning for each file that is missing or damaged.
    """
    import pandas  # imported here: the database alone does without it

    frames: list[pandas.DataFrame] = []
    warnings: list[str] = []
    for key, name in names.items():
        try:
            curve = _read(files, name).to_pandas(use_threads=False)
        except ValueError as fault:
            warnings.append(f"curve of trial {key[:12]} skipped: {files.shown(name)}: {fault}")
            continue
        if len(curve):
            frames.append(curve.assign(key=key))
    if not frames:
        return pandas.DataFrame(columns=["key", "step", "tokens"]), warnings
    whole = pandas.concat(frames, ignore_index=True)
    return whole[["key", *whole.columns.drop("key")]], warnings


def _read(files: FileStore, name: str) -> pyarrow.Table:
    """The columns, with the metadata of the file as those of the schema.

    Raises:
        ValueError: the file is missing or damaged; the message is the reason.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with files.open(name) as source:
            # From memory and on this thread: a thread of pyarrow's that is still there at the end
            # of the program may abort it, whatever it has answered.
            held = pyarrow.BufferReader(source.read())
            file = parquet.ParquetFile(held, page_checksum_verification=True)
            table, metadata = file.read(use_threads=False), file.metadata.metadata or {}
            content = _digest(table)
    except FileNotFoundError as error:
        raise ValueError("it is missing") from error
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ValueError(f"it cannot be read: {' '.join(str(error).split())}") from error
    if metadata.get(_CONTENT, content) != content:
        raise ValueError("it is damaged: its columns are not those that were written")
    if _ARRAYS in metadata:
        _arrays_of(metadata[_ARRAYS])
    if (_OUTCOME in metadata) != (_CONTENT in metadata):
        raise ValueError("it is damaged: a part of what it says about itself is missing")
    return table.replace_schema_metadata(metadata)


def _arrays_text(arrays: Mapping[str, NDArray[np.float64]]) -> str:
    said = {
        name: {
            "shape": list(each.shape),
            "float64": b64encode(each.astype("<f8").tobytes()).decode(),
        }
        for name, each in arrays.items()
    }
    return seal({"arrays": said})


def _arrays_of(text: bytes) -> dict[str, NDArray[np.float64]]:
    """Returns the arrays in a text that :func:`_arrays_text` made.

    Raises:
        ValueError: the text is damaged.
    """
    import numpy as np  # imported here: the database alone does without it

    try:
        said = unseal(text)["arrays"]
        return {
            name: np.frombuffer(b64decode(each["float64"]), "<f8").reshape(each["shape"])
            for name, each in said.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError) as fault:
        raise ValueError(f"it is damaged: its arrays cannot be read ({fault})") from fault


def _digest(table: pyarrow.Table) -> bytes:
    """SHA-256 of names, types and values of all columns, in hex."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_numpy()
        digest.update(f"{name!r}{values.dtype}{len(values)}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest().encode()
