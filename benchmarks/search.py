"""What a search spends and finds, on published series that are replayed: nothing is trained, and
there is neither an engine nor a store.

Each series of tests/fixtures/published, and of the two width studies of docs/results, is a study
of the workload `replay`. Its truth is what the analysis finds on the full grid without noise. A
search is then run with noise on every loss, as large as that of the numbers and four times that,
and judged by

- its FLOPs as a share of the full grid's, of all series together and the mean over series; what
  the source does not show is in no grid, and a search that asks for it pays and is told that it
  diverged,
- the error of the optimum of every scale, in octaves,
- how often the interval of an optimum, and that of the drift, holds the truth,
- the regret of the found setting: how far its loss lies above the lowest one, in nats,
- the verdict on the claim that the optimum stays, within 0.15 octaves per doubling: how often it
  is another than that of the truth, and how often the opposite one, `holds` for `broken` or
  `broken` for `holds`.

All are read by the analysis as `sweeper drift` reads them: ladders and samplers all scales
together, the others scale by scale. `grid` is the full one; `ladder` is after the optima and
`ladder-verdict` after the verdict; `tpe` and `gp` are samplers of Optuna, with as many trials of
every scale as cost what a ladder does, and `telescope-cut` is a telescope that ends when it has
spent as much. Where the analysis finds no optimum, the lowest run is taken for it, and at a width
without any what holds at the one before.

    python -m benchmarks.search --repetitions 4       # the table of docs/benchmarks.md
    python -m benchmarks.search --series Muon/SP --by-series
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.search_series import TABLES, Series, known_series, table_of, write_table
from sweeper.analysis import (
    DEFAULT,
    SHARED,
    Claim,
    Floats,
    Ruling,
    judge,
    measure_drift,
    optima_of,
)
from sweeper.errors import AnalysisRefusal
from sweeper.outcome import Outcome
from sweeper.search import Search, make_search
from sweeper.study import PlannedTrial, Study, expand
from workloads.replay.card import replayed_loss

LADDER_SHARE = 0.2
"""Mean share of the grid's FLOPs that a ladder spends: the budget of the samplers."""

TOGETHER = {"ladder": SHARED, "optuna": SHARED}
"""Methods whose few runs, or crowded ones, `sweeper drift` reads from all scales together."""

CLAIM = (0.0, 0.15)
"""Exponent and tolerance of the claim that the optimum stays, octaves per doubling."""

TIMES = (1.0, 4.0)
"""Multiples of the published noise."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One search, judged.

    Attributes:
        search: what searched.
        series: name of the series.
        times: multiple of the published noise.
        share: FLOPs over those of the grid.
        grid: FLOPs of the grid.
        runs: runs of each width.
        errors: octaves by which the optimum of each width is off; NaN where none was found.
        held: whether its interval holds the truth; NaN where it has none.
        drift_held: the same of the drift.
        regrets: nats by which the setting of each width is above the lowest loss; NaN likewise.
        ruling, truth: verdicts on the claim.
    """

    search: str
    series: str
    times: float
    share: float
    grid: float
    runs: tuple[int, ...]
    errors: tuple[float, ...]
    held: tuple[float, ...]
    drift_held: float
    regrets: tuple[float, ...]
    ruling: Ruling
    truth: Ruling


def study_of(series: Series, folder: Path) -> Study:
    """Returns the study of a series whose table is in a folder."""
    rates = sorted({rate for _, rate in series.losses})
    claim = {"hyperparameter": "learning_rate", "exponent": CLAIM[0], "tolerance": CLAIM[1]}
    return Study.from_document(
        {
            "name": "series",
            "workload": "replay",
            "scale": "width",
            "fixed": {"table": str(table_of(series, folder))},
            "sweep": {"width": series.widths, "learning_rate": rates},
            "claims": [claim],
        }
    )


