"""`sweeper status`, `report`, `export` and `sql`: what is in the store."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.options import (
    HolesOption,
    JsonOption,
    OneStudy,
    StoreOption,
    StudyName,
    name_of,
    offered_studies,
    open_store,
)
from sweeper.cli.text import console, grid, print_json
from sweeper.cli.wishes import controller_document, wish_document
from sweeper.errors import DataError, RequestError, StudyError
from sweeper.words import plural

if TYPE_CHECKING:
    from sweeper.search import Standing
    from sweeper.store import Account, Store, Wish

SQL_LINE = 100_000
"""Width of a table of rows: it is never cut, since it may be piped to another program."""

SQL_WIDTH = 64
"""Longest value that a table of rows shows; --json prints values whole."""


def status(study: OneStudy = None, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Account for every declared trial: done, diverged, dominated, running, pending, failed."""
    with open_store(store) as opened:
        one = None if study is None else name_of(study, store)
        names = [record.name for record in opened.studies()] if one is None else [one]
        accounts = {name: opened.account(name) for name in names}
        held = {name: opened.held_places(name) for name in names}
        wishes = {name: opened.wishes_of(name) for name in names}
        working = {name: opened.controllers_of(name) for name in names}
        stood = _standings(opened, names[0]) if study is not None else []
    documents = [
        {
            "study": name,
            **asdict(account),
            "stopped": len({key for (_, key), w in held[name].items() if w.kind == "stop"}),
            "paused": len({key for (_, key), w in held[name].items() if w.kind == "pause"}),
            "wishes": [wish_document(wish) for wish in wishes[name]],
            "controllers": [controller_document(each) for each in working[name]],
        }
        for name, account in accounts.items()
    ]
    if stood:
        documents[0]["search"] = [asdict(standing) for standing in stood]
    if as_json:
        print_json(documents if study is None else documents[0])
        return
    if not accounts:
        console().print("the store holds no study yet; sweeper run STUDY.yaml starts one")
        return
    _print_accounts(accounts)
    for document in documents:
        _print_wanted(document, wishes[document["study"]])
    if stood:
        spent = next(iter(accounts.values())).ceiling
        kept = {variant: wish for (variant, _), wish in held[names[0]].items()}
        rows = [_cells(each, spent, kept.get(each.variant)) for each in stood]
        console().print(grid(rows, words=("variant", "search"), padding=2))


def _standings(store: Store, name: str) -> Sequence[Standing]:
    """Returns where the search of a study stands at each scale; nothing of a grid, and of a study
    whose workload is not at hand."""
    record = store.study(name)
    if record.document.get("search", {"method": "grid"}) == {"method": "grid"}:
        return []
    from sweeper.answers import recorded_tables
    from sweeper.engine import Proposals, change_of
    from sweeper.search import standings_of
    from sweeper.study import Study

    with suppress(StudyError, DataError):
        tables = recorded_tables(lambda: nullcontext(store))
        asked = Study.from_document(record.document, tables=tables)
        if change := change_of(asked, store):  # it stands where its results are
            asked.keep(change.kept)
        return standings_of(Proposals(asked, store, keep=False).search)
    return []


def _cells(standing: Standing, ceiling: str | None, wish: Wish | None) -> list[tuple[str, str]]:
    from sweeper.answers import group_label

    open_ = "the budget is spent" if ceiling else "goes on"
    if wish is not None:
        open_ = {"stop": "stopped", "pause": "paused"}[wish.kind]
    return [
        ("variant", group_label(standing.variant, standing.settings)),
        ("scale", f"{standing.scale:g}"),
        ("points", str(standing.runs)),
        ("search", standing.stop or open_),
    ]


def _print_accounts(accounts: dict[str, Account]) -> None:
    out = console()
    some = ("dominated",) if any(each.dominated for each in accounts.values()) else ()
    counts = ("declared", "done", "diverged", *some, "running", "pending", "failed", "hidden")
    rows = [
        [
            ("study", name),
            *((count, str(getattr(account, count))) for count in counts),
        ]
        for name, account in accounts.items()
    ]
    out.print(grid(rows, words=("study",), padding=2))
    for name, account in accounts.items():
        for cause in account.causes:
            out.print(f"{name}: {cause.count} failed: {cause.cause} (trial {cause.example[:12]})")
        if account.ceiling:
            wait = plural(account.pending, "trial waits", "trials wait")
            out.print(f"{name}: the budget of {account.ceiling} is spent; {wait}")
        if account.failed:
            out.print(f"{name}: a run leaves them; once mended, sweeper retry {name}")


