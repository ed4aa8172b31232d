"""Forecasts: closed forms, bounds, and what groups of a study learn from each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from sweeper.analysis.optimum.sites import survey
from sweeper.analysis.scaling.drift import measure_drift
from sweeper.analysis.scaling.forecast import (
    BENDS,
    FORMS,
    SCATTERS,
    SLOPES,
    START_SD,
    Forecast,
    Forecaster,
    Seen,
    together,
)
from sweeper.analysis.scaling.prediction import Prediction, predict_at
from sweeper.analysis.scaling.rule import fit_rule, learn_together

CASES = Path(__file__).resolve().parents[2] / "fixtures/cases"


def seen(log2: list[float], sd: float = 0.1, open_above: int | None = None) -> Seen:
    """Returns optima an octave of scale apart; from one of them on the optimum is only above."""
    low = np.array(log2)
    high = low.copy()
    if open_above is not None:
        high[open_above] = np.inf
    u = np.arange(7.0, 7.0 + len(log2))[:, None]
    return Seen(u=u, low=low, high=high, sd=np.full(len(log2), sd))


def test_the_weight_of_a_power_law_is_its_evidence() -> None:
    y = [-5.0, -5.3, -5.9]
    found = Forecaster(seen(y), ("constant", "power")).weights
    v = np.array([-1.0, 0.0, 1.0])
    evidence = {"constant": 0.0, "power": 0.0}
    for scatter, share in SCATTERS.items():
        alone = START_SD**2 * np.ones((3, 3)) + (0.1**2 + scatter**2) * np.eye(3)
        for (mean, sd), weight in SLOPES.items():
            moving = alone + sd**2 * np.outer(v, v)
            for name, about, cov in (
                ("constant", 0 * v, alone),
                ("power", mean * v, moving),
            ):
                chance = multivariate_normal(np.mean(y) + about, cov).pdf(y)
                evidence[name] += share * weight * FORMS[name] * chance
    expected = evidence["power"] / sum(evidence.values())
    assert found["power"] == pytest.approx(expected, rel=1e-3)


def test_one_form_and_much_data_foretell_what_least_squares_say() -> None:
    y = (-5 - 0.3 * np.arange(8.0)).tolist()
    ahead = Forecaster(seen(y, sd=0.01), ("power",)).at(np.array([17.0]))
    assert ahead.log2 == pytest.approx(-8, abs=0.01)
    assert ahead.quantile(0.5) == pytest.approx(-8, abs=0.01)


def test_a_quantile_of_a_mixture_is_where_its_share_lies_below() -> None:
    mixed = Forecast(
        weights=np.array([0.3, 0.7]),
        means=np.array([-1.0, 2.0]),
        sds=np.array([0.5, 1.0]),
        forms=("constant", "power"),
    )
    place = mixed.quantile(0.1)
    below = 0.3 * norm.cdf(place, -1, 0.5) + 0.7 * norm.cdf(place, 2, 1)
    assert below == pytest.approx(0.1, abs=1e-9)
    assert mixed.log2 == pytest.approx(1.1)
    assert mixed.sd**2 == pytest.approx(0.3 * (0.25 + 2.1**2) + 0.7 * (1 + 0.9**2))


def test_a_bound_moves_a_forecast_to_its_side() -> None:
    free = Forecaster(seen([-5.0, -5.1]), tuple(FORMS)).at(np.array([10.0]))
    # The third optimum lies at or above -4.5, which the first two do not suggest.
    bound = Forecaster(seen([-5.0, -5.1, -4.5], open_above=2), tuple(FORMS)).at(np.array([10.0]))
    assert bound.log2 > free.log2 + 0.2
    assert bound.weights.sum() == pytest.approx(1)


def test_groups_that_lie_on_lines_narrow_each_others_forecasts() -> None:
    straight = Forecaster(seen([-5 - 0.4 * i for i in range(6)], sd=0.01), tuple(FORMS))
    short = Forecaster(seen([-5.0, -5.4], sd=0.01), tuple(FORMS))
    alone = short.at(np.array([10.0]))
    shared = together([short, straight])[0].at(np.array([10.0]))
    assert shared.sd < alone.sd
    (same,) = together([short])
    assert same.at(np.array([10.0])).log2 == pytest.approx(alone.log2)


def test_priors_add_up_to_one() -> None:
    for prior in (SCATTERS, SLOPES, BENDS, FORMS):
        assert sum(prior.values()) == pytest.approx(1)


def case(name: str) -> pd.DataFrame:
    frame = pd.read_csv(CASES / f"{name}.csv").assign(outcome="completed")
    return frame.assign(seed=frame.get("seed", 0), variant=frame.get("variant", ""))


def foretold(frame: pd.DataFrame, width: float) -> list[Prediction]:
    """Returns the predictions of all variants of a table."""
    rules = []
    for _, part in frame.groupby("variant"):
        found = survey(part, scales=("width",), hyperparameter="lr", resamples=300)
        rules.append(fit_rule(found.site_optima, hyperparameter="lr", scales=("width",)))
    return [predict_at(rule, {"width": width}) for rule in learn_together(rules)]


def test_a_bending_drift_is_foretold_as_it_bends() -> None:
    (found,) = foretold(case("bending_drift"), 8192)
    assert found.model == "bent"
    assert found.weights["bent"] > 0.8
    assert found.low <= -12.05 <= found.high
    assert found.log2 == pytest.approx(-12.05, abs=0.3)


def test_a_bending_drift_is_said_to_bend_rather_than_to_scatter() -> None:
    found = survey(case("bending_drift"), scales=("width",), hyperparameter="lr", resamples=300)
    optima = [
        # A drift needs the scale itself, where a survey numbers its sites.
        optimum.__class__(**{**vars(optimum), "scale": site.scales["width"]})
        for site, optimum in zip(found.sites, found.optima, strict=True)
    ]
    drift = measure_drift(optima)
    assert drift.bends
    assert "bends" in drift.flags
    # What is left is a tenth of what a straight line would call scatter.
    assert drift.scatter < 0.08
    assert drift.bend is not None
    assert drift.bend.low <= -0.25 <= drift.bend.high < 0
    assert drift.bend_words.startswith("bends: -0.2")
    assert drift.bend.log2_at(2048) == pytest.approx(-9.66, abs=0.1)


def test_two_scales_are_foretold_within_three_octaves() -> None:
    found = foretold(case("two_scales"), 2048)
    # The planted slopes are about -0.5: the bare power law gave intervals of 6 to 22 octaves.
    assert len(found) > 1
    assert all(1 < one.high - one.low < 3 for one in found)
    assert all(one.regret is not None and one.regret < 0.05 for one in found)
