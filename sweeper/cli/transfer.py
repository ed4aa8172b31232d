"""`sweeper transfer` and `sweeper advise`: how fast optima converge, and where to tune under a
budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import HorizonOption, JsonOption, ScaleOption, StoreOption, StudyName
from sweeper.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sweeper.analysis import Advice, Gap, Growth, Law, Rate
    from sweeper.answers import Counsel, Transfer, TransferStatement


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
    from sweeper.answers import transfers_of
    from sweeper.cli.status import name_of
    from sweeper.cli.text import console, print_json
    from sweeper.store import Store

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
    from sweeper.answers import NoTransfer
    from sweeper.cli.text import print_evidence, say

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
    verdict, overlay = group.verdict, group.overlay
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
    said.append(f"verdict: {VERDICTS[verdict.speed]}: {verdict.why}")
    said.append(
        f"better than tuning directly: {verdict.useful}; asymptotically free: {_free(group)}"
    )
    return said


def _free(group: Transfer) -> str:
    least = group.verdict.free_from
    if math.isnan(least):
        return group.verdict.free
    if math.isinf(least):
        return "no, whatever beta"
    return f"{group.verdict.free} (from beta {least:.2f} on)"


def _rate(rate: Rate) -> str:
    low = f"{rate.low:.2f}" if math.isfinite(rate.low) else "open"
    high = f"{rate.high:.2f}" if math.isfinite(rate.high) else "open"
    return f"{rate.value:.2f} [{low}, {high}]"


def _law(law: Law, scale: str) -> str:
    (term,) = law.terms
    return f"{law.asymptote:.4g} + {term.amplitude:.4g} {scale}^-{term.exponent:.3g}"


Number = float | None

NAMES = {
    "transfer": "tune at a proxy",
    "direct": "tune directly",
    "smaller": "a smaller model",
    "keep": "known optimum",
    "untuned": "untuned",
}
"""Strategies in the reader's words."""


def advise_command(
    target: Annotated[
        float, typer.Option("--target", "--target-width", help="Scale of the model wanted.")
    ],
    flops: Annotated[float, typer.Option(help="Budget of all runs together, FLOPs.")],
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="A study whose constants are used, or its file."),
    ] = None,
    hyperparameter: Annotated[
        str | None, typer.Option("--hyperparameter", "--hp", help="Which one of the study's.")
    ] = None,
    scale: ScaleOption = None,
    horizon: HorizonOption = None,
    alpha: Annotated[Number, typer.Option(help="The tuned loss falls as scale^-alpha.")] = None,
    beta: Annotated[Number, typer.Option(help="The optimum converges as scale^-beta.")] = None,
    cost_exponent: Annotated[Number, typer.Option(help="R, where a run costs scale^R.")] = None,
    run_flops: Annotated[Number, typer.Option(help="FLOPs of one run at the target.")] = None,
    hyperparameters: Annotated[int, typer.Option(min=1, help="How many are tuned together.")] = 1,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say at which proxy to tune, and how finely, to spend a budget of FLOPs best."""
    from sweeper.answers import Given, counsels_of, general_counsel
    from sweeper.cli.status import name_of
    from sweeper.store import Store

    given = Given(
        alpha=alpha,
        beta=beta,
        cost_exponent=cost_exponent,
        run_flops=run_flops,
        hyperparameters=hyperparameters,
    )
    if study is None:
        _require_no_study_options(hyperparameter, scale, horizon)
        counsels = [general_counsel(target=target, budget=flops, given=given)]
    else:
        with Store.open(store, create=False) as opened:
            counsels = counsels_of(
                opened,
                name_of(study),
                hyperparameter,
                scale=scale,
                horizon=horizon,
                target=target,
                budget=flops,
                given=given,
            )
    _print(counsels, target=target, flops=flops, as_json=as_json)


def _require_no_study_options(*values: str | None) -> None:
    names = ("--hyperparameter", "--scale", "--horizon")
    lost = [name for name, value in zip(names, values, strict=True) if value is not None]
    if lost:
        raise RequestError(f"{lost[0]} chooses what is read off a study; name the study too")


def _print(counsels: Sequence[Counsel], *, target: float, flops: float, as_json: bool) -> None:
    from sweeper.cli.text import console, print_json, say

    first = counsels[0]
    if as_json:
        head = {"study": first.study, "scale": first.scale, "target": target, "flops": flops}
        groups = [counsel.to_json() for counsel in counsels]
        print_json(head | {"groups": groups, "notes": list(first.notes)})
        return
    out = console()
    what = f"{first.study}: {first.scale} {target:g}" if first.study else f"scale {target:g}"
    out.print(f"\n{what} on {flops:.3g} FLOPs", style="bold")
    for note in first.notes:
        say(out, f"note: {note}")
    for counsel in counsels:
        _print_counsel(out, counsel)


def _print_counsel(out: Console, counsel: Counsel) -> None:
    from sweeper.cli.text import print_evidence, say

    name = f"{counsel.label}: {counsel.hyperparameter}" if counsel.study else counsel.label
    out.print(f"\n{name}", style="bold cyan")
    if counsel.advice is None:
        say(out, f"no advice: {counsel.refused}")
        return
    out.print(_advice_table(counsel.advice))
    said = [*counsel.advice.sentences]
    if counsel.growth is not None:
        said.append(_growth(counsel.growth))
    said += [f"assumed: {assumption}" for assumption in counsel.assumptions]
    for sentence in said:
        say(out, sentence)
    if counsel.evidence is not None:
        print_evidence(out, counsel.evidence)


def _advice_table(advice: Advice) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), pad_edge=True)
    table.add_column("strategy")
    for heading in ("tuned at", "model", "points", "octaves apart", "runs", "FLOPs", "loss", "+"):
        table.add_column(heading, justify="right")
    for option in advice.options:
        tuned = option.points > 0
        table.add_row(
            NAMES[option.strategy],
            "" if option.proxy is None else f"{option.proxy:g}",
            f"{option.scale:g}",
            f"{option.points}" if tuned else "",
            f"{option.resolution:.2g}" if tuned else "",
            f"{option.runs}",
            f"{option.flops:.3g}",
            f"{option.loss:.4f}",
            f"{option.excess:.2g}",
        )
    return table


def _growth(growth: Growth) -> str:
    free = "tuning is asymptotically free" if growth.free else "tuning is never free"
    if not growth.free and isfinite(growth.free_from):
        free = f"tuning would be free from beta {growth.free_from:.2f} on"
    useful = "is" if growth.useful else "is not"
    return (
        f"as compute F grows, transfer leaves F^-{growth.transfer:.3f} and direct tuning "
        f"F^-{growth.direct:.3f}, so transfer {useful} useful; {free}; the best proxy grows as "
        f"F^{growth.proxy:.3f}"
    )
