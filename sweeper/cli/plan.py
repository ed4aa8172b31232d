"""`sweeper plan`, `sweeper init` and `sweeper schema`."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from sweeper.cli.files import runnable_study
from sweeper.cli.text import console, print_json
from sweeper.engine import Timings, local_processors, make_packs
from sweeper.errors import RequestError
from sweeper.search import make_search
from sweeper.store import Store
from sweeper.study import Price, Study, plan_warnings, price, remaining, unique_trials
from sweeper.words import duration, quantity


def plan_command(path: Path, *, store: str | None, probe: bool, as_json: bool) -> None:
    """Prints what the study's search proposes at first, before any outcome, and what it costs;
    runs nothing but a short probe."""
    study = runnable_study(path, store=store)
    planned = [proposal.trial for proposal in make_search(study).ask()]
    with Store.open(store) as opened:
        accepted = set(opened.results_of(list(unique_trials(planned))))
        timings = Timings(study, opened, planned, probe=probe)
        prices = price(planned, accepted, timings.seconds)
    left = remaining(planned, accepted)
    packs = len(make_packs(study, left))
    slots = slots_here(study, prices)
    warnings = plan_warnings(planned)
    if as_json:
        document = _document(study, prices, len(planned), packs, slots)
        print_json({**document, "warnings": warnings})
        return
    _print_table(study, prices, packs, slots)
    for warning in warnings:
        console().print(f"warning: {warning}")


def slots_here(study: Study, prices: list[Price]) -> int:
    """Returns how many trials of the widest need run at a time on this machine."""
    cpus = max(study.resources.cpus_at(row.scale) for row in prices)
    return max(1, int(local_processors() / cpus))


def _hours(row: Price, slots: int) -> float | None:
    return None if row.device_seconds is None else row.device_seconds / 3600 / slots


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
                "hours": _hours(row, slots),
                "hours_from": row.source,
            }
            for row in prices
        ],
    }


def _print_table(study: Study, prices: list[Price], packs: int, slots: int) -> None:
    out = console()
    if study.question:
        out.print(study.question)
    table = Table(box=None, padding=(0, 2))
    for heading in (study.scale, "trials", "to run", "parameters", "FLOPs", "hours", "from"):
        table.add_column(heading, justify="right" if heading != "from" else "left")
    for row in prices:
        hours = _hours(row, slots)
        low, high = row.params
        params = quantity(low) if low == high else f"{quantity(low)} to {quantity(high)}"
        table.add_row(
            f"{row.scale:g}",
            str(row.trials),
            str(row.left),
            params,
            quantity(row.flops),
            "unknown" if hours is None else f"{hours:.3f}",
            row.source if row.left else "nothing left to run",
        )
    out.print(table)
    left = sum(row.left for row in prices)
    flops = quantity(sum(row.flops for row in prices))
    times = [_hours(row, slots) for row in prices]
    known = sum(hours for hours in times if hours is not None)
    total = "unknown" if None in times else duration(3600 * known)
    out.print(
        f"{left} trials to run in {packs} packs, {flops} FLOPs, {total} on {slots} "
        f"slot{'s' if slots > 1 else ''} of this machine"
    )


def init_command(path: Path, *, workload: str, force: bool) -> None:
    """Writes a commented study file."""
    from sweeper.study import study_template

    if path.exists() and not force:
        raise RequestError(f"{path} exists; choose another name, or overwrite it with --force")
    text = study_template(workload)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise RequestError(f"cannot write {path}: {fault.strerror}") from fault
    console().print(f"wrote {path}; next: sweeper plan {path}, then sweeper run {path}")


def schema_command() -> None:
    """Prints the JSON Schema of study files."""
    from sweeper.study import study_schema

    print(json.dumps(study_schema(), indent=2))
