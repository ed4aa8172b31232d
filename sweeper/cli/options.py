"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name of a study in the store, or its file.")
]
OneStudy = Annotated[
    str | None,
    typer.Argument(metavar="[STUDY]", help="Name of a study, or its file; all if left out."),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="SWEEPER_STORE",
        help="Folder or database URL of the store (default: sweeper-results).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 1 if a claim is broken.")]
ScaleOption = Annotated[
    str | None,
    typer.Option("--scale", help="Along which axis (default: the study's).", show_default=False),
]
HorizonOption = Annotated[
    str | None,
    typer.Option(
        "--horizon",
        help="Marks inside the runs: all, tokens, or a share of the run up to 1 or 100%.",
        show_default=False,
    ),
]


class EstimatorName(StrEnum):
    """How the optimum of one scale is read off its points."""

    quadratic = "quadratic"
    quadratic3 = "quadratic3"
    skewed = "skewed"
    spline = "spline"
    argmin = "argmin"


EstimatorOption = Annotated[
    EstimatorName, typer.Option(help="How an optimum is read off its points.")
]
