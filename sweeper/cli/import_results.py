"""`sweeper import`: a table of somebody's results becomes a study."""

from __future__ import annotations

import re
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import JsonOption, StoreOption, named, names_of
from sweeper.cli.text import console, print_json
from sweeper.errors import RequestError
from sweeper.words import listed, plural

if TYPE_CHECKING:
    from sweeper.imports import ClaimedRule, Imported, ImportRequest, NamePattern
    from sweeper.store import Changes

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_CLAIM = re.compile(
    rf"\s*(?P<name>[^=]+?)\s*=\s*(?P<exponent>{_NUMBER})\s*(?:±|\+/?-)\s*(?P<tolerance>{_NUMBER})\s*"
)


class Goal(StrEnum):
    """Which end of the objective is better."""

    min = "min"
    max = "max"


def _column(flag: str, meaning: str) -> typer.models.OptionInfo:
    return named(flag, meaning, "COLUMN")


def _columns(flag: str, meaning: str) -> typer.models.OptionInfo:
    return named(flag, meaning, "COLUMN,...")


COMMAS = "write column names with one comma between them"
Names = str | None


def import_results(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV, Parquet or JSON; a folder of runs, of MLflow, TensorBoard, Ray Tune, W&B, "
            "or with a file or folder each; a database of Optuna or MLflow, or its URL, or that "
            "of a server of MLflow; wandb://ENTITY/PROJECT.",
        ),
    ],
    study: Annotated[str, typer.Option(metavar="NAME", help="Name of the study to make.")],
    scale: Annotated[str, _columns("--scale", "Along which optima are tracked, first the main.")],
    objective: Annotated[Names, _column("--objective", "What is compared, as a loss.")] = None,
    hp: Annotated[Names, _columns("--hp", "Hyperparameters whose optimum is sought.")] = None,
    variant: Annotated[Names, _columns("--variant", "Whose values name the variants.")] = None,
    fixed: Annotated[Names, _columns("--fixed", "Further settings that tell runs apart.")] = None,
    seed: Annotated[Names, _column("--seed", "The seed; without it every run has seed 0.")] = None,
    repeats: Annotated[
        bool,
        typer.Option("--repeats", help="Rows that agree in all but the result are other seeds."),
    ] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Take only such rows; may be repeated."),
    ] = None,
    goal: Annotated[Goal, typer.Option(help="Which end of the objective is better.")] = Goal.min,
    claim: Annotated[
        list[str] | None,
        typer.Option(metavar="HP=EXPONENT+-TOLERANCE", help="A rule to test; may be repeated."),
    ] = None,
    name_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN", help="Settings in the runs' names, for example '*_lr{lr}_w{width}'."
        ),
    ] = None,
    name_column: Annotated[
        Names, _column("--name-column", "Names of runs; default: Name.")
    ] = None,
    outcome: Annotated[Names, _column("--outcome", "How a run ended; default: State.")] = None,
    error: Annotated[Names, _column("--error", "Standard error of the objective.")] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="Standard deviation of one result, where none is stated in the file."),
    ] = None,
    low: Annotated[Names, _column("--low", "Of a table of optima: low end of each.")] = None,
    high: Annotated[Names, _column("--high", "High end of each, 95%.")] = None,
    flops: Annotated[Names, _column("--flops", "Training FLOPs of the run.")] = None,
    tokens: Annotated[Names, _column("--tokens", "Tokens seen.")] = None,
    params: Annotated[Names, _column("--params", "Parameters of the model.")] = None,
    step: Annotated[Names, _column("--step", "Optimizer step, of runs with a row a step.")] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Histories of the runs of FILE: a table of them, a panel that W&B exported, or a "
            "folder with a table a run; goes with --step.",
        ),
    ] = None,
    any_length: Annotated[
        bool, typer.Option("--any-length", help="Runs that stopped early are results too.")
    ] = False,
    question: Annotated[str, typer.Option(help="What the study asks, in a sentence.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Hide what an earlier import had and this has not.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a study of results from elsewhere: a table, runs of a tracker, published numbers."""
    from sweeper import imports
    from sweeper.store import Store

    request = imports.ImportRequest(
        file=imports.place_of(file),
        study=study,
        scales=names_of(scale, "--scale", COMMAS),
        objective=_objective(objective, hp, optima=bool(low or high)),
        hyperparameters=names_of(hp, "--hp", COMMAS),
        variant=names_of(variant, "--variant", COMMAS),
        fixed=names_of(fixed, "--fixed", COMMAS),
        seed=seed,
        where=tuple(_condition(text) for text in where or ()),
        goal=goal.value,
        claims=tuple(_claim(text) for text in claim or ()),
        outcome=outcome,
        flops=flops,
        tokens=tokens,
        params=params,
        step=step,
        any_length=any_length,
        question=question,
        replace=replace,
        repeats=repeats,
        error=error,
        noise=noise,
        low=low,
        high=high,
        in_names=_pattern(name_pattern, name_column),
        history=history,
    )
    with Store.open(store, create=True) as opened:
        done = imports.import_results(opened, request)
    _print(done, request, as_json=as_json)


def _objective(objective: str | None, hp: str | None, *, optima: bool) -> str:
    if objective is not None and not optima:
        return objective
    if objective is None and hp is not None and optima:
        return hp.strip()
    raise RequestError(
        "--objective: name the column that is compared, for example a loss; a table of optima "
        "has --hp, --low and --high in its place"
    )


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(f"--where {text!r}: write COLUMN=VALUE, for example optimizer=muon")
    return name.strip(), value.strip()


def _pattern(text: str | None, column: str | None) -> NamePattern | None:
    from sweeper.imports import NamePattern

    if text is None and column is not None:
        raise RequestError(f"--name-column {column}: say with --name-pattern what its names hold")
    return None if text is None else NamePattern(text, column)


def _claim(text: str) -> ClaimedRule:
    from sweeper.imports import ClaimedRule

    match = _CLAIM.fullmatch(text)
    if match is None or not float(match["tolerance"]) > 0:
        raise RequestError(
            f"--claim {text!r}: write HYPERPARAMETER=EXPONENT+-TOLERANCE in octaves per doubling "
            "of the scale, the tolerance above 0, for example learning_rate=-0.5+-0.25"
        )
    return ClaimedRule(
        hyperparameter=match["name"],
        exponent=float(match["exponent"]),
        tolerance=float(match["tolerance"]),
    )


def _print(done: Imported, request: ImportRequest, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(done))
        return
    out = console()
    for sentence in _sentences(done, request):
        out.print(sentence)


def _sentences(done: Imported, request: ImportRequest) -> list[str]:
    total = sum(done.trials.values())
    counts = ", ".join(f"{count} {kind}" for kind, count in done.trials.items() if count)
    said = [f"study {done.study}: {plural(total, 'trial')} from {done.file}: {counts}"]
    said.append(f"variants: {', '.join(done.variants)}")
    left_out = done.rows - done.used - done.repeated - done.set_aside - done.left_out
    parts = [f"{plural(done.rows, 'row')} read", f"{done.used} used"]
    parts += [f"{left_out} left out by --where"] if left_out else []
    parts += [f"{done.left_out} left out, see below"] if done.left_out else []
    parts += [f"{done.repeated} said the same again"] if done.repeated else []
    beside = "without a result beside repeats that have one"
    beside = beside if request.repeats else "superseded by a row of the same run"
    parts += [f"{done.set_aside} {beside}"] if done.set_aside else []
    parts += [f"{plural(done.curves, 'curve')} written"] if done.curves else []
    said.append("; ".join(parts))
    named = () if request.in_names is None else request.in_names.names
    if named:
        verb = "is" if len(named) == 1 else "are"
        names = done.columns[named[0]]
        said.append(f"{listed(named)} {verb} read from the names in the column {names}")
    own = {name: column for name, column in done.columns.items() if name not in named}
    said += [f"{name} is the column {column}" for name, column in own.items()]
    said += done.notes
    said.append(_changed(done.changes))
    return [*said, _next(done, request)]


def _changed(changes: Changes) -> str:
    counts = {
        "added": changes.added,
        "kept": changes.kept,
        "hidden": changes.hidden,
        "brought back": changes.restored,
    }
    if not (changes.added or changes.hidden or changes.restored):
        return "nothing changed: all of these trials were there"
    return "trials: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _next(done: Imported, request: ImportRequest) -> str:
    hyperparameters = request.hyperparameters
    if request.holds_optima:
        return f"sweeper fit {done.study} makes a rule of the optima, sweeper predict goes by it"
    if len(hyperparameters) == 2:
        return (
            f"sweeper drift {done.study} --joint {','.join(hyperparameters)} reads the joint "
            f"optima, sweeper fit {done.study} makes a rule of them"
        )
    if hyperparameters:
        return f"sweeper drift {done.study} reads the optima"
    sides = " ".join(f"{done.study}:{name}" for name in done.variants)
    return f"sweeper compare {sides} compares them at equal compute"
