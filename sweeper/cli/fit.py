"""`sweeper fit` and `predict`: rules over the scales, and the best setting for a target."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    EstimatorName,
    EstimatorOption,
    JsonOption,
    StoreOption,
    StudyName,
)
from sweeper.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sweeper.analysis import Rule
    from sweeper.answers import Predicted, PredictionStatement, RuleGroup, RuleStatement


class ModelChoice(StrEnum):
    """Form of the rule that predicts."""

    auto = "auto"
    constant = "constant"
    power = "power"
    offset = "offset"


HyperparameterOption = Annotated[
    str | None,
    typer.Option(
        "--hyperparameter",
        "--hp",
        metavar="NAME[,NAME]",
        help="Which one, or two that are tuned together (default: an imported study's two, else "
        "those of the claims, else the first swept).",
        show_default=False,
    ),
]
ModelOption = Annotated[
    ModelChoice, typer.Option(help="Form of the rule; auto decides by the largest held out.")
]
HolesOption = Annotated[
    bool, typer.Option("--allow-holes", help="Answer although neighbours are missing.")
]


def fit_command(
    study: StudyName,
    store: StoreOption = None,
    hyperparameter: HyperparameterOption = None,
    scales: Annotated[
        str | None,
        typer.Option(
            "--scales",
            "--scale",
            metavar="NAME[,NAME]",
            help="Scales of the rule (default: the study's), for example width or params,tokens.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = ModelChoice.auto,
    estimator: EstimatorOption = EstimatorName.skewed,
    allow_holes: HolesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit the best hyperparameter to the scales, and check the fit at the largest held out."""
    from sweeper.answers import rules_of
    from sweeper.cli.status import name_of
    from sweeper.cli.text import print_json
    from sweeper.store import Store

    with Store.open(store, create=False) as opened:
        statement = rules_of(
            opened,
            name_of(study),
            hyperparameters=names_of(hyperparameter, "--hyperparameter"),
            scales=names_of(scales, "--scales"),
            model=model.value,
            estimator=estimator.value,
            allow_holes=allow_holes,
        )
    if as_json:
        print_json(statement.to_json())
    else:
        _print_rules(statement)


def names_of(text: str | None, option: str) -> tuple[str, ...]:
    """Returns the names in the text of an option; none without it.

    Raises:
        RequestError: a name is empty.
    """
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise RequestError(f"{option} {text!r}: names are separated by commas, as in lr,bs")
    return names


def _print_rules(statement: RuleStatement) -> None:
    from sweeper.cli.text import console, print_evidence, say

    out = console()
    out.print(f"\n{statement.study}: rules over {', '.join(statement.scales)}", style="bold")
    for note in statement.notes:
        say(out, f"note: {note}")
    for group in statement.groups:
        together = f" (tuned together with {group.partner})" if group.partner else ""
        out.print(f"\n{group.label}: {group.hyperparameter}{together}", style="bold cyan")
        if group.rule is None:
            say(out, f"no rule: {group.refused}")
            continue
        out.print(_places(statement, group.rule))
        for sentence in _sentences(group, group.rule):
            say(out, sentence)
        for place, why in group.left_out.items():
            say(out, f"no optimum at {place}: {why}")
        print_evidence(out, group.evidence)


def _places(statement: RuleStatement, rule: Rule) -> Table:
    from rich.table import Table

    from sweeper.words import power

    table = Table(box=None, padding=(0, 1), pad_edge=True)
    for heading in (*statement.scales, "optimum", "95% interval", "rule", "weight", "flags"):
        table.add_column(heading, justify="left" if heading == "flags" else "right")
    fit = rule.fit
    fitted = fit.model.values(fit.parameters[None, :], fit.data.u)[0].tolist()
    for found, value, leverage in zip(rule.site_optima, fitted, rule.leverage, strict=True):
        table.add_row(
            *(f"{size:g}" for size in found.scales.values()),
            f"{2.0**found.log2:.3g} = {power(2.0**found.log2)}",
            power_interval(found.low, found.high),
            f"{2.0**value:.3g}",
            f"{leverage:.0%}",
            ", ".join(flag.replace("_", " ") for flag in found.flags),
        )
    return table


def _sentences(group: RuleGroup, rule: Rule) -> list[str]:
    from sweeper.words import power

    product = " × ".join(f"{term.scale}^{term.exponent:.3f}" for term in rule.terms)
    said = [f"power law: {rule.hyperparameter} = {power(2.0**rule.intercept.value)} × {product}"]
    said += [
        f"{term.exponent:+.3f} octaves per doubling of {term.scale}, 95% interval "
        f"{_end(term.low)} to {_end(term.high)}"
        for term in rule.terms
    ]
    said.append(_choice(rule))
    said += [_held_sentence(group, rule, scale) for scale in dict.fromkeys(_without(rule))]
    return said


