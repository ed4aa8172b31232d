"""`sweeper explain`: whether it transfers, how fast, why, and what should be done next."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeper.cli.options import (
    HolesOption,
    HyperparameterOption,
    JsonOption,
    StoreOption,
    StudyName,
    name_of,
    open_store,
)
from sweeper.cli.text import noted, print_answer, print_json


def explain(
    study: StudyName,
    store: StoreOption = None,
    hyperparameter: HyperparameterOption = None,
    target: Annotated[
        float | None,
        typer.Option(help="Scale of the model wanted next (default: twice the largest)."),
    ] = None,
    flops: Annotated[
        float | None,
        typer.Option(help="Budget for it, FLOPs (default: what the study itself took)."),
    ] = None,
    allow_holes: HolesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say on one page whether it transfers, how fast, why, and what should be done next."""
    with open_store(store) as opened:
        name = name_of(study, store)
        opened.read_ahead(name)
        from sweeper.answers import explanations_of  # loaded meanwhile

        statement = explanations_of(
            opened, name, hyperparameter, target=target, flops=flops, allow_holes=allow_holes
        )
    if as_json:
        print_json(statement.to_json())
        return
    alone = len({group.hyperparameter for group in statement.groups}) == 1
    title = f"{statement.study}: does it transfer along {statement.scale}, and why"
    lead = [group.said.bottom_line for group in statement.groups]
    groups = [
        (
            group.label if alone else group.title,
            [
                line
                for heading, clauses in group.said.parts.items()
                for line in (heading, *(f"- {clause}" for clause in clauses))
            ],
        )
        for group in statement.groups
    ]
    notes = [("notes", noted(statement.notes, every=False))] if statement.notes else []
    print_answer(title, lead, [*groups, *notes])
