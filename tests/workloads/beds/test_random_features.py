"""Ridge regression on random features: the closed form against known numbers and against models
that are drawn and fitted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from workloads.beds.random_features import (
    RANDOM_FEATURES,
    hermite,
    limit_optimum,
    limit_risk,
    sampled_risk,
)


def test_the_best_ridge_of_infinite_width_is_that_of_the_formula() -> None:
    """mu1^2 (s^2 + mu2*^2) / mu1*^2 - mu2^2, with s the noise of the labels."""
    u, target = hermite()
    ridge, risk = limit_optimum(math.inf)
    assert ridge == pytest.approx(u * (1 / 16 + 1 - target) / target - (1 - u), rel=1e-6)
    assert (ridge, risk) == pytest.approx((0.347871, 0.421088), abs=1e-6)


def test_the_risk_of_infinite_width_is_that_of_the_formula() -> None:
    u, target = hermite()
    for t in (1.5, 4.0, 9.0):
        ridge = u * 4 / (t - 1) - u / t - (1 - u)
        risk = 4 * ((1 - target + 1 / 16) * t**2 + target) / (4 * t**2 - (t - 1) ** 2)
        assert limit_risk(ridge, math.inf, 4.0) == pytest.approx(risk, rel=1e-10)


@pytest.mark.parametrize(
    ("psi", "ridge", "a", "c"),
    [
        (4, 0.37921, 3.168e-2, 6.40e-5),
        (32, 0.36653, 3.58e-3, 2.29e-5),
        (256, 0.35093, 4.47e-4, 6.23e-7),
    ],
)
def test_gaps_at_finite_widths_are_the_known_ones(
    psi: float, ridge: float, a: float, c: float
) -> None:
    _, lowest = limit_optimum(math.inf)
    best, risk = limit_optimum(psi)
    assert best == pytest.approx(ridge, abs=6e-6)
    assert risk - lowest == pytest.approx(a, rel=2e-3)
    assert limit_risk(best, math.inf, 4.0) - lowest == pytest.approx(c, rel=2e-3)


def test_gaps_close_with_the_known_constants() -> None:
    psi = 2.0**14
    settled, lowest = limit_optimum(math.inf)
    best, risk = limit_optimum(psi)
    assert (risk - lowest) * psi == pytest.approx(0.1145, rel=1e-3)
    assert (best - settled) * psi == pytest.approx(0.818, rel=3e-3)


@pytest.mark.parametrize("ridge", [0.05, 0.35, 2.0])
def test_models_that_are_drawn_and_fitted_have_the_risk_of_the_limit(ridge: float) -> None:
    config: dict[str, Any] = {"width": 600, "dim": 150, "samples": 600, "noise": 0.25}
    config |= {"ridge": ridge, "held_out": 3000}
    risks = [sampled_risk(config, seed) for seed in range(8)]
    error = np.std(risks, ddof=1) / math.sqrt(len(risks))
    assert abs(np.mean(risks) - limit_risk(ridge, 4.0, 4.0)) < 4 * error + 0.005


def test_widths_of_one_seed_share_their_examples_and_no_two_seeds_do() -> None:
    def risk(width: int, seed: int) -> float:
        settings = {"width": width, "ridge": 0.3, "form": "sampled", "dim": 20, "samples": 80}
        return RANDOM_FEATURES.loss_of(RANDOM_FEATURES.resolve(settings).config, seed)

    assert risk(40, 0) == risk(40, 0) != risk(40, 1)
    near, far = abs(risk(4000, 0) - risk(8000, 0)), abs(risk(4000, 0) - risk(4000, 1))
    assert near < far / 3