def _without(rule: Rule) -> list[str]:
    return [held.without for held in rule.held]


def _held_sentence(group: RuleGroup, rule: Rule, scale: str) -> str:
    """Returns one sentence on the places at the largest value of a scale."""
    pairs = zip(rule.held, group.costs, strict=True)
    held = [(one, cost) for one, cost in pairs if one.without == scale]
    worst, _ = max(held, key=lambda pair: abs(pair[0].error))
    costs = [cost for _, cost in held if cost is not None]
    inside = sum(one.inside for one, _ in held)
    lost = f"costs at most {max(0.0, *costs):.2g} in loss" if costs else "its loss is not measured"
    return (
        f"held out the largest {scale}: {inside} of {len(held)} inside the interval; "
        f"{'worst' if len(held) > 1 else 'found'} at {worst.site_optimum.site.label}: predicted "
        f"{2.0**worst.predicted.value:.3g} ({power_interval(worst.low, worst.high)}), found "
        f"{2.0**worst.site_optimum.log2:.3g}, {worst.error:+.2f} octaves; {lost}"
    )


def _choice(rule: Rule) -> str:
    checked = [one for one in rule.candidates.values() if one.held]
    if not rule.held:
        return f"predicts by: {rule.model}, unchecked (too few places to hold the largest out)"
    errors = ", ".join(f"{one.name} {one.error:.2g}" for one in checked)
    return f"predicts by: {rule.model} (octaves off at the largest held out: {errors})"


def power_interval(low: float, high: float) -> str:
    """Returns an interval given in log2, for example ``2^-5.10 to open``."""
    return " to ".join(f"2^{end:.2f}" if math.isfinite(end) else "open" for end in (low, high))


def _end(value: float) -> str:
    return f"{value:+.3f}" if math.isfinite(value) else "open"


Target = Annotated[float | None, typer.Option(help="At the target.", show_default=False)]


def predict_command(
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
    hyperparameter: HyperparameterOption = None,
    model: ModelOption = ModelChoice.auto,
    estimator: EstimatorOption = EstimatorName.skewed,
    allow_holes: HolesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the best setting at a scale that was not measured, and what it may cost."""
    from sweeper.answers import predictions_of
    from sweeper.cli.status import name_of
    from sweeper.cli.text import print_json
    from sweeper.store import Store

    named = {"width": width, "depth": depth, "params": params, "tokens": tokens}
    target = {name: value for name, value in named.items() if value is not None}
    for name, value in map(_assignment, at or []):
        if name in target:
            raise RequestError(f"{name} is given twice at the target")
        target[name] = value
    with Store.open(store, create=False) as opened:
        statement = predictions_of(
            opened,
            name_of(study),
            target,
            hyperparameters=names_of(hyperparameter, "--hyperparameter"),
            model=model.value,
            estimator=estimator.value,
            allow_holes=allow_holes,
        )
    if as_json:
        print_json(statement.to_json())
    else:
        _print_predictions(statement)


def _assignment(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (name.strip() and math.isfinite(number) and number > 0):
        raise RequestError(f"--at {text!r}: it takes NAME=VALUE with a positive number, as N=1e9")
    return name.strip(), number


def _print_predictions(statement: PredictionStatement) -> None:
    from sweeper.cli.text import console, print_evidence, say

    out = console()
    target = ", ".join(f"{name} {value:g}" for name, value in statement.target.items())
    out.print(f"\n{statement.study}: prediction for {target}", style="bold")
    for note in statement.notes:
        say(out, f"note: {note}")
    for one in statement.groups:
        out.print(f"\n{one.group.label}: {one.group.hyperparameter}", style="bold cyan")
        _print_prediction(out, one)
        print_evidence(out, one.group.evidence)


def _print_prediction(out: Console, one: Predicted) -> None:
    from sweeper.cli.text import say
    from sweeper.words import power

    found = one.prediction
    if found is None:
        say(out, f"no prediction: {one.refused}")
        return
    say(
        out,
        f"{found.value:.4g} = {power(found.value)}, 95% interval {_ends(found.low, found.high)} "
        f"({power_interval(found.low, found.high)}), by the {found.model} rule",
    )
    if found.regret is not None:
        say(out, f"expected to cost {found.regret:.2g} in loss against tuning at the target")
    else:
        say(out, "what it may cost is unknown: the interval is open, or no curvature is known")
    if one.joint_regret is not None:
        say(out, f"together with {one.group.partner}: {one.joint_regret:.2g}")
    for name, value in found.others.items():
        say(out, f"the {name} rule, which is not excluded, says {2.0**value:.4g}")
    say(out, "assumes:")
    for sentence in found.assumptions:
        say(out, f"- {sentence}")


def _ends(low: float, high: float) -> str:
    return " to ".join(f"{2.0**end:.3g}" if math.isfinite(end) else "open" for end in (low, high))
