"""`sweeper run`: executes what remains, shows it live, ends with the answer."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.drift import claims_broken, print_statements
from sweeper.cli.options import (
    JsonOption,
    SearchOption,
    StoreOption,
    StrictOption,
    StudyFile,
    TrustOption,
    runnable_study,
)
from sweeper.cli.text import console, print_json
from sweeper.errors import AnalysisRefusal, Interrupted, RequestError
from sweeper.words import duration, plural

if TYPE_CHECKING:
    from sweeper.engine import Run, RunSummary
    from sweeper.search import Standing
    from sweeper.store import Store
    from sweeper.study import Study


class ExecutorName(StrEnum):
    """Where trials run."""

    ray = "ray"
    inline = "inline"


def run(
    study: StudyFile,
    store: StoreOption = None,
    search: SearchOption = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="ray, or inline: in this process, without Ray.")
    ] = ExecutorName.ray,
    address: Annotated[
        str | None,
        typer.Option(help="Address of a running Ray cluster: auto, or HOST:PORT."),
    ] = None,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0.0, help="Seconds between checkpoints of a trial.")
    ] = 300.0,
    hang_seconds: Annotated[
        float,
        typer.Option(min=0.0, help="End a Ray worker that is silent for so long; 0 never."),
    ] = 1800.0,
    strict: StrictOption = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run what remains of a study, then show how its optimum moves. Run again to resume."""
    from sweeper.cli.live import LiveView
    from sweeper.engine import Limits, Run, graceful
    from sweeper.store import Store

    if executor is ExecutorName.inline and address is not None:
        raise RequestError(
            f"--address {address} names a Ray cluster, and --executor inline does without Ray; "
            "leave one of the two out"
        )
    asked = runnable_study(study, store=store, search=search, trust=trust)
    with Store.open(store, checked=True) as opened:
        work = Run(
            asked,
            opened,
            executor=executor.value,
            address=address,
            checkpoint_seconds=checkpoint_seconds,
            limits=Limits(hang_seconds=hang_seconds or math.inf),
        )
        print(_opening(asked, work), file=sys.stderr)
        with graceful(work), LiveView(work.progress.view, stream=sys.stderr, scale=asked.scale):
            summary = work.execute()
        if summary.interrupted:
            raise Interrupted(
                f"interrupted with {_left(summary)} of {summary.declared} trials to go; "
                f"nothing is lost: sweeper run {study} goes on"
            )
        stood = list(work.standings)
        raise typer.Exit(_answer(asked, opened, summary, stood, strict=strict, as_json=as_json))


def _opening(study: Study, run: Run) -> str:
    view = run.progress.view()
    had = view.done + view.diverged + view.dominated
    reuse = f", {had} of them have a result already" if had else ""
    return f"study {study.name}: {view.total} trials{reuse}"


def _left(summary: RunSummary) -> int:
    ended = summary.reused + summary.finished + summary.failed + summary.failed_before
    return summary.declared - ended


def _answer(
    study: Study,
    store: Store,
    summary: RunSummary,
    stood: Sequence[Standing],
    *,
    strict: bool,
    as_json: bool,
) -> int:
    from sweeper.answers import keep_estimates, statements_of

    refusal: str | None = None
    try:
        statements = statements_of(store, study.name)
        keep_estimates(store, statements)
    except AnalysisRefusal as fault:
        statements, refusal = [], str(fault)
    if as_json:
        documents = [statement.to_json() for statement in statements]
        ended = [asdict(standing) for standing in stood]
        print_json(
            {"run": asdict(summary), "search": ended, "drift": documents, "refused": refusal}
        )
    else:
        _print_summary(study.name, summary)
        if stood:
            console().print(_stops(study.search.method, stood, summary.ceiling))
        print_statements(statements)
        if refusal is not None:
            console().print(f"no statement about the optimum: {refusal}")
    failed = summary.failed + summary.failed_before
    if failed or (_left(summary) and summary.ceiling is None):
        return 1
    return 1 if strict and claims_broken(statements) else 0


def _stops(method: str, stood: Sequence[Standing], ceiling: str | None) -> str:
    """Returns why a search ended, for example ``ladder: narrow enough at 7 scales``."""
    spent = f"the budget of {ceiling} is spent" if ceiling else "not ended"
    why = Counter(each.stop or spent for each in stood)
    said = ", ".join(f"{stop} at {plural(count, 'scale')}" for stop, count in why.most_common())
    return f"{method}: {said}"


def _print_summary(study: str, summary: RunSummary) -> None:
    out = console()
    slots = len(summary.slots)
    if summary.finished or summary.failed:
        out.print(
            f"{plural(summary.finished, 'trial')} finished and {summary.failed} failed in "
            f"{duration(summary.seconds)} on {slots} slot{'s' if slots != 1 else ''}; "
            f"{summary.reused} had a result before"
        )
        if summary.adopted:
            out.print(
                f"{summary.adopted} of them were found in curve files, where an earlier run had "
                "left them unrecorded, and were not trained again"
            )
        if summary.dominated:
            out.print(
                f"{summary.dominated} of them were stopped before their end, dominated by others"
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
        wait = plural(_left(summary), "trial waits", "trials wait")
        out.print(f"the budget of {summary.ceiling} is spent; {wait}")
    elif _left(summary):
        out.print(
            f"{_left(summary)} trials have no result; sweeper status tells why, and running "
            "again goes on"
        )
