"""How well the optimum of a larger scale is foretold from smaller ones, on published and planted
series, beside an unweighted straight line through the vertices of parabolas.

A series is cut at an eighth, a quarter and a half of each scale that has at least two below, and
the setting there is predicted from what is left. Variants of one published study are predicted
together, as `sweeper predict` does. Planted series are random: the draw is the seed.

    python benchmarks/forecasts.py                    # the table of docs/statistics.md
    python benchmarks/forecasts.py --only published bent --draws 20
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, product
from os import cpu_count
from pathlib import Path

import numpy as np
import pandas as pd

from sweeper.analysis import (
    Prediction,
    Rule,
    SiteOptimum,
    Survey,
    fit_rule,
    learn_together,
    predict_at,
    regret_at,
    survey,
)
from sweeper.errors import AnalysisRefusal

TABLES = Path(__file__).resolve().parents[1] / "tests/fixtures/published"
CUTS = (8, 4, 2)
WIDTHS = (128, 256, 512, 1024, 2048, 4096)
WIDE = 2.0
"""Octaves from which on an interval is called wide."""

VARIANTS = 3
"""Of a planted study."""

CURVATURE = 0.08
"""Second derivative of a planted basin at the smallest width, in loss / octave^2."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One held-out optimum, foretold.

    Attributes:
        kind: kind of series.
        cut: the largest scale that was used is at most 1 / cut of the target.
        held: whether the 95% interval holds the optimum.
        width: of that interval, in octaves.
        regret: loss above the optimum at the predicted setting; NaN if not measured.
        expected: what the prediction expected of it; NaN if it did not say.
        most: what it is at most with 95%, as the prediction says; NaN if it did not say.
        line: regret of the straight line.
        off, line_off: predicted less found, in octaves.
    """

    kind: str
    cut: int
    held: bool
    width: float
    regret: float
    expected: float
    most: float
    line: float
    off: float
    line_off: float


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of planted series.

    Attributes:
        slope: lowest and highest drift, octaves per doubling.
        bend: standard deviation of the drift's change, per doubling.
        levelling: whether the drift halves every doubling, or more slowly, down to every third.
        noise: standard deviation of the loss of a run.
        jitter: standard deviation of optima round the curve, in octaves.
        first: lowest point of the grid in log2, which has nine, an octave apart.
        cliff: octaves above the optimum from which on runs diverge.
    """

    slope: tuple[float, float] = (-1.0, 0.0)
    bend: float = 0.0
    levelling: bool = False
    noise: float = 0.005
    jitter: float = 0.0
    first: float = -12.0
    cliff: float = np.inf


KINDS = {
    "straight": Kind(),
    "constant": Kind(slope=(0.0, 0.0)),
    "bent": Kind(slope=(-0.6, 0.0), bend=0.1),
    "levelling off": Kind(levelling=True),
    "noisy": Kind(noise=0.03),
    "scattered": Kind(jitter=0.15),
    "censored": Kind(first=-8.7, slope=(-1.2, -0.6)),
    "cliffed": Kind(cliff=1.2),
}


