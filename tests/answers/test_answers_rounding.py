"""Values a rounding apart are one point of a study, with a note."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_studies import Made

from sweeper.answers.drift import drift_statement
from sweeper.answers.view import statements_of
from sweeper.errors import AnalysisRefusal
from sweeper.store.store import Store

RATES = [10.0 ** (k / 5 + 0.05) for k in range(-13, -5)]


def loss(config: Mapping[str, Any], seed: int) -> float:
    """By the rate of the grid that is meant; a twin of another seed has a missing result."""
    rate = config["learning_rate"]
    exact = min(RATES, key=lambda each: abs(each - rate))
    if (rate == exact) is (seed == 1):
        return math.nan
    return 2 + 10 / config["width"] + 0.05 * (math.log2(exact) + 5) ** 2 + 0.001 * seed


@pytest.mark.parametrize("digits", ["float32", 8, 4])
def test_seeds_under_two_spellings_of_a_rate_are_seeds_of_one_point(
    store: Store, digits: str | int
) -> None:
    twins = [
        float(np.float32(r)) if digits == "float32" else float(f"{r:.{digits}g}") for r in RATES
    ]
    axes = {"width": [32, 64, 128], "learning_rate": [*RATES, *twins]}
    Made(axes=axes, loss=loss).save(store)

    (statement,) = statements_of(store, "made")

    (group,) = statement.groups
    assert group.drift is not None and abs(group.drift.slope) < 0.01
    assert group.evidence.seeds == (2, 2) and group.evidence.points == 3 * len(RATES)
    assert any("learning_rate" in note and "a rounding apart" in note for note in statement.notes)


def test_of_two_trials_of_one_point_and_seed_the_first_counts(store: Store) -> None:
    twins = [float(np.float32(rate)) for rate in RATES]
    axes = {"width": [32, 64], "learning_rate": [*RATES, *twins]}
    Made(axes=axes, loss=lambda c, s: loss(c, int(c["learning_rate"] in RATES) ^ 1)).save(store)

    (statement,) = statements_of(store, "made")

    assert statement.groups[0].evidence.trials == 2 * 2 * len(RATES)
    assert any("left out" in note for note in statement.notes)


@pytest.mark.parametrize("apart", [1e-9, 1e-8, 1e-7, 1e-5, 1e-3])
def test_no_distance_of_two_points_breaks_a_fit(apart: float) -> None:
    rates = [0.01, 0.02, 0.04, 0.08]
    rows = [
        {"variant": "a", "width": 64, "lr": lr, "seed": 0, "outcome": "completed"}
        | {"loss": 3 + (math.log2(lr) + 5) ** 2}
        for lr in (*rates, rates[1] * (1 + apart))
    ]
    try:
        drift_statement(pd.DataFrame(rows), study="s", scale="width", hyperparameter="lr")
    except AnalysisRefusal as refusal:
        assert "singular" not in str(refusal).lower()
