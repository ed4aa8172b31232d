"""What single examples make of a decomposition: the easy and the hard ones, by the directions that
change their losses in one run, and where the optimum of each lies at every scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.analysis import (
    EASY,
    HARD,
    Floats,
    Lowest,
    lowest,
    mean_index,
    rank_correlation,
    slope,
    subsets,
)
from sweeper.answers.jsonable import encoded

BANDS = 4
"""Parts of equal size that tokens are put into by frequency and by position."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run that holds a decomposition.

    Attributes:
        key: of the trial.
        scale: its scale.
        log2: of its hyperparameter.
        seed: its seed.
        arrays: what was recorded, by name.
    """

    key: str
    scale: float
    log2: float
    seed: int
    arrays: Mapping[str, Floats]


@dataclass(frozen=True, kw_only=True, eq=False)
class SubsetCurves:
    """The losses of some examples over scales and values.

    Attributes:
        name: ``all``, ``easy`` or ``hard``.
        examples: how many there are.
        scales: rising.
        log2: of the hyperparameter, for each scale.
        losses: mean loss of the examples at the end of the path, for each scale.
        optima: where they are lowest, for each scale.
        slope: octaves by which the optimum moves when the scale doubles; those at edges left out.
        cost: what the optimum of the smallest scale costs the largest, nats an example.
    """

    name: str
    examples: int
    scales: tuple[float, ...]
    log2: tuple[Floats, ...]
    losses: tuple[Floats, ...]
    optima: tuple[Lowest, ...]
    slope: float
    cost: float


@dataclass(frozen=True, kw_only=True)
class Band:
    """Tokens of like frequency, or at like positions.

    Attributes:
        by: ``frequency`` (share of the training tokens) or ``position``.
        low, high: least and largest value.
        examples: how many there are.
        index: mean index of their directions.
        easy, hard: shares of them that are among the easy and among the hard.
        start, end: mean loss at both ends of the path of the run that tells them apart.
    """

    by: str
    low: float
    high: float
    examples: int
    index: float
    easy: float
    hard: float
    start: float
    end: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ExampleAnswer:
    """What examples say.

    Attributes:
        reference: key of the run that tells easy from hard.
        scale, log2, seed: of that run.
        index: mean index of all examples, and the largest of the easy and least of the hard.
        agreement: mean rank correlation of the index with that of the other runs at their best
            value; NaN without any.
        curves: of all, the easy and the hard examples.
        correlations: rank correlation of the index with what is known of the examples, and with
            their losses at the end.
        bands: by frequency and by position, where these are known.
    """

    reference: str
    scale: float
    log2: float
    seed: int
    index: tuple[float, float, float]
    agreement: float
    curves: tuple[SubsetCurves, ...]
    correlations: Mapping[str, float]
    bands: tuple[Band, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values under stable keys."""
        return encoded(self, "reference scale log2 seed index agreement curves correlations bands")


def example_answer(runs: Sequence[Run]) -> ExampleAnswer | None:
    """Returns what the examples of a group's runs say; None where none were recorded.

    The run that tells easy from hard is that of the smallest scale at its best value, of the
    first seed.
    """
    own = [run for run in runs if "examples.psi" in run.arrays]
    if not own:
        return None
    reference = _best(own, min(run.scale for run in own))[0]
    psi = reference.arrays["examples.psi"][:, 1:]
    found = subsets(psi)
    everything = np.arange(len(psi))
    places = {"all": everything, "easy": found.easy, "hard": found.hard}
    easy, hard = (np.isin(everything, each) for each in (found.easy, found.hard))
    return ExampleAnswer(
        reference=reference.key,
        scale=reference.scale,
        log2=reference.log2,
        seed=reference.seed,
        index=(
            float(found.index.mean()),
            float(found.index[found.easy].max()),
            float(found.index[found.hard].min()),
        ),
        agreement=_agreement(own, reference, found.index),
        curves=tuple(_curves(name, own, each) for name, each in places.items()),
        correlations=_correlations(reference, found.index),
        bands=tuple(
            band
            for name in ("frequency", "position")
            if f"examples.{name}" in reference.arrays
            for band in _bands(name, reference, found.index, easy, hard)
        ),
    )


def _best(runs: Sequence[Run], scale: float) -> list[Run]:
    """Returns the runs at the best value of a scale, by seed."""
    here = [run for run in runs if run.scale == scale]
    values = sorted({run.log2 for run in here})
    means = [np.mean([_end(run).mean() for run in here if run.log2 == v]) for v in values]
    best = values[int(np.argmin(means))]
    return sorted((run for run in here if run.log2 == best), key=lambda run: run.seed)


def _end(run: Run) -> Floats:
    return run.arrays["examples.end"]


def _agreement(runs: Sequence[Run], reference: Run, index: Floats) -> float:
    others = [
        run
        for scale in sorted({run.scale for run in runs})
        for run in _best(runs, scale)
        if run.key != reference.key
    ]
    found = [rank_correlation(index, mean_index(r.arrays["examples.psi"][:, 1:])) for r in others]
    return float(np.mean(found)) if found else float("nan")


def _curves(name: str, runs: Sequence[Run], places: Any) -> SubsetCurves:
    scales = sorted({run.scale for run in runs})
    log2, losses = [], []
    for scale in scales:
        here = [run for run in runs if run.scale == scale]
        values = sorted({run.log2 for run in here})
        log2.append(np.array(values))
        means = [np.mean([_end(r)[places].mean() for r in here if r.log2 == v]) for v in values]
        losses.append(np.array(means))
    optima = [lowest(x, y) for x, y in zip(log2, losses, strict=True)]
    inside = [(s, each.log2) for s, each in zip(scales, optima, strict=True) if not each.edge]
    carried = float(np.interp(optima[0].log2, log2[-1], losses[-1]))
    return SubsetCurves(
        name=name,
        examples=len(places),
        scales=tuple(scales),
        log2=tuple(log2),
        losses=tuple(losses),
        optima=tuple(optima),
        slope=slope([s for s, _ in inside], [x for _, x in inside]),
        cost=max(0.0, carried - float(losses[-1].min())),
    )


def _correlations(reference: Run, index: Floats) -> dict[str, float]:
    found = {"loss": rank_correlation(index, _end(reference))}
    for name in ("frequency", "position"):
        if f"examples.{name}" in reference.arrays:
            found[name] = rank_correlation(index, reference.arrays[f"examples.{name}"])
    return found


def _bands(name: str, reference: Run, index: Floats, easy: Any, hard: Any) -> list[Band]:
    values = reference.arrays[f"examples.{name}"]
    ends = np.quantile(values, np.linspace(0, 1, BANDS + 1)[1:-1])
    which = np.searchsorted(ends, values, side="left")
    bands = []
    for number in np.unique(which):
        some = which == number
        bands.append(
            Band(
                by=name,
                low=float(values[some].min()),
                high=float(values[some].max()),
                examples=int(some.sum()),
                index=float(index[some].mean()),
                easy=float(easy[some].mean()),
                hard=float(hard[some].mean()),
                start=float(reference.arrays["examples.start"][some].mean()),
                end=float(_end(reference)[some].mean()),
            )
        )
    return bands


SHARES = {"easy": EASY, "hard": HARD}
"""Shares of the examples that are easy and hard, for the reader."""
