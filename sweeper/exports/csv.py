"""A folder of CSV files in UTF-8. Numbers have all their digits, text is as it is in the store."""

from __future__ import annotations

from functools import partial

from sweeper.exports.tables import write_tables

SUFFIX = "-csv"
FOLDER = True

write = partial(
    write_tables, ending="csv", save=lambda table, file: table.to_csv(file, index=False)
)
