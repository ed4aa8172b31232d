"""`sweeper fit` and `predict`: rules over the scales, and the best setting for a target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    EACH_HINT,
    AllOption,
    EachOption,
    EstimatorOption,
    HolesOption,
    JsonOption,
    StoreOption,
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
    print_answer,
    print_json,
)
from sweeper.errors import RequestError
from sweeper.words import power, power_range, with_power

if TYPE_CHECKING:
    from rich.table import Table

    from sweeper.analysis import Rule
    from sweeper.answers import Predicted, PredictionStatement, RuleGroup, RuleStatement

RULE_FLAGS = {
    "censored": "some optima are bounds only",
    "scattered": "optima scatter round the rule more than their noise explains",
    "left_out": "places without an optimum are left out",
}
"""Flags of a rule in words; that it is unchecked is said with the form that predicts."""

COMMAS = "names are separated by commas, as in lr,bs"


class ModelChoice(StrEnum):
    """Form of the rule that predicts."""

    auto = "auto"
    constant = "constant"
    power = "power"
    bent = "bent"
    offset = "offset"


HyperparametersOption = Annotated[
    str | None,
    named(
        "--hyperparameter --hp",
        "Which one, or two that are tuned together (default: an imported study's two, else "
        "those of the claims, else the first swept).",
        "NAME[,NAME]",
    ),
]
ModelOption = Annotated[
    ModelChoice, typer.Option(help="Form of the rule; auto averages all by what they foretold.")
]


def fit(
    study: StudyName,
    store: StoreOption = None,
    hyperparameter: HyperparametersOption = None,
    scales: Annotated[
        str | None,
        named(
            "--scales --scale",
            "Scales of the rule (default: the study's), for example width or params,tokens.",
            "NAME[,NAME]",
        ),
    ] = None,
    each: EachOption = None,
    model: ModelOption = ModelChoice.auto,
    estimator: EstimatorOption = None,
    allow_holes: HolesOption = False,
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit the best hyperparameter to the scales, and check the fit at the largest held out."""
    with open_store(store) as opened:
        name = name_of(study, store)
        opened.read_ahead(name)
        from sweeper.answers import rules_of  # loaded meanwhile

        statement = rules_of(
            opened,
            name,
            hyperparameters=names_of(hyperparameter, "--hyperparameter", COMMAS),
            scales=names_of(scales, "--scales", COMMAS),
            each=names_of(each, "--each", EACH_HINT),
            model=model.value,
            estimator=estimator,
            allow_holes=allow_holes,
        )
    if as_json:
        print_json(statement.to_json())
    else:
        _print_rules(statement, every=every)


def _print_rules(statement: RuleStatement, *, every: bool) -> None:
    title = f"{statement.study}: rules over {', '.join(statement.scales)}"
    shown, rest = cut(
        statement.groups, lambda group: "without a rule" if group.refused else None, every=every
    )
    groups = ((_name(group), _said(group, statement.metric)) for group in shown)
    print_answer(title, noted(statement.notes, every=every), groups, rest)


def _name(group: RuleGroup) -> str:
    together = f" (tuned together with {group.partner})" if group.partner else ""
    return f"{group.label}: {group.subject}{together}"


def _said(group: RuleGroup, metric: str) -> Iterator[Said]:
    rule = group.rule
    if rule is None:
        yield f"no rule: {group.refused}"
        return
    yield _places(rule)
    product = " × ".join(f"{term.scale}^{term.exponent:.3f}" for term in rule.terms)
    yield f"power law: {rule.hyperparameter} = {power(2.0**rule.intercept.value)} × {product}"
    for term in rule.terms:
        yield (
            f"{term.exponent:+.3f} octaves per doubling of {term.scale}, 95% interval "
            f"{interval(term.low, term.high)}"
        )
    yield from (f"- {RULE_FLAGS[flag]}" for flag in rule.flags if flag in RULE_FLAGS)
    yield _choice(rule)
    for scale in dict.fromkeys(held.without for held in rule.held):
        yield _held_sentence(group, rule, scale, metric)
    for place, why in group.left_out.items():
        yield f"no optimum at {place}: {why}"
    yield from evidence_lines(group.evidence)


def _places(rule: Rule) -> Table:
    fit = rule.fit
    fitted = fit.model.values(fit.parameters[None, :], fit.data.u)[0].tolist()
    rows = [
        [
            *((name, f"{size:g}") for name, size in found.scales.items()),
            ("optimum", with_power(2.0**found.log2)),
            ("95% interval", power_range(found.low, found.high)),
            ("rule", with_power(2.0**value)),
            ("leverage", f"{leverage:.0%}"),
            ("flags", flag_words(found.flags)),
        ]
        for found, value, leverage in zip(rule.site_optima, fitted, rule.leverage, strict=True)
    ]
    return grid(rows)


