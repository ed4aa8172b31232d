"""`sweeper decompose`: the change of the losses along the leading directions, and by example."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    HyperparameterOption,
    JsonOption,
    StoreOption,
    StudyName,
    name_of,
    open_store,
)
from sweeper.cli.text import Said, grid, noted, print_answer, print_json
from sweeper.words import plural

if TYPE_CHECKING:
    from rich.table import Table

    from sweeper.analysis import Kappa, Lowest
    from sweeper.answers import (
        Decomposed,
        DecompositionStatement,
        ExampleAnswer,
        ScaleDecomposition,
    )


def decompose(
    study: StudyName,
    store: StoreOption = None,
    hyperparameter: HyperparameterOption = None,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write figures there.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many leading directions decide the optimum, and whether scales share them."""
    with open_store(store) as opened:
        name = name_of(study, store)
        from sweeper.answers import decompositions_of

        statement = decompositions_of(opened, name, hyperparameter)
    written = [] if output is None else _written(statement, output)
    if as_json:
        print_json(statement.to_json())
        return
    title = (
        f"{statement.study}: losses by direction, {statement.hyperparameter} over "
        f"{statement.scale}"
    )
    groups = ((group.label, _said(statement, group)) for group in statement.groups)
    print_answer(title, noted([*statement.notes, *written]), groups)


def _written(statement: DecompositionStatement, output: Path) -> list[str]:
    """Writes figures and tables; returns a sentence about them."""
    from sweeper.report import Folder, directions_figure, directions_table, slug

    folder, names = Folder(output), []
    for group in statement.groups:
        if group.refused is None:
            stem = folder.stem(f"{statement.study}-directions-{slug(group.label)}")
            image = directions_figure(
                group, hyperparameter=statement.hyperparameter, scale=statement.scale
            )
            names += [folder.png(stem, image), folder.csv(stem, directions_table(group))]
    return [f"written to {output}: {', '.join(names)}"]


def _said(statement: DecompositionStatement, group: Decomposed) -> Iterator[Said]:
    if group.refused is not None:
        yield f"no answer: {group.refused}"
        return
    yield _changes(statement, group)
    yield _directions(statement, group)
    limit = f"{statement.asked.invariance:.0%}"
    yield (
        "changes of the held-out loss along the averaged path, nats; error: of the change to "
        "first order over the points that it misses by little, with the mean gradient of a step, "
        "and with that at its start alone; alike: up to which k the curves of the "
        f"k leading directions are those of the largest {statement.scale} to {limit} of the "
        "change, within an octave of its best"
    )
    for each in group.scales:
        if each.refused is not None:
            yield f"no kappa at {statement.scale} {each.scale:g}: {each.refused}"
        if each.sketch > 0:
            yield (
                f"{statement.scale} {each.scale:g} is sketched: the change along the first k "
                f"directions is known to k times {each.sketch:.2g}"
            )
    if group.without:
        yield f"{plural(group.without, 'result')} without a decomposition left out"
    if group.examples is not None:
        yield from _examples(statement, group.examples)


def _changes(statement: DecompositionStatement, group: Decomposed) -> Table:
    return grid(
        [
            [
                (statement.scale, f"{each.scale:g}"),
                ("points", _points(each)),
                ("seeds", "-".join(str(n) for n in sorted({*each.seeds}))),
                ("lowest change", f"{each.change[each.best]:.4f}"),
                ("to first order", f"{each.phi[each.best, -1]:.4f}"),
                ("largest error", f"{each.error:.2g}"),
                ("by the start", f"{each.start_error:.2g}"),
                ("k = 1", _share(each, 1)),
                ("k = 8", _share(each, 8)),
                ("90% by k", f"{each.most_by}"),
            ]
            for each in group.scales
        ]
    )


def _points(each: ScaleDecomposition) -> str:
    count, whole = int(each.faithful.sum()), len(each.log2)
    return f"{whole}" if count == whole else f"{count} of {whole}"


def _share(each: ScaleDecomposition, k: int) -> str:
    phi = each.phi[each.best]
    return f"{phi[min(k, len(phi)) - 1] / phi[-1]:.1%}"


def _directions(statement: DecompositionStatement, group: Decomposed) -> Table:
    largest = group.scales[-1]
    return grid(
        [
            [
                (statement.scale, f"{each.scale:g}"),
                ("optimum", _place(each.optimum)),
                ("to first order", _place(each.linear_optimum)),
                ("leading", _place(each.top_optimum)),
                ("kappa", _kappa(each.kappa)),
                ("difference", "" if each.kappa is None else f"{each.kappa.difference:.2g}"),
                ("off the largest", _off(each, largest)),
                ("bound", "" if each.kappa is None else _bound(each.kappa.bound)),
                ("alike to k", "" if each.alike_to is None else f"{each.alike_to}"),
            ]
            for each in group.scales
        ]
    )


def _place(lowest: Lowest | None) -> str:
    if lowest is None:
        return ""
    return f"2^{lowest.log2:.2f}{' (edge)' if lowest.edge else ''}"


def _kappa(kappa: Kappa | None) -> str:
    if kappa is None:
        return ""
    low, high = int(kappa.k.min()), int(kappa.k.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _off(each: ScaleDecomposition, largest: ScaleDecomposition) -> str:
    if each is largest:
        return ""
    return f"{abs(each.linear_optimum.log2 - largest.linear_optimum.log2):.2f}"


def _bound(bound: float) -> str:
    return f"{bound:.2f}" if math.isfinite(bound) else "none"


def _examples(statement: DecompositionStatement, examples: ExampleAnswer) -> Iterator[Said]:
    mean, easy, hard = examples.index
    yield (
        f"examples by the mean index of their directions, told by the run of {statement.scale} "
        f"{examples.scale:g} at {statement.hyperparameter} 2^{examples.log2:g}, seed "
        f"{examples.seed}: mean {mean:.2f}, easy up to {easy:.2f}, hard from {hard:.2f}; rank "
        f"correlation with other runs {examples.agreement:.2f}"
    )
    yield grid(
        [
            [
                ("examples", curves.name),
                ("number", f"{curves.examples}"),
                *(
                    (f"{statement.scale} {scale:g}", _place(optimum))
                    for scale, optimum in zip(curves.scales, curves.optima, strict=True)
                ),
                ("octaves per doubling", _octaves(curves.slope)),
                ("cost of transfer", f"{curves.cost:.2g}"),
            ]
            for curves in examples.curves
        ],
        words=("examples",),
    )
    said = ", ".join(f"{name} {value:+.2f}" for name, value in examples.correlations.items())
    yield f"rank correlation of the index with {said}"
    if examples.bands:
        yield grid(
            [
                [
                    ("tokens by", band.by),
                    ("from", f"{band.low:.3g}"),
                    ("to", f"{band.high:.3g}"),
                    ("number", f"{band.examples}"),
                    ("mean index", f"{band.index:.2f}"),
                    ("easy", f"{band.easy:.0%}"),
                    ("hard", f"{band.hard:.0%}"),
                    ("loss at start", f"{band.start:.3f}"),
                    ("at end", f"{band.end:.3f}"),
                ]
                for band in examples.bands
            ],
            words=("tokens by",),
        )


def _octaves(slope: float) -> str:
    return "not known" if math.isnan(slope) else f"{slope:+.2f}"
