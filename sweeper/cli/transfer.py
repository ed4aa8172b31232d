"""`sweeper transfer` and `sweeper advise`: how fast optima converge, and where to tune under a
budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    EACH_HINT,
    EachOption,
    HolesOption,
    HorizonOption,
    HyperparameterOption,
    JsonOption,
    ScaleOption,
    StoreOption,
    StudyName,
    name_of,
    names_of,
    open_store,
)
from sweeper.cli.text import (
    Said,
    evidence_lines,
    grid,
    noted,
    one_or_all,
    print_answer,
    print_json,
)
from sweeper.errors import RequestError
from sweeper.words import with_article

if TYPE_CHECKING:
    from rich.table import Table

    from sweeper.analysis import Advice, Gap, Growth, Law, MeasuredNumber, Rate
    from sweeper.answers import (
        AdviceStatement,
        BudgetAdvice,
        NoTransfer,
        Transfer,
        TransferStatement,
    )


class ReferenceName(StrEnum):
    """What gaps are measured from."""

    largest = "largest"
    limit = "limit"


class CurvedEstimator(StrEnum):
    """How an optimum is read off its points; all of them know the curvature."""

    spline = "spline"
    quadratic = "quadratic"
    quadratic3 = "quadratic3"
    skewed = "skewed"
    shared = "shared"


def transfer(
    study: StudyName,
    store: StoreOption = None,
    hyperparameter: HyperparameterOption = None,
    scale: ScaleOption = None,
    horizon: HorizonOption = None,
    each: EachOption = None,
    reference: Annotated[
        ReferenceName, typer.Option(help="Measure from the largest scale, or an extrapolated one.")
    ] = ReferenceName.largest,
    estimator: Annotated[
        CurvedEstimator | None,
        typer.Option(
            help="How an optimum is read off its points (default: spline; skewed where points "
            "are few, shared for a ladder).",
            show_default=False,
        ),
    ] = None,
    allow_holes: HolesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the gaps to the largest scale, how fast they close, and whether transfer pays."""
    with open_store(store) as opened:
        name = name_of(study, store)
        opened.read_ahead(name)
        from sweeper.answers import transfers_of  # loaded meanwhile

        statements = transfers_of(
            opened,
            name,
            hyperparameter,
            scale=scale,
            horizon=horizon,
            each=names_of(each, "--each", EACH_HINT),
            reference=reference.value,
            estimator=estimator,
            allow_holes=allow_holes,
        )
    if as_json:
        print_json(one_or_all([statement.to_json() for statement in statements]))
        return
    for statement in statements:
        _print_statement(statement)


def _print_statement(statement: TransferStatement) -> None:
    base = "the largest scale" if statement.reference == "largest" else "the extrapolated limit"
    title = f"{statement.study}: gaps of {statement.hyperparameter} to {base}, over "
    groups = ((group.label, _said(statement, group)) for group in statement.groups)
    print_answer(title + statement.scale, noted(statement.notes), groups)


def _said(statement: TransferStatement, group: Transfer | NoTransfer) -> Iterator[Said]:
    from sweeper.answers import NoTransfer

    if isinstance(group, NoTransfer):
        yield f"no answer: {group.refused}"
    else:
        yield _table(statement, group)
        yield from _sentences(statement, group)
        yield from evidence_lines(group.evidence)


def _table(statement: TransferStatement, group: Transfer) -> Table:
    rows = [
        [
            (statement.scale, f"{row.scale:g}"),
            ("a: loss gap", _gap(row.a)),
            ("b: octaves", _gap(row.b)),
            ("c: cost of transfer", _gap(row.c)),
            ("curvature b²/2", f"{row.expected:.3g}"),
            ("c/a", "" if math.isnan(row.ratio) else f"{row.ratio:.2g}"),
        ]
        for row in group.rows
    ]
    return grid(rows)


