"""`sweeper drift`: optima, drift, regret and verdicts, of one hyperparameter or of two at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from sweeper.cli.options import (
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
    evidence_lines,
    flag_words,
    grid,
    interval,
    noted,
    one_or_all,
    power_interval,
    print_answer,
    print_json,
)
from sweeper.errors import RequestError
from sweeper.words import with_power

if TYPE_CHECKING:
    from sweeper.analysis import Regret
    from sweeper.answers import DriftGroup, DriftStatement, JointGroup, JointStatement

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
        _print_joint(together)
    else:
        print_statements(statements)
    raise typer.Exit(1 if strict and claims_broken(statements) else 0)


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
    for statement in statements:
        title = f"{statement.study}: best {statement.hyperparameter} against {statement.scale}"
        groups = ((group.label, _said(statement, group)) for group in statement.groups)
        print_answer(title, noted(statement.notes), groups)


def _said(statement: DriftStatement, group: DriftGroup) -> Iterator[Said]:
    from sweeper.answers import DRIFT_FLAGS

    if group.optima:
        yield _optima_table(statement, group)
    if any(_compute(row).endswith("*") for row in group.regret):
        yield "* extrapolated beyond the tuned losses"
    for scale, why in group.left_out.items():
        yield f"no optimum at {statement.scale} {scale:g}: {why}"
    if (drift := group.drift) is not None:
        yield (
            f"drift {drift.slope:+.2f} octaves per doubling of the {statement.scale}, "
            f"95% interval {interval(drift.low, drift.high, '{:+.2f}'.format)}"
        )
        yield from (f"- {DRIFT_FLAGS[flag]}" for flag in drift.flags)
    elif group.refused is not None:
        yield f"no drift: {group.refused}"
    yield from evidence_lines(group.evidence)
    for verdict in group.verdicts:
        head = f"claim {verdict.claim.exponent:g} ± {verdict.claim.tolerance:g}: "
        yield Text.assemble(head, (verdict.ruling, "bold"), f". {verdict.why}")


def _optima_table(statement: DriftStatement, group: DriftGroup) -> Table:
    """Returns one row a scale; the column of compute only where something is priced."""
    regret = {row.scale: row for row in group.regret}
    priced = any(_compute(row) for row in group.regret)
    return grid(
        [
            [
                (statement.scale, f"{optimum.scale:g}"),
                ("optimum", with_power(optimum.value)),
                ("95% interval", power_interval(optimum.low, optimum.high)),
                (statement.metric, f"{statement.sign * optimum.loss:.4f}"),
                ("regret", _regret(regret.get(optimum.scale))),
                *[("compute", _compute(regret.get(optimum.scale)))] * priced,
                ("trials", f"{optimum.answered}/{optimum.declared}"),
                ("flags", flag_words(optimum.flags)),
            ]
            for optimum in group.optima
        ]
    )


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


def _print_joint(statement: JointStatement) -> None:
    """Prints every group: the joint optimum per scale and its principal axes."""
    pair = " and ".join(statement.hyperparameters)
    title = f"{statement.study}: best {pair} together against {statement.scale}"
    groups = ((group.label, _said_jointly(statement, group)) for group in statement.groups)
    print_answer(title, noted(statement.notes), groups)


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
            ("95% interval", power_interval(float(optimum.low[axis]), float(optimum.high[axis]))),
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
