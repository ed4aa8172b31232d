"""Regret of planted surfaces, where the true cost of a transferred setting is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from planted import trials

from sweeper.analysis.optimum.curve import measured_curves
from sweeper.analysis.optimum.locate import locate
from sweeper.analysis.optimum.optimum import Optimum
from sweeper.analysis.transfer.regret import transfer_base, transfer_regret
from sweeper.errors import AnalysisRefusal


def optima_of(frame: pd.DataFrame, estimator: str = "quadratic") -> tuple[Optimum, ...]:
    curves = measured_curves(frame, scale="width", hyperparameter="learning_rate")
    return locate(curves, resamples=200, estimator=estimator).optima


def test_regret_is_what_the_surface_says() -> None:
    for scale, regret in enumerate(transfer_regret(optima_of(trials(slope=-0.4)))):
        truth = 0.04 * (0.4 * scale) ** 2
        assert regret.regret == pytest.approx(truth, abs=1e-4)
        assert regret.tuned == pytest.approx(3 - 0.2 * scale, abs=1e-4)
        assert regret.percent == pytest.approx(100 * truth / (3 - 0.2 * scale), abs=0.01)
        assert (regret.certainty, regret.note) == ("measured", "")


def test_the_right_rule_costs_nothing() -> None:
    for regret in transfer_regret(optima_of(trials(slope=-0.4)), exponent=-0.4):
        assert regret.regret == pytest.approx(0, abs=1e-4)


def test_far_from_the_window_the_measured_curve_is_read() -> None:
    regrets = transfer_regret(optima_of(trials(slope=-1.3, start=-4.0)))
    assert regrets[3].regret == pytest.approx(0.04 * 3.9**2, rel=0.03)


def test_a_regret_below_a_useful_size_is_harmless() -> None:
    regrets = transfer_regret(optima_of(trials(slope=-0.02, noise=0.003)))
    assert regrets[-1].useful == pytest.approx(0.002 * regrets[-1].tuned)
    assert 0 <= regrets[-1].low <= regrets[-1].regret <= regrets[-1].high
    assert regrets[-1].harmless
    assert not transfer_regret(optima_of(trials(slope=-0.02, noise=0.003)), useful=0)[-1].harmless


def test_a_regret_that_noise_hides_is_neither_harmless_nor_resolved() -> None:
    regrets = transfer_regret(optima_of(trials(slope=-0.1, noise=0.04)))
    assert regrets[-1].floor == pytest.approx(1.96 * 0.04 * math.sqrt(2 / 3), rel=0.3)
    assert not regrets[-1].harmless
    assert not regrets[-1].resolved


def test_a_costly_setting_is_resolved() -> None:
    costly = transfer_regret(optima_of(trials(slope=-1.0, start=-3.0, noise=0.02)))
    assert not costly[-1].harmless
    assert costly[-1].resolved
    assert costly[-1].low < 0.04 * 3**2 < costly[-1].high


def test_a_setting_beyond_the_cliff_costs_infinitely_much() -> None:
    regrets = transfer_regret(optima_of(trials(slope=-1.0, start=-4.0, cliff=1.9)))
    last = regrets[-1]
    assert (last.transferred, last.regret, last.certainty) == (math.inf, math.inf, "infinite")
    assert "diverges" in last.note
    assert not last.harmless


def test_between_the_last_point_and_the_cliff_the_cost_is_a_lower_bound() -> None:
    frame = trials(slope=-1.0, start=-4.5, cliff=1.7, scales=(32, 64, 128))
    last = transfer_regret(optima_of(frame))[-1]
    # The optimum of 128 is -6.5, -5 trains, -4 diverges, and -4.5 is asked for.
    assert last.certainty == "at_least"
    assert last.transferred == pytest.approx(3 - 0.4 + 0.04 * 1.5**2, abs=1e-4)
    assert last.regret == pytest.approx(0.04 * 1.5**2, abs=1e-3)


def test_outside_the_grid_the_edge_is_a_lower_bound() -> None:
    regrets = transfer_regret(optima_of(trials(start=-2.0)), exponent=1.0)
    assert regrets[3].certainty == "at_least"
    assert regrets[3].regret == pytest.approx(0.04, abs=1e-3)
    assert "above the grid" in regrets[3].note


def test_outside_the_grid_on_the_falling_side_nothing_is_claimed() -> None:
    regrets = transfer_regret(optima_of(trials(start=-3.0, slope=1.0)), exponent=1.0)
    assert regrets[3].certainty == "unknown"
    assert math.isnan(regrets[3].regret)


def test_beyond_a_diverged_edge_the_loss_is_infinite() -> None:
    regrets = transfer_regret(optima_of(trials(start=-3.0, cliff=1.5)), exponent=1.0)
    assert regrets[3].certainty == "infinite"


def test_the_base_is_the_smallest_scale_with_a_minimum_inside() -> None:
    optima = optima_of(trials(start=0.2, slope=-1.0))
    assert optima[0].censored
    assert optima[1].censored
    assert transfer_base(optima).scale == 128


def test_without_a_base_there_is_nothing_to_transfer() -> None:
    with pytest.raises(AnalysisRefusal, match="no setting to transfer"):
        transfer_regret(optima_of(trials(start=5.0)))


def test_the_argmin_estimator_reads_the_grid_itself() -> None:
    frame = trials(slope=-1.0, start=-4.0)
    regrets = transfer_regret(optima_of(frame, "argmin"))
    table = frame[frame["width"] == 256]
    at_base = table[np.isclose(np.log2(table["learning_rate"]), -4)]["loss"].iloc[0]
    assert regrets[-1].transferred == pytest.approx(at_base)
    assert regrets[-1].tuned == pytest.approx(table["loss"].min())
