"""`sweeper check`: whether the rules of a study hold, in a few steps, before the grid is spent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    JsonOption,
    StoreOption,
    StudyName,
    TrustOption,
    as_study,
    names_of,
    open_store,
)
from sweeper.cli.text import Said, grid, print_answer, print_json
from sweeper.errors import RequestError
from sweeper.words import plural, setting

if TYPE_CHECKING:
    from sweeper.check import CheckStatement, VariantCheck

_WORDS = ("layer", "role", "quantity", "verdict")


def check(
    study: StudyName,
    store: StoreOption = None,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,NAME]", help="Which variants (default: all).", show_default=False
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of each model (default: the study's, 10).", show_default=False),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Seeds of each size (default: the study's, 5).", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting in place of the study's, as often as needed.",
            show_default=False,
        ),
    ] = None,
    again: Annotated[bool, typer.Option(help="Measure anew what is stored.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Print every quantity of every layer.")
    ] = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check in a few steps whether updates and activations keep their size over the scale.

    Exits with 1 if they do not.
    """
    from sweeper.check import CheckRequest, checked

    asked = as_study(study, store=store, trust=trust)
    request = CheckRequest(
        study=asked,
        variants=names_of(variant, "--variant", "name variants, separated by commas")
        or asked.check.variants,
        steps=asked.check.steps if steps is None else steps,
        seeds=asked.check.seeds if seeds is None else seeds,
        settings=dict(map(_pair, settings or ())),
    )
    with open_store(store, create=True) as opened:
        statement = checked(request, opened.paths, again=again, draw=_draw, tell=_tell)
    if as_json:
        print_json(statement.to_json())
    else:
        _print(statement, every=every)
    raise typer.Exit(1 if statement.verdict == "fail" else 0)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RequestError(f"--set {text}: write NAME=VALUE, as in learning_rate=2**-9")
    return name, value


def _print(statement: CheckStatement, *, every: bool) -> None:
    said = plural(statement.steps, "step")
    title = f"{statement.study}: coordinate check after {said}, {statement.seeds} seeds a size"
    lead = [f"{statement.verdict}{', as measured before' if statement.stored else ''}"]
    groups = ((each.variant, _said(each, every=every)) for each in statement.variants)
    print_answer(title, lead, groups, f"kept in {', '.join(statement.files)}")


def _said(check: VariantCheck, *, every: bool) -> Iterator[Said]:
    from sweeper.check import layer_rows, role_rows

    measured = check.measured
    sizes = ", ".join(f"{size:g}" for size in measured.sizes)
    rate = measured.settings.get("learning_rate")
    at = "" if rate is None else f", learning_rate {setting(rate)}"
    yield f"{check.verdict}: {measured.scale} {sizes}{at}"
    yield from check.named
    yield from check.unclear
    rows = layer_rows(check) if every else role_rows(check)
    if rows:
        yield grid(rows, words=_WORDS)


def _draw(statement: CheckStatement) -> bytes:
    """Returns the figure: updates by role and activations, each over its value at the smallest
    size."""
    from sweeper.check import TOLERANCE, drawn_lines
    from sweeper.report import check_figure

    panels = {each.variant: drawn_lines(each) for each in statement.variants}
    sizes = {each.variant: each.measured.sizes for each in statement.variants}
    return check_figure(panels, sizes, statement.variants[0].measured.scale, TOLERANCE)