def _gap(gap: Gap) -> str:
    from sweeper.answers import why_refused

    if math.isnan(gap.value):
        return "not measured"
    if math.isinf(gap.value):
        return "diverges"
    if gap.value == 0:
        return f"0 (noise {gap.floor:.2g})"
    if not (math.isfinite(gap.low) and math.isfinite(gap.high)):
        return f"{gap.value:.3g} [open]"
    if why_refused(gap.value, gap.low, gap.high):
        return f"{gap.value:.3g} (no interval)"
    return f"{gap.value:.3g} [{gap.low:.2g}, {gap.high:.2g}]"


def _sentences(statement: TransferStatement, group: Transfer) -> list[str]:
    from sweeper.answers import SPEEDS

    verdict = group.verdict
    words = {"a": "alpha (a)", "b": "beta (b)", "c": "rate of c"}
    rates = [f"{words[name]} {_rate(rate)}" for name, rate in group.rates.items()]
    said = [f"no optimum at {statement.scale} {s:g}: {why}" for s, why in group.left_out.items()]
    if group.exponent:
        said.append(f"settings are moved by {group.exponent:+g} octaves per doubling, as claimed")
    scale = statement.scale
    said.append(f"gaps close as {scale}^-rate: {', '.join(rates)}" if rates else "no rates")
    pair = {
        "tuned": group.laws.tuned,
        f"transferred from {group.laws.base:g}": group.laws.transferred,
    }
    said += [f"note: {warning}" for warning in group.warnings]
    sign = statement.sign
    laws = [f"{name} {_law(law, scale, sign)}" for name, law in pair.items() if law is not None]
    if laws:
        said.append(f"{'loss' if sign > 0 else statement.metric}: {'; '.join(laws)}")
    said.append(f"quality: {', '.join(_quality(group, sign))}")
    said.append(f"verdict: {SPEEDS[verdict.speed]}: {verdict.why}")
    said.append(
        f"better than tuning directly: {verdict.useful}; asymptotically free: {_free(group)}"
    )
    return said


def _quality(group: Transfer, sign: int) -> Iterator[str]:
    """Yields E, kappa and R_inf, as far as they are known."""
    quality, penalty = group.quality, group.penalty
    if quality.fit_error is None:
        yield "E not known from two scales"
    else:
        noise = "" if quality.by_noise is None else f" ({quality.by_noise:.2g} by noise alone)"
        yield f"E {quality.fit_error:.2g} octaves off a power law{noise}"
    yield "kappa not known" if quality.kappa is None else f"kappa {_measured(quality.kappa)}"
    if penalty is not None:
        yield f"R_inf {_measured(penalty)} {'above' if sign > 0 else 'below'} the best variant"


def _measured(number: MeasuredNumber | Rate, digits: str = "+.2f") -> str:
    return f"{number.value:{digits}} {_ends(number.low, number.high, digits)}"


def _ends(low: float, high: float, digits: str) -> str:
    """Returns ``[0.49, 0.55]``, an infinite end as ``open``."""
    said = (f"{end:{digits}}" if math.isfinite(end) else "open" for end in (low, high))
    return f"[{', '.join(said)}]"


def _free(group: Transfer) -> str:
    least = group.verdict.free_from
    if math.isnan(least):
        return group.verdict.free
    if math.isinf(least):
        return "no, whatever beta"
    return f"{group.verdict.free} (from beta {least:.2f} on)"


def _rate(rate: Rate) -> str:
    from sweeper.answers import why_refused

    if why_refused(rate.value, rate.low, rate.high):
        return "refused"
    return _measured(rate, ".2f")


def _law(law: Law, scale: str, sign: int) -> str:
    (term,) = law.terms
    if "no_fall" in law.flags:
        return f"shows no {'fall' if sign > 0 else 'rise'} with {with_article(scale)}"
    joint = "+" if sign > 0 else "-"
    low, high = sorted((sign * law.low, sign * law.high))
    limit = _ends(low, high, ".4g")
    rate = _ends(term.low, term.high, ".3g")
    return (
        f"{sign * law.asymptote:.4g} {limit} {joint} {term.amplitude:.4g} "
        f"{scale}^-{term.exponent:.3g} {rate}"
    )


