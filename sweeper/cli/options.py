"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name of a study in the store, or its file.")
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
