"""`sweeper transfer`: how fast optima converge, and whether transfer is fast and useful."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import HorizonOption, JsonOption, ScaleOption, StoreOption, StudyName

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sweeper.analysis.gaps import Gap
    from sweeper.analysis.law import Law
    from sweeper.analysis.pace import Rate
    from sweeper.analysis.transfer_statement import Transfer, TransferStatement


VERDICTS = {
    "fast": "transfer is fast",
    "slow": "transfer is slow",
    "not distinguishable": "fast and slow are not distinguishable",
}
"""Verdicts in the reader's words."""


class ReferenceName(StrEnum):
    """What gaps are measured from."""

    largest = "largest"
    limit = "limit"


class ReaderName(StrEnum):
    """How an optimum is read off its points; all of them know the curvature."""

    spline = "spline"
    quadratic = "quadratic"
    quadratic3 = "quadratic3"
    skewed = "skewed"


def transfer_command(
    study: StudyName,
    store: StoreOption = None,
    hyperparameter: Annotated[
        str | None,
        typer.Option(
            "--hyperparameter",
            "--hp",
            help="Which one (default: those of the claims, else the first swept).",
            show_default=False,
        ),
    ] = None,
    scale: ScaleOption = None,
    horizon: HorizonOption = None,
    reference: Annotated[
        ReferenceName, typer.Option(help="Measure from the largest scale, or an extrapolated one.")
    ] = ReferenceName.largest,
    estimator: Annotated[
        ReaderName, typer.Option(help="How an optimum is read off its points.")
    ] = ReaderName.spline,
    allow_holes: Annotated[
        bool, typer.Option("--allow-holes", help="Answer although neighbours are missing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the gaps to the largest scale, how fast they close, and whether transfer pays."""
    from sweeper.cli.answers import name_of
    from sweeper.cli.printing import console, print_json
    from sweeper.report.transfers import transfers_of
    from sweeper.store.store import Store

    with Store.open(store, create=False) as opened:
        statements = transfers_of(
            opened,
            name_of(study),
            hyperparameter,
            scale=scale,
            horizon=horizon,
            reference=reference.value,
            estimator=estimator.value,
            allow_holes=allow_holes,
        )
    if as_json:
        documents = [statement.to_json() for statement in statements]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    out = console()
    for statement in statements:
        _print_statement(out, statement)


def _print_statement(out: Console, statement: TransferStatement) -> None:
    from sweeper.analysis.transfer_statement import NoTransfer
    from sweeper.cli.statements import print_evidence, say

    base = "the largest scale" if statement.reference == "largest" else "the extrapolated limit"
    out.print(
        f"\n{statement.study}: gaps of {statement.hyperparameter} to {base}, over "
        f"{statement.scale}",
        style="bold",
    )
    for note in statement.notes:
        say(out, f"note: {note}")
    for group in statement.groups:
        out.print(f"\n{group.label}", style="bold cyan")
        if isinstance(group, NoTransfer):
            say(out, f"no answer: {group.refused}")
            continue
        out.print(_table(statement, group))
        for sentence in _sentences(statement, group):
            say(out, sentence)
        print_evidence(out, group.evidence)


def _table(statement: TransferStatement, group: Transfer) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), pad_edge=True)
    headings = (
        statement.scale,
        "a: loss gap",
        "b: octaves",
        "c: cost of transfer",
        "curvature b²/2",
        "c/a",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in group.rows:
        table.add_row(
            f"{row.scale:g}",
            _gap(row.a),
            _gap(row.b),
            _gap(row.c),
            f"{row.expected:.3g}",
            "" if math.isnan(row.ratio) else f"{row.ratio:.2g}",
        )
    return table


def _gap(gap: Gap) -> str:
    if math.isnan(gap.value):
        return "not measured"
    if math.isinf(gap.value):
        return "diverges"
    if gap.value == 0:
        return f"0 (noise {gap.floor:.2g})"
    if not (math.isfinite(gap.low) and math.isfinite(gap.high)):
        return f"{gap.value:.3g} [open]"
    return f"{gap.value:.3g} [{gap.low:.2g}, {gap.high:.2g}]"


def _sentences(statement: TransferStatement, group: Transfer) -> list[str]:
    pace, overlay = group.pace, group.overlay
    words = {"a": "alpha (a)", "b": "beta (b)", "c": "rate of c"}
    rates = [f"{words[name]} {_rate(rate)}" for name, rate in group.rates.items()]
    said = [f"no optimum at {statement.scale} {s:g}: {why}" for s, why in group.left_out.items()]
    if group.exponent:
        said.append(f"settings are moved by {group.exponent:+g} octaves per doubling, as claimed")
    scale = statement.scale
    said.append(f"gaps close as {scale}^-rate: {', '.join(rates)}" if rates else "no rates")
    pair = {"tuned": overlay.tuned, f"transferred from {overlay.base:g}": overlay.transferred}
    laws = [f"{name} {_law(law, scale)}" for name, law in pair.items() if law is not None]
    if laws:
        said.append(f"loss: {'; '.join(laws)}")
    said.append(f"verdict: {VERDICTS[pace.speed]}: {pace.why}")
    said.append(f"better than tuning directly: {pace.useful}; asymptotically free: {_free(group)}")
    return said


def _free(group: Transfer) -> str:
    least = group.pace.free_from
    if math.isnan(least):
        return group.pace.free
    if math.isinf(least):
        return "no, whatever beta"
    return f"{group.pace.free} (from beta {least:.2f} on)"


def _rate(rate: Rate) -> str:
    low = f"{rate.low:.2f}" if math.isfinite(rate.low) else "open"
    high = f"{rate.high:.2f}" if math.isfinite(rate.high) else "open"
    return f"{rate.value:.2f} [{low}, {high}]"


def _law(law: Law, scale: str) -> str:
    (term,) = law.terms
    return f"{law.asymptote:.4g} + {term.amplitude:.4g} {scale}^-{term.exponent:.3g}"