Number = float | None

NAMES = {
    "transfer": "tune at a proxy",
    "direct": "tune directly",
    "smaller": "a smaller model",
    "keep": "known optimum",
    "untuned": "untuned",
}
"""Strategies in the reader's words."""


def advise(
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
    each: EachOption = None,
    alpha: Annotated[Number, typer.Option(help="The tuned loss falls as scale^-alpha.")] = None,
    beta: Annotated[Number, typer.Option(help="The optimum converges as scale^-beta.")] = None,
    cost_exponent: Annotated[Number, typer.Option(help="R, where a run costs scale^R.")] = None,
    run_flops: Annotated[Number, typer.Option(help="FLOPs of one run at the target.")] = None,
    hyperparameters: Annotated[int, typer.Option(min=1, help="How many are tuned together.")] = 1,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say at which proxy to tune, and how finely, to spend a budget of FLOPs best."""
    from sweeper.answers import Constants, budget_advice, general_advice

    given = Constants(
        alpha=alpha,
        beta=beta,
        cost_exponent=cost_exponent,
        run_flops=run_flops,
        hyperparameters=hyperparameters,
    )
    if study is None:
        _require_no_study_options(hyperparameter, scale, horizon, each)
        found = general_advice(target=target, budget=flops, given=given)
    else:
        with open_store(store) as opened:
            found = budget_advice(
                opened,
                name_of(study, store),
                hyperparameter,
                scale=scale,
                horizon=horizon,
                each=names_of(each, "--each", EACH_HINT),
                target=target,
                budget=flops,
                given=given,
            )
    if as_json:
        print_json(found.to_json())
        return
    what = f"{found.study}: {found.scale} {target:g}" if found.study else f"scale {target:g}"
    groups = ((group.title, _said_of_budget(found, group)) for group in found.groups)
    print_answer(f"{what} on {flops:.3g} FLOPs", noted(found.notes), groups)


def _require_no_study_options(*values: str | None) -> None:
    names = ("--hyperparameter", "--scale", "--horizon", "--each")
    lost = [name for name, value in zip(names, values, strict=True) if value is not None]
    if lost:
        raise RequestError(f"{lost[0]} chooses what is read off a study; name the study too")


def _said_of_budget(statement: AdviceStatement, group: BudgetAdvice) -> Iterator[Said]:
    if group.advice is None:
        yield f"no advice: {group.refused}"
        return
    yield _advice_table(statement, group.advice)
    yield from group.advice.sentences
    if group.growth is not None:
        yield _growth(group.growth)
    yield from (f"assumed: {assumption}" for assumption in group.assumptions)
    if group.evidence is not None:
        yield from evidence_lines(group.evidence)


def _advice_table(statement: AdviceStatement, advice: Advice) -> Table:
    rows = [
        [
            ("strategy", NAMES[option.strategy]),
            ("tuned at", "" if option.proxy is None else f"{option.proxy:g}"),
            ("model", f"{option.scale:g}"),
            ("points", f"{option.points}" if option.points else ""),
            ("octaves apart", f"{option.resolution:.2g}" if option.points else ""),
            ("runs", f"{option.runs}"),
            ("FLOPs", f"{option.flops:.3g}"),
            (statement.metric, f"{statement.sign * option.loss:.4f}"),
            ("+" if statement.sign > 0 else "-", f"{option.excess:.2g}"),
        ]
        for option in advice.options
    ]
    return grid(rows, words=("strategy",))


def _growth(growth: Growth) -> str:
    free = "tuning is asymptotically free" if growth.free else "tuning is never free"
    if not growth.free and math.isfinite(growth.free_from):
        free = f"tuning would be free from beta {growth.free_from:.2f} on"
    useful = "is" if growth.useful else "is not"
    return (
        f"as compute F grows, transfer leaves F^-{growth.transfer:.3f} and direct tuning "
        f"F^-{growth.direct:.3f}, so transfer {useful} useful; {free}; the best proxy grows as "
        f"F^{growth.proxy:.3f}"
    )
