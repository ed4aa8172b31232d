"""The script that counts how often intervals and verdicts are right."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from long_form import LONG, draws, floor

from benchmarks.coverage import DESIGNS, Design, Row, basin, planted, survey, tables

DRAWS = draws(20, 100)

OTHERS = ["noisy", "seedless", "asymmetric"]
"""Designs that tests/analysis/test_coverage.py draws too, and more often."""

BY_NAME = {design.name: design for design in DESIGNS}


@cache
def rates(name: str) -> Row:
    return survey(BY_NAME[name], estimator="skewed", draws=DRAWS, resamples=150)


def test_planted_optima_are_the_minima_of_the_planted_losses() -> None:
    for design in DESIGNS:
        t = np.linspace(-2, 2, 4001)
        assert t[np.argmin(basin(design, t))] == pytest.approx(0.0, abs=1e-3)
        bend = np.diff(basin(design, np.array([-1e-3, 0.0, 1e-3])), 2)[0] / 1e-6
        assert bend == pytest.approx(0.08, rel=1e-3)


def test_a_draw_is_its_seed() -> None:
    (left, truth), (right, again) = (planted(BY_NAME["holed"], 7) for _ in range(2))
    assert np.array_equal(truth, again)
    assert all(np.array_equal(a.means, b.means) for a, b in zip(left, right, strict=True))
    other, _ = planted(BY_NAME["holed"], 8)
    assert any(len(a.log2) != len(b.log2) for a, b in zip(left, other, strict=True))


def test_optima_move_by_the_planted_slope() -> None:
    _, best = planted(Design(name="any", slope=-0.7), 3)
    assert np.diff(best) == pytest.approx([-0.7] * 3)


def test_holes_and_cliffs_are_planted_where_they_should_be() -> None:
    holed, _ = planted(BY_NAME["holed"], 0)
    assert sum(len(curve.holes) for curve in holed) > 0
    assert all(len(curve.holes) + len(curve.log2) == 9 for curve in holed)
    cliffed, best = planted(BY_NAME["cliffed"], 0)
    for curve, place in zip(cliffed, best.tolist(), strict=True):
        assert np.array_equal(np.isinf(curve.means), curve.log2 - place >= 1.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["censored", "cliffed", "holed", *(OTHERS if LONG else [])])
def test_intervals_hold_the_truth_at_their_rate_and_verdicts_err_rarely(name: str) -> None:
    row = rates(name)
    assert row.refused <= 5
    # docs/statistics.md has the rates from many draws.
    assert row.drift_held > floor(0.95, DRAWS)
    assert row.optimum_held > 0.905
    assert row.optimum_half < 0.25
    # The noise alone gives nearly all of it: the rest is the spread between estimators.
    assert row.optimum_by_noise > 0.88
    assert row.drift_by_noise > 0.85
    assert abs(row.drift_bias) < 0.03
    assert abs(row.optimum_bias) < 0.03
    assert row.holds_wrongly < 0.06
    assert row.broken_wrongly < 0.06


@pytest.mark.slow
def test_a_steep_side_cut_off_by_divergence_biases_optima_and_is_held_all_the_same() -> None:
    row = rates("steep and cliffed")
    assert row.optimum_bias < -0.05
    assert row.optimum_by_noise < 0.8
    assert row.optimum_held > 0.905


def test_clean_optima_and_drifts_are_read_without_bias() -> None:
    row = survey(BY_NAME["clean"], estimator="skewed", draws=20, resamples=100)
    assert row.refused == 0
    assert abs(row.optimum_bias) < 0.002
    assert abs(row.drift_bias) < 0.002
    assert row.optimum_error < 0.01


def test_the_tables_are_markdown_of_one_shape() -> None:
    text = tables([survey(BY_NAME["clean"], estimator="quadratic", draws=2, resamples=100)])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert text.startswith("**quadratic**, 2 draws a design")
    assert [line.count("|") for line in lines] == [13, 13, 13, 7, 7, 7]
