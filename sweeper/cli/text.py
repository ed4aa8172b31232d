"""Answers as text that is readable at 100 columns, or as JSON to a program."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweeper.words import power

if TYPE_CHECKING:
    from sweeper.analysis import Optimum, Regret
    from sweeper.answers import DriftGroup, DriftStatement, Evidence

WIDTH = 100
"""Columns where the output is no terminal, so that a log looks the same everywhere."""


def console(width: int | None = None) -> Console:
    """Returns the console of standard output, as wide as asked for, or as the terminal."""
    if width is None and not sys.stdout.isatty():
        width = WIDTH
    return Console(width=width, highlight=False, markup=False)


def print_json(document: Any) -> None:
    """Prints a document as strict JSON.

    Raises:
        ValueError: it holds NaN or an infinity, which JSON does not know.
    """
    print(json.dumps(document, indent=2, allow_nan=False))


def claims_broken(statements: Sequence[DriftStatement]) -> bool:
    """Returns True if any claim of any group is broken."""
    return any(
        verdict.ruling == "broken"
        for statement in statements
        for group in statement.groups
        for verdict in group.verdicts
    )


def print_statements(statements: Sequence[DriftStatement]) -> None:
    """Prints every group: its optima, drift, regret and verdicts."""
    out = console()
    for statement in statements:
        out.print(
            f"\n{statement.study}: best {statement.hyperparameter} against {statement.scale}",
            style="bold",
        )
        for note in statement.notes:
            say(out, f"note: {note}")
        for group in statement.groups:
            _print_group(out, statement, group)


def _print_group(out: Console, statement: DriftStatement, group: DriftGroup) -> None:
    out.print(f"\n{group.label}", style="bold cyan")
    if group.optima:
        out.print(_optima_table(statement, group))
    if any(_compute(row).endswith("*") for row in group.regret):
        say(out, "* extrapolated beyond the tuned losses")
    for scale, why in group.left_out.items():
        say(out, f"no optimum at {statement.scale} {scale:g}: {why}")
    if group.drift is not None:
        drift = group.drift
        say(
            out,
            f"drift {drift.slope:+.2f} octaves per doubling of the {statement.scale}, "
            f"95% interval {drift.low:+.2f} to {drift.high:+.2f}",
        )
    elif group.refused is not None:
        say(out, f"no drift: {group.refused}")
    print_evidence(out, group.evidence)
    for verdict in group.verdicts:
        claim = verdict.claim
        head = f"claim {claim.exponent:g} ± {claim.tolerance:g}: "
        say(out, Text.assemble(head, (verdict.ruling, "bold"), f". {verdict.why}"))


def print_evidence(out: Console, evidence: Evidence) -> None:
    """Prints what a group rests on, and what its results should share and do not."""
    parts = [f"rests on {evidence.trials} of {evidence.declared} trials"]
    if evidence.diverged:
        parts.append(f"{evidence.diverged} of them diverged")
    if evidence.seeds is not None:
        low, high = evidence.seeds
        seeds = f"{low} to {high} seeds" if low != high else f"{low} seed{'s' * (low != 1)}"
        parts.append(f"{seeds} a point")
    if len(evidence.devices) == 1:
        parts.append(f"on {evidence.devices[0]}")
    say(out, ", ".join(parts))
    for warning in evidence.warnings:
        say(out, Text.assemble(("warning: ", "bold yellow"), warning))


def say(out: Console, sentence: str | Text) -> None:
    """Prints a sentence under its group, its further lines indented like the first."""
    out.print(Padding(sentence, (0, 0, 0, 2)))


def _optima_table(statement: DriftStatement, group: DriftGroup) -> Table:
    """Returns one row a scale; the column of compute only where something is priced."""
    regret = {row.scale: row for row in group.regret}
    cells = [_cells(optimum, regret.get(optimum.scale)) for optimum in group.optima]
    priced = any(row["compute"] for row in cells)
    table = Table(box=None, padding=(0, 1), pad_edge=True)
    headings = [name for name in cells[0] if priced or name != "compute"]
    for heading in headings:
        shown = statement.scale if heading == "scale" else heading
        table.add_column(shown, justify="left" if heading == "flags" else "right")
    for row in cells:
        table.add_row(*(row[heading] for heading in headings))
    return table


def _cells(optimum: Optimum, regret: Regret | None) -> dict[str, str]:
    return {
        "scale": f"{optimum.scale:g}",
        "optimum": f"{optimum.value:.3g} = {power(optimum.value)}",
        "95% interval": _interval(optimum),
        "loss": f"{optimum.loss:.4f}",
        "regret": _regret(regret),
        "compute": _compute(regret),
        "trials": f"{optimum.answered}/{optimum.declared}",
        "flags": ", ".join(flag.replace("_", " ") for flag in optimum.flags),
    }


def _interval(optimum: Optimum) -> str:
    low = f"2^{optimum.low:.2f}" if math.isfinite(optimum.low) else "open"
    high = f"2^{optimum.high:.2f}" if math.isfinite(optimum.high) else "open"
    return f"{low} to {high}"


def _regret(row: Regret | None) -> str:
    if row is None or row.certainty == "unknown":
        return "unknown"
    if row.certainty == "infinite":
        return "diverges"
    share = f" ({row.percent:.2g}%)" if math.isfinite(row.percent) else ""
    words = " (noise)" if row.harmless else share
    least = "at least " if row.certainty == "at_least" else ""
    return f"{least}{row.regret:+.4f}{words}"


def _compute(row: Regret | None) -> str:
    """Returns the factor of compute that transfer throws away, where it is not noise."""
    if row is None or row.harmless or not math.isfinite(row.compute):
        return ""
    star = "*" if row.compute_note else ""
    return f"{'≥' if row.certainty == 'at_least' else ''}×{row.compute:.2f}{star}"
