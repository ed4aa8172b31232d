"""`sweeper predict`: the best setting for a target, by the rules of a study."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.fitting import (
    HolesOption,
    HyperparameterOption,
    ModelChoice,
    ModelOption,
    names_of,
    power_interval,
)
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

    from sweeper.analysis.prediction_statement import Predicted, PredictionStatement

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
    from sweeper.cli.answers import name_of
    from sweeper.cli.printing import print_json
    from sweeper.report.fits import predictions_of
    from sweeper.store.store import Store

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
    from sweeper.cli.printing import console
    from sweeper.cli.statements import print_evidence, say

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
    from sweeper.cli.statements import say
    from sweeper.cli.words import power

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
