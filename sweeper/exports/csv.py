"""A folder of CSV files in UTF-8. Numbers have all their digits, text is as it is in the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.exports.base import Source, Written
from sweeper.exports.tables import write_tables

if TYPE_CHECKING:
    import pandas

SUFFIX = "-csv"
FOLDER = True


def write(source: Source, path: Path) -> Written:
    """Writes the tables of a study.

    Raises:
        OSError: a file cannot be written.
    """
    return write_tables(source, path, "csv", _write)


def _write(table: pandas.DataFrame, file: Path) -> None:
    table.to_csv(file, index=False)
