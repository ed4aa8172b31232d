"""`sweeper drift`: optima, drift, regret and verdicts, of one hyperparameter or of two at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    AllOption,
    EstimatorName,
    EstimatorOption,
    HolesOption,
    HorizonOption,
    JsonOption,
    ScaleOption,
    StoreOption,
    StrictOption,
    StudyName,
    name_of,
    named,
    open_store,
)
from sweeper.cli.text import (
    Said,
    console,
    cut,
    evidence_lines,
    flag_words,
    grid,
    interval,
    noted,
    one_or_all,
    print_answer,
    print_json,
)
from sweeper.errors import RequestError
from sweeper.words import percent, power_range, signed_plain, with_power

if TYPE_CHECKING:
    from rich.table import Table

    from sweeper.analysis import Optimum, Regret
    from sweeper.answers import DriftGroup, DriftStatement, JointGroup, JointStatement

WIDE = 120
"""Columns of a terminal from which on a tuned loss has its interval beside it."""

SMALL_EXPONENT = 0.005
"""What two decimals would not show."""

ON_RIDGE = (
    "ridge: along the second axis the optimum is not determined; only the combination that the "
    "first axis names is"
)


def drift(
    study: StudyName,
    store: StoreOption = None,
    hyperparameter: Annotated[
        str | None,
        named(
            "--hyperparameter --hp",
            "A setting, learning_rate.hidden, timescale, or a formula such as "
            "learning_rate*weight_decay (default: those of the claims, else the first swept).",
        ),
    ] = None,
    joint: Annotated[
        str | None,
        named(
            "--joint",
            "Two hyperparameters: their joint optimum and its principal axes instead.",
            "NAME,NAME",
        ),
    ] = None,
    scale: ScaleOption = None,
    horizon: HorizonOption = None,
    estimator: EstimatorOption = EstimatorName.skewed,
    allow_holes: HolesOption = False,
    strict: StrictOption = False,
    every: AllOption = False,
    as_json: JsonOption = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="In the JSON, name the trials behind each group.")
    ] = False,
) -> None:
    """Show the optimum per scale, its drift, the regret of transfer and the claims' verdicts."""
    from sweeper.answers import joint_answer, keep_estimates, statements_of, view_study

    default = estimator is EstimatorName.skewed
    if keys and not as_json:
        raise RequestError("--keys names trials in the JSON; add --json, or leave it out")
    if joint is not None and (hyperparameter is not None or strict or not default):
        raise RequestError(
            "--joint names both hyperparameters, fits a paraboloid and judges no claim; "
            "leave --hyperparameter, --estimator and --strict out"
        )
    with open_store(store) as opened:
        name = name_of(study)
        if joint is not None:
            pair = [each.strip() for each in joint.split(",") if each.strip()]
            view = view_study(opened, name, scale=scale, hyperparameters=pair, horizon=horizon)
            together = joint_answer(view, allow_holes=allow_holes)
        else:
            statements = statements_of(
                opened,
                name,
                hyperparameter=hyperparameter,
                scale=scale,
                horizon=horizon,
                estimator=estimator.value,
                allow_holes=allow_holes,
            )
            # The table of estimates holds the study's own question: its scale, its runs' ends.
            if default and scale is None and horizon is None:
                keep_estimates(opened, statements)
    if as_json and joint is not None:
        print_json(together.to_json(keys=keys))
    elif as_json:
        print_json(one_or_all([statement.to_json(keys=keys) for statement in statements]))
    elif joint is not None:
        _print_joint(together, every=every)
    else:
        print_statements(statements, every=every)
    raise typer.Exit(1 if strict and claims_broken(statements) else 0)


def claims_broken(statements: Sequence[DriftStatement]) -> bool:
    """Returns True if any claim of any group is broken."""
    return any(
        verdict.ruling == "broken"
        for statement in statements
        for group in statement.groups
        for verdict in group.verdicts
    )


