"""A folder of Parquet files, with the kinds of their columns."""

from __future__ import annotations

from functools import partial

from sweeper.exports.tables import write_tables

SUFFIX = "-parquet"
FOLDER = True

write = partial(
    write_tables, ending="parquet", save=lambda table, file: table.to_parquet(file, index=False)
)
