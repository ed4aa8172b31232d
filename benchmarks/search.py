"""What a search spends and finds, on published series that are replayed: nothing is trained, and
there is neither an engine nor a store.

Each series of tests/fixtures/published is a study of the workload `replay`. Its truth is what the
analysis finds on the full grid without noise. A search is then run with noise on every loss, as
large as that of the published numbers and four times that, and judged by

- its FLOPs as a share of the full grid's, of all series together and the mean over series; what
  the source does not show is in no grid, and a search that asks for it pays and is told that it
  diverged,
- the error of the optimum of every scale, in octaves,
- the regret of the found setting: how far its loss lies above the lowest one, in nats,
- the verdict on the claim that the optimum stays, within 0.15 octaves per doubling: how often it
  is another than that of the truth, and how often the opposite one, `holds` for `broken` or
  `broken` for `holds`.

All are read by the analysis as `sweeper drift` reads them: `grid`, the full one, scale by scale;
`ladder`, after the optima, and `ladder-verdict`, after the verdict, all scales together.

    python benchmarks/search.py --repetitions 4       # the table of docs/benchmarks.md
    python benchmarks/search.py --series Muon/SP --by-series
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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
from sweeper.search import Aim, Ladder
from sweeper.study import PlannedTrial, Study, expand
from workloads.replay.card import replayed_loss

TABLES = Path(__file__).resolve().parents[1] / "tests/fixtures/published"
CLAIM = (0.0, 0.15)
"""Exponent and tolerance of the claim that the optimum stays, octaves per doubling."""

READING = 0.0005
"""Nats: how exactly losses were read off a figure; the noise where the source states none."""

TIMES = (1.0, 4.0)
"""Multiples of the published noise."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One published series: loss against learning rate at several widths.

    Attributes:
        name: the variant, as its source has it.
        noise: standard deviation of a loss, nats.
        losses: by width and rate; infinite where the source has no loss: curves are cut where
            they leave the figure.
    """

    name: str
    noise: float
    losses: Mapping[tuple[int, float], float]

    @property
    def widths(self) -> list[int]:
        """All widths, ascending."""
        return sorted({width for width, _ in self.losses})


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
    regrets: tuple[float, ...]
    ruling: Ruling
    truth: Ruling


def series_in(folder: Path) -> Iterator[Series]:
    """Yields the series of the two tables with learning rates.

    Raises:
        FileNotFoundError: the folder lacks one.
    """
    rows = _rows(folder / "openwebtext_width.csv")
    for name, part in _by(rows, "optimizer", "parametrization"):
        yield _series(name, part, READING)
    rows = [row for row in _rows(folder / "llama_wikitext103_width.csv") if row["curve"] == "ema"]
    for name, part in _by(rows, "setting"):
        stated = [bar for row in part if (bar := float(row["error_bar"])) > 0]
        yield _series(name, part, float(np.median(stated)) if stated else READING)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _by(
    rows: Sequence[dict[str, str]], *columns: str
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    names = dict.fromkeys("/".join(row[column] for column in columns) for row in rows)
    for name in names:
        yield name, [row for row in rows if "/".join(row[c] for c in columns) == name]


def _series(name: str, rows: Sequence[dict[str, str]], noise: float) -> Series:
    known = {(int(row["width"]), float(row["learning_rate"])): float(row["loss"]) for row in rows}
    widths, rates = ({key[i] for key in known} for i in range(2))
    widths = sorted({width for width, _ in known})
    rates = sorted({rate for _, rate in known})
    losses = {(w, r): known.get((w, r), math.inf) for w in widths for r in rates}
    return Series(name=name, noise=noise, losses=losses)


def write_table(series: Series, folder: Path) -> None:
    """Writes the table that a series is replayed from."""
    lines = [
        f"{width},{rate},{loss if math.isfinite(loss) else 'diverged'}"
        for (width, rate), loss in series.losses.items()
    ]
    text = "\n".join(["width,learning_rate,loss", *lines])
    _table(series, folder).write_text(text, encoding="utf-8")


def _table(series: Series, folder: Path) -> Path:
    return folder / f"{series.name.replace('/', '-')}.csv"


def study_of(series: Series, folder: Path) -> Study:
    """Returns the study of a series whose table is in a folder."""
    rates = sorted({rate for _, rate in series.losses})
    claim = {"hyperparameter": "learning_rate", "exponent": CLAIM[0], "tolerance": CLAIM[1]}
    return Study.from_document(
        {
            "name": "series",
            "workload": "replay",
            "scale": "width",
            "fixed": {"table": str(_table(series, folder))},
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
        self._study, self._noise, self._seed = study, noise, seed
        self.spent: dict[float, list[float]] = {}

    def outcome(self, planned: PlannedTrial) -> Outcome:
        """Returns how a trial ends, and counts its FLOPs."""
        trial = planned.trial
        self.spent.setdefault(planned.scale, []).append(float(trial.derived["flops"]))
        loss = replayed_loss({**trial.config, "noise": self._noise}, self._seed)
        if math.isinf(loss):
            return Outcome(key=trial.key, attempt=1, kind="diverged")
        return Outcome(key=trial.key, attempt=1, kind="completed", metrics={"val_loss": loss})

    @property
    def flops(self) -> float:
        """FLOPs of all trials so far."""
        return math.fsum(price for prices in self.spent.values() for price in prices)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is known at the end: log2 of the optima of all widths, NaN where unknown."""

    optima: Floats
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
        resamples=200,
    )
    known = {optimum.scale: optimum.log2 for optimum in located.optima}
    try:
        drift = measure_drift(located.optima)
        claim = Claim(exponent=CLAIM[0], tolerance=CLAIM[1])
        ruling = judge(claim, drift, located.optima).ruling
    except AnalysisRefusal:
        ruling = "inconclusive"
    widths = study.axes("default")["width"]
    return Found(optima=np.array([known.get(w, math.nan) for w in widths]), ruling=ruling)


def ladder(study: Study, replay: Replay, aim: Aim | None = None) -> Found:
    """Returns what the analysis finds in the trials of a ladder."""
    search, ended = Ladder(study, aim=aim), []
    while wave := search.ask():
        new = [(each.trial, replay.outcome(each.trial)) for each in wave]
        search.tell([outcome for _, outcome in new])
        ended += new
    return read(study, ended, estimator=SHARED)


SEARCHES: Mapping[str, Callable[[Study, Replay], Found]] = {
    "grid": grid,
    "ladder": ladder,
    "ladder-verdict": partial(ladder, aim=Aim(claims=((0, *CLAIM),))),
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
    series = next(each for each in series_in(folder) if each.name == name)
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
        regrets=tuple(regrets),
        ruling=found.ruling,
        truth=truth.found.ruling,
    )


HEADS = (
    "noise",
    "search",
    "FLOPs, all together",
    "mean share",
    "error, median",
    "90%",
    "regret, median",
    "90%",
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
    known = list(series_in(folder))
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
