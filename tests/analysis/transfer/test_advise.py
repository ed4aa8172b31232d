"""Advice: exponents of the compute-optimal grid search, a brute-force oracle, and refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from converging import converging, group_of

from sweeper.analysis.compute.cost import RunCost, run_cost
from sweeper.analysis.transfer.advice import (
    LEAST_POINTS,
    Advice,
    KnownOptimum,
    Landscape,
    Movement,
    advise,
)
from sweeper.analysis.transfer.economy import Economy, growth
from sweeper.answers.advice import Constants, StudyLandscape, plain_landscape, read_landscape
from sweeper.errors import AnalysisRefusal

WIDTHS = (32, 64, 128, 256, 512, 1024)

LAND = Landscape(
    asymptote=3.0,
    amplitude=13.0,
    alpha=0.5,
    curvature=0.08,
    movement=Movement(size=20.0, rate=0.7),
    cost=RunCost(at=1024, flops=1e15, exponent=2.0),
    hyperparameters=1,
    octaves=8.0,
    smallest=64,
    whole=True,
)


def study(**options: Any) -> pd.DataFrame:
    planted: dict[str, Any] = {
        "loss": (3.0, 5.0, 0.5),
        "optimum": (-6.0, -40.0, 0.8),
        "widths": WIDTHS,
    }
    return converging(**(planted | options))


def read(frame: pd.DataFrame, target: float = 8192, **given: Any) -> StudyLandscape:
    group = group_of(frame, estimator="quadratic")
    return read_landscape(group, frame, scale="width", target=target, given=Constants(**given))


@pytest.mark.parametrize(
    ("alpha", "beta", "h", "direct", "transfer"),
    [
        (0.52, 1.0, 1, 2 * 0.52 / 4.52, 0.26),
        (0.52, 0.26, 1, 0.52 / 2.26, 0.52 / 2.26),
        (1.0, 1.0, 1, 0.4, 0.5),
        (1.0, 1.0, 4, 0.25, 1 / 3),
    ],
)
def test_the_exponents_of_the_grid_search_are_the_derived_ones(
    alpha: float, beta: float, h: int, direct: float, transfer: float
) -> None:
    found = growth(alpha, beta, Economy(cost_exponent=2.0, hyperparameters=h))
    assert found.direct == pytest.approx(direct)
    assert found.transfer == pytest.approx(transfer)
    assert found.proxy == pytest.approx(1 / (h * beta + 2))
    assert found.model == pytest.approx(2 / (h * alpha + 4))
    assert found.useful == (beta > alpha / 2)
    assert found.useful == (found.transfer > found.direct * (1 + 1e-12))


def test_the_best_proxy_and_its_excess_grow_with_compute_as_derived() -> None:
    beta, r = 0.7, 2.0
    land = replace(LAND, smallest=1.0, whole=False, finest=0.0)
    far = replace(land, cost=RunCost(at=1.0, flops=1.0, exponent=r))
    budgets = 10.0 ** np.arange(12, 19)
    proxies, excess = [], []
    for budget in budgets:
        target = 0.5 * far.cost.scale_for(budget)
        option = next(
            o
            for o in advise(far, target=target, budget=budget).options
            if o.strategy == "transfer"
        )
        assert option.proxy is not None
        proxies.append(option.proxy)
        excess.append(option.excess)
    slope = np.polyfit(np.log(budgets), np.log(proxies), 1)[0]
    assert slope == pytest.approx(1 / (beta + r), abs=0.02)
    error = np.polyfit(np.log(budgets), np.log(excess), 1)[0]
    assert error == pytest.approx(-2 * beta / (beta + r), abs=0.03)


def test_no_proxy_and_no_grid_are_better_than_the_advised_ones() -> None:
    target, budget = 4096, 6e16
    advice = advise(LAND, target=target, budget=budget)
    transfer = next(o for o in advice.options if o.strategy == "transfer")
    single = 1e15 * (target / 1024) ** 2
    best = math.inf
    for proxy in range(64, 4096):
        for points in range(LEAST_POINTS, 8 * 16 + 1):
            if points * 1e15 * (proxy / 1024) ** 2 + single > budget:
                break
            moved = 20 * (proxy**-0.7 - target**-0.7)
            best = min(best, 0.04 * ((8 / points) ** 2 / 12 + moved**2))
    assert transfer.excess == pytest.approx(best, rel=0.02)
    assert transfer.excess >= best
    assert transfer.flops <= budget
    assert transfer.loss == pytest.approx(3 + 13 * target**-0.5 + transfer.excess)


def test_options_are_the_best_of_their_kind_and_cost_no_more_than_the_budget() -> None:
    advice = advise(LAND, target=2048, budget=3e16)
    excess = [option.excess for option in advice.options]
    assert excess == sorted(excess)
    assert all(option.flops <= 3e16 * (1 + 1e-9) for option in advice.options)
    direct = next(o for o in advice.options if o.strategy == "direct")
    assert (direct.points, direct.runs, direct.proxy) == (7, 7, 2048)
    assert direct.excess == pytest.approx(0.04 * (8 / 7) ** 2 / 12)
    untuned = next(o for o in advice.options if o.strategy == "untuned")
    assert untuned.excess == pytest.approx(0.04 * 64 / 12)


def test_where_the_optimum_runs_away_transfer_does_not_pay() -> None:
    land = replace(LAND, movement=Movement(slope=-1.5, error=0.1))
    advice = advise(land, target=2048, budget=4e16)
    assert not advice.pays
    assert advice.best.strategy == "direct"
    assert any("transfer does not pay" in sentence for sentence in advice.sentences)


def test_where_the_optimum_stays_a_small_proxy_pays() -> None:
    land = replace(LAND, movement=Movement())
    advice = advise(land, target=2048, budget=6e15)
    assert advice.pays
    assert advice.best.strategy == "transfer"
    assert advice.best.proxy == 64
    assert advice.best.points == 8 * 16
    assert any("cannot be tuned directly" in sentence for sentence in advice.sentences)


def test_a_known_optimum_can_make_another_grid_pointless() -> None:
    land = replace(
        LAND, movement=Movement(), found=KnownOptimum(scale=1024, error=0.001), noise=0.01
    )
    advice = advise(land, target=2048, budget=6e15)
    assert advice.best.strategy == "keep"
    assert advice.best.runs == 1
    assert any("another grid is not worth" in sentence for sentence in advice.sentences)


def test_a_cheaper_way_within_the_noise_is_named() -> None:
    land = replace(LAND, found=KnownOptimum(scale=1024, error=0.3), noise=0.01)
    advice = advise(land, target=2048, budget=1e17)
    assert advice.best.flops > 5e16
    cheap = [sentence for sentence in advice.sentences if "is cheaper" in sentence]
    assert len(cheap) == 1
    assert "the optimum found already" in cheap[0]


def test_what_the_noise_cannot_tell_apart_is_called_as_good() -> None:
    land = replace(LAND, noise=0.005)
    advice = advise(land, target=2048, budget=1e17)
    excess = {option.strategy: option.excess for option in advice.options}
    assert abs(excess["transfer"] - excess["direct"]) < 0.005 < excess["untuned"]
    assert sum("is as good" in sentence for sentence in advice.sentences) == 1
    exact = advise(LAND, target=2048, budget=1e17)
    assert not any("noise of one run" in sentence for sentence in exact.sentences)


def test_a_budget_for_one_run_leaves_no_grid() -> None:
    advice = advise(LAND, target=2048, budget=4e15)
    assert {option.strategy for option in advice.options} == {"smaller", "untuned"}
    assert any("too little beside the last run" in sentence for sentence in advice.sentences)


def test_several_hyperparameters_share_the_grid() -> None:
    land = replace(LAND, hyperparameters=2)
    for option in advise(land, target=2048, budget=1e17).options:
        if option.points:
            assert option.runs == option.points**2 + (option.strategy == "transfer")
    advice: Advice = advise(land, target=2048, budget=1e17)
    direct = next(o for o in advice.options if o.strategy == "direct")
    assert direct.points == 5  # 25 runs of 4e15
    assert direct.excess == pytest.approx(2 * 0.04 * (8 / 5) ** 2 / 12)


def test_the_line_of_a_drift_counts_its_error() -> None:
    moved = Movement(slope=0.3, error=0.1).squared(64, 512)
    assert moved == pytest.approx((0.09 + 0.01) * 9)
    assert Movement(size=20, rate=0.7).squared(64, 512) == pytest.approx(
        (20 * (64**-0.7 - 512**-0.7)) ** 2
    )


@pytest.mark.parametrize(
    ("target", "budget", "message"),
    [
        (64, 1e17, "not above 64"),
        (math.nan, 1e17, "not above"),
        (2048, 1e15, "pays for one at 1024"),
        (2048, -1, "positive number of FLOPs"),
        (2048, math.inf, "positive number of FLOPs"),
    ],
)
def test_requests_without_sense_are_refused(target: float, budget: float, message: str) -> None:
    with pytest.raises(AnalysisRefusal, match=message):
        advise(LAND, target=target, budget=budget)


def test_the_curvature_has_to_be_known() -> None:
    with pytest.raises(AnalysisRefusal, match="curvature"):
        advise(replace(LAND, curvature=math.nan), target=2048, budget=1e17)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (math.nan, 1.0), (1.0, -0.1)])
def test_exponents_without_sense_are_refused(alpha: float, beta: float) -> None:
    with pytest.raises(AnalysisRefusal, match=r"alpha|beta"):
        growth(alpha, beta, Economy())


def test_the_landscape_of_a_study_is_what_was_planted() -> None:
    reading = read(study())
    land = reading.landscape
    assert (land.asymptote, land.amplitude, land.alpha) == pytest.approx((3, 5, 0.5), rel=1e-3)
    assert land.curvature == pytest.approx(0.05, rel=1e-3)
    assert reading.beta == pytest.approx(0.8, abs=1e-3)
    assert land.movement.size == pytest.approx(-40, rel=5e-3)
    assert land.cost.exponent == pytest.approx(2)
    assert land.cost.of(8192) == pytest.approx(3e6 * 8192**2)
    assert land.octaves == pytest.approx(7)
    assert land.found is not None
    assert land.found.scale == 1024


def test_an_optimum_without_a_rate_is_extrapolated_by_its_drift() -> None:
    reading = read(study(optimum=(-6.0, 0.0, 1.0), noise=2e-3))
    assert reading.beta is None
    assert abs(reading.landscape.movement.slope) < 0.1
    assert reading.landscape.movement.error > 0
    assert any("goes on moving" in sentence for sentence in reading.assumptions)


def test_a_largest_scale_without_an_optimum_leaves_the_drift_of_the_others() -> None:
    frame = study(octaves=tuple(float(k) for k in np.arange(-11, -5.9, 0.5)))
    frame = frame[(frame["width"] < 1024) | (frame["learning_rate"] < 2.0**-6.6)]
    reading = read(frame)
    assert reading.beta is None
    assert reading.landscape.found is not None
    assert reading.landscape.found.scale == 512
    with pytest.raises(AnalysisRefusal, match="up to 1024"):
        read(frame, target=1000)


def test_what_is_given_takes_the_place_of_what_is_read() -> None:
    frame = study()
    reading = read(frame, alpha=0.5, beta=0.8, cost_exponent=4.0, run_flops=1e20)
    assert reading.landscape.amplitude == pytest.approx(5, rel=1e-3)
    assert reading.landscape.movement.size == pytest.approx(-40, rel=1e-3)
    assert reading.landscape.cost.of(8192) == pytest.approx(1e20)
    assert reading.landscape.cost.of(4096) == pytest.approx(1e20 / 16)
    assert read(frame, cost_exponent=3.0).landscape.cost.exponent == 3.0


def test_a_study_without_flops_needs_them_given() -> None:
    frame = study().assign(flops=np.nan)
    with pytest.raises(AnalysisRefusal, match="--run-flops"):
        read(frame)
    with pytest.raises(AnalysisRefusal, match="--cost-exponent"):
        read(frame, run_flops=1e20)
    assert read(frame, run_flops=1e20, cost_exponent=2.0).landscape.cost.of(8192) == 1e20


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": -1.0}, "alpha = -1"),
        ({"beta": 0.0}, "beta = 0"),
        ({"cost_exponent": -2.0}, "cost of a run"),
    ],
)
def test_given_numbers_out_of_range_are_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(AnalysisRefusal, match=message):
        read(study(), **given)


def test_a_target_within_the_study_is_refused() -> None:
    with pytest.raises(AnalysisRefusal, match="within the study"):
        read(study(), target=512)


def test_two_scales_need_alpha_given() -> None:
    frame = study(widths=(32, 64))
    with pytest.raises(AnalysisRefusal, match="or give --alpha"):
        read(frame)
    assert read(frame, alpha=0.5).landscape.asymptote == pytest.approx(3, abs=1e-3)


def test_losses_that_rise_with_the_scale_are_refused() -> None:
    with pytest.raises(AnalysisRefusal, match="do not fall"):
        read(study(loss=(3.0, -5.0, 0.5)), alpha=0.5)


def test_without_a_study_everything_must_be_given() -> None:
    with pytest.raises(AnalysisRefusal, match="--beta, --run-flops must be given"):
        plain_landscape(Constants(alpha=0.5, cost_exponent=2.0), 1024)
    reading = plain_landscape(
        Constants(alpha=0.52, beta=0.8, cost_exponent=2.0, run_flops=1e18), 1024
    )
    assert reading.landscape.price(0.25) == pytest.approx(0.25)
    assert reading.landscape.movement.squared(4, 1024) == pytest.approx(
        (4**-0.8 - 1024**-0.8) ** 2
    )


def test_the_cost_of_runs_is_read_off_their_flops() -> None:
    frame = pd.DataFrame({"width": [64, 64, 128, 256], "flops": [1e9, np.nan, 8e9, 64e9]})
    cost = run_cost(frame, "width")
    assert cost is not None
    assert cost.exponent == pytest.approx(3)
    assert cost.of(512) == pytest.approx(512e9)
    assert cost.scale_for(512e9) == pytest.approx(512)
    assert run_cost(frame.iloc[:2], "width") is None
    assert run_cost(frame.assign(flops=1e9), "width") is None