def print_statements(statements: Sequence[DriftStatement], *, every: bool = False) -> None:
    """Prints the bottom line and the groups: their optima, drift, regret and verdicts.

    Args:
        statements: what to print.
        every: all groups and notes; else the first that say something, and a count.
    """
    from sweeper.answers import why_no_drift

    for statement in statements:
        title = f"{statement.study}: best {statement.hyperparameter} against {statement.scale}"
        shown, rest = cut(
            statement.groups,
            partial(why_no_drift, scale=statement.scale),
            every=every,
        )
        groups = ((group.label, _said(statement, group)) for group in shown)
        lead = [statement.bottom_line, *noted(statement.notes, every=every)]
        print_answer(title, lead, groups, rest)


def _said(statement: DriftStatement, group: DriftGroup) -> Iterator[Said]:
    from sweeper.answers import DRIFT_FLAGS, refused_for_holes

    if group.optima:
        yield _optima_table(statement, group)
    if any(_compute(row).endswith("*") for row in group.regret):
        yield "* extrapolated beyond the tuned losses"
    if group.optima or not refused_for_holes(group):
        for scale, why in group.left_out.items():
            yield f"no optimum at {statement.scale} {scale:g}: {why}"
    if (drift := group.drift) is not None:
        yield (
            f"drift {signed_plain(drift.slope)} octaves per doubling of the {statement.scale}, "
            f"95% interval {interval(drift.low, drift.high, signed_plain)}"
        )
        if drift.bends:
            yield f"the drift {drift.bend_words}"
        yield from (f"- {DRIFT_FLAGS[flag]}" for flag in drift.flags if flag != "bends")
    elif group.refused is not None:
        yield f"no drift, because {_because(statement, group)}"
    yield from evidence_lines(group.evidence)
    for verdict in group.verdicts:
        from rich.text import Text

        head = f"claim {verdict.claim.exponent:g} ± {verdict.claim.tolerance:g}: "
        yield Text.assemble(head, (verdict.ruling, "bold"), f". {verdict.why}")


def _because(statement: DriftStatement, group: DriftGroup) -> str:
    """Returns why a group has no drift; scales without an optimum have been named already."""
    from sweeper.answers import refused_for_holes

    if not group.optima or not refused_for_holes(group):
        return group.refused or ""
    missing, every = len(group.left_out), len(group.left_out) + len(group.optima)
    return (
        f"{missing} of {every} values of the {statement.scale} have no optimum; --allow-holes "
        "goes on without them"
    )


def _optima_table(statement: DriftStatement, group: DriftGroup) -> Table:
    """Returns one row a scale; the column of compute only where something is priced."""
    regret = {row.scale: row for row in group.regret}
    priced = any(_compute(row) for row in group.regret)
    wide = console().width >= WIDE
    holed = any(optimum.answered < optimum.declared for optimum in group.optima)
    return grid(
        [
            [
                (statement.scale, f"{optimum.scale:g}"),
                ("optimum", with_power(optimum.value)),
                ("95% interval", power_range(optimum.low, optimum.high)),
                (statement.metric, f"{statement.sign * optimum.loss:.4f}"),
                *[("its 95%", _loss_interval(statement, optimum))] * wide,
                (f"regret at exponent {group.exponent:g}", _regret(regret.get(optimum.scale))),
                *[("compute", _compute(regret.get(optimum.scale)))] * priced,
                *[("trials", f"{optimum.answered}/{optimum.declared}")] * holed,
                ("flags", flag_words(optimum.flags)),
            ]
            for optimum in group.optima
        ]
    )


def _loss_interval(statement: DriftStatement, optimum: Optimum) -> str:
    """Returns the interval of the tuned loss, or of what it is minus."""
    low, high = sorted(statement.sign * end for end in (optimum.loss_low, optimum.loss_high))
    return interval(low, high, "{:.4f}".format)


def _regret(row: Regret | None) -> str:
    """Returns what transfer costs, as far as it is known."""
    if row is None or row.certainty == "unknown":
        return "unknown"
    if row.certainty == "infinite":
        return "diverges"
    share = f" ({percent(row.percent)})" if math.isfinite(row.percent) else ""
    if row.resolved and math.isinf(row.high):
        return f"at least {row.regret:.4f}{share}"
    if row.resolved and not row.harmless:
        return f"{row.regret:.4f}{share}, {row.low:.2g} to {row.high:.2g}"
    bound = f", ≤ {row.high:.2g}" if math.isfinite(row.high) else ""
    return f"{'harmless' if row.harmless else 'not resolved'}{bound}"