def _print_wanted(document: dict[str, Any], wishes: Sequence[Wish]) -> None:
    """Prints what people want of a study, and who is at it."""
    out, name = console(), document["study"]
    for wish in wishes:
        out.print(f"{wish.said}; {wish.lifted_by} lifts it")
    for kind in ("stopped", "paused"):
        if document[kind]:
            out.print(f"{name}: {plural(document[kind], 'trial is', 'trials are')} {kind}")
    for each in document["controllers"]:
        if each["alive"]:
            out.print(f"{name}: process {each['pid']} on {each['host']} is {each['doing']}")


def report(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...",
            help="Names of studies in the store, or their files.",
            autocompletion=offered_studies,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the page and its figures.")] = Path(
        "sweeper-report"
    ),
    zipped: Annotated[
        bool, typer.Option("--zip", help="Write one file OUT.zip, to be mailed, in place of it.")
    ] = False,
    store: StoreOption = None,
    allow_holes: HolesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a self-contained HTML page, its figures as PNG and the tables behind them as CSV."""
    from sweeper.report import write_report

    with open_store(store) as opened:
        names = [name_of(study, store) for study in studies]
        made = write_report(opened, names, out, allow_holes=allow_holes, zipped=zipped)
    if as_json:
        print_json({"studies": names, "file": str(made)})
        return
    console().print(f"wrote {made}")


def export(
    study: StudyName,
    to: Annotated[
        str,
        typer.Option(metavar="FORMAT", help="csv, parquet, optuna, mlflow, tensorboard or wandb."),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="File or folder to write (default: called like the study); for mlflow also the "
            "URL of a server or database.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a study for other programs: tables, Optuna, MLflow, TensorBoard, Weights & Biases."""
    from sweeper.exports import export_study

    name = name_of(study, store)
    with open_store(store, read_only=True) as opened:
        done = export_study(opened, name, to, out, force=force)
    if as_json:
        print_json(asdict(done))
        return
    terminal = console()
    for warning in done.warnings:
        print(f"note: {warning}", file=sys.stderr)
    counts = ", ".join(f"{count} {kind}" for kind, count in done.trials.items() if count)
    parts = f" in {len(done.parts)} studies" if to == "optuna" and len(done.parts) > 1 else ""
    terminal.print(
        f"wrote {done.file}: {plural(sum(done.trials.values()), 'trial')}{parts}: {counts}"
    )
    if done.known:
        terminal.print(f"{plural(done.known, 'trial was', 'trials were')} there as they are here")
    if done.left_out:
        terminal.print(f"left out: {plural(done.left_out, 'trial')} without a result")
    terminal.print(done.said, soft_wrap=True)


def sql(
    query: Annotated[str, typer.Argument(metavar="SELECT", help="A query; it cannot write.")],
    store: StoreOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the store's database (read-only)."""
    from sweeper.store import json_rows

    with open_store(store, read_only=True) as opened:
        answer = opened.query(query)
    if as_json and as_csv:
        raise RequestError("--csv and --json: give one of them")
    if as_json:
        print_json(json_rows(answer))
        return
    if not answer.columns:
        raise RequestError("the query gives no columns; sweeper sql takes one SELECT")
    if as_csv:
        rows = (map(_cell, row) for row in answer.rows)
        csv.writer(sys.stdout, lineterminator="\n").writerows((answer.columns, *rows))
        return
    from rich.table import Table

    table = Table(box=None, padding=(0, 2))
    for column in answer.columns:
        table.add_column(column, no_wrap=True)
    for row in answer.rows:
        table.add_row(*(_short(value) for value in row))
    console(width=SQL_LINE).print(table)
    print(f"{len(answer.rows)} rows", file=sys.stderr)


def _cell(value: object) -> object:
    """Returns a value for CSV; what is JSON in the database stays so."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= SQL_WIDTH else text[: SQL_WIDTH - 1] + "…"
