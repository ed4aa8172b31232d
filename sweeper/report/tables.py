"""What a report shows of one hyperparameter of a study: the data, and the tables made of them.

A table is drawn or shown, and written beside the page as CSV: a data frame with a column ``group``
and the columns named in its function. Numbers are those of the statement, unrounded; log2
positions are of the hyperparameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from sweeper.analysis import BEST, SAME_LOG2_DECIMALS, Optimum, profiled_over, transfer_base
from sweeper.answers import (
    CLAIM,
    DRIFT,
    OPTIMUM,
    REGRET,
    DriftGroup,
    DriftStatement,
    JointStatement,
    StudyView,
    columns_of,
    group_label,
    joint_answer,
    setting_value,
)
from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.outcome import ACCEPTED
from sweeper.study import find_card
from workloads.workload import unit_of

FIT_SAMPLES = 41
"""Points of a fitted curve."""

FIT_REACH = 2
"""Grid neighbours, or octaves, of the minimum over which a fitted curve is shown."""

LINE_SAMPLES = 33
"""Points of a drift line, so that its fan is smooth where one edge is open."""

SMOOTHING = 0.02
"""Width of the running mean as a share of the curve's points."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """What a study says about one hyperparameter, as figures and tables read it.

    Attributes:
        study: name of the study.
        scale: column of the scale.
        hyperparameter: column of the hyperparameter.
        settings: columns that make the groups, with the variant.
        metric: what is compared.
        unit: unit of the metric; empty if it is not known.
        trials: one row a trial with the column ``group`` added.
        tuned: other hyperparameters, which are at their best at every value of this one.
        points: the trials, or with others tuned their profile, from :func:`profiled_over`.
        joint: joint optima of this hyperparameter and the one that is tuned along; None where
            not exactly one is, or there is no joint optimum.
        statement: what the analysis says; its groups may be without a drift.
        curves: training curves, from :func:`training_table`; may have no row.
    """

    study: str
    scale: str
    hyperparameter: str
    settings: tuple[str, ...]
    metric: str
    unit: str
    trials: pd.DataFrame
    statement: DriftStatement
    points: pd.DataFrame
    tuned: tuple[str, ...] = ()
    joint: JointStatement | None = None
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def sign(self) -> int:
        """What turns a loss into the metric: -1 where more of the metric is better."""
        return self.statement.sign

    @property
    def axis(self) -> str:
        """The metric as an axis names it, with its unit."""
        return f"{self.metric} ({self.unit})" if self.unit else self.metric

    @property
    def together(self) -> str:
        """What the joint optima come to; empty without any."""
        return "" if self.joint is None else self.joint.bottom_line

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all groups, those without an answer too, in the order of the study."""
        return tuple(dict.fromkeys(self.trials["group"]))

    @property
    def groups(self) -> dict[str, DriftGroup]:
        """The groups by name."""
        found = {group.label: group for group in self.statement.groups}
        return {name: found[name] for name in self.labels}

    def present(self, table: pd.DataFrame) -> list[str]:
        """Returns the groups that a table speaks of, in the order of the study."""
        return [name for name in self.labels if name in set(table["group"])]


def report_data(view: StudyView, hyperparameter: str, *, allow_holes: bool = False) -> ReportData:
    """Returns what a study says about one hyperparameter, as far as the results go.

    Raises:
        AnalysisRefusal: the hyperparameter applies to none of the trials, or none has a result.
    """
    study, chosen = view.study, view.select(hyperparameter)
    trials = _labelled(chosen.rows, chosen.settings)
    return ReportData(
        study=study.name,
        scale=view.scale,
        hyperparameter=hyperparameter,
        settings=chosen.settings,
        metric=study.metric,
        unit=_unit(study.workload, study.metric),
        trials=trials,
        tuned=chosen.tuned,
        statement=view.statement(hyperparameter, allow_holes=allow_holes, partial=True),
        points=_profiles(trials, chosen.tuned, view.scale, hyperparameter, allow_holes),
        joint=_joint(view, (hyperparameter, *chosen.tuned), allow_holes=allow_holes),
    )


