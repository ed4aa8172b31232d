"""The coordinate check of any torch model, given as a function of its width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from numbers import Integral
from typing import Any

from sweeper.check.measured import Measured, Model, measured_at
from sweeper.check.statement import CheckStatement, layer_rows, role_rows, statement_of
from sweeper.errors import RequestError
from workloads.workload import Layer

MEASURING = "workloads.training.modules"
"""What measures torch models, named and not imported: torch is loaded when a model is there."""

Made = tuple[Any, Any, Iterable[Any]]
"""A torch module, an optimizer over its parameters, and batches."""


def coordinate_check(
    make: Callable[[int], Made],
    widths: Sequence[int],
    *,
    loss: Callable[[Any, Any], Any] | None = None,
    steps: int = 10,
    seeds: int = 5,
    every: bool = False,
) -> CheckStatement:
    """Prints whether updates and activations of a torch model keep their size as it grows, and
    returns what was found.

    The role of a tensor follows from its sizes: both sides of a hidden matrix grow with the
    width, of an embedding the outputs alone, of a readout the inputs alone. Learning rate and
    epsilon are those of the optimizer's ``param_groups`` (``lr``, ``eps``).

    Args:
        make: returns for a width a new model, its optimizer and at least ``steps`` batches, with
            a learning rate at which steps are small; torch is seeded before each call.
        widths: at least two.
        loss: returns the mean loss of a model on a batch; by default the cross-entropy of
            ``model(inputs)`` for batches of (inputs, classes).
        steps: updates of each model.
        seeds: models of each width, at least 2.
        every: print every quantity of every layer, not those that are judged by role.

    Raises:
        RequestError: fewer than two widths or seeds, or models that cannot be compared.
    """
    given: Sequence[Any] = widths
    if not all(isinstance(each, Integral) and int(each) > 0 for each in given):
        raise RequestError(f"widths {list(widths)}: give whole numbers of at least 1")
    sizes = sorted(set(widths))
    if len(sizes) < 2:
        raise RequestError(f"widths {list(widths)}: a slope needs at least two different ones")
    if seeds < 2 or steps < 1:
        raise RequestError(
            f"seeds {seeds} and steps {steps}: an interval needs at least 2 seeds, and a check 1 "
            "step"
        )
    models = [_model(make, size, loss=loss, steps=steps, seeds=seeds) for size in sizes]
    measured = Measured(variant="model", scale="width", models=tuple(_with_roles(models)))
    statement = statement_of("", [measured], steps=steps, seeds=seeds)
    print(as_text(statement, every=every))
    return statement


def _model(
    make: Callable[[int], Made],
    size: int,
    *,
    loss: Callable[[Any, Any], Any] | None,
    steps: int,
    seeds: int,
) -> Model:
    measuring = import_module(MEASURING)
    at = measured_at(steps)
    runs = []
    for seed in range(seeds):
        measuring.torch.manual_seed(seed)
        made: Any = make(size)
        if not isinstance(made, tuple) or len(made) != 3:
            what = f"{len(made)} things" if isinstance(made, tuple) else type(made).__name__
            raise RequestError(
                f"the function of the width returned {what}; it has to return (model, optimizer, "
                "batches)"
            )
        try:
            runs.append(measuring.measured_steps(*made, loss=loss, steps=steps, at=at))
        except ValueError as fault:
            raise RequestError(f"width {size}, seed {seed}: {fault}") from fault
    values = {
        step: {name: tuple(run[0][step][name] for run in runs) for name in runs[0][0][step]}
        for step in at
    }
    return Model(size=size, layers=runs[0][1], values=values, rates=runs[0][2])


def _with_roles(models: Sequence[Model]) -> list[Model]:
    """Returns the models with the roles of their tensors, by which of their sides grow.

    Raises:
        RequestError: they do not have the same tensors, or none of them grows.
    """
    first, last = models[0].layers, models[-1].layers
    if any(model.layers.keys() != first.keys() for model in models):
        raise RequestError("the models do not have the same tensors at all widths")
    if first == last:
        raise RequestError("no tensor of the model changes with the width; use it in `make`")
    kinds = {name: _kind(first[name], last[name]) for name in first}
    return [replace(model, layers=_named(model.layers, kinds)) for model in models]


def _named(layers: Mapping[str, Layer], kinds: Mapping[str, str]) -> dict[str, Layer]:
    return {name: replace(layer, kind=kinds[name]) for name, layer in layers.items()}


def _kind(small: Layer, large: Layer) -> str:
    if small.kind:
        return small.kind
    inputs, outputs = large.inputs > small.inputs, large.outputs > small.outputs
    if inputs and outputs:
        return "hidden"
    return "readout" if inputs else "embedding"


def as_text(statement: CheckStatement, *, every: bool = False) -> str:
    """Returns a statement as lines of text: the verdict, what is wrong, and a table.

    Args:
        statement: what was found.
        every: tell of every quantity of every layer, not those that are judged by role.
    """
    lines = []
    for check in statement.variants:
        sizes = ", ".join(f"{size:g}" for size in check.measured.sizes)
        lines += [f"{check.verdict}: {check.measured.scale} {sizes}"]
        lines += [*check.named, *check.unclear]
        rows = layer_rows(check) if every else role_rows(check)
        if rows:
            cells = [[name for name, _ in rows[0]], *([cell for _, cell in row] for row in rows)]
            wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
            for row in cells:
                pairs = zip(row, wide, strict=True)
                lines.append("  ".join(cell.ljust(width) for cell, width in pairs).rstrip())
    return "\n".join(lines)
