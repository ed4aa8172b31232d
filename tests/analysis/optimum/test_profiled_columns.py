"""Profiles: a hyperparameter with others tuned at every value of it."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from sweeper.analysis import locate, measured_curves, profiled_over
from sweeper.analysis.optimum.profile import with_others

AXES = {"scales": ["width"], "hyperparameter": "rate"}


def grid(*, tilt: float = -1.0, noise: float = 0.0, decays: int = 8) -> pd.DataFrame:
    """Returns a basin whose profile over the decay is 3 + 0.04 (log2 rate + 4.3)^2; the best
    decay moves by ``tilt`` octaves with each octave of the rate, from 2^-3.4 at the minimum."""
    rng = np.random.default_rng(0)
    rows = []
    for width, a, b, seed in itertools.product((64, 128), range(-8, 0), range(decays), (0, 1, 2)):
        t, decay = a + 4.3, b - 7
        across = decay + 3.4 - tilt * t
        loss = 3 + 0.04 * t**2 + 0.03 * across**2 + 0.01 * seed + noise * rng.standard_normal()
        rows.append(
            {
                "width": width,
                "rate": 2.0**a,
                "decay": 2.0**decay,
                "seed": seed,
                "loss": loss,
                "outcome": "completed",
            }
        )
    return pd.DataFrame(rows)


def set_cell(table: pd.DataFrame, a: int, b: int, outcome: str) -> pd.DataFrame:
    """Returns the table with one cell of both widths that has no loss."""
    cell = (table["rate"] == 2.0**a) & (table["decay"] == 2.0**b)
    return table.assign(
        outcome=table["outcome"].mask(cell, outcome), loss=table["loss"].mask(cell, np.nan)
    )


def test_a_parabola_across_gives_its_minimum_between_the_points_for_every_seed() -> None:
    profile = profiled_over(grid(), ["decay"], **AXES)
    inside = profile[profile["rate"].between(2.0**-6, 2.0**-2)]
    t = np.log2(inside["rate"]) + 4.3
    expected = 3 + 0.04 * t**2 + 0.01 * inside["seed"]
    assert inside["loss"].tolist() == pytest.approx(expected.tolist())
    assert inside["best_decay"].tolist() == pytest.approx((-3.4 - t).tolist())
    assert (inside["at_edge"] == "").all()


def test_nothing_to_tune_leaves_the_trials_as_they_are() -> None:
    table = grid()
    assert profiled_over(table, [], **AXES) is table


def test_what_does_not_apply_to_a_group_is_not_tuned_in_it() -> None:
    table = grid(decays=1).assign(decay=np.nan)
    assert profiled_over(table, ["decay"], **AXES) is table
    first = locate(measured_curves(table, scale="width", hyperparameter="rate"), resamples=200)
    assert with_others(first.optima[0], table, ["decay"], "rate") is first.optima[0]


def test_the_optimum_of_the_profile_says_where_the_other_one_is() -> None:
    profile = profiled_over(grid(noise=0.001), ["decay"], **AXES)
    curves = measured_curves(profile, scale="width", hyperparameter="rate")
    first = locate(curves, resamples=200).optima[0]
    found = with_others(first, profile[profile["width"] == 64], ["decay"], "rate")
    assert found.log2 == pytest.approx(-4.3, abs=0.05)
    assert np.log2(found.tuned["decay"]) == pytest.approx(-3.4, abs=0.1)
    assert "conditional" not in found.flags


def test_an_optimum_at_an_edge_of_the_other_one_is_conditional() -> None:
    profile = profiled_over(grid(noise=0.001, decays=4), ["decay"], **AXES)
    curves = measured_curves(profile, scale="width", hyperparameter="rate")
    first = locate(curves, resamples=200).optima[0]
    found = with_others(first, profile[profile["width"] == 64], ["decay"], "rate")
    assert "conditional" in found.flags


def test_a_column_whose_every_cell_diverged_has_diverged() -> None:
    table = grid()
    for b in range(-7, 1):
        table = set_cell(table, -1, b, "diverged")
    profile = profiled_over(table, ["decay"], **AXES)
    assert (profile.loc[profile["rate"] == 0.5, "outcome"] == "diverged").all()
    assert (profile.loc[profile["rate"] != 0.5, "outcome"] == "completed").all()


def test_beside_a_divergence_the_lowest_cell_itself_counts() -> None:
    table = set_cell(grid(tilt=0.0), -4, -4, "diverged")
    profile = profiled_over(table, ["decay"], **AXES)
    beside = profile[profile["rate"] == 2.0**-4]
    assert (beside["at_edge"] == "decay").all()
    assert (beside["best_decay"] == -3).all()


def test_a_missing_neighbour_is_a_hole_unless_holes_are_allowed() -> None:
    table = set_cell(grid(tilt=0.0), -4, -4, "missing")
    strict = profiled_over(table, ["decay"], **AXES)
    assert (strict.loc[strict["rate"] == 2.0**-4, "outcome"] == "missing").all()
    lenient = profiled_over(table, ["decay"], **AXES, allow_holes=True)
    assert (lenient["outcome"] == "completed").all()


def test_a_value_of_zero_may_be_the_best_and_is_an_edge() -> None:
    table = grid(tilt=0.0)
    none = table[table["decay"] == 1].assign(decay=0.0, loss=2.0)
    profile = profiled_over(pd.concat([table, none]), ["decay"], **AXES)
    assert (profile["best_decay"] == -np.inf).all()
    assert (profile["at_edge"] == "decay").all()
    assert (profile["loss"] == 2).all()


def test_seeds_that_differ_between_cells_keep_their_scatter() -> None:
    table = grid(tilt=0.0)
    odd = table["decay"] == 2.0**-4
    table.loc[odd, "seed"] += 7
    profile = profiled_over(table, ["decay"], **AXES)
    column = profile[(profile["width"] == 64) & (profile["rate"] == 2.0**-4)]
    assert column["loss"].mean() == pytest.approx(3 + 0.04 * 0.09 + 0.01)
    assert column["loss"].std() == pytest.approx(0.01)


def test_a_third_hyperparameter_is_tuned_as_well() -> None:
    parts = [
        grid(tilt=0.0).assign(
            momentum=2.0**c, loss=lambda f, c=c: f["loss"] + 0.05 * (c - 0.4) ** 2
        )
        for c in (-1, 0, 1, 2)
    ]
    profile = profiled_over(pd.concat(parts), ["decay", "momentum"], **AXES)
    t = np.log2(profile["rate"]) + 4.3
    expected = 3 + 0.04 * t**2 + 0.01 * profile["seed"]
    assert profile["loss"].tolist() == pytest.approx(expected.tolist())
    assert profile["best_momentum"].tolist() == pytest.approx([0.4] * len(profile))


@pytest.mark.parametrize("seed", [0, 1])
def test_shuffled_rows_give_the_same_profile(seed: int) -> None:
    table = grid(noise=0.01)
    shuffled = table.sample(frac=1, random_state=seed)
    expected = profiled_over(table, ["decay"], **AXES)
    assert profiled_over(shuffled, ["decay"], **AXES).equals(expected)
