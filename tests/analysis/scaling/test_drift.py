"""Drifts of planted surfaces: slope, bounds, scatter, bend, leverage and the verdicts."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import trials, without

from sweeper.analysis.optimum.curve import measured_curves
from sweeper.analysis.optimum.locate import locate
from sweeper.analysis.optimum.optimum import Optimum
from sweeper.analysis.scaling.claim import Claim, Verdict, judge
from sweeper.analysis.scaling.drift import Drift, measure_drift
from sweeper.errors import AnalysisRefusal


def optima_of(frame: pd.DataFrame, **options: Any) -> tuple[Optimum, ...]:
    curves = measured_curves(frame, scale="width", hyperparameter="learning_rate")
    return locate(curves, **({"resamples": 300} | options)).optima


def drift_of(frame: pd.DataFrame, **options: Any) -> Drift:
    return measure_drift(optima_of(frame, **options))


def verdict_of(frame: pd.DataFrame, exponent: float, tolerance: float) -> Verdict:
    optima = optima_of(frame)
    claim = Claim(exponent=exponent, tolerance=tolerance)
    return judge(claim, measure_drift(optima), optima)


@pytest.mark.parametrize("slope", [-1.0, -0.5, 0.0, 0.25])
def test_a_clean_drift_is_read_without_bias(slope: float) -> None:
    drift = drift_of(trials(slope=slope, start=-4.6))
    assert drift.slope == pytest.approx(slope, abs=1e-4)
    assert drift.low <= slope + 1e-9
    assert drift.high >= slope - 1e-9
    assert drift.log2_at(128) == pytest.approx(-4.6 + 2 * slope, abs=1e-3)
    assert drift.scales_used == (32, 64, 128, 256)
    assert drift.doublings == 3


def test_a_censored_scale_enters_as_a_bound() -> None:
    # The last optimum, -9.4, lies below the grid: as a point at -9 it would flatten the drift.
    frame = trials(slope=-1.6, start=-4.6, noise=0.002)
    drift = drift_of(frame)
    assert drift.censored == (256,)
    assert "censored" in drift.flags
    assert drift.slope == pytest.approx(-1.6, abs=0.05)
    # One draw of noise may miss by a little; that intervals cover is for test_coverage.py.
    assert drift.low - 0.01 < -1.6 < drift.high + 0.01


def test_a_bound_that_contradicts_the_others_pulls_the_slope() -> None:
    frame = trials(noise=0.002)
    last = frame["width"] == 256
    frame.loc[last, "loss"] = 2.4 + 0.04 * (np.log2(frame.loc[last, "learning_rate"]) + 11) ** 2
    drift = drift_of(frame)
    assert drift.censored == (256,)
    assert drift.slope < -0.3


def test_optima_off_the_line_widen_the_interval() -> None:
    steady = trials(noise=0.002)
    moved = trials(noise=0.002)
    jump = trials(noise=0.002, start=-5.6)
    middle = moved["width"] == 64
    moved.loc[middle] = jump.loc[middle]
    straight, scattered = drift_of(steady), drift_of(moved)
    assert "scattered" in scattered.flags
    assert scattered.scatter > 0.2
    assert scattered.high - scattered.low > 10 * (straight.high - straight.low)


def test_two_scales_have_the_noise_interval_alone() -> None:
    drift = drift_of(trials(noise=0.01, scales=(32, 64)))
    assert "two_scales" in drift.flags
    assert drift.bend is None
    assert drift.leave_one_out == ()
    assert drift.low < 0 < drift.high


def test_a_bending_drift_is_seen() -> None:
    parts = []
    for u, width in enumerate((32, 64, 128, 256, 512)):
        one = trials(scales=(width,), start=-4.0 - 0.15 * u**2, noise=0.002, draw=u)
        parts.append(one)
    bend = drift_of(pd.concat(parts, ignore_index=True)).bend
    assert bend is not None
    assert bend.value == pytest.approx(-0.3, abs=0.03)
    assert bend.low < -0.3 < bend.high < 0


def test_leaving_out_the_odd_scale_changes_the_slope_most() -> None:
    frame = trials(noise=0.002)
    jump = trials(noise=0.002, start=-6.0)
    last = frame["width"] == 256
    frame.loc[last] = jump.loc[last]
    drift = drift_of(frame)
    changes = {out.scale: abs(out.change or 0.0) for out in drift.leave_one_out}
    assert max(changes, key=lambda scale: changes[scale]) == 256
    rest = frame[frame["width"] < 256]
    alone = drift_of(rest).slope
    change = next(out.change for out in drift.leave_one_out if out.scale == 256)
    assert change is not None
    assert drift.slope + change == pytest.approx(alone, abs=0.02)


def test_one_scale_is_refused() -> None:
    with pytest.raises(AnalysisRefusal, match=r"1 scale with an optimum.*at least 2"):
        drift_of(trials(scales=(64,)))


def test_a_drift_through_bounds_alone_is_refused_with_the_edges_to_extend() -> None:
    with pytest.raises(
        AnalysisRefusal, match=r"1 of 2 values of scale.*scale 32.*upper edge: extend"
    ):
        drift_of(trials(scales=(32, 64), start=0.0, slope=-3.5))


def test_noise_that_reaches_the_edge_leaves_an_end_open() -> None:
    drift = drift_of(trials(scales=(32, 64), start=-2.2, noise=0.08))
    assert math.isinf(drift.low) or math.isinf(drift.high)


def test_a_claim_holds_when_the_whole_interval_is_inside() -> None:
    verdict = verdict_of(trials(noise=0.003), 0.0, 0.15)
    assert verdict.ruling == "holds"
    assert "all of it within 0 ± 0.15" in verdict.why


def test_a_claim_is_broken_when_the_whole_interval_is_outside() -> None:
    verdict = verdict_of(trials(noise=0.003, slope=-0.5), 0.0, 0.15)
    assert verdict.ruling == "broken"
    assert "all of it outside 0 ± 0.15" in verdict.why


def test_a_slope_beyond_the_tolerance_is_not_called_broken_while_the_edge_is_possible() -> None:
    frame = trials(noise=0.02, slope=-0.25, draw=1)
    verdict = verdict_of(frame, 0.0, 0.2)
    assert drift_of(frame).high < 0
    assert drift_of(frame).slope < -0.2
    assert verdict.ruling == "inconclusive"
    assert "may be within the tolerance" in verdict.why


def test_noise_makes_a_claim_inconclusive_and_more_seeds_are_advised() -> None:
    verdict = verdict_of(trials(noise=0.03, draw=3), 0.0, 0.1)
    assert verdict.ruling == "inconclusive"
    advised = re.search(r"about (\d+) seeds at these points instead of 3", verdict.why)
    assert advised is not None
    assert int(advised[1]) > 3


def test_a_small_drift_within_the_tolerance_is_not_called_broken() -> None:
    verdict = verdict_of(trials(noise=0.01, slope=-0.1, draw=1), 0.0, 0.1)
    assert verdict.ruling == "inconclusive"
    assert "may be within the tolerance" in verdict.why


def test_an_edge_is_named_as_the_cure() -> None:
    frame = trials(scales=(32, 64, 128), slope=-1.5, start=-6.4, noise=0.03)
    verdict = verdict_of(frame, -1.5, 0.05)
    assert verdict.ruling == "inconclusive"
    assert "at scale 128" in verdict.why
    assert "lower edge: extend the grid there" in verdict.why


@pytest.mark.parametrize(("exponent", "tolerance"), [(0.0, 0.0), (0.0, -1.0), (math.nan, 0.1)])
def test_a_claim_without_sense_is_refused(exponent: float, tolerance: float) -> None:
    with pytest.raises(AnalysisRefusal, match="claim"):
        Claim(exponent=exponent, tolerance=tolerance)


def test_scales_left_out_are_flagged() -> None:
    frame = without(trials(), width=64, octave=-6, outcome="failed")
    assert "left_out" in measure_drift(optima_of(frame), left_out=True).flags
