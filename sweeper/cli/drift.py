"""`sweeper drift`: optima, drift, regret and verdicts, of one hyperparameter or of two at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    EACH_HINT,
    AllOption,
    EachOption,
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
    names_of,
    open_store,
)
from sweeper.cli.text import (
    Said,
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
from sweeper.errors import RequestError, StoreReadOnly
from sweeper.words import loss_digits, percent, power_range, signed_plain, with_article, with_power

if TYPE_CHECKING:
    from rich.table import Table

    from sweeper.analysis import JointOptimum, Optimum, Regret, Verdict
    from sweeper.answers import DriftGroup, DriftStatement, JointGroup, JointStatement

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
            "A setting, learning_rate.hidden, timescale, a recorded quantity such as "
            "update_norm.hidden, or a formula such as learning_rate*weight_decay (default: those "
            "of the claims, else the first swept).",
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
    each: EachOption = None,
    estimator: EstimatorOption = None,
    allow_holes: HolesOption = False,
    strict: StrictOption = False,
    every: AllOption = False,
    as_json: JsonOption = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="In the JSON, name the trials behind each group.")
    ] = False,
) -> None:
    """Show the optimum per scale, its drift, the regret of transfer and the claims' verdicts."""
    default = estimator in (None, EstimatorName.skewed)
    apart = names_of(each, "--each", EACH_HINT)
    if keys and not as_json:
        raise RequestError("--keys names trials in the JSON; add --json, or leave it out")
    if joint is not None and (hyperparameter is not None or apart or not default):
        raise RequestError(
            "--joint names both hyperparameters and fits a paraboloid; leave --hyperparameter, "
            "--each and --estimator out"
        )
    with open_store(store) as opened:
        name = name_of(study, store)
        opened.read_ahead(name)
        from sweeper.answers import keep_estimates, statements_of  # loaded meanwhile

        if joint is not None:
            from sweeper.answers import joint_answer, view_study  # not loaded where unasked for

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
                each=apart,
                estimator=estimator,
                allow_holes=allow_holes,
            )
            # The table of estimates holds the study's own question: its scale, its runs' ends.
            if default and scale is None and horizon is None and not apart:
                with suppress(StoreReadOnly):
                    keep_estimates(opened, statements)
    if as_json and joint is not None:
        print_json(together.to_json(keys=keys))
    elif as_json:
        print_json(one_or_all([statement.to_json(keys=keys) for statement in statements]))
    elif joint is not None:
        _print_joint(together, every=every)
    else:
        print_statements(statements, every=every)
    broken = joint_claims_broken(together) if joint is not None else claims_broken(statements)
    raise typer.Exit(1 if strict and broken else 0)


def claims_broken(statements: Sequence[DriftStatement]) -> bool:
    """Returns True if the claim of any group is broken; of rival claims, if all of them are."""
    return any(
        group.verdicts and all(verdict.ruling == "broken" for verdict in group.verdicts)
        for statement in statements
        for group in statement.groups
    )


def joint_claims_broken(statement: JointStatement) -> bool:
    """Returns the same of the claims about joint optima."""
    return any(
        one.verdicts and all(verdict.ruling == "broken" for verdict in one.verdicts)
        for group in statement.groups
        for one in group.drifts
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
        groups = ((label, _said(statement, group)) for label, group in _told_once(shown))
        lead = [statement.bottom_line, *noted(statement.notes, every=every)]
        print_answer(title, lead, groups, rest)


def _told_once(groups: Sequence[DriftGroup]) -> Iterator[tuple[str, DriftGroup]]:
    """Yields groups with their labels; of those without an optimum for the same reasons, resting
    on as much, the first under the labels of all."""
    alike: dict[object, list[DriftGroup]] = {}
    for place, group in enumerate(groups):
        base = group.evidence
        rests = (base.trials, base.declared, base.diverged, base.seeds, base.warnings)
        same = (group.refused, tuple(group.left_out.items()), rests)
        alike.setdefault(place if group.optima else same, []).append(group)
    for those in alike.values():
        count = f" ({len(those)} groups)" if len(those) > 1 else ""
        yield "; ".join(group.label for group in those) + count, those[0]


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
            f"drift {signed_plain(drift.slope)} octaves per doubling of "
            f"{with_article(statement.scale)}, 95% interval "
            f"{interval(drift.low, drift.high, signed_plain)}"
        )
        if drift.bends:
            yield f"the drift {drift.bend_words}"
        yield from (f"- {DRIFT_FLAGS[flag]}" for flag in drift.flags if flag != "bends")
    elif group.refused is not None:
        yield f"no drift, because {_because(statement, group)}"
    yield from evidence_lines(group.evidence)
    for verdict in group.verdicts:
        yield _ruled("", verdict)
    if group.rivals is not None:
        yield f"rival claims: {group.rivals.said}"


def _ruled(head: str, verdict: Verdict) -> Said:
    from rich.text import Text

    claim = f"{head}claim {verdict.claim.exponent:g} ± {verdict.claim.tolerance:g}: "
    return Text.assemble(claim, (verdict.ruling, "bold"), f". {verdict.why}")


def _because(statement: DriftStatement, group: DriftGroup) -> str:
    """Returns why a group has no drift; scales without an optimum have been named already."""
    from sweeper.answers import refused_for_holes

    if not group.optima or not refused_for_holes(group):
        return group.refused or ""
    missing, every = len(group.left_out), len(group.left_out) + len(group.optima)
    return (
        f"{missing} of {every} values of {statement.scale} have no optimum; --allow-holes "
        "goes on without them"
    )