def _profiles(
    trials: pd.DataFrame, tuned: tuple[str, ...], scale: str, name: str, allow_holes: bool
) -> pd.DataFrame:
    """Returns the profile of every group; its rows are of several trials and have no key."""
    if not tuned:
        return trials
    parts = [
        profiled_over(
            part, tuned, scales=[scale], hyperparameter=name, allow_holes=allow_holes
        ).assign(group=label, key="")
        for label, part in trials.groupby("group", sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def _joint(view: StudyView, names: tuple[str, ...], *, allow_holes: bool) -> JointStatement | None:
    if len(names) != 2:
        return None
    try:
        return joint_answer(replace(view, asked=names), allow_holes=allow_holes)
    except AnalysisRefusal:
        return None


def _unit(workload: str, metric: str) -> str:
    """Returns the unit of a metric; empty where the workload's card cannot be loaded."""
    try:
        return unit_of(find_card(workload), metric)
    except RequestError:
        return ""


def _labelled(trials: pd.DataFrame, settings: tuple[str, ...]) -> pd.DataFrame:
    columns = [trials["variant"], *(trials[name] for name in settings)]
    labels = [
        group_label(str(variant), dict(zip(settings, map(setting_value, values), strict=True)))
        for variant, *values in zip(*columns, strict=True)
    ]
    return trials.assign(group=labels)


def as_metric(table: pd.DataFrame, sign: int) -> pd.DataFrame:
    """Returns a table whose losses are the metric itself: as it is, or with sign -1 negated and
    the ends of intervals exchanged."""
    if sign > 0:
        return table
    ends = {"loss_low": "loss_high", "loss_high": "loss_low"}
    losses = ("loss", *ends, "tuned", "transferred")
    return table.assign(**{n: -table[ends.get(n, n)] for n in losses if n in table})


def points_table(data: ReportData) -> pd.DataFrame:
    """Returns every trial with a result, or with others tuned every seed of the profile: scale,
    value, log2, seed, outcome, loss (inf where it diverged) and key."""
    rows = data.points[data.points["outcome"].isin(ACCEPTED)]
    value = rows[data.hyperparameter].astype(float)
    table = pd.DataFrame(
        {
            "group": rows["group"],
            "scale": rows[data.scale].astype(float),
            "value": value,
            "log2": np.log2(value.where(value > 0)),
            "seed": rows["seed"],
            "outcome": rows["outcome"],
            # A diverged trial is worse than any, whichever end of the metric is the better one.
            "loss": rows["loss"].where(rows["outcome"] == "completed", np.inf),
            "key": rows["key"],
        }
    )
    order = table["group"].map({name: place for place, name in enumerate(data.labels)})
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


def _rows(data: ReportData, records: str, columns: str) -> list[dict[str, Any]]:
    """Returns the records of all groups, such as their ``optima``, one a row; flags are one
    text."""
    rows = [
        {"group": name, "exponent": group.exponent, **columns_of(record, columns)}
        for name, group in data.groups.items()
        for record in getattr(group, records)
    ]
    return [row | {"flags": " ".join(row.get("flags", ()))} for row in rows]


def optima_table(data: ReportData) -> pd.DataFrame:
    """Returns the optima: scale, value, log2, low and high (log2, infinite where open), loss,
    loss_low, loss_high, points, seeds, trials, declared, noise, noise_source, estimator, flags."""
    place = ["group", "scale", "value", "log2", "low", "high"]
    place += ["loss", "loss_low", "loss_high"]
    evidence = ["points", "seeds", "trials", "declared", "noise", "noise_source", "estimator"]
    return pd.DataFrame(_rows(data, "optima", OPTIMUM), columns=[*place, *evidence, "flags"])


def fits_table(data: ReportData) -> pd.DataFrame:
    """Returns the fitted curves where they describe the data: scale, log2, loss."""
    rows = [
        {"group": name, "scale": optimum.scale, "log2": place, "loss": loss}
        for name, group in data.groups.items()
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


def drift_table(data: ReportData) -> pd.DataFrame:
    """Returns one row a group: slope, low, high (octaves per doubling), intercept (log2 at scale
    1), scatter (octaves), flags, refused."""
    rows = []
    for name, group in data.groups.items():
        row: dict[str, Any] = {"group": name, "flags": (), "refused": group.refused or ""}
        row |= {} if group.drift is None else columns_of(group.drift, DRIFT)
        rows.append(row | {"flags": " ".join(row["flags"])})
    columns = ["group", "slope", "low", "high", "intercept", "scatter", "flags", "refused"]
    numbers = dict.fromkeys(columns[1:6], "float64")
    return pd.DataFrame(rows, columns=columns).astype(numbers)


def lines_table(data: ReportData) -> pd.DataFrame:
    """Returns the lines of the drift figure: kind (``drift``, ``bend`` or ``claim``), rule (the
    slope of the line, the bend of the parabola), scale, log2, low, high.

    The fan of a drift turns round the mean of the scales that it was fitted to; that of a claim
    starts at the base optimum, which the rule would transfer. An open side is infinite.
    """
    rows = [
        row
        for name, group in data.groups.items()
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
    if drift.bend is None or not drift.bends:
        return
    for scale in np.exp2(_scales(group)).tolist():
        at = drift.bend.log2_at(scale)
        row = {"group": name, "kind": "bend", "rule": drift.bend.value, "scale": scale}
        yield row | {"log2": at, "low": at, "high": at}


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


def claims_table(data: ReportData) -> pd.DataFrame:
    """Returns the verdicts: exponent, tolerance, verdict, why."""
    columns = ["group", "exponent", "tolerance", "verdict", "why"]
    return pd.DataFrame(_rows(data, "verdicts", CLAIM), columns=columns)


def regret_table(data: ReportData) -> pd.DataFrame:
    """Returns what transfer costs: scale, exponent, log2 and value of the transferred setting,
    tuned, transferred, regret, low, high, percent, compute, floor, certainty, harmless, resolved,
    note."""
    rows = [row | {"value": 2.0 ** row["log2"]} for row in _rows(data, "regret", REGRET)]
    numbers = ["log2", "value", "tuned", "transferred", "regret", "low", "high"]
    numbers += ["percent", "compute", "floor"]
    words = ["certainty", "harmless", "resolved", "note"]
    columns = ["group", "scale", "exponent", *numbers, *words]
    return pd.DataFrame(rows, columns=columns)


def frontier_table(data: ReportData) -> pd.DataFrame:
    """Returns the tuned loss against size: scale, params, loss, censored."""
    params: Mapping[Any, float] = (
        data.trials.groupby(["group", data.scale])["params"].mean().to_dict()
    )
    rows = _rows(data, "optima", "scale loss censored")
    rows = [row | {"params": params[row["group"], row["scale"]]} for row in rows]
    table = pd.DataFrame(rows, columns=["group", "scale", "params", "loss", "censored"])
    return table[table["params"] > 0]


def heat_table(data: ReportData) -> pd.DataFrame:
    """Returns the cells of the hyperparameter and the first that is tuned along: scale, log2,
    other_log2, loss (seed mean, of several further hyperparameters the best; inf where any seed
    diverged, NaN without a result), above (the loss less the lowest there) and best_other_log2
    (of the profile at this log2, NaN without)."""
    name, (other, *further) = data.hyperparameter, data.tuned
    rows = data.trials[data.trials[other] > 0]
    bare = rows["outcome"].map({"completed": 0.0, "diverged": np.inf}).astype(float)
    loss = rows["loss"].where(rows["outcome"] == "completed", bare)
    place = ["group", "scale", "log2", "other_log2"]
    cells = pd.DataFrame(
        {
            "group": rows["group"],
            "scale": rows[data.scale].astype(float),
            "log2": np.round(np.log2(rows[name].astype(float)), SAME_LOG2_DECIMALS),
            "other_log2": np.round(np.log2(rows[other].astype(float)), SAME_LOG2_DECIMALS),
            **{each: rows[each] for each in further},
            "loss": loss,
        }
    )
    means = cells.groupby([*place, *further], dropna=False)["loss"].mean()
    table = means.groupby(place).min().reset_index()
    lowest = table.groupby(["group", "scale"])["loss"].transform("min")
    table["above"] = (table["loss"] - lowest).where(np.isfinite(table["loss"]))
    best = data.points.drop_duplicates(["group", data.scale, name])
    at = pd.DataFrame(
        {
            "group": best["group"],
            "scale": best[data.scale].astype(float),
            "log2": np.round(np.log2(best[name].astype(float)), SAME_LOG2_DECIMALS),
            "best_other_log2": best[f"{BEST}{other}"].replace(-np.inf, np.nan),
        }
    )
    order = {label: index for index, label in enumerate(data.labels)}
    merged = table.merge(at, on=["group", "scale", "log2"], how="left")
    by = merged["group"].map(order)
    return merged.assign(by=by).sort_values(["by", *place[1:]]).drop(columns="by")


def joint_table(data: ReportData) -> pd.DataFrame:
    """Returns the joint optima: scale, log2, low, high, other_log2, other_low, other_high (log2,
    infinite where open), loss, loss_low, loss_high, flags."""
    columns = ["group", "scale", "log2", "low", "high", "other_log2", "other_low", "other_high"]
    columns += ["loss", "loss_low", "loss_high", "flags"]
    rows = []
    for group in () if data.joint is None else data.joint.groups:
        for scale, found in group.optima.items():
            x, y = (found.names.index(name) for name in (data.hyperparameter, data.tuned[0]))
            place = [(found.log2[k], found.low[k], found.high[k]) for k in (x, y)]
            flags = " ".join(dict.fromkeys((*found.flags[0], *found.flags[1])))
            loss = (found.loss, found.loss_low, found.loss_high)
            rows.append([group.label, scale, *place[0], *place[1], *loss, flags])
    return pd.DataFrame(rows, columns=columns)


def best_trials(points: pd.DataFrame) -> pd.DataFrame:
    """Returns the completed trial with the lowest loss of each group and scale."""
    finite = points[np.isfinite(points["loss"])]
    best = finite.groupby(["group", "scale"], sort=False)["loss"].idxmin()
    lowest: pd.DataFrame = finite[finite.index.isin(best)]
    return lowest


def training_table(best: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Returns the curves of the best trials: scale, value, seed, key, tokens, train_loss and
    smoothed (its running mean).

    Args:
        best: rows of :func:`best_trials`.
        curves: curves with the columns key, tokens and train_loss.
    """
    columns = ["group", "scale", "value", "seed", "key", "tokens", "train_loss", "smoothed"]
    if "train_loss" not in curves.columns:
        return pd.DataFrame(columns=columns)
    parts = [_smoothed(row, curves[curves["key"] == row["key"]]) for _, row in best.iterrows()]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _smoothed(row: pd.Series[Any], curve: pd.DataFrame) -> pd.DataFrame:
    known = curve.dropna(subset=["train_loss"]).sort_values("tokens")
    window = smoothing_window(len(known))
    mean = known["train_loss"].rolling(window, center=True, min_periods=1).mean()
    names = ["group", "scale", "value", "seed"]
    return known.assign(smoothed=mean, **{name: row[name] for name in names})


def smoothing_window(points: int) -> int:
    """Returns the odd number of neighbouring points that are averaged."""
    return 2 * int(SMOOTHING * points / 2 + 0.5) + 1
