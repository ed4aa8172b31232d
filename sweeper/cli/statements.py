"""Drift statements as text that is readable at 100 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.analysis.statement import DriftStatement, Group
from sweeper.cli.printing import console
from sweeper.cli.words import power


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
        for group in statement.groups:
            _print_group(out, statement, group)


def _print_group(out: Console, statement: DriftStatement, group: Group) -> None:
    out.print(f"\n{group.label}", style="bold cyan")
    if group.optima:
        out.print(_optima_table(statement, group))
    for scale, why in group.left_out.items():
        out.print(f"  no optimum at {statement.scale} {scale:g}: {why}")
    if group.drift is not None:
        drift = group.drift
        out.print(
            f"  drift {drift.slope:+.2f} octaves per doubling of the {statement.scale}, "
            f"95% interval {_span(drift.low, drift.high)}"
        )
    if group.refused is not None:
        out.print(f"  no drift: {group.refused}")
    for verdict in group.verdicts:
        claim = verdict.claim
        head = f"  claim {claim.exponent:g} ± {claim.tolerance:g}: "
        out.print(Text.assemble(head, (verdict.ruling, "bold"), f" — {verdict.why}"))


def _optima_table(statement: DriftStatement, group: Group) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=True)
    headings = (statement.scale, "optimum", "95% interval", "loss", "regret", "trials", "flags")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "flags" else "right")
    regret = {row.scale: row for row in group.regret}
    for optimum in group.optima:
        row = regret.get(optimum.scale)
        cost = "" if row is None or math.isnan(row.regret) else f"{row.regret:+.4f}"
        table.add_row(
            f"{optimum.scale:g}",
            f"{optimum.value:.3g} = {power(optimum.value)}",
            f"2^{_span(optimum.low, optimum.high)}",
            f"{optimum.loss:.4f}",
            f"{cost} (noise)" if row is not None and row.harmless else cost,
            f"{optimum.answered}/{optimum.declared}",
            ", ".join(flag.replace("_", " ") for flag in optimum.flags),
        )
    return table


def _span(low: float, high: float) -> str:
    left = f"{low:+.2f}" if math.isfinite(low) else "open"
    right = f"{high:+.2f}" if math.isfinite(high) else "open"
    return f"({left}, {right})"