class Replay:
    """A series that answers trials with noise.

    Args:
        study: the study of the series.
        noise: standard deviation, nats.
        seed: of the noise.
    """

    def __init__(self, study: Study, noise: float, seed: int) -> None:
        self._study, self._noise, self.seed = study, noise, seed
        self.spent: dict[float, list[float]] = {}

    def outcome(self, planned: PlannedTrial) -> Outcome:
        """Returns how a trial ends, and counts its FLOPs."""
        trial = planned.trial
        self.spent.setdefault(planned.scale, []).append(float(trial.derived["flops"]))
        loss = replayed_loss({**trial.config, "noise": self._noise}, self.seed)
        if math.isinf(loss):
            return Outcome(key=trial.key, attempt=1, kind="diverged")
        return Outcome(key=trial.key, attempt=1, kind="completed", metrics={"val_loss": loss})

    @property
    def flops(self) -> float:
        """FLOPs of all trials so far."""
        return math.fsum(price for prices in self.spent.values() for price in prices)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is known at the end: log2 of the optima of all widths and their intervals, [widths, 2],
    and the interval of the drift, NaN where unknown."""

    optima: Floats
    intervals: Floats
    drift: tuple[float, float]
    ruling: Ruling


def grid(study: Study, replay: Replay) -> Found:
    """Returns what the analysis finds on the full grid."""
    return read(study, [(planned, replay.outcome(planned)) for planned in expand(study)])


def read(
    study: Study, ended: Sequence[tuple[PlannedTrial, Outcome]], estimator: str = DEFAULT
) -> Found:
    """Returns what the analysis finds in trials that have ended."""
    rows = []
    for planned, outcome in ended:
        loss = outcome.metrics.get("val_loss", math.inf)
        config = planned.trial.config
        rows.append((config["width"], config["learning_rate"], 0, loss, outcome.kind))
    names = ["width", "learning_rate", "seed", "loss", "outcome"]
    located = optima_of(
        pd.DataFrame(rows, columns=names),
        scale="width",
        hyperparameter="learning_rate",
        estimator=estimator,
        resamples=1000 if estimator == SHARED else 200,  # as a drift; curves take longer
    )
    known = {each.scale: (each.log2, each.low, each.high) for each in located.optima}
    ends = (math.nan, math.nan)
    try:
        drift = measure_drift(located.optima)
        claim = Claim(exponent=CLAIM[0], tolerance=CLAIM[1])
        ruling = judge(claim, drift, located.optima).ruling
        ends = drift.low, drift.high
    except AnalysisRefusal:
        ruling = "inconclusive"
    widths = study.axes("default")["width"]
    found = np.array([known.get(width, (math.nan,) * 3) for width in widths])
    return Found(optima=found[:, 0], intervals=found[:, 1:], drift=ends, ruling=ruling)


def run(
    search: Search, replay: Replay, budget: float = math.inf
) -> list[tuple[PlannedTrial, Outcome]]:
    """Runs a search to its end, or until a budget in FLOPs is spent; returns its trials and how
    they ended."""
    ended: list[tuple[PlannedTrial, Outcome]] = []
    while wave := search.ask():
        new = []
        for proposal in wave:
            if replay.flops + float(proposal.trial.trial.derived["flops"]) > budget:
                return ended + new
            new.append((proposal.trial, replay.outcome(proposal.trial)))
        search.tell([outcome for _, outcome in new])
        ended += new
    return ended


def named(study: Study, replay: Replay, share: float = math.inf, **section: Any) -> Found:
    """Returns what is found in the trials of a search that a study can name: by the analysis, and
    where it finds no optimum by the lowest run; at a width that it did not reach, what holds at
    the one before.

    Args:
        study, replay: as of every search.
        share: of the grid's FLOPs, after which it ends.
        section: the section ``search`` of the study.
    """
    asked = Study.from_document({**study.document, "search": section})
    whole = math.fsum(float(each.trial.derived["flops"]) for each in expand(study))
    ended = run(make_search(asked), replay, share * whole)
    found = read(study, ended, TOGETHER.get(asked.search.method, DEFAULT))
    optima: list[float] = []
    for optimum, width in zip(found.optima, study.axes("default")["width"], strict=True):
        place = _lowest(ended, width) if math.isnan(optimum) else float(optimum)
        optima.append(optima[-1] if optima and math.isnan(place) else place)
    return replace(found, optima=np.array(optima))


def _lowest(ended: Sequence[tuple[PlannedTrial, Outcome]], width: int) -> float:
    """Returns log2 of the rate of the lowest run of a width; NaN where all diverged."""
    runs = [
        (outcome.metrics["val_loss"], math.log2(planned.trial.config["learning_rate"]))
        for planned, outcome in ended
        if planned.scale == width and outcome.kind == "completed"
    ]
    return min(runs)[1] if runs else math.nan


def sampled(study: Study, replay: Replay, sampler: str) -> Found:
    """Returns what a sampler of Optuna finds with the budget of a ladder."""
    trials = max(1, round(LADDER_SHARE * study.num_cells / len(study.axes("default")["width"])))
    section = {"sampler": sampler, "trials": trials, "startup": 1, "sampler_seed": replay.seed}
    return named(study, replay, method="optuna", **section)


SEARCHES: Mapping[str, Callable[[Study, Replay], Found]] = {
    "grid": grid,
    "ladder": partial(named, method="ladder"),
    "ladder-verdict": partial(named, method="ladder", until="verdict"),
    "telescope": partial(named, method="telescope"),
    "telescope-cut": partial(named, share=LADDER_SHARE, method="telescope"),
    "tpe": partial(sampled, sampler="tpe"),
    "gp": partial(sampled, sampler="gp"),
}


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A series without noise.

    Attributes:
        study: its study.
        config: of one of its trials.
        found: what the analysis finds on its full grid.
        lowest: the lowest loss of each width.
        flops: of the grid.
    """

    study: Study
    config: Mapping[str, Any]
    found: Found
    lowest: tuple[float, ...]
    flops: float


