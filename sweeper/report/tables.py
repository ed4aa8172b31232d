"""The tables of a report: each is drawn or shown, and written beside the page as CSV.

A table is a data frame with a column ``group`` and the columns named in its function. Numbers
are those of the statement, unrounded; log2 positions are of the hyperparameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sweeper.analysis import Optimum, transfer_base
from sweeper.answers import DriftGroup
from sweeper.outcome import ACCEPTED
from sweeper.report.data import Answer

FIT_SAMPLES = 41
"""Points of a fitted curve."""

FIT_REACH = 2
"""Grid neighbours, or octaves, of the minimum over which a fitted curve is shown."""

LINE_SAMPLES = 33
"""Points of a drift line, so that its fan is smooth where one edge is open."""


def points_table(answer: Answer) -> pd.DataFrame:
    """Returns every trial with a result: scale, value, log2, seed, outcome, loss (inf where it
    diverged) and key."""
    rows = answer.trials[answer.trials["outcome"].isin(ACCEPTED)]
    value = rows[answer.hyperparameter].astype(float)
    table = pd.DataFrame(
        {
            "group": rows["group"],
            "scale": rows[answer.scale].astype(float),
            "value": value,
            "log2": np.log2(value.where(value > 0)),
            "seed": rows["seed"],
            "outcome": rows["outcome"],
            # A diverged trial is worse than any, whichever end of the metric is the better one.
            "loss": rows["loss"].where(rows["outcome"] == "completed", np.inf),
            "key": rows["key"],
        }
    )
    order = table["group"].map({name: place for place, name in enumerate(answer.labels)})
    ordered = table.assign(order=order).sort_values(["order", "scale", "log2", "seed"])
    return ordered.drop(columns="order").reset_index(drop=True)


def means_table(points: pd.DataFrame) -> pd.DataFrame:
    """Returns seed means of points: scale, value, log2, loss (inf where any seed diverged),
    seeds and diverged (numbers of runs)."""
    grouped = points.groupby(["group", "scale", "log2"], sort=False)
    return grouped.agg(
        value=("value", "first"),
        loss=("loss", "mean"),
        seeds=("seed", "size"),
        diverged=("outcome", lambda outcomes: int((outcomes == "diverged").sum())),
    ).reset_index()


def optima_table(answer: Answer) -> pd.DataFrame:
    """Returns the optima: scale, value, log2, low and high (log2, infinite where open), loss,
    points, seeds, trials, declared, noise, noise_source, estimator, flags."""
    rows = [
        {
            "group": name,
            "scale": optimum.scale,
            "value": optimum.value,
            "log2": optimum.log2,
            "low": optimum.low,
            "high": optimum.high,
            "loss": optimum.loss,
            "points": optimum.points,
            "seeds": optimum.seeds,
            "trials": optimum.answered,
            "declared": optimum.declared,
            "noise": optimum.noise,
            "noise_source": optimum.noise_source,
            "estimator": optimum.estimator,
            "flags": " ".join(optimum.flags),
        }
        for name, group in answer.groups.items()
        for optimum in group.optima
    ]
    place = ["group", "scale", "value", "log2", "low", "high", "loss"]
    evidence = ["points", "seeds", "trials", "declared", "noise", "noise_source", "estimator"]
    return pd.DataFrame(rows, columns=[*place, *evidence, "flags"])


def fits_table(answer: Answer) -> pd.DataFrame:
    """Returns the fitted curves where they describe the data: scale, log2, loss."""
    rows = [
        {"group": name, "scale": optimum.scale, "log2": place, "loss": loss}
        for name, group in answer.groups.items()
        for optimum in group.optima
        if not optimum.censored
        for place, loss in _samples(optimum)
    ]
    return pd.DataFrame(rows, columns=["group", "scale", "log2", "loss"])


def _samples(optimum: Optimum) -> Iterator[tuple[float, float]]:
    """Yields the fitted curve over the neighbours of the lowest point, where the grid is fine
    over as many octaves, and as far as the optimum."""
    grid = optimum.grid
    lowest = int(np.argmin(optimum.losses))
    near = np.abs(np.arange(len(grid)) - lowest) <= FIT_REACH
    near |= np.abs(grid - grid[lowest]) <= FIT_REACH
    shown = np.append(grid[near], optimum.log2)
    places = np.linspace(shown.min(), shown.max(), FIT_SAMPLES)
    for place, loss in zip(places.tolist(), optimum.curve(places).tolist(), strict=True):
        if math.isfinite(loss):
            yield place, loss


def drift_table(answer: Answer) -> pd.DataFrame:
    """Returns one row a group: slope, low, high (octaves per doubling), intercept (log2 at scale
    1), scatter (octaves), flags, refused."""
    rows = []
    for name, group in answer.groups.items():
        row: dict[str, Any] = {"group": name, "flags": "", "refused": group.refused or ""}
        if (drift := group.drift) is not None:
            row |= {
                "slope": drift.slope,
                "low": drift.low,
                "high": drift.high,
                "intercept": drift.intercept,
                "scatter": drift.scatter,
                "flags": " ".join(drift.flags),
            }
        rows.append(row)
    columns = ["group", "slope", "low", "high", "intercept", "scatter", "flags", "refused"]
    numbers = dict.fromkeys(columns[1:6], "float64")
    return pd.DataFrame(rows, columns=columns).astype(numbers)


def lines_table(answer: Answer) -> pd.DataFrame:
    """Returns the lines of the drift figure: kind (``drift`` or ``claim``), rule (the slope of
    the line), scale, log2, low, high.

    The fan of a drift turns round the mean of the scales that it was fitted to; that of a claim
    starts at the base optimum, which the rule would transfer. An open side is infinite.
    """
    rows = [
        row
        for name, group in answer.groups.items()
        if group.optima
        for row in (*_drift_lines(name, group), *_claim_lines(name, group))
    ]
    return pd.DataFrame(rows, columns=["group", "kind", "rule", "scale", "log2", "low", "high"])


def _scales(group: DriftGroup) -> np.ndarray:
    ends = np.log2([group.optima[0].scale, group.optima[-1].scale])
    margin = 0.15 * max(1.0, ends[1] - ends[0]) / 2
    return np.linspace(ends[0] - margin, ends[1] + margin, LINE_SAMPLES)


def _drift_lines(name: str, group: DriftGroup) -> Iterator[dict[str, Any]]:
    drift = group.drift
    if drift is None:
        return
    kept = [scale for scale in drift.scales_used if scale not in drift.censored]
    pivot = float(np.mean(np.log2(kept)))
    middle = drift.intercept + drift.slope * pivot
    yield from _fan(name, "drift", group, pivot, middle, (drift.slope, drift.low, drift.high))


def _claim_lines(name: str, group: DriftGroup) -> Iterator[dict[str, Any]]:
    if all(optimum.censored for optimum in group.optima):
        return
    base = transfer_base(group.optima)
    for verdict in group.verdicts:
        e, t = verdict.claim.exponent, verdict.claim.tolerance
        pivot = float(np.log2(base.scale))
        yield from _fan(name, "claim", group, pivot, base.log2, (e, e - t, e + t))


def _fan(
    name: str,
    kind: str,
    group: DriftGroup,
    pivot: float,
    middle: float,
    slopes: tuple[float, float, float],
) -> Iterator[dict[str, Any]]:
    """Yields a line of the first slope and the fan between the other two round a pivot."""
    for place in np.union1d(_scales(group), [pivot]).tolist():
        away = place - pivot
        # On the pivot itself an open slope leaves no room: 0 times infinity is 0 here.
        line, *ends = (middle + (slope * away if away else 0.0) for slope in slopes)
        yield {
            "group": name,
            "kind": kind,
            "rule": slopes[0],
            "scale": 2.0**place,
            "log2": line,
            "low": min(ends),
            "high": max(ends),
        }


def claims_table(answer: Answer) -> pd.DataFrame:
    """Returns the verdicts: exponent, tolerance, verdict, why."""
    rows = [
        {
            "group": name,
            "exponent": verdict.claim.exponent,
            "tolerance": verdict.claim.tolerance,
            "verdict": verdict.ruling,
            "why": verdict.why,
        }
        for name, group in answer.groups.items()
        for verdict in group.verdicts
    ]
    return pd.DataFrame(rows, columns=["group", "exponent", "tolerance", "verdict", "why"])


def regret_table(answer: Answer) -> pd.DataFrame:
    """Returns what transfer costs: scale, exponent, log2 and value of the transferred setting,
    tuned, transferred, regret, percent, compute, floor, certainty, harmless, note."""
    rows = [
        {
            "group": name,
            "scale": cost.scale,
            "exponent": group.exponent,
            "log2": cost.log2,
            "value": 2.0**cost.log2,
            "tuned": cost.tuned,
            "transferred": cost.transferred,
            "regret": cost.regret,
            "percent": cost.percent,
            "compute": cost.compute,
            "floor": cost.floor,
            "certainty": cost.certainty,
            "harmless": cost.harmless,
            "note": cost.note,
        }
        for name, group in answer.groups.items()
        for cost in group.regret
    ]
    numbers = ["log2", "value", "tuned", "transferred", "regret", "percent", "compute", "floor"]
    columns = ["group", "scale", "exponent", *numbers, "certainty", "harmless", "note"]
    return pd.DataFrame(rows, columns=columns)


def frontier_table(answer: Answer) -> pd.DataFrame:
    """Returns the tuned loss against size: scale, params, loss, censored."""
    params: Mapping[Any, float] = (
        answer.trials.groupby(["group", answer.scale])["params"].mean().to_dict()
    )
    rows = [
        {
            "group": name,
            "scale": optimum.scale,
            "params": params[name, optimum.scale],
            "loss": optimum.loss,
            "censored": optimum.censored,
        }
        for name, group in answer.groups.items()
        for optimum in group.optima
    ]
    table = pd.DataFrame(rows, columns=["group", "scale", "params", "loss", "censored"])
    return table[table["params"] > 0]