def truth(kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """Returns the log2 optima of one draw at all widths."""
    steps = np.log2(np.array(WIDTHS) / WIDTHS[0])
    slope = rng.uniform(*kind.slope)
    path = slope * steps + kind.bend * rng.standard_normal() * (steps - 1) ** 2 / 2
    if kind.levelling:
        rate = rng.uniform(1 / 3, 1)
        path = slope * (1 - np.exp2(-rate * steps)) / (rate * np.log(2))
    path += kind.jitter * rng.standard_normal(len(steps))
    return np.asarray(-7.0 + rng.uniform(-0.5, 0.5) + path)


def above(kind: Kind, away: np.ndarray, width: float) -> np.ndarray:
    """Returns the loss above the minimum, so many octaves from the optimum."""
    b, height = 0.4, CURVATURE * (width / WIDTHS[0]) ** 0.2
    return np.asarray(height * (np.exp(b * away) - b * away - 1) / b**2)


def planted(name: str, draw: int) -> list[Score]:
    """Returns the scores of one planted study, of :data:`VARIANTS` variants of one kind."""
    kind, rng = KINDS[name], np.random.default_rng([draw, len(name)])
    best = [truth(kind, rng) for _ in range(VARIANTS)]
    tables = [_runs(kind, rng, places) for places in best]
    out = []
    for cut, (index, target) in product(CUTS, enumerate(WIDTHS)):
        if target / cut < WIDTHS[1]:
            continue
        small = [table[table["width"] <= target / cut] for table in tables]
        for places, (found, made) in zip(best, _forecasts(small, target), strict=True):
            if made is not None:
                there, line = float(places[index]), _line(found, target)
                costs = above(kind, np.array([made.log2, line]) - there, target)
                out.append(_score(name, cut, made, there, there, costs, line))
    return out


def _runs(kind: Kind, rng: np.random.Generator, best: np.ndarray) -> pd.DataFrame:
    """Returns the runs of one variant, whose log2 optima are given by width."""
    grid, rows = np.repeat(kind.first + np.arange(9), 2), []
    for width, place in zip(WIDTHS, best, strict=True):
        loss = 4.0 - 0.2 * np.log2(width / WIDTHS[0]) + above(kind, grid - place, width)
        loss = loss + kind.noise * rng.standard_normal(len(grid))
        gone = grid - place >= kind.cliff
        columns = {
            "width": width,
            "learning_rate": np.exp2(grid),
            "seed": np.tile([0, 1], 9),
            "loss": np.where(gone, np.nan, loss),
            "outcome": np.where(gone, "diverged", "completed"),
        }
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def published(study: str) -> list[Score]:
    """Returns the scores of the variants of one published study."""
    table = pd.read_csv(TABLES / f"{study}.csv").assign(seed=0, outcome="completed")
    by = ["setting"] if "setting" in table else ["optimizer", "parametrization"]
    if "curve" in table:  # two readings of the same runs
        table = table[table["curve"] == "ema"]
    parts = [part for _, part in table.groupby(by)]
    whole = [_survey(part) for part in parts]
    widths = sorted(table["width"].unique())
    out = []
    for cut, (index, target) in product(CUTS, enumerate(widths)):
        if target / cut < widths[1]:
            continue
        small = [part[part["width"] <= target / cut] for part in parts]
        for survey_of_all, (found, made) in zip(whole, _forecasts(small, target), strict=True):
            if made is None:
                continue
            there, line = survey_of_all.optima[index], _line(found, target)
            costs = np.array([regret_at(there, place).regret for place in (made.log2, line)])
            vertex = there.measured[there.estimator]
            ends = float(vertex.low[0]), float(vertex.high[0])
            out.append(_score("published", cut, made, *ends, costs, line))
    return out


def _survey(part: pd.DataFrame) -> Survey:
    return survey(
        part, scales=("width",), hyperparameter="learning_rate", allow_holes=True, resamples=200
    )


def _forecasts(
    parts: Sequence[pd.DataFrame], target: float
) -> list[tuple[Sequence[SiteOptimum], Prediction | None]]:
    """Returns the optima of each group and what all of them together foretell of it."""
    found = [_survey(part).site_optima for part in parts]
    rules: dict[int, Rule] = {}
    for index, optima in enumerate(found):
        with suppress(AnalysisRefusal):
            rules[index] = fit_rule(optima, hyperparameter="learning_rate", scales=("width",))
    shared = dict(zip(rules, learn_together(list(rules.values())) if rules else (), strict=True))
    made = {index: predict_at(rule, {"width": target}) for index, rule in shared.items()}
    return [(optima, made.get(index)) for index, optima in enumerate(found)]


def _line(optima: Sequence[SiteOptimum], target: float) -> float:
    """Returns what the unweighted line says through the vertices of parabolas of five points."""
    widths = np.log2([optimum.scales["width"] for optimum in optima])
    places = [float(optimum.measured["quadratic"].log2[0]) for optimum in optima]
    return float(np.polyval(np.polyfit(widths, places, 1), np.log2(target)))


def _score(
    kind: str,
    cut: int,
    made: Prediction,
    low: float,
    high: float,
    costs: np.ndarray,
    line: float,
) -> Score:
    found = (low + high) / 2 if np.isfinite(high - low) else max(low, min(made.log2, high))
    return Score(
        kind=kind,
        cut=cut,
        held=made.low <= high and made.high >= low,
        width=made.high - made.low,
        regret=float(costs[0]),
        expected=np.nan if made.regret is None else made.regret,
        most=np.nan if made.regret_high is None else made.regret_high,
        line=float(costs[1]),
        off=made.log2 - found,
        line_off=line - found,
    )


HEADS = (
    "series", "at most", "optima", "held, %", "median width", "wider than 2, %",
    "mean regret", "expected", "at most, %", "of the line",
    "median regret", "of the line", "off", "line off",
)  # fmt: skip


def rows(scores: Sequence[Score]) -> Iterator[list[str]]:
    """Yields a row of the table for every kind and cut, then for all kinds."""
    kinds = [*dict.fromkeys(score.kind for score in scores), "all"]
    for cut in CUTS:
        for kind in kinds:
            part = [s for s in scores if s.cut == cut and kind in (s.kind, "all")]
            if part:
                yield [kind, f"1/{cut}", *_cells(part)]


def _cells(part: Sequence[Score]) -> list[str]:
    priced = [s for s in part if np.isfinite([s.regret, s.line]).all()]
    told = [s.expected for s in priced if np.isfinite(s.expected)]
    ours, lines = [s.regret for s in priced], [s.line for s in priced]
    return [
        f"{len(part)}",
        f"{100 * np.mean([s.held for s in part]):.0f}",
        f"{np.median([s.width for s in part]):.2f}",
        f"{100 * np.mean([s.width > WIDE for s in part]):.0f}",
        f"{np.mean(ours):.4f}",
        f"{np.mean(told):.4f}" if told else "–",
        f"{100 * np.mean([s.regret <= s.most for s in priced]):.0f}",
        f"{np.mean(lines):.4f}",
        f"{np.median(ours):.4f}",
        f"{np.median(lines):.4f}",
        f"{np.sqrt(np.mean([s.off**2 for s in part])):.2f}",
        f"{np.sqrt(np.mean([s.line_off**2 for s in part])):.2f}",
    ]


STUDIES = ("openwebtext_width", "llama_wikitext103_width")


def _asked(job: tuple[str, int]) -> list[Score]:
    name, draw = job
    return published(name) if name in STUDIES else planted(name, draw)


def main(arguments: argparse.Namespace) -> None:
    """Prints the table."""
    names = arguments.only or ["published", *KINDS]
    jobs = [(study, 0) for study in STUDIES if "published" in names]
    jobs += [(name, draw) for name in names if name in KINDS for draw in range(arguments.draws)]
    with ProcessPoolExecutor(cpu_count()) as pool:
        scores = list(chain.from_iterable(pool.map(_asked, jobs)))
    lines = [list(HEADS), ["---"] * len(HEADS), *rows(scores)]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=["published", *KINDS])
    parser.add_argument("--draws", type=int, default=12)
    main(parser.parse_args())
