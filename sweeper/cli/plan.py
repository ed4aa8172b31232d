"""`sweeper plan`, `sweeper init` and `sweeper schema`."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    ChangedOption,
    JsonOption,
    SearchOption,
    StoreOption,
    StudyFile,
    TrustOption,
    open_store,
    runnable_study,
)
from sweeper.cli.text import console, grid, print_json
from sweeper.errors import RequestError
from sweeper.words import duration, percent, plural, quantity, with_article

if TYPE_CHECKING:
    from sweeper.search import Outlook
    from sweeper.study import Price, Study


def plan(
    study: StudyFile,
    store: StoreOption = None,
    search: SearchOption = None,
    probe: Annotated[
        bool,
        typer.Option(help="Time a few steps per shape where no finished trial tells."),
    ] = True,
    changed: ChangedOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what would run: trials, parameters, FLOPs and hours per scale."""
    from sweeper.engine import Proposals, Timings, make_packs, settle
    from sweeper.search import outlook_of
    from sweeper.study import plan_warnings, price, remaining, unique_trials

    asked = runnable_study(study, store=store, search=search, changed=changed, trust=trust)
    with open_store(store, create=True) as opened:
        change = settle(asked, opened)
        proposals = Proposals(asked, opened, keep=False)
        planned = proposals.planned
        outlook = None if proposals.finished else outlook_of(asked)
        accepted = set(opened.results_of(list(unique_trials(planned))))
        timings = Timings(asked, opened, planned, probe=probe)
        prices = price(planned, accepted, timings.seconds)
    packs = len(make_packs(asked, remaining(planned, accepted)))
    slots = _slots_here(asked, prices)
    warnings = plan_warnings(planned) + timings.faults + _of_program(asked)
    if change is not None:
        warnings.insert(0, f"{change.said}; {change.follows(asked)}")
    if as_json:
        document = _document(asked, prices, len(planned), packs, slots)
        document |= {"search": asked.search.document, "outlook": _outlook_json(outlook)}
        print_json({**document, "warnings": warnings})
        return
    _print_table(asked, prices, packs, slots)
    if not proposals.finished:
        _print_outlook(asked, outlook, known=len(proposals.known))
    for warning in warnings:
        console().print(f"warning: {warning}")


def _of_program(study: Study) -> list[str]:
    """Returns what a study that runs a command may not mean, beside what its card says."""
    from sweeper.engine import local_accelerators
    from workloads.programs import Programmed

    if not isinstance(study.card, Programmed) or not (here := local_accelerators()):
        return []
    given = study.resources.gpus
    if given or isinstance(given, dict):
        return []
    return [
        f"this machine has {plural(here, 'GPU')} and `resources` gives trials none, so that the "
        "command sees none; resources: {gpus: 1} gives each one"
    ]


def _slots_here(study: Study, prices: list[Price]) -> int:
    """Returns how many trials of the widest need run at a time on this machine, which is taken
    to have enough for one of them."""
    from sweeper.engine import local_accelerators, local_processors

    cpus = max(study.resources.cpus_at(row.scale) for row in prices)
    gpus = max(study.resources.gpus_at(row.scale) for row in prices)
    fitting = local_processors() / cpus
    if gpus and (here := local_accelerators()):
        fitting = min(fitting, here / gpus)
    return max(1, int(fitting))


def _hours(study: Study, row: Price, slots: int) -> float | None:
    if row.device_seconds is None:
        return None
    return row.device_seconds / 3600 / slots / study.resources.processes_at(row.scale)


def _document(
    study: Study, prices: list[Price], cells: int, packs: int, slots: int
) -> dict[str, object]:
    return {
        "study": study.name,
        "scale": study.scale,
        "variants": list(study.variants),
        "cells": cells,
        "trials": sum(row.trials for row in prices),
        "remaining": sum(row.left for row in prices),
        "packs": packs,
        "slots": slots,
        "flops": sum(row.flops for row in prices),
        "rows": [
            {
                "scale": row.scale,
                "trials": row.trials,
                "remaining": row.left,
                "params": list(row.params),
                "flops": row.flops,
                "hours": _hours(study, row, slots),
                "hours_from": row.source,
                "resources": study.resources.at(row.scale),
            }
            for row in prices
        ],
    }


def _outlook_json(outlook: Outlook | None) -> dict[str, object] | None:
    if outlook is None:
        return None
    return {
        name: {"trials": trials, "flops": flops}
        for name, (trials, flops) in asdict(outlook).items()
    }


