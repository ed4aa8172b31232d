"""`sweeper advise`: where to tune, and how finely, under a compute budget."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import HorizonOption, JsonOption, ScaleOption, StoreOption
from sweeper.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sweeper.analysis.advise import Advice
    from sweeper.analysis.economy import Growth
    from sweeper.report.transfers import Counsel

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
    from sweeper.analysis.landscape_reading import Given
    from sweeper.cli.answers import name_of
    from sweeper.report.transfers import counsels_of, general_counsel
    from sweeper.store.store import Store

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
    from sweeper.cli.printing import console, print_json
    from sweeper.cli.statements import say

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
    from sweeper.cli.statements import print_evidence, say

    name = f"{counsel.label}: {counsel.hyperparameter}" if counsel.study else counsel.label
    out.print(f"\n{name}", style="bold cyan")
    if counsel.advice is None:
        say(out, f"no advice: {counsel.refused}")
        return
    out.print(_table(counsel.advice))
    said = [*counsel.advice.sentences]
    if counsel.growth is not None:
        said.append(_growth(counsel.growth))
    said += [f"assumed: {assumption}" for assumption in counsel.assumptions]
    for sentence in said:
        say(out, sentence)
    if counsel.evidence is not None:
        print_evidence(out, counsel.evidence)


def _table(advice: Advice) -> Table:
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