def _held_sentence(group: RuleGroup, rule: Rule, scale: str, metric: str) -> str:
    """Returns one sentence on the places at the largest value of a scale."""
    pairs = zip(rule.held, group.costs, strict=True)
    held = [(one, cost) for one, cost in pairs if one.without == scale]
    worst, _ = max(held, key=lambda pair: abs(pair[0].error))
    costs = [cost for _, cost in held if cost is not None]
    inside = sum(one.inside for one, _ in held)
    lost = "what that costs is not measured"
    if costs:
        lost = f"costs at most {max(0.0, *costs):.2g} in {metric}"
    return (
        f"held out the largest {scale}: {inside} of {len(held)} inside the interval; "
        f"{'worst' if len(held) > 1 else 'found'} at {worst.site_optimum.site.label}: predicted "
        f"{with_power(2.0**worst.predicted)} ({power_range(worst.low, worst.high)}), "
        f"found {with_power(2.0**worst.site_optimum.log2)}, {worst.error:+.2f} octaves; {lost}"
    )


def _choice(rule: Rule) -> str:
    """Returns one sentence on how much each form counts in predictions."""
    forms = ", ".join(
        f"{one.name} {one.weight:.0%}"
        + (
            ""
            if one.error is None
            else f" ({round(one.error, 3):.2g} octaves off at the largest held out)"
        )
        for one in rule.candidates.values()
        if one.weight > 0
    )
    unchecked = "" if rule.held else "; unchecked (too few places to hold the largest out)"
    return f"predicts by: {forms}{unchecked}"


Target = Annotated[float | None, typer.Option(help="At the target.", show_default=False)]


def predict(
    study: StudyName,
    store: StoreOption = None,
    width: Target = None,
    depth: Target = None,
    params: Target = None,
    tokens: Target = None,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Any other scale; may be repeated."),
    ] = None,
    hyperparameter: HyperparametersOption = None,
    each: EachOption = None,
    model: ModelOption = ModelChoice.auto,
    estimator: EstimatorOption = None,
    allow_holes: HolesOption = False,
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the best setting at a scale that was not measured, and what it may cost."""
    given = {"width": width, "depth": depth, "params": params, "tokens": tokens}
    target = {name: value for name, value in given.items() if value is not None}
    for scale, value in map(_assignment, at or []):
        if scale in target:
            raise RequestError(f"{scale} is given twice at the target")
        target[scale] = value
    with open_store(store) as opened:
        name = name_of(study, store)
        opened.read_ahead(name)
        from sweeper.answers import predictions_of  # loaded meanwhile

        statement = predictions_of(
            opened,
            name,
            target,
            hyperparameters=names_of(hyperparameter, "--hyperparameter", COMMAS),
            each=names_of(each, "--each", EACH_HINT),
            model=model.value,
            estimator=estimator,
            allow_holes=allow_holes,
        )
    if as_json:
        print_json(statement.to_json())
    else:
        _print_predictions(statement, every=every)


def _assignment(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (name.strip() and math.isfinite(number) and number > 0):
        raise RequestError(f"--at {text!r}: it takes NAME=VALUE with a positive number, as N=1e9")
    return name.strip(), number


def _print_predictions(statement: PredictionStatement, *, every: bool) -> None:
    target = ", ".join(f"{name} {value:g}" for name, value in statement.target.items())
    title = f"{statement.study}: prediction for {target}"
    shown, rest = cut(
        statement.groups, lambda one: "without a prediction" if one.refused else None, every=every
    )
    groups = (
        (f"{one.label}: {one.group.hyperparameter}", _said_ahead(one, statement.metric))
        for one in shown
    )
    lead = [statement.bottom_line, *noted(statement.notes, every=every)]
    print_answer(title, lead, groups, rest)


def _said_ahead(one: Predicted, metric: str) -> Iterator[Said]:
    found = one.prediction
    if found is None:
        yield f"no prediction: {one.refused}"
    else:
        yield (f"{with_power(found.value)}, 95% interval {power_range(found.low, found.high)}")
        yield one.cost(metric) or (
            "what it may cost is unknown: the interval is open, or no curvature is known"
        )
        if one.joint_regret is not None:
            yield f"together with {one.group.partner}: {one.joint_regret:.2g}"
        weights = found.weights.items()
        yield "forms by weight: " + ", ".join(f"{n} {w:.0%}" for n, w in weights if w >= 0.005)
        for name, value in found.others.items():
            yield f"the {name} form by itself says {with_power(2.0**value)}"
        yield "assumes:"
        yield from (f"- {sentence}" for sentence in found.assumptions)
    yield from evidence_lines(one.group.evidence)