def _print_outlook(study: Study, outlook: Outlook | None, *, known: int) -> None:
    """Prints what a search will cost beside the trials that were known before it."""
    search = study.search
    name = f"{search.sampler} sampler" if search.method == "optuna" else search.method
    method = with_article(name)
    if outlook is None:
        console().print(f"what {method} proposes next depends on what comes out of these")
        return

    def words(cost: tuple[int, float]) -> str:
        trials, flops = cost
        return f"{trials} trials, {quantity(flops)} FLOPs ({percent(100 * flops / whole)})"

    whole = outlook.grid[1]
    fixed = outlook.best == outlook.worst
    spread = f"; at best {words(outlook.best)}, at worst {words(outlook.worst)}"
    begins = f"that is how {method} begins; in all it costs"
    goes_on = f"beside the {plural(known, 'trial')} that it has, {method} costs"
    console().print(
        f"{goes_on if known else begins} {'' if fixed else 'about '}"
        f"{words(outlook.expected)} of the full grid's {outlook.grid[0]} trials, "
        f"{quantity(whole)} FLOPs{'' if fixed else spread}"
    )


def _print_table(study: Study, prices: list[Price], packs: int, slots: int) -> None:
    out = console()
    if study.question:
        out.print(study.question)
    rows = []
    told = len({_given(study, row.scale) for row in prices} | {"1 CPUs"}) > 1
    for row in prices:
        hours = _hours(study, row, slots)
        low, high = row.params
        rows.append(
            [
                (study.scale, f"{row.scale:g}"),
                ("trials", str(row.trials)),
                ("to run", str(row.left)),
                (
                    "parameters",
                    quantity(low) if low == high else f"{quantity(low)} to {quantity(high)}",
                ),
                ("FLOPs", quantity(row.flops)),
                ("hours", "unknown" if hours is None else f"{hours:.3f}"),
                ("from", row.source if row.left else "nothing left to run"),
                *((("a trial has", _given(study, row.scale)),) if told else ()),
            ]
        )
    out.print(grid(rows, words=("from", "a trial has"), padding=2))
    left = sum(row.left for row in prices)
    flops = quantity(sum(row.flops for row in prices))
    times = [_hours(study, row, slots) for row in prices]
    known = sum(hours for hours in times if hours is not None)
    total = "unknown" if None in times else duration(3600 * known)
    out.print(
        f"{plural(left, 'trial')} to run in {plural(packs, 'pack')}, {flops} FLOPs, {total} on "
        f"{plural(slots, 'slot')} of this machine"
    )
    if custom := study.resources.custom:
        out.print(
            f"{', '.join(custom)}: a custom resource; trials that need it run on nodes of a Ray "
            "cluster that were started with it (--address)"
        )


def _given(study: Study, scale: float) -> str:
    """Returns what a trial is given, for example ``1 CPUs, 0.1 GPUs, 1 H100``."""
    words = {"cpus": "CPUs", "gpus": "GPUs"}
    given = study.resources.at(scale)
    return ", ".join(f"{amount:g} {words.get(name, name)}" for name, amount in given.items())


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml"),
    workload: Annotated[
        str | None,
        typer.Option(
            help="Workload of the study (default: llama, or command with --script).",
            show_default=False,
        ),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            help="Training script that workload command runs; it is asked for its arguments, by "
            "running it with --help.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Every setting and section, with its default.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a study file to start from."""
    from sweeper.study import COMMAND, remember_command, study_template

    workload = workload or ("llama" if script is None else COMMAND)
    if path.exists() and not force:
        raise RequestError(f"{path} exists; choose another name, or overwrite it with --force")
    text = study_template(workload, full=full, script=script)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise RequestError(f"cannot write {path}: {fault.strerror}") from fault
    if workload == COMMAND:
        remember_command(path)  # who named the script lets it run
    if as_json:
        print_json({"file": str(path), "workload": workload})
        return
    shown = shlex.quote(str(path))
    unknown = re.findall(r"^  ([^:]+): '\?'$", text, re.MULTILINE)
    before = f"say there what {' and '.join(unknown)} is, then " if unknown else ""
    console().print(f"wrote {shown}; next: {before}sweeper plan {shown}, then sweeper run {shown}")


def schema(as_json: JsonOption = True) -> None:
    """Print the JSON Schema of study files, for editors."""
    from sweeper.study import study_schema

    print(json.dumps(study_schema(), indent=2))
