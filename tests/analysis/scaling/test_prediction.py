"""Predictions: planted optima lie in their intervals, which grow with the distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from long_form import draws
from planted import trials

from sweeper.analysis.optimum.sites import survey
from sweeper.analysis.scaling.prediction import Prediction, predict_at
from sweeper.analysis.scaling.rule import Rule, fit_rule
from sweeper.errors import AnalysisRefusal

WIDTHS = (32, 64, 128, 256, 512)


def rule_of(frame: pd.DataFrame, resamples: int = 300) -> Rule:
    found = survey(frame, scales=("width",), hyperparameter="learning_rate", resamples=resamples)
    return fit_rule(found.site_optima, hyperparameter="learning_rate", scales=("width",))


def drifting(slope: float = -0.4, noise: float = 0.0, draw: int = 0) -> pd.DataFrame:
    return trials(slope=slope, scales=WIDTHS, octaves=range(-11, -1), noise=noise, draw=draw)


def following(best: Callable[[float], float], noise: float, draw: int) -> pd.DataFrame:
    """Returns trials whose best log2 learning rate is a function of the width."""
    rng = np.random.default_rng(draw)
    rows = []
    for width in WIDTHS:
        middle = best(width)
        for place in np.round(middle) + np.arange(-4, 5):
            for seed in range(2):
                loss = 3.0 + 0.04 * (place - middle) ** 2 + noise * rng.standard_normal()
                rows.append((width, 2.0**place, seed, loss))
    frame = pd.DataFrame(rows, columns=["width", "learning_rate", "seed", "loss"])
    return frame.assign(outcome="completed")


def widths_of(found: Sequence[Prediction]) -> list[float]:
    return [one.high - one.low for one in found]


def test_clean_data_predict_the_planted_optimum_exactly() -> None:
    found = predict_at(rule_of(drifting()), {"width": 4096})
    assert found.log2 == pytest.approx(-5 - 0.4 * 7, abs=1e-6)
    assert found.factor == pytest.approx(8)
    assert found.doublings == {"width": pytest.approx(3)}
    assert found.curvature == pytest.approx(0.08, abs=1e-6)


def test_the_interval_and_the_cost_grow_with_the_distance() -> None:
    rule = rule_of(drifting(noise=0.004))
    found = [predict_at(rule, {"width": width}) for width in (512, 1024, 4096, 32768)]
    assert widths_of(found) == sorted(widths_of(found))
    costs = [one.regret or 0.0 for one in found]
    assert costs == sorted(costs)
    for one in found:
        assert one.regret == pytest.approx(0.5 * (one.curvature or 0.0) * one.sd**2)


def test_what_the_rule_missed_where_it_was_held_out_widens_the_interval() -> None:
    frame = drifting()
    frame.loc[frame["width"] == 512, "learning_rate"] *= 0.5
    found = predict_at(rule_of(frame), {"width": 4096})
    # It missed by an octave at one doubling, so it may miss by three at three.
    assert found.high - found.log2 >= 3


def test_a_form_that_the_check_does_not_exclude_widens_the_interval() -> None:
    rule = rule_of(trials(slope=0.0, scales=WIDTHS, noise=0.004))
    assert rule.model == "constant"
    found = predict_at(rule, {"width": 8192})
    power = rule.candidates["power"]
    assert power.contender
    assert power.fit is not None
    alone = rule.fit.place(np.log2([8192.0]))
    assert found.high - found.low > alone.high - alone.low
    assert set(found.others) >= {"power"}


def test_curvature_follows_its_own_trend() -> None:
    frame = drifting()
    best = -5 - 0.4 * np.log2(frame["width"] / 32)
    away = np.log2(frame["learning_rate"]) - best
    frame["loss"] = 3 + 0.04 * (frame["width"] / 32) ** 0.5 * away**2
    found = predict_at(rule_of(frame), {"width": 2048})
    assert found.curvature == pytest.approx(0.08 * 8, rel=1e-3)


def test_assumptions_say_how_far_and_how_well_checked() -> None:
    said = " ".join(predict_at(rule_of(drifting(noise=0.003)), {"width": 8192}).assumptions)
    assert "stays a power law in width (checked at the largest width" in said
    assert "16 times the largest that was measured, far beyond it" in said
    within = " ".join(predict_at(rule_of(drifting()), {"width": 100}).assumptions)
    assert "nothing is extrapolated" in within
    below = " ".join(predict_at(rule_of(drifting()), {"width": 16}).assumptions)
    assert "0.5 times the smallest that was measured" in below


def test_a_target_without_a_scale_or_with_another_is_refused() -> None:
    rule = rule_of(drifting())
    with pytest.raises(AnalysisRefusal, match="needs width at the target"):
        predict_at(rule, {})
    with pytest.raises(AnalysisRefusal, match="no term for depth"):
        predict_at(rule, {"width": 64, "depth": 3})
    with pytest.raises(AnalysisRefusal, match="width = -1"):
        predict_at(rule, {"width": -1})


@pytest.mark.slow
@pytest.mark.parametrize(
    "best",
    [
        lambda width: -5 - 0.4 * np.log2(width / 32),
        lambda width: -5.0,
        lambda width: -6 + 40 * width**-0.8,
    ],
    ids=["power", "constant", "offset"],
)
def test_intervals_at_eight_times_the_largest_hold_the_planted_optimum(
    best: Callable[[float], float],
) -> None:
    count = draws(30, 60)
    hits = 0
    for draw in range(count):
        frame = following(best, noise=0.008, draw=draw)
        found = predict_at(rule_of(frame, resamples=150), {"width": 4096})
        hits += found.low <= best(4096) <= found.high
    # Over 200 draws the rates are 0.95 (power), 0.995 (constant) and 0.97 (offset).
    assert hits / count >= 0.9
