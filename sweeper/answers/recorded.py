"""Results of a study as a table that other studies replay."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from sweeper.errors import UnknownNameError
from sweeper.store import RESERVED_COLUMNS, Store
from workloads.workload import DataUnavailableError

_TAKEN = frozenset({"table", "noise", "sha256", "where", "sweep"})
"""Settings that mean something else to a study which replays them."""


def recorded_tables(
    opened: Callable[[], AbstractContextManager[Store]],
) -> Callable[[str, str], Path]:
    """Returns what finds the tables that studies replay, for :func:`load_study`.

    It is given the name of the study that asks and that of the table, ``study:NAME`` or
    ``sha256:DIGEST``. The results of a study are written to a file of the store that is named by
    its content, once for as long as this function is kept. It raises DataUnavailableError where
    there are no such results, and StoreError where the store cannot be read or written.

    Args:
        opened: opens the store that holds the results.
    """

    @cache
    def find(asking: str, name: str) -> Path:
        kind, _, which = name.partition(":")
        if kind == "study" and which == asking:
            raise DataUnavailableError(
                f"study {asking} cannot replay its own results; give it another name, or name "
                "the study that it replays"
            )
        with opened() as store:
            if kind != "study":
                return store.paths.find_table(name)
            content = recorded_results(store, which).encode()
            files, file = store.paths.files, store.paths.table(sha256(content).hexdigest())
            if files.info(file) is None:
                with files.write(file) as aside:
                    aside.write_bytes(content)
            return files.local(file)

    return find


def recorded_results(store: Store, name: str) -> str:
    """Returns the results of a study as CSV: the same results give the same text.

    Columns: variant; every setting that is swept or differs between trials; seed; loss (the
    study's metric in its unit, ``diverged`` for a run that did); flops (those planned, if they
    are known of all); and every metric that all completed trials have.

    Raises:
        DataUnavailableError: there is no such study, or it has no result.
    """
    import pandas as pd  # imported here: most studies replay nothing

    from sweeper.answers.axes import swept_names, with_tokens_per_param

    try:
        record = store.study(name)
    except UnknownNameError as fault:
        raise DataUnavailableError(str(fault)) from None
    trials = with_tokens_per_param(store.frame(name), record)
    trials = trials[trials["outcome"].isin({"completed", "diverged"})]
    if trials.empty:
        raise DataUnavailableError(f"study {name} has no results yet; run it first")
    asked = {record.scale, *swept_names(record)}
    settings = sorted(
        column
        for column in trials.columns.difference([*RESERVED_COLUMNS])
        if column in asked
        or (column not in ("params", "tokens", "flops") and trials[column].map(repr).nunique() > 1)
    )
    columns = {"variant": trials["variant"]}
    columns |= {f"setting_{n}" if n in _TAKEN else n: trials[n] for n in settings}
    completed = trials["outcome"] == "completed"
    columns |= {"seed": trials["seed"], "loss": trials["loss"].where(completed, "diverged")}
    if trials["flops"].gt(0).all():
        columns["flops"] = trials["flops"]
    outcomes = store.outcomes_of(trials["key"])
    measured = pd.DataFrame([outcomes[key].metrics for key in trials["key"]], index=trials.index)
    for metric in sorted(measured.columns.difference([*columns])):
        if measured.loc[completed, metric].notna().all():
            columns[metric] = measured[metric].where(completed, "diverged")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    cells = ([_cell(value) for value in column.tolist()] for column in columns.values())
    writer.writerows(sorted(zip(*cells, strict=True)))
    return text.getvalue()


def _cell(value: Any) -> str:
    return "" if value is None or value != value else str(value)
