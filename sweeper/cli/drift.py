"""`sweeper drift`: optima, drift, regret and verdicts, of one hyperparameter or of two at once."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from sweeper.analysis import DEFAULT, JointOptimum
from sweeper.answers import (
    JointGroup,
    JointStatement,
    joint_answer,
    keep_estimates,
    statements_of,
    view_study,
)
from sweeper.cli.status import name_of
from sweeper.cli.text import (
    claims_broken,
    console,
    print_evidence,
    print_json,
    print_statements,
    say,
)
from sweeper.errors import RequestError
from sweeper.store import Store
from sweeper.words import power

SMALL_EXPONENT = 0.005
"""What two decimals would not show."""

ON_RIDGE = (
    "ridge: along the second axis the optimum is not determined; only the combination that the "
    "first axis names is"
)


def joint_command(
    store: Store,
    study: str,
    names: str,
    *,
    scale: str | None,
    horizon: str | None,
    allow_holes: bool,
    as_json: bool,
    keys: bool,
) -> None:
    """Prints the joint optima of two hyperparameters.

    Raises:
        RequestError: not two names.
    """
    pair = [name.strip() for name in names.split(",") if name.strip()]
    view = view_study(store, study, scale=scale, hyperparameters=pair, horizon=horizon)
    statement = joint_answer(view, allow_holes=allow_holes)
    if as_json:
        print_json(statement.to_json(keys=keys))
    else:
        print_joint(statement)


def print_joint(statement: JointStatement) -> None:
    """Prints every group: the joint optimum per scale and its principal axes."""
    out = console()
    pair = " and ".join(statement.hyperparameters)
    out.print(f"\n{statement.study}: best {pair} together against {statement.scale}", style="bold")
    for note in statement.notes:
        say(out, f"note: {note}")
    for group in statement.groups:
        _print_group(out, statement, group)


def _print_group(out: Console, statement: JointStatement, group: JointGroup) -> None:
    out.print(f"\n{group.label}", style="bold cyan")
    if group.optima:
        out.print(_table(statement, group))
    for scale, why in group.left_out.items():
        say(out, f"no joint optimum at {statement.scale} {scale:g}: {why}")
    if any(optimum.axes for optimum in group.optima.values()):
        out.print(_axes_table(statement, group))
    if any("ridge" in flags for optimum in group.optima.values() for flags in optimum.flags):
        say(out, ON_RIDGE)
    print_evidence(out, group.evidence)


def _table(statement: JointStatement, group: JointGroup) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=True)
    for heading in (statement.scale, "hyperparameter", "optimum", "95% interval", "loss", "flags"):
        words = heading in ("hyperparameter", "flags")
        table.add_column(heading, justify="left" if words else "right")
    for scale, optimum in group.optima.items():
        for axis, name in enumerate(optimum.names):
            value = float(2.0 ** optimum.log2[axis])
            table.add_row(
                f"{scale:g}" if axis == 0 else "",
                name,
                f"{value:.3g} = {power(value)}",
                _interval(optimum, axis),
                f"{optimum.loss:.4f}" if axis == 0 else "",
                ", ".join(flag.replace("_", " ") for flag in optimum.flags[axis]),
            )
    return table


def _interval(optimum: JointOptimum, axis: int) -> str:
    ends = (float(optimum.low[axis]), float(optimum.high[axis]))
    return " to ".join(f"2^{end:.2f}" if math.isfinite(end) else "open" for end in ends)


def _axes_table(statement: JointStatement, group: JointGroup) -> Table:
    """Returns the principal axes, the most curved first, with the interval along each."""
    table = Table(box=None, padding=(0, 1), pad_edge=True)
    for heading in (statement.scale, "principal axis", "curvature", "95% along it, octaves"):
        table.add_column(heading, justify="left" if heading == "principal axis" else "right")
    for scale, optimum in group.optima.items():
        for place, axis in enumerate(optimum.axes):
            lead = _lead(axis.direction)
            ends = (axis.low, axis.high) if axis.direction[lead] > 0 else (-axis.high, -axis.low)
            table.add_row(
                f"{scale:g}" if place == 0 else "",
                _combination(statement.hyperparameters, axis.direction),
                f"{axis.curvature:.3g}",
                " to ".join(map(_offset, ends)),
            )
    return table


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


def _offset(octaves: float) -> str:
    # Adding zero turns minus zero into zero.
    return f"{round(octaves, 2) + 0.0:+.2f}" if math.isfinite(octaves) else "open"


def drift_command(
    study: str,
    *,
    store: str | None,
    hyperparameter: str | None,
    joint: str | None,
    scale: str | None,
    horizon: str | None,
    estimator: str,
    allow_holes: bool,
    strict: bool,
    as_json: bool,
    keys: bool,
) -> int:
    """Prints optima, drift, regret and verdicts; returns the exit code.

    Raises:
        RequestError: ``joint`` stands beside an option that is about one hyperparameter, or
            keys are asked for without JSON.
    """
    if keys and not as_json:
        raise RequestError("--keys names trials in the JSON; add --json, or leave it out")
    with Store.open(store, create=False) as opened:
        name = name_of(study)
        if joint is not None:
            if hyperparameter is not None or strict or estimator != DEFAULT:
                raise RequestError(
                    "--joint names both hyperparameters, fits a paraboloid and judges no claim; "
                    "leave --hyperparameter, --estimator and --strict out"
                )
            joint_command(
                opened,
                name,
                joint,
                scale=scale,
                horizon=horizon,
                allow_holes=allow_holes,
                as_json=as_json,
                keys=keys,
            )
            return 0
        statements = statements_of(
            opened,
            name,
            hyperparameter=hyperparameter,
            scale=scale,
            horizon=horizon,
            estimator=estimator,
            allow_holes=allow_holes,
        )
        # The table of estimates holds the study's own question: its scale, the end of its runs.
        if estimator == DEFAULT and scale is None and horizon is None:
            keep_estimates(opened, statements)
    if as_json:
        documents = [statement.to_json(keys=keys) for statement in statements]
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        print_statements(statements)
    return 1 if strict and claims_broken(statements) else 0
