"""Predictions: planted optima lie in their intervals, which grow with the distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from long_form import draws
from planted import trials

from sweeper.analysis.optimum.sites import survey
from sweeper.analysis.scaling.prediction import Prediction, curvature_at, predict_at
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


def test_clean_data_predict_the_planted_optimum_closely() -> None:
    found = predict_at(rule_of(drifting()), {"width": 4096})
    assert found.log2 == pytest.approx(-5 - 0.4 * 7, abs=0.01)
    assert found.factor == pytest.approx(8)
    assert found.doublings == {"width": pytest.approx(3)}
    assert found.curvature == pytest.approx(0.08, rel=0.1)


def test_the_interval_and_the_cost_grow_with_the_distance() -> None:
    rule = rule_of(drifting(noise=0.004))
    found = [predict_at(rule, {"width": width}) for width in (512, 1024, 4096, 32768)]
    assert widths_of(found) == sorted(widths_of(found))
    costs = [one.regret or 0.0 for one in found]
    assert costs == sorted(costs)
    for one in found:
        assert one.regret == pytest.approx(0.5 * (one.curvature or 0.0) * one.sd**2)
        assert one.regret_high > one.regret


def test_a_scale_that_lies_off_the_others_widens_the_interval() -> None:
    frame = drifting()
    frame.loc[frame["width"] == 512, "learning_rate"] *= 0.5
    found = predict_at(rule_of(frame), {"width": 4096})
    # One bend of five clean optima, or a scatter: an octave off at one doubling.
    assert found.high - found.low >= 3


def test_weights_add_up_to_one_and_the_prediction_lies_among_the_forms() -> None:
    rule = rule_of(drifting(slope=-0.1, noise=0.02))
    found = predict_at(rule, {"width": 4096})
    assert sum(found.weights.values()) == pytest.approx(1)
    assert sum(one.weight for one in rule.candidates.values()) == pytest.approx(1)
    said = rule.forecaster.at(np.log2([4096.0])).by_form()
    assert sum(found.weights[name] * said[name] for name in said) == pytest.approx(
        found.log2, abs=1e-3
    )


def test_a_constant_has_no_weight_where_the_slope_excludes_zero() -> None:
    for draw in range(3):
        rule = rule_of(drifting(slope=-0.1, noise=0.006, draw=draw))
        assert rule.terms[0].high < 0
        assert rule.candidates["constant"].weight == 0


def test_a_bound_at_the_largest_scale_excludes_a_constant_beyond_it() -> None:
    frame = trials(slope=0.0, scales=WIDTHS, noise=0.004)
    # At 512 the loss falls on to the lower edge of the grid, an octave below the others' optimum.
    last = frame["width"] == 512
    frame.loc[last, "learning_rate"] *= 2.0**-5
    frame = frame[~last | (frame["learning_rate"] >= 2.0**-9.5)]
    rule = rule_of(frame)
    assert "censored" in rule.flags
    assert rule.candidates["constant"].weight == 0
    assert predict_at(rule, {"width": 1024}).log2 < -5.5


def test_what_a_prediction_costs_at_most_is_exceeded_in_one_case_of_twenty() -> None:
    rule, rng = rule_of(drifting(noise=0.01)), np.random.default_rng(1)
    u = np.array([12.0])
    ahead, curved = rule.forecaster.at(u), curvature_at(rule, u)
    assert curved is not None
    part = rng.choice(len(ahead.weights), size=200_000, p=ahead.weights)
    places = ahead.means[part] + ahead.sds[part] * rng.standard_normal(len(part))
    curvatures = np.exp2(curved.log2 + curved.sd * rng.standard_normal(len(part)))
    costs = 0.5 * curvatures * (ahead.log2 - places) ** 2
    found = predict_at(rule, {"width": 4096})
    assert found.regret == pytest.approx(costs.mean(), rel=0.03)
    assert found.regret_high == pytest.approx(np.quantile(costs, 0.95), rel=0.03)


def test_curvature_follows_its_own_trend() -> None:
    frame = drifting()
    best = -5 - 0.4 * np.log2(frame["width"] / 32)
    away = np.log2(frame["learning_rate"]) - best
    frame["loss"] = 3 + 0.04 * (frame["width"] / 32) ** 0.25 * away**2
    found = predict_at(rule_of(frame), {"width": 2048})
    assert found.curvature == pytest.approx(0.08 * 8**0.5, rel=0.2)


def test_assumptions_say_how_far_and_how_well_checked() -> None:
    said = " ".join(predict_at(rule_of(drifting(noise=0.003)), {"width": 8192}).assumptions)
    assert "stays a power law in width (" in said
    assert "checked at the largest width: 1 of 1 inside the interval" in said
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
    count = draws(15, 60)
    hits = 0
    for draw in range(count):
        frame = following(best, noise=0.008, draw=draw)
        found = predict_at(rule_of(frame, resamples=150), {"width": 4096})
        hits += found.low <= best(4096) <= found.high
    # Over 200 draws the rates are 0.95 (power), 0.995 (constant) and 0.97 (offset).
    assert hits / count >= 0.9
