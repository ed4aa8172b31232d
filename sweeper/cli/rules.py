"""`sweeper rules`: what a scaling rule does to each kind of tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.options import JsonOption, named
from sweeper.cli.text import console, grid, print_json
from sweeper.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from workloads.rule_table import RuleTable, ScaledTensor
    from workloads.workload import Card

_HEADINGS = {
    "learning_rate": "learning rate",
    "epsilon": "epsilon",
    "weight_decay": "weight decay",
    "init_std": "initial spread",
}


def rules(
    optimizer: Annotated[
        str | None, named("--optimizer", "Optimizer of the hidden matrices.")
    ] = None,
    parametrization: Annotated[
        str | None, named("--parametrization", "Scaling rule, for example mup.")
    ] = None,
    base_width: Annotated[
        int | None, named("--base-width", "Width that the rule is relative to.")
    ] = None,
    width: Annotated[int | None, named("--width", "Width of the model.")] = None,
    base_depth: Annotated[
        int | None, named("--base-depth", "Depth that the rule is relative to.")
    ] = None,
    depth: Annotated[int | None, named("--depth", "Depth of the model.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    workload: Annotated[str, typer.Option(help="Workload whose tensors are shown.")] = "llama",
    as_json: JsonOption = False,
) -> None:
    """Show what a scaling rule does to each kind of tensor, over its value at the base width."""
    from sweeper.study import by_name, condition, find_card
    from workloads.rule_table import HasScalingRules

    named_settings = {
        "optimizer": optimizer,
        "parametrization": parametrization,
        "base_width": base_width,
        "width": width,
        "base_depth": base_depth,
        "depth": depth,
    }
    card = find_card(workload, trust=True)
    if not isinstance(card, HasScalingRules):
        raise RequestError(f"workload {workload!r} has no scaling rules to show")
    given = {name: value for name, value in named_settings.items() if value is not None}
    config = _config(card, given, assignments or [])
    try:
        table = card.rules(config)
    except ValueError as fault:
        raise RequestError(str(fault)) from fault
    idle = [name for name in config if name not in table.config]
    for name in idle:
        if name not in given:
            where = condition(by_name(card.settings)[name])
            raise RequestError(f"{name} has no effect: it applies only where {where}; remove it")
    if as_json:
        print_json(_document(workload, table, config, idle))
    else:
        _print(table, idle)


def _config(card: Card, named: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Returns the given settings in canonical values."""
    from sweeper.study import by_name, scalar

    settings = by_name(card.settings)
    given: dict[str, Any] = dict(named)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise RequestError(f"--set {assignment!r} is not of the form NAME=VALUE")
        if name in given:
            raise RequestError(f"{name} is given twice; give it once")
        given[name] = scalar(text)
    return {name: _value(settings, name, value) for name, value in given.items()}


def _value(settings: Mapping[str, Any], name: str, value: Any) -> Any:
    from sweeper.study import canonical_value, siblings

    if name not in settings or name == "seed":
        known = siblings(name, [known for known in settings if known != "seed"])
        raise UnknownNameError("setting", name, known)
    try:
        return canonical_value(settings[name], value)
    except ValueError as fault:
        raise RequestError(f"{name}: {fault}") from fault


def _document(
    workload: str, table: RuleTable, config: Mapping[str, Any], idle: Sequence[str]
) -> dict[str, Any]:
    full = table.config
    shown = ("optimizer", "others", "parametrization", "base_width", "width")
    return {
        "workload": workload,
        **{name: full.get(name) for name in (*shown, "base_depth", "depth")},
        "settings": {name: value for name, value in config.items() if name not in shown},
        "source": table.source,
        "branch_multiplier": table.branch_multiplier,
        "roles": {name: dict(row.factors) for name, row in table.roles.items()},
        "leaves": {name: dict(row.factors) for name, row in table.leaves.items()},
        "formulas": {
            name: {"optimizer": row.optimizer, **row.formulas}
            for name, row in (*table.roles.items(), *table.leaves.items())
        },
        "symbols": dict(table.symbols),
        "ignored": list(idle),
        "warnings": list(table.warnings),
    }


def _print(table: RuleTable, idle: Sequence[str]) -> None:
    out, config = console(), table.config
    base = config.get("base_width") or config["width"]
    out.print(f"{config['parametrization']}: {table.source}")
    out.print(f"width {config['width']} over base width {base}; every number is over its base")
    rows = {**table.roles, **table.leaves}
    cells = [
        [
            ("tensor", name),
            ("optimizer", row.optimizer),
            *((heading, f"{row.factors[key]:.4g}") for key, heading in _HEADINGS.items()),
        ]
        for name, row in rows.items()
    ]
    out.print(grid(cells, words=("tensor", "optimizer"), padding=2))
    if table.branch_multiplier != 1:
        out.print(f"residual branches are multiplied by {table.branch_multiplier:.4g}")
    for line in _formulas(rows):
        out.print(line)
    if table.symbols:
        out.print("of sizes over those of the base model:")
    for symbol, meaning in table.symbols.items():
        out.print(f"  {symbol}: {meaning}")
    for name in idle:
        out.print(f"{name} has no effect under parametrization {config['parametrization']}")
    for warning in table.warnings:
        out.print(f"warning: {warning}")


def _formulas(rows: Mapping[str, ScaledTensor]) -> Iterator[str]:
    """Yields the rule of each tensor in symbols; an epsilon without a column has its number."""
    yield "as formulas:"
    for name, row in rows.items():
        terms = (
            f"{_HEADINGS.get(key, key.replace('_', ' '))} {formula}"
            + ("" if key in _HEADINGS else f" (= {row.factors[key]:.4g})")
            for key, formula in row.formulas.items()
        )
        yield f"  {name}: {'; '.join(terms)}"