@cache
def truth_of(name: str, folder: Path, tables: Path) -> tuple[Series, Truth]:
    """Returns a series and its truth.

    Args:
        name: of the series.
        folder: where the published tables are.
        tables: where the table is that it is replayed from.
    """
    series = next(each for each in known_series(folder) if each.name == name)
    study = study_of(series, tables)
    found = grid(study, Replay(study, 0.0, 0))
    config = study.card.resolve(next(study.cells())[1]).config
    lowest = tuple(
        min(_loss(config, width, x) for x in np.linspace(*_ends(series), 200))
        for width in series.widths
    )
    shown = [place for place, loss in series.losses.items() if math.isfinite(loss)]
    flops = math.fsum(width**2 for width, _ in shown)
    return series, Truth(study=study, config=config, found=found, lowest=lowest, flops=flops)


def _ends(series: Series) -> tuple[float, float]:
    rates = [rate for _, rate in series.losses]
    return math.log2(min(rates)), math.log2(max(rates))


def _loss(config: Mapping[str, Any], width: int, x: float) -> float:
    """Returns the loss of a series without noise, infinite beyond its table."""
    place = {"width": width, "learning_rate": float(2.0**x), "noise": 0.0}
    return replayed_loss({**config, **place}, 0)


def score(task: tuple[str, str, float, int], folder: Path, tables: Path) -> Score:
    """Returns the score of one search.

    Args:
        task: the search, the series, the multiple of its noise, and the draw.
        folder, tables: as in :func:`truth_of`.
    """
    search, name, times, draw = task
    series, truth = truth_of(name, folder, tables)
    replay = Replay(truth.study, times * series.noise, draw)
    found = SEARCHES[search](truth.study, replay)
    low, high = _ends(series)
    optima = truth.found.optima
    losses = [
        math.nan if math.isnan(x) else _loss(truth.config, width, min(max(x, low), high))
        for width, x in zip(series.widths, found.optima, strict=True)
    ]
    regrets = [max(0.0, loss - low) for loss, low in zip(losses, truth.lowest, strict=True)]
    return Score(
        search=search,
        series=name,
        times=times,
        share=1.0 if search == "grid" else replay.flops / truth.flops,
        grid=truth.flops,
        runs=tuple(len(replay.spent.get(float(width), ())) for width in series.widths),
        errors=tuple(float(e) for e in np.abs(found.optima - truth.found.optima)),
        held=tuple(map(_held, found.intervals, truth.found.optima)),
        drift_held=_held(found.drift, float(np.polyfit(np.log2(series.widths), optima, 1)[0])),
        regrets=tuple(regrets),
        ruling=found.ruling,
        truth=truth.found.ruling,
    )


