"""Curves: what a trial measured on the way, one Parquet file an attempt."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.store.paths import TEMPORARY_PREFIX, disk_fault, temporary

if TYPE_CHECKING:
    import pandas


def write_curve(path: Path, columns: Mapping[str, Sequence[float]]) -> None:
    """Writes a curve as one whole file.

    Args:
        path: where to, from :meth:`Paths.curve`.
        columns: values by name, all of one length: step (optimizer steps), tokens, train_loss
            and whatever else was measured.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    import pyarrow  # imported here: the database alone does without it
    from pyarrow import parquet

    table = pyarrow.table({name: list(values) for name, values in columns.items()})
    with temporary(path) as aside:
        parquet.write_table(table, aside)


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
        curve = _read(path)
        if isinstance(curve, str):
            warnings.append(f"curve of trial {key[:12]} skipped: {curve}")
        else:
            frames.append(curve.assign(key=key))
    if not frames:
        return pandas.DataFrame(columns=["key", "step", "tokens"]), warnings
    whole = pandas.concat(frames, ignore_index=True)
    return whole[["key", *whole.columns.drop("key")]], warnings


def _read(path: Path) -> Any:
    """The curve as a frame, or why there is none."""
    import pyarrow
    from pyarrow import parquet

    try:
        with path.open("rb") as source:
            return parquet.read_table(source).to_pandas()
    except FileNotFoundError:
        return f"{path} is missing"
    except (OSError, pyarrow.ArrowException) as error:
        return f"{path} cannot be read: {' '.join(str(error).split())}"
