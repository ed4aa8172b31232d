"""Rival claims about one hyperparameter: which is the likelier, and when neither is."""

from __future__ import annotations

import math

import pytest
from planted import trials

from sweeper.analysis import Claim, Drift, Rivals, judge, locate, measure_drift, measured_curves
from sweeper.analysis.scaling.claim import TOLD_APART, weigh


def weighed(*exponents: float, tolerance: float = 0.15, **planted: float) -> tuple[Rivals, Drift]:
    """Returns the rivals on a planted drift, and the drift."""
    curves = measured_curves(
        trials(**{"noise": 0.01, **planted}), scale="width", hyperparameter="learning_rate"
    )
    optima = locate(curves, resamples=200).optima
    drift = measure_drift(optima)
    claims = [Claim(exponent=each, tolerance=tolerance) for each in exponents]
    rivals = weigh([judge(claim, drift, optima) for claim in claims], drift)
    assert rivals is not None
    return rivals, drift


def test_one_claim_has_no_rival() -> None:
    curves = measured_curves(trials(noise=0.01), scale="width", hyperparameter="learning_rate")
    optima = locate(curves, resamples=200).optima
    drift = measure_drift(optima)
    claim = judge(Claim(exponent=0, tolerance=0.15), drift, optima)
    assert weigh([claim], drift) is None


def test_a_true_exponent_far_from_its_rival_is_over_a_thousand_times_as_likely() -> None:
    rivals, _ = weighed(-1.0, 0.0, slope=0.0)
    assert rivals.exponents == (0.0, -1.0)
    assert rivals.said == "exponent 0 is over 1000 times as likely as -1, and -1 is ruled out"


def test_the_ratio_is_that_of_normal_densities_of_the_interval() -> None:
    rivals, drift = weighed(0.0, -0.1, slope=-0.02, noise=0.03)
    logs = []
    for exponent in (0.0, -0.1):
        end = drift.high if exponent > drift.slope else drift.low
        sd = abs(end - drift.slope) / 1.96
        logs.append(-(((exponent - drift.slope) / sd) ** 2) / 2)
    assert sorted(rivals.likelihoods) == pytest.approx(sorted(math.exp(each) for each in logs))
    assert rivals.ratio == pytest.approx(math.exp(abs(logs[0] - logs[1])))


def test_two_exponents_that_both_lie_outside_are_both_ruled_out() -> None:
    rivals, _ = weighed(0.0, -1.0, slope=-0.5, start=-3.5)
    assert rivals.said.startswith("exponents ")
    assert " are both ruled out: measured -0." in rivals.said


def test_noise_that_hides_the_difference_is_said_and_bounded() -> None:
    rivals, _ = weighed(0.0, -0.05, slope=-0.02, noise=0.04)
    assert rivals.ratio < TOLD_APART
    assert "are not told apart" in rivals.said
    assert "95% interval" in rivals.said


def test_three_rivals_name_the_likeliest_and_those_that_are_out() -> None:
    rivals, _ = weighed(0.0, -0.5, -1.0, slope=-0.5, start=-3.5)
    assert rivals.exponents[0] == -0.5
    assert rivals.said.startswith("exponent -0.5 is over 1000 times as likely as ")
    assert rivals.said.endswith("and 0 and -1 are ruled out")
