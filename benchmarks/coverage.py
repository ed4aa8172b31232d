"""How often 95% intervals hold a planted truth, and how often verdicts are wrong.

Each design plants a surface whose optimum moves by a known number of octaves per doubling of the
width, draws noise, and asks the analysis. A draw moves the optima against the grid as well, so
that no position of the grid is favoured. Everything follows from the seed of the draw.

    python benchmarks/coverage.py                     # the tables of docs/statistics.md
    python benchmarks/coverage.py --only noisy holed --draws 200 --estimators skewed
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from os import cpu_count

import numpy as np
import pandas as pd

from sweeper.analysis import (
    DEFAULT,
    ESTIMATORS,
    Claim,
    Curve,
    Drift,
    Floats,
    Optimum,
    judge,
    locate,
    measure_drift,
    measured_curves,
    profiled_over,
    quantile_interval,
)
from sweeper.errors import AnalysisRefusal

SCALES = (32.0, 64.0, 128.0, 256.0)
CURVATURE = 0.08
"""Second derivative of every planted basin at its minimum, in loss / octave^2."""

TOLERANCE = 0.2
"""Of the claims whose verdicts are counted, in octaves per doubling."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A way to sweep a surface.

    Attributes:
        name: what the tables call it.
        noise: standard deviation of the loss of a run.
        seeds: runs a point.
        slope: planted drift, octaves per doubling.
        skew: b of the basin (exp(b t) - b t - 1) / b^2; 0 is the parabola.
        centre: log2 of the optimum in the middle of the scales.
        first, last, step: the grid in log2.
        cliff: octaves above the optimum from which on runs diverge.
        holes: share of the points that have no result.
        shared: standard deviation of what a seed adds at all points of a scale alike.
        jitter: standard deviation of true optima round the line, in octaves.
        wall: loss of a run beyond the cliff, to which 2% of it is added as noise; infinite
            where runs diverge there.
        rising: by how much the noise of a run grows for each unit of loss above the minimum.
        shift: standard deviation of the octaves by which a seed moves the whole curve.
        shared_shift: whether a seed moves the curves of all scales alike.
        bend: second derivative of the log2 optimum by log2 scale.
        scales: the widths.
        tails: degrees of freedom of Student's t that the noise follows; infinite for normal.
        outlier: added to one run of each scale, two points from the lowest.
        twin: depth above the minimum of a second basin, three octaves above the first.
        others: values of a second hyperparameter, an octave apart, which is tuned at every value
            of the first; 0 for none.
        tilt: octaves by which its best value moves with each octave of the first.
        across: second derivative of the loss in it.
    """

    name: str
    noise: float = 0.02
    seeds: int = 3
    slope: float = -0.2
    skew: float = 0.0
    centre: float = -5.0
    first: float = -9.0
    last: float = -1.0
    step: float = 1.0
    cliff: float = np.inf
    holes: float = 0.0
    shared: float = 0.0
    jitter: float = 0.0
    wall: float = np.inf
    rising: float = 0.0
    shift: float = 0.0
    shared_shift: bool = False
    bend: float = 0.0
    scales: tuple[float, ...] = SCALES
    tails: float = np.inf
    outlier: float = 0.0
    twin: float = np.inf
    others: int = 0
    tilt: float = -1.0
    across: float = 0.06

    @property
    def grid(self) -> Floats:
        """Positions of the grid, shape [K]."""
        return np.arange(self.first, self.last + self.step / 2, self.step)


DESIGNS = (
    Design(name="clean", noise=0.001),
    Design(name="noisy"),
    Design(name="very noisy", noise=0.05),
    Design(name="seed effects", shared=0.05),
    Design(name="fine grid", step=0.25, first=-7.0, last=-3.0),
    Design(name="seedless", seeds=1),
    Design(name="seedless, short grid", seeds=1, noise=0.01, first=-7.0, last=-3.0),
    Design(name="censored", slope=-1.0, first=-6.0, noise=0.01),
    Design(name="cliffed", cliff=1.2, noise=0.01),
    Design(name="holed", holes=0.12),
    Design(name="asymmetric", skew=0.5, noise=0.01),
    Design(name="steep", skew=1.0, noise=0.01),
    Design(name="steep, clean", skew=1.0, noise=0.001),
    Design(name="steep, seedless", skew=0.7, seeds=1, noise=0.005),
    Design(name="steep and cliffed", skew=0.7, cliff=1.6, noise=0.01),
    Design(name="scattered", jitter=0.15, noise=0.01),
    Design(name="finite cliff", cliff=0.8, wall=7.5, noise=0.005),
    Design(name="finite cliff, far", cliff=1.6, wall=7.5, noise=0.005),
    Design(name="huge cliff", cliff=1.6, wall=1e9, noise=0.005),
    Design(name="three points", first=-6.7, last=-3.3, step=1.7, seeds=2, skew=0.5, noise=2e-4),
    Design(name="three points, noisy", first=-6.7, last=-3.3, step=1.7, seeds=2, noise=0.01),
    Design(name="four points", first=-6.5, last=-3.5, seeds=2, skew=0.7, noise=5e-4),
    Design(name="four points, seedless", first=-6.5, last=-3.5, seeds=1, skew=0.5, noise=2e-3),
    Design(name="noise by level", noise=0.003, rising=0.3),
    Design(name="noise by level, steep", noise=0.003, rising=0.3, skew=0.7),
    Design(name="shifting seeds", shift=0.3, noise=0.002),
    Design(name="shifting seeds, shared", shift=0.3, noise=0.002, shared_shift=True),
    Design(name="bent", bend=-0.15, noise=0.005, scales=(*SCALES, 512.0)),
    Design(name="two scales", scales=(64.0, 128.0), noise=0.01),
    Design(name="two minima", twin=0.02, noise=0.02),
    Design(name="heavy tails", tails=3.0, noise=0.01),
    Design(name="an outlier", outlier=0.3, noise=0.005),
    Design(name="two hyperparameters", others=5, tilt=0.5, noise=0.01),
    Design(name="two, ridge and steep", others=7, seeds=2, skew=0.5, noise=0.01),
    Design(name="two, clean and steep", others=5, seeds=2, skew=0.5, noise=0.002),
    Design(name="two, flat across", others=5, tilt=0.5, across=0.02),
    Design(name="two, three values", others=3, tilt=-0.3, seeds=2, across=0.04, noise=0.01),
    Design(name="two, shifting seeds", others=5, tilt=-0.5, shift=0.3, noise=0.002),
)


def basin(design: Design, t: Floats) -> Floats:
    """Returns the loss above the minimum, t octaves from the optimum."""
    b = design.skew
    near = CURVATURE * (t * t / 2 if b == 0 else (np.exp(b * t) - b * t - 1) / b**2)
    return np.asarray(np.minimum(near, design.twin + CURVATURE * (t - 3) ** 2 / 2))


def planted(design: Design, draw: int) -> tuple[list[Curve], Floats]:
    """Returns the curves of one draw, and the log2 of their true optima."""
    rng = np.random.default_rng([draw, 5])
    steps = np.log2(design.scales) - np.log2(design.scales).mean()
    best = design.centre + rng.uniform(-0.5, 0.5) * design.step + design.slope * steps
    best = best + design.bend * (steps**2 - np.mean(steps**2)) / 2
    best = best + design.jitter * rng.standard_normal(len(best))
    shared = design.shift * rng.standard_normal(design.seeds) if design.shared_shift else None
    made = _profile if design.others else _curve
    curves = [
        made(design, rng, *pair, shared) for pair in zip(design.scales, best.tolist(), strict=True)
    ]
    return curves, best


def _profile(
    design: Design, rng: np.random.Generator, scale: float, best: float, shared: Floats | None
) -> Curve:
    """Returns the curve of the first hyperparameter with the second tuned at every value of it.

    The second one's best value where the first is at its own lies off the middle of its values by
    up to half a step, and moves with the scale, as that of a weight decay may.
    """
    grid, seeds = design.grid, np.arange(design.seeds)
    second = np.arange(design.others) - (design.others - 1) / 2
    away = rng.uniform(-0.5, 0.5) + 0.1 * np.log2(scale / SCALES[-1])
    shift = design.shift * rng.standard_normal(design.seeds) if shared is None else shared
    x, y, _ = np.meshgrid(grid, second, seeds, indexing="ij")
    t = x - best - shift
    runs = basin(design, t) + design.across * (y - away - design.tilt * t) ** 2 / 2
    runs = runs + 3.0 + design.noise * rng.standard_normal(runs.shape)
    frame = pd.DataFrame(
        {
            "width": scale,
            "first": np.exp2(x).ravel(),
            "second": np.exp2(y).ravel(),
            "seed": np.broadcast_to(seeds, runs.shape).ravel(),
            "loss": runs.ravel(),
            "outcome": "completed",
        }
    )
    profile = profiled_over(frame, ["second"], scales=["width"], hyperparameter="first")
    (curve,) = measured_curves(profile, scale="width", hyperparameter="first")
    return curve


def _curve(
    design: Design, rng: np.random.Generator, scale: float, best: float, shared: Floats | None
) -> Curve:
    grid, shape = design.grid, (len(design.grid), design.seeds)
    shift = design.shift * rng.standard_normal(design.seeds) if shared is None else shared
    above = basin(design, grid[:, None] - best - shift)
    noise = rng.standard_normal(shape) if np.isinf(design.tails) else _heavy(design, rng, shape)
    runs = above + 3.0 - 0.2 * np.log2(scale / SCALES[0])
    runs = runs + (design.noise + design.rising * above) * noise
    runs += design.shared * rng.standard_normal(design.seeds)
    beyond = grid - best >= design.cliff
    wall = design.wall if np.isinf(design.wall) else design.wall * (1 + 0.02 * noise[beyond])
    runs[beyond] = wall
    runs[max(0, int(np.argmin(np.abs(grid - best))) - 2), 0] += design.outlier
    there = rng.uniform(size=len(grid)) >= design.holes
    return Curve(
        scale=scale,
        label=f"width {scale:g}",
        log2=grid[there],
        means=runs[there].mean(axis=1),
        runs=tuple(runs[there]),
        seeds=(tuple(range(design.seeds)),) * int(there.sum()),
        holes=grid[~there],
        answered=int(there.sum()) * design.seeds,
        declared=runs.size,
    )


def _heavy(design: Design, rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Returns noise of variance 1 that follows Student's t."""
    scale = np.sqrt(design.tails / (design.tails - 2))
    return np.asarray(rng.standard_t(design.tails, shape) / scale)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the analysis said about one draw.

    Attributes:
        errors: estimate less truth of each located optimum, in octaves.
        held: whether the interval of each located optimum holds the truth; optima that are
            only bounded are left out.
        held_by_noise: the same of the interval before other estimators stretch it.
        halves: half widths of these intervals, in octaves.
        drift: the drift; None where it was refused.
        rulings: verdicts on the claims of :data:`CLAIMS`, in their order.
    """

    errors: tuple[float, ...]
    held: tuple[bool, ...]
    held_by_noise: tuple[bool, ...]
    halves: tuple[float, ...]
    drift: Drift | None
    rulings: tuple[str, ...]


CLAIMS = {"true": 0.0, "edge": 1.0, "other edge": -1.0, "false": 2.0, "far off": 4.0}
"""Claimed exponent less the true slope, in tolerances."""


def answer(design: Design, estimator: str, resamples: int, draw: int) -> Answer:
    """Returns the answer to one draw."""
    curves, best = planted(design, draw)
    truth = dict(zip(design.scales, best.tolist(), strict=True))
    found = locate(
        curves, estimator=estimator, allow_holes=True, resamples=resamples, seed=draw
    ).optima
    try:
        drift = measure_drift(found)
    except AnalysisRefusal:
        drift = None
    return Answer(
        errors=tuple(o.log2 - truth[o.scale] for o in found if o.located),
        held=tuple(o.low <= truth[o.scale] <= o.high for o in found if o.located),
        held_by_noise=tuple(_noise_holds(o, truth[o.scale]) for o in found if o.located),
        halves=tuple((o.high - o.low) / 2 for o in found if o.located),
        drift=drift,
        rulings=() if drift is None else tuple(_rulings(design, drift, found)),
    )


def _noise_holds(optimum: Optimum, truth: float) -> bool:
    draws = optimum.draws[optimum.estimator]
    low, high = quantile_interval(draws.low, draws.high)
    return low <= truth <= high


def _rulings(design: Design, drift: Drift, optima: Sequence[Optimum]) -> Iterator[str]:
    for off in CLAIMS.values():
        claim = Claim(exponent=design.slope + off * TOLERANCE, tolerance=TOLERANCE)
        yield judge(claim, drift, optima).ruling


@dataclass(frozen=True, kw_only=True)
class Row:
    """Rates of one design under one estimator; lengths in octaves (per doubling for drifts).

    Attributes:
        design, estimator: which.
        draws: surfaces drawn.
        refused: draws without a drift.
        optimum_held, drift_held: share of 95% intervals that hold the truth.
        optimum_by_noise, drift_by_noise: the same of the intervals that the noise of the losses
            alone gives, before scatter and other estimators widen them.
        optimum_bias, drift_bias: mean error.
        optimum_error, drift_error: root of the mean squared error.
        optimum_half, drift_half: median half width of the interval, where it has two ends.
        holds_wrongly: share of ``holds`` where the slope is on an edge of the tolerance.
        broken_wrongly: share of ``broken`` there.
        holds_rightly: share of ``holds`` where the claimed exponent is the true slope.
        broken_rightly: share of ``broken`` where it is off by two tolerances.
        broken_far_off: the same at four tolerances.
    """

    design: str
    estimator: str
    draws: int
    refused: int
    optimum_held: float
    optimum_by_noise: float
    optimum_bias: float
    optimum_error: float
    optimum_half: float
    drift_held: float
    drift_by_noise: float
    drift_bias: float
    drift_error: float
    drift_half: float
    holds_wrongly: float
    broken_wrongly: float
    holds_rightly: float
    broken_rightly: float
    broken_far_off: float


def survey(
    design: Design,
    *,
    estimator: str,
    draws: int,
    resamples: int = 200,
    pool: ProcessPoolExecutor | None = None,
) -> Row:
    """Returns the rates of a design; draws are numbered from 0, each its own seed."""
    ask = partial(answer, design, estimator, resamples)
    answers = list(
        map(ask, range(draws)) if pool is None else pool.map(ask, range(draws), chunksize=20)
    )
    kept = [(a.drift, a.rulings) for a in answers if a.drift is not None]
    errors = np.array([error for a in answers for error in a.errors])
    slopes = np.array([drift.slope for drift, _ in kept]) - design.slope
    widths = [(drift.high - drift.low) / 2 for drift, _ in kept]
    rates = _verdict_rates([rulings for _, rulings in kept])
    return Row(
        design=design.name,
        estimator=estimator,
        draws=draws,
        refused=draws - len(kept),
        optimum_held=_mean([held for a in answers for held in a.held]),
        optimum_by_noise=_mean([held for a in answers for held in a.held_by_noise]),
        optimum_bias=_mean(errors),
        optimum_error=_mean(errors**2) ** 0.5,
        optimum_half=_median([half for a in answers for half in a.halves]),
        drift_held=_mean([d.low <= design.slope <= d.high for d, _ in kept]),
        drift_by_noise=_mean([abs(d.slope - design.slope) <= d.noise_half for d, _ in kept]),
        drift_bias=_mean(slopes),
        drift_error=_mean(slopes**2) ** 0.5,
        drift_half=_median(widths),
        **rates,
    )


def _mean(values: Sequence[float] | Floats) -> float:
    """Returns the mean; NaN of nothing."""
    return float(np.mean(values)) if len(values) else np.nan


def _median(halves: Sequence[float]) -> float:
    """Returns the median of the finite ones; NaN without any."""
    finite = [half for half in halves if np.isfinite(half)]
    return float(np.median(finite)) if finite else np.nan


def _verdict_rates(rulings: Sequence[Sequence[str]]) -> dict[str, float]:
    rows = np.array(rulings).reshape(-1, len(CLAIMS))
    table = dict(zip(CLAIMS, rows.T, strict=True))
    edges = np.concatenate([table["edge"], table["other edge"]])
    return {
        "holds_wrongly": _mean(edges == "holds"),
        "broken_wrongly": _mean(edges == "broken"),
        "holds_rightly": _mean(table["true"] == "holds"),
        "broken_rightly": _mean(table["false"] == "broken"),
        "broken_far_off": _mean(table["far off"] == "broken"),
    }


def _rate(share: float) -> str:
    return f"{100 * share:.1f}"


COVERAGE_HEAD = (
    "| design | optimum held, % | by noise alone | its bias | its error | half width "
    "| drift held, % | by noise alone | its bias | its error | half width | refused |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|",
)
VERDICT_HEAD = (
    "| design | holds at the edge, % | broken at the edge, % | holds when true, % "
    "| broken at 2 tolerances, % | broken at 4, % |",
    "|---|---|---|---|---|---|",
)


def coverage_line(row: Row) -> str:
    """Returns a row of the table of coverage, in Markdown."""
    optimum = f"{_rate(row.optimum_held)} | {_rate(row.optimum_by_noise)}"
    drift = f"{_rate(row.drift_held)} | {_rate(row.drift_by_noise)}"
    return (
        f"| {row.design} | {optimum} | {row.optimum_bias:+.3f} | {row.optimum_error:.3f} "
        f"| {row.optimum_half:.3f} | {drift} | {row.drift_bias:+.3f} | {row.drift_error:.3f} "
        f"| {row.drift_half:.3f} | {row.refused} |"
    )


def verdict_line(row: Row) -> str:
    """Returns a row of the table of verdicts, in Markdown."""
    rates = (
        row.holds_wrongly,
        row.broken_wrongly,
        row.holds_rightly,
        row.broken_rightly,
        row.broken_far_off,
    )
    return f"| {row.design} | {' | '.join(map(_rate, rates))} |"


def tables(rows: Sequence[Row]) -> str:
    """Returns both tables of every estimator, in Markdown."""
    parts = []
    for estimator in dict.fromkeys(row.estimator for row in rows):
        own = [row for row in rows if row.estimator == estimator]
        parts.append(f"**{estimator}**, {own[0].draws} draws a design\n")
        parts += [*COVERAGE_HEAD, *map(coverage_line, own), ""]
        parts += [*VERDICT_HEAD, *map(verdict_line, own), ""]
    return "\n".join(parts)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = [design.name for design in DESIGNS]
    parser.add_argument("--only", nargs="*", default=names, choices=names, metavar="DESIGN")
    parser.add_argument("--estimators", nargs="*", default=[DEFAULT], choices=tuple(ESTIMATORS))
    parser.add_argument("--draws", type=int, default=500, help="surfaces a design (default 500)")
    parser.add_argument("--resamples", type=int, default=200, help="a draw (default 200)")
    parser.add_argument("--processes", type=int, default=cpu_count(), help="default: all")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    return parser.parse_args(arguments)


def main() -> None:
    """Draws, asks and prints."""
    options = parsed()
    with ProcessPoolExecutor(options.processes) as pool:
        rows = [
            survey(
                design,
                estimator=estimator,
                draws=options.draws,
                resamples=options.resamples,
                pool=pool,
            )
            for estimator in options.estimators
            for design in DESIGNS
            if design.name in options.only
        ]
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else tables(rows))


if __name__ == "__main__":
    main()
