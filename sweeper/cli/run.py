"""`sweeper run`: executes what remains, shows it live, ends with the answer."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager as ContextManager
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.drift import claims_broken, print_statements
from sweeper.cli.options import (
    ChangedOption,
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


class LogFormat(StrEnum):
    """How a run says what it does."""

    plain = "plain"
    json = "json"


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
    priority: Annotated[
        int | None,
        typer.Option(help="Studies of a higher one come first on the cluster; 0 unless given."),
    ] = None,
    preemption_file: Annotated[
        str | None,
        typer.Option(help="A file whose appearance says that a machine will be taken away."),
    ] = None,
    log: Annotated[
        LogFormat,
        typer.Option(envvar="SWEEPER_LOG", help="What is said on standard error, and how."),
    ] = LogFormat.plain,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Serve Prometheus metrics there; 0 takes any free port."
        ),
    ] = None,
    metrics_host: Annotated[
        str | None,
        typer.Option(
            help="Address to serve them at (default: 127.0.0.1, this machine alone).",
            show_default=False,
        ),
    ] = None,
    metrics_file: Annotated[
        Path | None,
        typer.Option(help="Write them to a .prom file, for node_exporter.", show_default=False),
    ] = None,
    changed: ChangedOption = None,
    strict: StrictOption = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run what remains of a study, then show how its optimum moves. Run again to resume."""
    from sweeper.cli.event_log import EventLog, log_event, speak_json
    from sweeper.cli.live import LiveView
    from sweeper.engine import Limits, Notices, Run, graceful, published
    from sweeper.store import Store
    from sweeper.study import require_command_trusted

    if executor is ExecutorName.inline and address is not None:
        raise RequestError(
            f"--address {address} names a Ray cluster, and --executor inline does without Ray; "
            "leave one of the two out"
        )
    if priority is not None and address is None:
        raise RequestError(
            f"--priority {priority} orders studies that share a Ray cluster, and this run has its "
            "own; add --address HOST:PORT, or leave --priority out"
        )
    notices = Notices.of_environment(preemption_file)
    if metrics_host is not None and metrics_port is None:
        raise RequestError(
            f"--metrics-host {metrics_host} says where metrics are served, but not at which port; "
            "give --metrics-port, for example 9464"
        )
    as_lines = log is LogFormat.json
    if as_lines:
        speak_json()
    asked = runnable_study(study, store=store, search=search, changed=changed, trust=trust)
    require_command_trusted(asked.file, asked.command)  # before a store is made
    events = EventLog(asked.name, lambda: work.progress, scale=asked.scale)
    with Store.open(store, create=True, checked=True) as opened:
        work = Run(
            asked,
            opened,
            executor=executor.value,
            address=address,
            checkpoint_seconds=checkpoint_seconds,
            limits=Limits(hang_seconds=hang_seconds or math.inf),
            priority=priority or 0,
            notices=notices,
            observe=events.see if as_lines else _unheard,
            tell=events.note if as_lines else _unheard,
        )
        live = LiveView(work.progress.view, stream=sys.stderr, scale=asked.scale)
        shown: ContextManager[object] = events if as_lines else live
        _say_opening(asked, work, log)
        publishing = published(
            work.metrics.registry,
            port=metrics_port,
            host=metrics_host or "127.0.0.1",
            file=metrics_file,
            said=partial(_say, log),
        )
        with publishing, graceful(work), shown:
            summary = work.execute()
        if as_lines:
            log_event("run_ended", study=asked.name, **asdict(summary))
        if summary.interrupted:
            left = f"{_left(summary)} of {plural(summary.declared, 'trial')} to go"
            if wish := work.wishes.end:
                raise Interrupted(
                    f"{wish.said}, with {left}; nothing is lost: {wish.lifted_by}, and then "
                    f"sweeper run {study} goes on"
                )
            raise Interrupted(
                f"interrupted with {left}; nothing is lost: sweeper run {study} goes on"
            )
        stood = list(work.standings)
        raise typer.Exit(_answer(asked, opened, summary, stood, strict=strict, as_json=as_json))


def _unheard(what: object) -> None:
    pass


def _say(log: LogFormat, text: str) -> None:
    from sweeper.cli.event_log import log_event

    if log is LogFormat.json:
        log_event("note", text=text)
    else:
        print(text, file=sys.stderr)


def _say_opening(study: Study, run: Run, log: LogFormat) -> None:
    from sweeper.cli.event_log import counts, log_event

    view = run.progress.view()
    had = view.done + view.diverged + view.dominated
    reuse = f", {had} of them have a result already" if had else ""
    if log is LogFormat.json:
        log_event("run_started", study=study.name, **counts(view))
    else:
        first = ", after its coordinate check" if study.check.required else ""
        print(f"study {study.name}: {plural(view.total, 'trial')}{reuse}{first}", file=sys.stderr)


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
            console().print(_stops(study.search.method, stood, summary))
        print_statements(statements)
        if refusal is not None:
            console().print(f"no statement about the optimum: {refusal}")
    failed = summary.failed + summary.failed_before
    if failed or (_left(summary) > summary.stopped and summary.ceiling is None):
        return 1
    return 1 if strict and claims_broken(statements) else 0


def _stops(method: str, stood: Sequence[Standing], summary: RunSummary) -> str:
    """Returns why a search ended, for example ``ladder: narrow enough at 7 scales``."""
    spent = "waits for trials that are stopped" if summary.stopped else "not ended"
    if summary.ceiling is not None:
        spent = f"the budget of {summary.ceiling} is spent"
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
            f"{plural(summary.failed_before, 'trial')} failed in another run and will not be "
            f"repeated; once the cause is mended: sweeper retry {study}"
        )
    if summary.failed:
        out.print(f"sweeper status {study} shows the failures grouped by cause")
    if summary.ceiling is not None:
        wait = plural(_left(summary), "trial waits", "trials wait")
        out.print(f"the budget of {summary.ceiling} is spent; {wait}")
    elif summary.stopped:
        out.print(
            f"{plural(summary.stopped, 'trial is', 'trials are')} stopped; sweeper status {study} "
            "says by whom"
        )
    if summary.ceiling is None and _left(summary) > summary.stopped:
        without = plural(_left(summary) - summary.stopped, "trial has", "trials have")
        out.print(f"{without} no result; sweeper status tells why, and running again goes on")
