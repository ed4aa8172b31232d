"""The commands and their options; what they do is imported when they are called."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import sweeper
from sweeper.cli.compare import compare
from sweeper.cli.fit import fit_command, predict_command
from sweeper.cli.import_results import import_command
from sweeper.cli.options import (
    EstimatorName,
    EstimatorOption,
    HorizonOption,
    JsonOption,
    ScaleOption,
    StoreOption,
    StrictOption,
    StudyName,
)
from sweeper.cli.transfer import advise_command, transfer_command
from sweeper.cli.upkeep import prune_command, retry_command, verify_command

app = typer.Typer(
    name="sweeper",
    help="Finds how the best hyperparameters move as a model grows, and says how sure it is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ExecutorName(StrEnum):
    """Where trials run."""

    ray = "ray"
    inline = "inline"


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sweeper {sweeper.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    study: StudyFile,
    store: StoreOption = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="ray, or inline: in this process, without Ray.")
    ] = ExecutorName.ray,
    address: Annotated[
        str | None,
        typer.Option(help="Address of a running Ray cluster: auto, or HOST:PORT."),
    ] = None,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0.0, help="Seconds between checkpoints of a trial.")
    ] = 300.0,
    hang_seconds: Annotated[
        float,
        typer.Option(min=0.0, help="End a Ray worker that is silent for so long; 0 never."),
    ] = 1800.0,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run what remains of a study, then show how its optimum moves. Run again to resume."""
    from sweeper.cli.run import run_command

    raise typer.Exit(
        run_command(
            study,
            store=store,
            executor=executor.value,
            address=address,
            checkpoint_seconds=checkpoint_seconds,
            hang_seconds=hang_seconds,
            strict=strict,
            as_json=as_json,
        )
    )


@app.command()
def plan(
    study: StudyFile,
    store: StoreOption = None,
    probe: Annotated[
        bool,
        typer.Option(help="Time a few steps per shape where no finished trial tells."),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Show what would run: trials, parameters, FLOPs and hours per scale."""
    from sweeper.cli.plan import plan_command

    plan_command(study, store=store, probe=probe, as_json=as_json)


@app.command()
def rules(
    optimizer: Annotated[
        str | None, typer.Option(help="Optimizer of the hidden matrices.", show_default=False)
    ] = None,
    parametrization: Annotated[
        str | None, typer.Option(help="Scaling rule, for example mup.", show_default=False)
    ] = None,
    base_width: Annotated[
        int | None, typer.Option(help="Width that the rule is relative to.", show_default=False)
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Width of the model.", show_default=False)
    ] = None,
    base_depth: Annotated[
        int | None, typer.Option(help="Depth that the rule is relative to.", show_default=False)
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Depth of the model.", show_default=False)
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    workload: Annotated[str, typer.Option(help="Workload whose tensors are shown.")] = "llama",
    as_json: JsonOption = False,
) -> None:
    """Show what a scaling rule does to each kind of tensor, over its value at the base width."""
    from sweeper.cli.rules import rules_command

    rules_command(
        {
            "optimizer": optimizer,
            "parametrization": parametrization,
            "base_width": base_width,
            "width": width,
            "base_depth": base_depth,
            "depth": depth,
        },
        assignments=assignments or [],
        workload=workload,
        as_json=as_json,
    )


@app.command()
def status(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="Name of a study, or its file; all if left out."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Account for every declared trial: done, diverged, running, pending, failed."""
    from sweeper.cli.status import status_command

    status_command(study, store=store, as_json=as_json)


@app.command()
def drift(
    study: StudyName,
    store: StoreOption = None,
    hyperparameter: Annotated[
        str | None,
        typer.Option(
            "--hyperparameter",
            "--hp",
            help="A setting, learning_rate.hidden, timescale, or a formula such as "
            "learning_rate*weight_decay (default: those of the claims, else the first swept).",
            show_default=False,
        ),
    ] = None,
    joint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Two hyperparameters: their joint optimum and its principal axes instead.",
            show_default=False,
        ),
    ] = None,
    scale: ScaleOption = None,
    horizon: HorizonOption = None,
    estimator: EstimatorOption = EstimatorName.skewed,
    allow_holes: Annotated[
        bool, typer.Option("--allow-holes", help="Answer although neighbours are missing.")
    ] = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="In the JSON, name the trials behind each group.")
    ] = False,
) -> None:
    """Show the optimum per scale, its drift, the regret of transfer and the claims' verdicts."""
    from sweeper.cli.drift import drift_command

    raise typer.Exit(
        drift_command(
            study,
            store=store,
            hyperparameter=hyperparameter,
            joint=joint,
            scale=scale,
            horizon=horizon,
            estimator=estimator.value,
            allow_holes=allow_holes,
            strict=strict,
            as_json=as_json,
            keys=keys,
        )
    )


@app.command()
def report(
    studies: Annotated[
        list[str],
        typer.Argument(metavar="STUDY...", help="Names of studies in the store, or their files."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the page and its figures.")] = Path(
        "sweeper-report"
    ),
    store: StoreOption = None,
    allow_holes: Annotated[
        bool, typer.Option("--allow-holes", help="Answer although neighbours are missing.")
    ] = False,
) -> None:
    """Write a self-contained HTML page, its figures as PNG and the tables behind them as CSV."""
    from sweeper.cli.status import report_command

    report_command(studies, out=out, store=store, allow_holes=allow_holes)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(metavar="SELECT", help="A query; it cannot write.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the store's database (read-only)."""
    from sweeper.cli.status import sql_command

    sql_command(query, store=store, as_json=as_json)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml"),
    workload: Annotated[str, typer.Option(help="Workload of the study.")] = "llama",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented study file to start from."""
    from sweeper.cli.plan import init_command

    init_command(path, workload=workload, force=force)


@app.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from sweeper.cli.plan import schema_command

    schema_command()


app.command("import")(import_command)
app.command("compare")(compare)
app.command("transfer")(transfer_command)
app.command("advise")(advise_command)
app.command("fit")(fit_command)
app.command("predict")(predict_command)
app.command("retry")(retry_command)
app.command("prune")(prune_command)
app.command("verify")(verify_command)
