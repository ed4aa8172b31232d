"""Which numbers are one but for rounding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sweeper.rounding import merged, merged_words

RATE = 0.0025118864315095794


@pytest.mark.parametrize("other", [float(np.float32(RATE)), 0.0025118864, 0.002511886, 0.002512])
def test_another_spelling_of_a_number_is_that_number(other: float) -> None:
    found = merged([2 * RATE, other, RATE])
    assert set(found) | set(found.values()) == {RATE, other}
    assert abs(min(found.values()) / RATE - 1) < 1e-6
    assert "1 value a rounding apart from another" in merged_words(found)


def test_the_digits_of_float32_give_way() -> None:
    assert merged([0.01, float(np.float32(0.01))]) == {float(np.float32(0.01)): 0.01}
    assert merged([0.05, 0.05 + 4e-17 * 2]) in ({}, {0.05 + 4e-17 * 2: 0.05})


def test_the_order_of_the_values_does_not_matter() -> None:
    values = [RATE, float(np.float32(RATE)), 0.0025118864, 0.002512]
    assert len({str(merged(order)) for order in itertools.permutations(values)}) == 1


@pytest.mark.parametrize(
    "values",
    [
        [64.0, 128.0, 256.0],
        [1000.0, 1001.0, 1002.0],
        [0.9, 0.99, 0.999, 0.9999, 0.99999],
        [2.0**-k for k in range(20)],
        [10.0 ** (k / 64) for k in range(-256, 0)],
    ],
)
def test_values_of_a_grid_stay_apart(values: list[float]) -> None:
    assert merged(values) == {}


def test_whole_numbers_are_one_only_where_they_may() -> None:
    assert merged([12_580_000, 12_582_912]) == {12_580_000: 12_582_912}
    assert merged([12_580_000, 12_582_912], whole=False) == {}
