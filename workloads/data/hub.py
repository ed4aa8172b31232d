"""Data sets of the Hugging Face hub, or saved on disk, as documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.data.corpus import Corpus, corpus_of
from workloads.data.sources import path_of
from workloads.workload import DataUnavailableError

if TYPE_CHECKING:
    from datasets import Dataset

COLUMN = "text"
"""The column that is read."""

SPLIT = "train"
"""The split that is read, where a data set has several."""

_ROWS = 1000
"""Rows that are read at once."""


def load_dataset(source: str) -> Corpus:
    """Returns the documents of a data set: the rows of its column ``text`` that hold any.

    Args:
        source: ``hf:[OWNER/]NAME/CONFIG``, or ``hf:PATH`` of a folder that ``save_to_disk``
            wrote or that holds data files (Parquet, JSON lines, text).

    Raises:
        DataUnavailableError: the library is not installed, or the data set is missing, has no
            split ``train`` or no such column.
    """
    path = path_of(source)
    if path is None:
        return _corpus(source, None, ())
    try:
        state = _state(Path(path))
    except OSError as error:
        raise _unavailable(source, error) from error
    return _corpus(source, Path(path), state)


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Returns names, sizes and times of change of all files, to notice a changed folder."""
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            status = os.stat(os.path.join(where, name))
            found.append((os.path.join(where, name), status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


@lru_cache(maxsize=4)
def _corpus(source: str, folder: Path | None, state: tuple[tuple[str, int, int], ...]) -> Corpus:
    try:
        import datasets  # an optional dependency, which only a source hf: needs
    except ImportError as error:
        raise DataUnavailableError(
            f"data {source} is read by the library datasets, which is not installed; install it "
            "with: pip install 'sweeper[hf]'"
        ) from error
    datasets.disable_progress_bars()
    try:
        table = _opened(datasets, source, folder)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        # a RuntimeError: the data set brings a script, which the library has not run since 4.0
        raise _unavailable(source, error) from error
    return corpus_of(Rows(_text_column(source, table)))


def _unavailable(source: str, error: Exception) -> DataUnavailableError:
    return DataUnavailableError(
        f"data {source} cannot be loaded ({' '.join(str(error).split())}); give hf:NAME/CONFIG of "
        "a data set that this machine can reach, or hf:PATH of a folder that save_to_disk wrote"
    )


def _opened(datasets: Any, source: str, folder: Path | None) -> Dataset:
    """Returns the split ``train``; what has no splits is taken whole."""
    if folder is None:
        name, _, config = source.removeprefix("hf:").rpartition("/")
        return datasets.load_dataset(name, config, split=SPLIT)
    saved = ("state.json", "dataset_dict.json")
    if not any((folder / name).exists() for name in saved):
        return datasets.load_dataset(str(folder), split=SPLIT)
    found = datasets.load_from_disk(str(folder))
    if isinstance(found, datasets.Dataset):
        return found
    if SPLIT not in found:
        raise ValueError(f"it has the splits {', '.join(found)} and no {SPLIT}")
    return found[SPLIT]


def _text_column(source: str, table: Dataset) -> Dataset:
    kinds = {name: str(feature.dtype) for name, feature in table.features.items()}
    if kinds.get(COLUMN) not in ("string", "large_string"):
        columns = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise DataUnavailableError(
            f"data {source} has no column {COLUMN} of strings; its columns are {columns}; rename "
            f"the one to train on with rename_column(NAME, {COLUMN!r}), save it with "
            "save_to_disk(PATH) and give hf:PATH"
        )
    return table.select_columns([COLUMN]).with_format(None)  # plain strings, however it was saved


class Rows:
    """The texts of a data set, which stays on disk."""

    def __init__(self, table: Dataset) -> None:
        """Takes a data set whose only column is the text."""
        self._table = table

    def __iter__(self) -> Iterator[bytes]:
        """Yields the text of each row that has any, as UTF-8."""
        for rows in self._table.iter(batch_size=_ROWS):
            yield from (text.encode() for text in rows[COLUMN] if text)
