"""`sweeper retry`: trials that failed, diverged or are named become pending again."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeper.cli.options import JsonOption, StoreOption, StudyName


def retry_command(
    study: StudyName,
    failed: Annotated[
        bool, typer.Option("--failed", help="All failed trials (the default).")
    ] = False,
    diverged: Annotated[
        bool, typer.Option("--diverged", help="All diverged trials: their results are withdrawn.")
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="One trial, by 6 or more digits of its key, whatever became of it; repeatable.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make trials pending again; a plain run never repeats a failed one."""
    from sweeper.cli.answers import name_of
    from sweeper.cli.printing import console, print_json
    from sweeper.store.store import Store

    name, keys = name_of(study), key or []
    with Store.open(store, create=False) as opened:
        done = opened.retry(
            name, failed=failed or not (diverged or keys), diverged=diverged, keys=keys
        )
    if as_json:
        print_json({"study": name, **{field: list(keys) for field, keys in vars(done).items()}})
        return
    out = console()
    for count, what in (
        (len(done.failed), "failed before: pending again"),
        (len(done.withdrawn), "had a result, which is withdrawn: pending again"),
        (len(done.pending), "had neither failed nor a result: pending as before"),
    ):
        if count:
            out.print(f"{name}: {_trials(count)} {what}")
    if any(vars(done).values()):
        out.print(
            f"next: sweeper run {study if study != name else '(with the file of the study)'}"
        )
    else:
        kind = "diverged" if diverged and not failed else "failed"
        out.print(f"{name}: no trial has {kind}; nothing was changed")


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