def _optima_table(statement: DriftStatement, group: DriftGroup) -> Table:
    """Returns one row a scale; the column of compute only where something is priced, and that of
    regret only where there are two scales to transfer between."""
    regret = {row.scale: row for row in group.regret}
    priced = any(_compute(row) for row in group.regret)
    digits = loss_digits(optimum.loss for optimum in group.optima)
    transfers = f"regret at exponent {group.exponent:g}"
    several = len(group.optima) > 1
    holed = any(optimum.answered < optimum.declared for optimum in group.optima)
    return grid(
        [
            [
                (statement.scale, f"{optimum.scale:g}"),
                ("optimum", with_power(optimum.value)),
                ("95% interval", power_range(optimum.low, optimum.high)),
                *[(f"its {name}", _value(optimum.tuned.get(name))) for name in statement.tuned],
                (statement.metric, _loss(statement, optimum, digits)),
                *[(transfers, _regret(regret.get(optimum.scale), digits))] * several,
                *[("compute", _compute(regret.get(optimum.scale)))] * priced,
                *[("trials", f"{optimum.answered}/{optimum.declared}")] * holed,
                ("flags", flag_words(optimum.flags)),
            ]
            for optimum in group.optima
        ]
    )


def _value(tuned: float | None) -> str:
    """Returns the value of a hyperparameter that was tuned along, where the variant has it."""
    return "–" if tuned is None else f"{tuned:.3g}"


def _loss(
    statement: DriftStatement | JointStatement, optimum: Optimum | JointOptimum, digits: int
) -> str:
    """Returns the tuned loss, or what it is minus, with the larger half of its 95% interval."""
    half = max(optimum.loss_high - optimum.loss, optimum.loss - optimum.loss_low)
    known = f"{half:.2g}" if math.isfinite(half) else "unknown"
    return f"{statement.sign * optimum.loss:.{digits}f} ± {known}"


def _regret(row: Regret | None, digits: int) -> str:
    """Returns what transfer costs, as far as it is known."""
    if row is None or row.certainty == "unknown":
        return "unknown"
    if row.certainty == "infinite":
        return "diverges"
    share = f" ({percent(row.percent)})" if math.isfinite(row.percent) else ""
    if row.resolved and math.isinf(row.high):
        least = f" ({percent(100 * row.low / abs(row.tuned))})" if share else ""
        return f"at least {row.low:.{digits}f}{least}"
    if row.resolved and not row.harmless:
        return f"{row.regret:.{digits}f}{share}, {row.low:.2g} to {row.high:.2g}"
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
    lead = [statement.bottom_line, *noted(statement.notes, every=every)]
    print_answer(title, lead, groups, rest)


def _said_jointly(statement: JointStatement, group: JointGroup) -> Iterator[Said]:
    optima = group.optima.values()
    if optima:
        yield _joint_table(statement, group)
    for scale, why in group.left_out.items():
        yield f"no joint optimum at {statement.scale} {scale:g}: {why}"
    if any(optimum.axes for optimum in optima):
        yield _axes_table(statement, group)
    if group.drifts:
        yield _drifts_table(group)
    for one in group.drifts:
        for verdict in one.verdicts:
            yield _ruled(f"{one.name}: ", verdict)
        if one.rivals is not None:
            yield f"{one.name}: rival claims: {one.rivals.said}"
    refused = next((one.refused for one in group.drifts if one.refused), None)
    if refused is not None:
        yield f"no drift, because {refused}"
    if any("ridge" in flags for optimum in optima for flags in optimum.flags):
        yield ON_RIDGE
    yield from evidence_lines(group.evidence)


def _joint_table(statement: JointStatement, group: JointGroup) -> Table:
    digits = loss_digits(optimum.loss for optimum in group.optima.values())
    rows = [
        [
            (statement.scale, f"{scale:g}" if axis == 0 else ""),
            ("hyperparameter", name),
            ("optimum", with_power(float(2.0 ** optimum.log2[axis]))),
            ("95% interval", power_range(float(optimum.low[axis]), float(optimum.high[axis]))),
            (statement.metric, _loss(statement, optimum, digits) if axis == 0 else ""),
            ("flags", flag_words(optimum.flags[axis])),
        ]
        for scale, optimum in group.optima.items()
        for axis, name in enumerate(optimum.names)
    ]
    return grid(rows, words=("hyperparameter", "flags"))


def _drifts_table(group: JointGroup) -> Table:
    """Returns the drift of each hyperparameter, and along the flat and the steep direction."""
    kinds = {"hyperparameter": "", "flat": "flat direction", "steep": "steep direction"}
    rows = [
        [
            ("drift of", one.name),
            (
                "octaves per doubling",
                "none" if one.drift is None else signed_plain(one.drift.slope),
            ),
            (
                "95% interval",
                "" if one.drift is None else interval(one.drift.low, one.drift.high, signed_plain),
            ),
            ("", kinds[one.along]),
        ]
        for one in group.drifts
    ]
    return grid(rows, words=("drift of", ""))


def _axes_table(statement: JointStatement, group: JointGroup) -> Table:
    """Returns the principal axes, the most curved first, with the interval along each."""
    from sweeper.answers import combination

    rows = []
    for scale, optimum in group.optima.items():
        for place, axis in enumerate(optimum.axes):
            named_axis = dict(zip(optimum.names, axis.direction, strict=True))
            positive = max(axis.direction, key=abs) > 0
            ends = (axis.low, axis.high) if positive else (-axis.high, -axis.low)
            rows.append(
                [
                    (statement.scale, f"{scale:g}" if place == 0 else ""),
                    ("principal axis", combination(named_axis)),
                    ("curvature", f"{axis.curvature:.3g}"),
                    (
                        "95% along it, octaves",
                        interval(*ends, lambda octaves: f"{round(octaves, 2) + 0.0:+.2f}"),
                    ),
                ]
            )
    return grid(rows, words=("principal axis",))
