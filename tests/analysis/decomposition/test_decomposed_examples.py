"""Easy and hard examples by their directions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from sweeper.analysis.decomposition.examples import (
    lowest,
    mean_index,
    octave_middles,
    rank_correlation,
    slope,
    subsets,
)


def test_an_octave_counts_as_its_middle() -> None:
    ends = [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16)]
    assert octave_middles(5).tolist() == [(low + high) / 2 for low, high in ends]


def test_the_index_weighs_directions_by_the_size_of_their_change() -> None:
    psi = np.array([[-1.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    assert mean_index(psi).tolist() == [1.0, 1.5, 3.5, 0.0]


def test_subsets_are_the_ends_of_the_order_by_index() -> None:
    draws = np.random.default_rng(0)
    psi = draws.normal(size=(40, 5))
    found = subsets(psi)
    assert (len(found.easy), len(found.hard)) == (10, 2)
    rest = np.setdiff1d(np.arange(40), found.easy)
    assert found.index[found.easy].max() <= found.index[rest].min()
    assert found.index[found.hard].min() >= np.delete(found.index, found.hard).max()


def test_the_minimum_of_a_parabola_is_found_between_its_points() -> None:
    x = np.array([-5.0, -4.0, -3.0, -1.0])
    found = lowest(x, 0.2 * (x + 3.7) ** 2 + 1)
    assert (found.log2, found.loss) == (pytest.approx(-3.7), pytest.approx(1.0))
    assert not found.edge
    assert lowest(x, -x).edge
    assert lowest(x, x).log2 == -5.0


def test_the_slope_is_octaves_per_doubling() -> None:
    assert slope([32, 64, 128], [-3.0, -3.5, -4.0]) == pytest.approx(-0.5)
    assert math.isnan(slope([32], [-3.0]))


def test_rank_correlations_are_those_of_scipy() -> None:
    draws = np.random.default_rng(2)
    x = draws.integers(0, 6, 50).astype(float)
    y = x + draws.normal(size=50)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert math.isnan(rank_correlation(x, np.ones(50)))
