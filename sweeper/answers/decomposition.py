"""What a study says about why optima transfer: the change of its losses along the leading
directions of every matrix, and what single examples make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweeper.analysis import (
    LEAST_POINTS,
    Floats,
    Kappa,
    KappaSettings,
    Lowest,
    differences,
    find_kappa,
    invariant_to,
    least_for,
    lowest,
    summed,
)
from sweeper.answers.decomposed_examples import ExampleAnswer, Run, example_answer
from sweeper.answers.groups import Statement, StudyGroup, require_an_answer
from sweeper.answers.jsonable import encoded, setting_value
from sweeper.answers.view import StudyView, view_study
from sweeper.errors import AnalysisRefusal
from sweeper.outcome import ACCEPTED
from sweeper.store import Store, read_arrays
from sweeper.words import plural

if TYPE_CHECKING:
    import pandas

PHI = "topk.phi."
"""How the names of arrays phi^k begin."""

MOST = 0.9
"""Share of the whole change of the loss that leading directions have to come to."""


NEAR = 1.0
"""Octaves from the best point of the largest scale within which top-k curves are compared."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaleDecomposition:
    """The decomposition at one scale, means over seeds.

    Attributes:
        scale: value of the scale.
        seeds: smallest and largest number of seeds of a point.
        log2: of the hyperparameter at the points, rising, [g].
        phi: phi^k summed over all tensors, [g, n]; negative where the loss falls.
        change: change of the held-out loss along the path, [g].
        linear: its change to first order with the gradient at the start of every step, as in the
            source, [g]; phi takes the mean of those at both ends.
        sketch: bound on the error of phi^1 by sketching, the largest of all points; k times
            that of phi^k.
        tensors: whole change and change along the first direction of every tensor, at the point
            of the lowest loss.
        faithful: which points have a change to first order near the true one, [g]; all where
            fewer than three have. The others count in nothing below but ``optimum``.
        optimum: where the change of the loss is lowest.
        linear_optimum: where phi^n is.
        most_by: least k from which on phi^k is within a tenth of the whole change, at the point
            of the lowest loss.
        shares: mean difference to the top-k curves of the largest scale over the points within
            ``NEAR`` octaves of its best (all, where there are none), for each k, over the whole
            change; None at the largest scale.
        alike_to: up to which k the top-k curves are those of the largest scale.
        kappa: how many leading directions decide the optimum; None where that is not known.
        common: log2 at the points of kappa, [g].
        refused: why kappa is not known.
    """

    scale: float
    seeds: tuple[int, int]
    log2: Floats
    phi: Floats
    change: Floats
    linear: Floats
    sketch: float
    faithful: NDArray[np.bool_]
    tensors: Mapping[str, tuple[float, float]]
    optimum: Lowest
    linear_optimum: Lowest
    most_by: int
    shares: Floats | None = None
    alike_to: int | None = None
    kappa: Kappa | None = None
    common: Floats | None = None
    refused: str | None = None

    @property
    def error(self) -> float:
        """Largest difference of the linearised and the true change over faithful points, nats."""
        return float(np.abs(self.phi[:, -1] - self.change)[self.faithful].max())

    @property
    def start_error(self) -> float:
        """The same with the gradient at the start of every step, as in the source."""
        return float(np.abs(self.linear - self.change)[self.faithful].max())

    @property
    def best(self) -> int:
        """Place of the faithful point with the lowest loss."""
        return int(np.argmin(np.where(self.faithful, self.change, np.inf)))

    @property
    def top_optimum(self) -> Lowest | None:
        """Where the curve of the leading directions is lowest."""
        if self.kappa is None or self.common is None:
            return None
        return lowest(self.common, self.kappa.top)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values under stable keys."""
        columns = (
            "scale seeds log2 phi change linear error start_error faithful "
            "sketch tensors optimum linear_optimum top_optimum most_by shares alike_to common "
            "kappa refused"
        )
        return encoded(self, columns) | {"directions": int(self.phi.shape[1])}


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposed(StudyGroup):
    """The decomposition of one group.

    Attributes:
        scales: of each scale, rising.
        without: results that hold no decomposition.
        examples: what single examples make of it; None where they were not recorded.
    """

    scales: tuple[ScaleDecomposition, ...] = ()
    without: int = 0
    examples: ExampleAnswer | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values under stable keys."""
        return {
            **encoded(self, "variant settings without refused"),
            "scales": [each.to_json() for each in self.scales],
            "examples": None if self.examples is None else self.examples.to_json(),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class DecompositionStatement(Statement):
    """The statement of a study about its decompositions."""

    scale: str
    hyperparameter: str
    asked: KappaSettings
    groups: tuple[Decomposed, ...]

    HEAD = "study scale hyperparameter asked"

    def to_json(self) -> dict[str, Any]:
        """Returns the statement as plain values under stable keys."""
        return self.document(group.to_json() for group in self.groups)


def decompositions_of(
    store: Store, name: str, hyperparameter: str | None = None
) -> DecompositionStatement:
    """Returns what the decompositions of a study's results say.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter: a swept one; None takes that of the claims, or the first.

    Raises:
        UnknownNameError: there is no such study or hyperparameter.
        AnalysisRefusal: no result holds a decomposition, or no group can answer.
    """
    asked = () if hyperparameter is None else (hyperparameter,)
    view = view_study(store, name, hyperparameters=asked)
    view.require_results()
    return decomposition_in(store, view, view.hyperparameters[0])


def decomposition_in(store: Store, view: StudyView, along: str) -> DecompositionStatement:
    """Returns what the decompositions of a view's results say of one hyperparameter; errors are
    those of :func:`decompositions_of`."""
    name, settings = view.study.name, _asked(view)
    chosen = view.select(along)
    rows = chosen.rows[chosen.rows["outcome"].isin(ACCEPTED)]
    runs, damaged = _runs(store, name, rows, view.scale, along)
    if not runs:
        raise AnalysisRefusal(_why_nothing(view, len(rows)))
    columns = ["variant", *chosen.settings, *chosen.tuned]
    groups = []
    for values, own in rows.groupby(columns, dropna=False, sort=False):
        values = values if isinstance(values, tuple) else (values,)
        fields = {k: setting_value(v) for k, v in zip(columns[1:], values[1:], strict=True)}
        group = Decomposed(variant=str(values[0]), settings=fields)
        groups.append(_decomposed(group, own, runs, settings))
    require_an_answer(groups)
    return DecompositionStatement(
        study=name,
        scale=view.scale,
        hyperparameter=along,
        asked=settings,
        groups=tuple(groups),
        notes=(*damaged, *view.notes),
    )


def _asked(view: StudyView) -> KappaSettings:
    given = dict(view.study.document.get("decompose", {}))
    if "tolerances" in given:
        given["tolerances"] = tuple(given["tolerances"])
    return KappaSettings(**given)


def _why_nothing(view: StudyView, results: int) -> str:
    record = view.study.document.get("record", {}).get("quantities", ())
    if {"topk", "examples"} & {*record}:
        return (
            f"study {view.study.name}: none of its {plural(results, 'result')} holds a "
            "decomposition: they were trained before the study recorded any, or diverged. What "
            "has a result is not trained again: run the study in another store (--store), or "
            "name trials to sweeper retry by --key"
        )
    return (
        f"study {view.study.name} records no decomposition, so there is none to read; write "
        "record: [topk] in its file (workloads llama and mlp know how) and run it in another "
        "store (--store), since what has a result is not trained again"
    )


def _runs(
    store: Store, name: str, rows: pandas.DataFrame, scale: str, along: str
) -> tuple[dict[str, Run], tuple[str, ...]]:
    """Returns the runs that hold a decomposition by key, and a sentence for each damaged file."""
    files = store.curve_files(name)
    found: dict[str, Run] = {}
    damaged = []
    for row in rows.to_dict("records"):
        file = files.get(row["key"])
        if file is None:
            continue
        try:
            arrays = read_arrays(store.paths.files, file)
        except ValueError as fault:
            damaged.append(f"curve of trial {row['key'][:12]} is left out: {fault}")
            continue
        if any(each.startswith(PHI) for each in arrays):
            found[row["key"]] = Run(
                key=row["key"],
                scale=float(row[scale]),
                log2=round(float(np.log2(row[along])), 9),
                seed=int(row["seed"]),
                arrays=arrays,
            )
    return found, tuple(damaged)


def _decomposed(
    group: Decomposed, rows: pandas.DataFrame, runs: Mapping[str, Run], asked: KappaSettings
) -> Decomposed:
    own = [runs[key] for key in rows["key"] if key in runs]
    without = len(rows) - len(own)
    if not own:
        return replace(group, without=without, refused="no result holds a decomposition")
    scales = [_at_scale(each, asked) for each in _by(own, "scale")]
    largest = scales[-1]
    compared = [_against(each, largest, asked) for each in scales[:-1]]
    return replace(
        group,
        without=without,
        scales=(*compared, largest),
        examples=example_answer(own),
    )


def _by(runs: Sequence[Run], name: str) -> Iterator[list[Run]]:
    """Yields the runs of each value, rising."""
    for value in sorted({getattr(run, name) for run in runs}):
        yield [run for run in runs if getattr(run, name) == value]


def _at_scale(runs: list[Run], asked: KappaSettings) -> ScaleDecomposition:
    points = list(_by(runs, "log2"))
    phi = np.array([np.mean([_phi(run) for run in point], axis=0) for point in points])
    change = np.array([np.mean([_change(run) for run in point]) for point in points])
    log2 = np.array([point[0].log2 for point in points])
    near = np.abs(phi[:, -1] - change) <= asked.error * np.abs(change)
    faithful = near if near.sum() >= LEAST_POINTS else np.full(len(points), True)
    best = int(np.argmin(np.where(faithful, change, np.inf)))
    return ScaleDecomposition(
        scale=runs[0].scale,
        seeds=(min(map(len, points)), max(map(len, points))),
        log2=log2,
        phi=phi,
        change=change,
        linear=np.array([np.mean([_linear(run) for run in point]) for point in points]),
        sketch=max(float(run.arrays["topk.sketch"][0]) for run in runs),
        faithful=faithful,
        tensors=_tensors(points[best]),
        optimum=lowest(log2, change),
        linear_optimum=lowest(log2[faithful], phi[faithful, -1]),
        most_by=least_for(phi[best], MOST),
    )


def _phi(run: Run) -> Floats:
    return summed([each for name, each in run.arrays.items() if name.startswith(PHI)])


def _change(run: Run) -> float:
    losses = run.arrays["topk.loss"]
    return float(losses[-1] - losses[0])


def _linear(run: Run) -> float:
    return float(run.arrays["topk.linear"].sum())


def _tensors(runs: Sequence[Run]) -> dict[str, tuple[float, float]]:
    names = [name for name in runs[0].arrays if name.startswith(PHI)]
    return {
        name.removeprefix(PHI): (
            float(np.mean([run.arrays[name][-1] for run in runs])),
            float(np.mean([run.arrays[name][0] for run in runs])),
        )
        for name in names
    }


def _against(
    small: ScaleDecomposition, large: ScaleDecomposition, asked: KappaSettings
) -> ScaleDecomposition:
    """Returns a scale with what is said about it beside the largest one."""
    common, own, theirs = np.intersect1d(
        small.log2[small.faithful], large.log2[large.faithful], return_indices=True
    )
    if not len(common):
        return replace(small, refused="no point is decomposed well at the largest scale too")
    phi, largest = small.phi[small.faithful][own], large.phi[large.faithful][theirs]
    if phi.shape[1] > largest.shape[1]:
        return replace(small, refused="its matrices are larger than those of the largest scale")
    near = np.abs(common - large.log2[large.best]) <= NEAR + 1e-9
    if not near.any():
        near[:] = True
    shares = differences(phi[near], largest[near])
    found = replace(
        small, shares=shares, alike_to=invariant_to(shares, asked.invariance), common=common
    )
    try:
        return replace(found, kappa=find_kappa(common, phi, largest, asked))
    except AnalysisRefusal as refusal:
        return replace(found, refused=str(refusal))
