"""`sweeper status`, `report` and `sql`: answers from the store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from sweeper.cli.text import console, print_json
from sweeper.errors import RequestError
from sweeper.store import Account, Store

SQL_LINE = 100_000
"""Width of a table of rows: it is never cut, since it may be piped to another program."""

SQL_WIDTH = 64
"""Longest value that a table of rows shows; --json prints values whole."""


def name_of(study: str) -> str:
    """Returns the name of a study, given its name or its file."""
    if study.endswith((".yaml", ".yml")) or "/" in study:
        from sweeper.study import load_study

        return load_study(study).name
    return study


def status_command(study: str | None, *, store: str | None, as_json: bool) -> None:
    """Prints where every declared trial stands, of one study or all."""
    with Store.open(store, create=False) as opened:
        names = (
            [name_of(study)] if study is not None else [record.name for record in opened.studies()]
        )
        accounts = {name: opened.account(name) for name in names}
    documents = [{"study": name, **asdict(account)} for name, account in accounts.items()]
    if as_json:
        print_json(documents if study is None else documents[0])
        return
    if not accounts:
        console().print("the store holds no study yet; sweeper run STUDY.yaml starts one")
        return
    _print_accounts(accounts)


def _print_accounts(accounts: dict[str, Account]) -> None:
    out = console()
    table = Table(box=None, padding=(0, 2))
    counts = ("declared", "done", "diverged", "running", "pending", "failed", "hidden")
    table.add_column("study")
    for count in counts:
        table.add_column(count, justify="right")
    for name, account in accounts.items():
        table.add_row(name, *(str(getattr(account, count)) for count in counts))
    out.print(table)
    for name, account in accounts.items():
        for cause in account.causes:
            out.print(f"{name}: {cause.count} failed: {cause.cause} (trial {cause.example[:12]})")
        if account.failed:
            out.print(f"{name}: a run leaves them; once mended, sweeper retry {name}")


def report_command(
    studies: Sequence[str], *, out: Path, store: str | None, allow_holes: bool
) -> None:
    """Writes the report of one or more studies."""
    from sweeper.report import write_report

    with Store.open(store, create=False) as opened:
        page = write_report(
            opened, [name_of(study) for study in studies], out, allow_holes=allow_holes
        )
    console().print(f"wrote {page}")


def sql_command(query: str, *, store: str | None, as_json: bool) -> None:
    """Prints the rows of a query."""
    with Store.open(store, create=False, read_only=True) as opened:
        answer = opened.query(query)
    if as_json:
        print_json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
        return
    if not answer.columns:
        raise RequestError("the query gives no columns; sweeper sql takes one SELECT")
    table = Table(box=None, padding=(0, 2))
    for column in answer.columns:
        table.add_column(column, no_wrap=True)
    for row in answer.rows:
        table.add_row(*(_short(value) for value in row))
    console(width=SQL_LINE).print(table)
    print(f"{len(answer.rows)} rows", file=sys.stderr)


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= SQL_WIDTH else text[: SQL_WIDTH - 1] + "…"
