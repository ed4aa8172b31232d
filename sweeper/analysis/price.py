"""Regret as compute: what a tuned run that is no better than the transferred one would save."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from sweeper.analysis.frontier import Frontier, FrontierPoint, compute_lost, frontier_of
from sweeper.analysis.transfer import Regret
from sweeper.errors import AnalysisRefusal


def run_flops(trials: pd.DataFrame, scale: str) -> dict[float, float]:
    """Returns the mean FLOPs of one trial by scale; scales without any are left out.

    Args:
        trials: trials of one group, with or without the column ``flops``.
        scale: column of the scale.
    """
    if "flops" not in trials.columns:
        return {}
    flops = pd.to_numeric(trials["flops"], errors="coerce").astype("float64")
    means = flops[flops > 0].groupby(pd.to_numeric(trials[scale])).mean()
    return dict(zip(means.index.astype("float64").tolist(), means.tolist(), strict=True))


def in_compute(regrets: Sequence[Regret], flops: Mapping[float, float]) -> tuple[Regret, ...]:
    """Returns regrets with the factor of compute that each throws away.

    The factor is read off the frontier of the group's own tuned losses.

    Args:
        regrets: of one group, one a scale.
        flops: FLOPs of one run by scale.
    """
    try:
        frontier = _frontier(regrets, flops)
        return tuple(_priced(regret, frontier) for regret in regrets)
    except AnalysisRefusal as refusal:
        return tuple(replace(regret, compute_note=str(refusal)) for regret in regrets)


def _frontier(regrets: Sequence[Regret], flops: Mapping[float, float]) -> Frontier:
    without = [regret.scale for regret in regrets if regret.scale not in flops]
    if without:
        listing = ", ".join(f"{scale:g}" for scale in without)
        raise AnalysisRefusal(f"the FLOPs of a run are not known at scale {listing}")
    points = [
        FrontierPoint(label=f"{regret.scale:g}", compute=flops[regret.scale], loss=regret.tuned)
        for regret in regrets
    ]
    return frontier_of("the tuned loss", points)


def _priced(regret: Regret, frontier: Frontier) -> Regret:
    if math.isnan(regret.regret):
        return replace(regret, compute_note="the regret is unknown")
    factor, extrapolated = compute_lost(frontier, loss=regret.tuned, regret=regret.regret)
    return replace(regret, compute=factor, compute_note="extrapolated" if extrapolated else "")
