"""`sweeper run`: executes what remains, shows it live, ends with the answer."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path

from sweeper.cli.files import runnable_study
from sweeper.cli.live import LiveView
from sweeper.cli.text import console, print_json
from sweeper.engine import Executor, Limits, Run, RunSummary, graceful
from sweeper.errors import AnalysisRefusal, Interrupted, RequestError
from sweeper.store import Store
from sweeper.study import Study
from sweeper.words import duration


def run_command(
    path: Path,
    *,
    store: str | None,
    executor: Executor,
    address: str | None,
    checkpoint_seconds: float,
    hang_seconds: float,
    strict: bool,
    as_json: bool,
) -> int:
    """Runs a study file and returns the exit code.

    Raises:
        Interrupted: a signal ended the run before all was done.
        RequestError: options that exclude each other.
    """
    if executor == "inline" and address is not None:
        raise RequestError(
            f"--address {address} names a Ray cluster, and --executor inline does without Ray; "
            "leave one of the two out"
        )
    study = runnable_study(path, store=store)
    with Store.open(store, checked=True) as opened:
        run = Run(
            study,
            opened,
            executor=executor,
            address=address,
            checkpoint_seconds=checkpoint_seconds,
            limits=Limits(hang_seconds=hang_seconds or math.inf),
        )
        print(_opening(study, run), file=sys.stderr)
        with graceful(run), LiveView(run.progress.view, stream=sys.stderr, scale=study.scale):
            summary = run.execute()
        if summary.interrupted:
            raise Interrupted(
                f"interrupted with {_left(summary)} of {summary.declared} trials to go; "
                f"nothing is lost: sweeper run {path} goes on"
            )
        return _answer(study, opened, summary, strict=strict, as_json=as_json)


def _opening(study: Study, run: Run) -> str:
    view = run.progress.view()
    had = view.done + view.diverged
    reuse = f", {had} of them have a result already" if had else ""
    return f"study {study.name}: {view.total} trials{reuse}"


def _left(summary: RunSummary) -> int:
    ended = summary.reused + summary.finished + summary.failed + summary.failed_before
    return summary.declared - ended


def _answer(
    study: Study, store: Store, summary: RunSummary, *, strict: bool, as_json: bool
) -> int:
    from sweeper.answers import keep_estimates, statements_of
    from sweeper.cli.text import claims_broken, print_statements

    refusal: str | None = None
    try:
        statements = statements_of(store, study.name)
        keep_estimates(store, statements)
    except AnalysisRefusal as fault:
        statements, refusal = [], str(fault)
    if as_json:
        documents = [statement.to_json() for statement in statements]
        print_json({"run": asdict(summary), "drift": documents, "refused": refusal})
    else:
        _print_summary(study.name, summary)
        print_statements(statements)
        if refusal is not None:
            console().print(f"no statement about the optimum: {refusal}")
    failed = summary.failed + summary.failed_before
    if failed or (_left(summary) and summary.ceiling is None):
        return 1
    return 1 if strict and claims_broken(statements) else 0


def _print_summary(study: str, summary: RunSummary) -> None:
    out = console()
    slots = len(summary.slots)
    if summary.finished or summary.failed:
        out.print(
            f"{summary.finished} trials finished and {summary.failed} failed in "
            f"{duration(summary.seconds)} on {slots} slot{'s' if slots != 1 else ''}; "
            f"{summary.reused} had a result before"
        )
        if summary.adopted:
            out.print(
                f"{summary.adopted} of them were found in curve files, where an earlier run had "
                "left them unrecorded, and were not trained again"
            )
    elif not _left(summary) and not summary.failed_before:
        out.print(f"nothing to run: all {summary.declared} trials have a result")
    if summary.failed_before:
        out.print(
            f"{summary.failed_before} trials failed in another run and were not repeated; once "
            f"their cause is mended: sweeper retry {study}"
        )
    if summary.failed:
        out.print(f"sweeper status {study} shows the failures grouped by cause")
    if summary.ceiling is not None:
        out.print(f"the budget of {summary.ceiling} is spent; {_left(summary)} trials wait")
    elif _left(summary):
        out.print(
            f"{_left(summary)} trials have no result; sweeper status tells why, and running "
            "again goes on"
        )