def _held(interval: Sequence[float], truth: float) -> float:
    """Returns whether an interval holds a number, NaN where there is none."""
    low, high = interval
    return math.nan if math.isnan(low) else float(low <= truth <= high)


HEADS = (
    "noise",
    "search",
    "FLOPs, all together",
    "mean share",
    "error, median",
    "90%",
    "regret, median",
    "90%",
    "optima held",
    "drifts held",
    "verdict changed",
    "opposite",
)


def row(scores: Sequence[Score]) -> list[str]:
    """Returns the cells of a table on scores of one search at one noise."""
    errors = np.concatenate([each.errors for each in scores])
    regrets = np.concatenate([each.regrets for each in scores])
    spent = math.fsum(each.share * each.grid for each in scores)
    opposite = sum({each.ruling, each.truth} == {"holds", "broken"} for each in scores)
    return [
        f"×{scores[0].times:g}",
        scores[0].search,
        f"{spent / math.fsum(each.grid for each in scores):.3f}",
        f"{np.mean([each.share for each in scores]):.3f}",
        f"{np.nanmedian(errors):.3f}",
        f"{np.nanquantile(errors, 0.9):.3f}",
        f"{np.nanmedian(regrets):.5f}",
        f"{np.nanquantile(regrets, 0.9):.5f}",
        f"{np.nanmean(np.concatenate([each.held for each in scores])):.1%}",
        f"{np.nanmean([each.drift_held for each in scores]):.1%}",
        f"{sum(each.ruling != each.truth for each in scores)} of {len(scores)}",
        f"{opposite}",
    ]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def scores_of(arguments: argparse.Namespace) -> list[Score]:
    """Returns the scores of all that the options ask for."""
    folder = arguments.folder.resolve()
    known = known_series(folder)
    names = [each.name for each in known]
    if unknown := set(arguments.series or ()) - set(names):
        raise SystemExit(f"no series {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    draws = range(arguments.repetitions)
    tasks = list(product(arguments.searches, arguments.series or names, TIMES, draws))
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor(arguments.processes) as pool:
        for each in known:
            write_table(each, Path(place))
        one = partial(score, folder=folder, tables=Path(place))
        return list(pool.map(one, tasks, chunksize=8))


def page(scores: Sequence[Score], *, by_series: bool) -> str:
    """Returns the tables, in Markdown."""
    parts = [table(HEADS, [row(part) for part in _grouped(scores, "times", "search")])]
    if by_series:
        rows = []
        for part in _grouped(scores, "series", "times", "search"):
            runs = np.mean([each.runs for each in part], axis=0)
            counts = ", ".join(f"{count:.1f}" for count in runs)
            rows.append([part[0].series, *row(part), part[0].truth, counts])
        parts.append(table(("series", *HEADS, "truth", "runs"), rows))
    return "\n\n".join(parts)


def _grouped(scores: Sequence[Score], *names: str) -> Iterator[list[Score]]:
    """Yields the scores with the same values of some attributes, in order."""
    keys = [tuple(getattr(each, name) for name in names) for each in scores]
    order = sorted(dict.fromkeys(keys)) if names[0] == "times" else list(dict.fromkeys(keys))
    for key in order:
        yield [each for each, own in zip(scores, keys, strict=True) if own == key]


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[0])
    options: dict[str, dict[str, Any]] = {
        "--folder": {"type": Path, "default": TABLES, "help": "where the tables are"},
        "--repetitions": {"type": int, "default": 50, "help": "draws of the noise"},
        "--series": {"nargs": "+", "help": "names of series; all by default"},
        "--searches": {"nargs": "+", "choices": SEARCHES, "default": list(SEARCHES)},
        "--processes": {"type": int, "default": None, "help": "all processors by default"},
        "--by-series": {"action": "store_true", "help": "a second table, by series"},
    }
    for name, about in options.items():
        parser.add_argument(name, **about)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parsed()
    print(page(scores_of(options), by_series=options.by_series))