def _compute(row: Regret | None) -> str:
    """Returns the factor of compute that transfer throws away, where it is not noise."""
    if row is None or not row.resolved or not math.isfinite(row.compute):
        return ""
    star = "*" if row.compute_note else ""
    return f"{'≥' if row.certainty == 'at_least' else ''}×{row.compute:.2f}{star}"


def _print_joint(statement: JointStatement, *, every: bool) -> None:
    """Prints every group: the joint optimum per scale and its principal axes."""
    pair = " and ".join(statement.hyperparameters)
    title = f"{statement.study}: best {pair} together against {statement.scale}"
    shown, rest = cut(
        statement.groups, lambda group: None if group.optima else "without an optimum", every=every
    )
    groups = ((group.label, _said_jointly(statement, group)) for group in shown)
    print_answer(title, noted(statement.notes, every=every), groups, rest)


def _said_jointly(statement: JointStatement, group: JointGroup) -> Iterator[Said]:
    optima = group.optima.values()
    if optima:
        yield _joint_table(statement, group)
    for scale, why in group.left_out.items():
        yield f"no joint optimum at {statement.scale} {scale:g}: {why}"
    if any(optimum.axes for optimum in optima):
        yield _axes_table(statement, group)
    if any("ridge" in flags for optimum in optima for flags in optimum.flags):
        yield ON_RIDGE
    yield from evidence_lines(group.evidence)


def _joint_table(statement: JointStatement, group: JointGroup) -> Table:
    rows = [
        [
            (statement.scale, f"{scale:g}" if axis == 0 else ""),
            ("hyperparameter", name),
            ("optimum", with_power(float(2.0 ** optimum.log2[axis]))),
            ("95% interval", power_range(float(optimum.low[axis]), float(optimum.high[axis]))),
            ("loss", f"{optimum.loss:.4f}" if axis == 0 else ""),
            ("flags", flag_words(optimum.flags[axis])),
        ]
        for scale, optimum in group.optima.items()
        for axis, name in enumerate(optimum.names)
    ]
    return grid(rows, words=("hyperparameter", "flags"))


def _axes_table(statement: JointStatement, group: JointGroup) -> Table:
    """Returns the principal axes, the most curved first, with the interval along each."""
    rows = []
    for scale, optimum in group.optima.items():
        for place, axis in enumerate(optimum.axes):
            lead = _lead(axis.direction)
            ends = (axis.low, axis.high) if axis.direction[lead] > 0 else (-axis.high, -axis.low)
            rows.append(
                [
                    (statement.scale, f"{scale:g}" if place == 0 else ""),
                    ("principal axis", _combination(statement.hyperparameters, axis.direction)),
                    ("curvature", f"{axis.curvature:.3g}"),
                    (
                        "95% along it, octaves",
                        interval(*ends, lambda octaves: f"{round(octaves, 2) + 0.0:+.2f}"),
                    ),
                ]
            )
    return grid(rows, words=("principal axis",))


def _combination(names: tuple[str, str], direction: tuple[float, float]) -> str:
    """Returns a direction as the product or quotient that grows along it, the larger exponent
    being 1."""
    lead = _lead(direction)
    ratio = direction[1 - lead] / direction[lead]
    if abs(ratio) < SMALL_EXPONENT:
        return names[lead]
    power_of = "" if abs(abs(ratio) - 1) < SMALL_EXPONENT else f"^{abs(ratio):.2f}"
    return f"{names[lead]} {'×' if ratio > 0 else '/'} {names[1 - lead]}{power_of}"


def _lead(direction: tuple[float, float]) -> int:
    """Returns which hyperparameter has the larger exponent, the first if they look equal."""
    return 0 if abs(direction[0]) >= abs(direction[1]) * (1 - SMALL_EXPONENT) else 1
