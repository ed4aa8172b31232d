"""Profiles over the parts of an effective hyperparameter."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from sweeper.answers.axes import profiled, without_rounding

PLACE = {"place": ["variant", "width"], "axes": ["product"], "parts": ["rate", "decay"]}


def grid(**changes: object) -> pd.DataFrame:
    """Returns a grid of two factors; the loss grows with the distance of their ratio from 1."""
    rows = [
        {
            "variant": "only",
            "width": width,
            "rate": 2.0**a,
            "decay": 2.0**b,
            "product": 2.0 ** (a + b),
            "seed": seed,
            "outcome": "completed",
            "loss": 1 + 0.1 * (a - b) ** 2 + 0.001 * seed,
        }
        for width, a, b, seed in itertools.product((32, 64), (0, 1, 2), (0, 1, 2), (0, 1))
    ]
    return pd.DataFrame(rows).assign(**changes)


def test_the_best_combination_of_every_product_is_kept_with_all_its_seeds() -> None:
    best = profiled(grid(), **PLACE)
    assert len(best) == 2 * 5 * 2
    assert (best["rate"] / best["decay"]).between(0.5, 2).all()
    even = best[np.log2(best["product"]) % 2 == 0]
    assert (even["rate"] == even["decay"]).all()


def test_equal_losses_go_to_the_smallest_parts() -> None:
    best = profiled(grid(loss=1.0), **PLACE)
    first = best.groupby("product")["rate"].unique().map(list).to_dict()
    assert first == {1.0: [1.0], 2.0: [1.0], 4.0: [1.0], 8.0: [2.0], 16.0: [4.0]}


def test_a_diverged_seed_makes_a_combination_the_worst() -> None:
    table = grid()
    bad = (table["rate"] == 2) & (table["decay"] == 2) & (table["seed"] == 0)
    table.loc[bad, "outcome"] = "diverged"
    table.loc[bad, "loss"] = np.inf
    best = profiled(table, **PLACE)
    assert set(best.loc[best["product"] == 4, "rate"]) == {1.0}


def test_a_combination_without_a_result_never_wins_over_one_with() -> None:
    table = grid()
    table.loc[table["rate"] == table["decay"], ["outcome", "loss"]] = ["missing", np.nan]
    best = profiled(table, **PLACE)
    assert (best.loc[best["product"] == 4, "outcome"] == "completed").all()
    assert (best.loc[best["product"] == 1, "outcome"] == "missing").all()


def test_products_that_differ_by_rounding_are_one() -> None:
    table = grid()
    table["product"] = table["product"] * (1 + 1e-13 * table["rate"])
    assert len(profiled(table, **PLACE)) == 2 * 5 * 2


def test_one_combination_a_place_leaves_the_table_as_it_is() -> None:
    table = grid()
    table = table[table["decay"] == 1]
    assert profiled(table, **PLACE) is table


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffled_rows_give_the_same_trials(seed: int) -> None:
    table = grid()
    shuffled = table.sample(frac=1, random_state=seed)
    assert profiled(shuffled, **PLACE).sort_index().equals(profiled(table, **PLACE))


def test_products_that_rounding_sets_apart_are_one() -> None:
    exact = np.array([2.0**-k for k in range(4, 10)])
    written = np.array([float(f"{value:.3g}") for value in exact])
    products = np.multiply.outer(written, written).ravel()
    assert len(np.unique(products)) > 11
    merged = without_rounding(products)
    assert len(np.unique(merged)) == 11
    assert np.log2(merged) == pytest.approx(
        np.log2(np.multiply.outer(exact, exact).ravel()), abs=0.02
    )
    order = np.random.default_rng(0).permutation(len(products))
    assert (without_rounding(products[order]) == merged[order]).all()


def test_exact_values_and_drawn_ones_stay_as_they_are() -> None:
    grid = np.array([0.0, 1.0, 1.0, 2.0, 3.0, np.inf])
    assert (without_rounding(grid) == grid).all()
    drawn = 2.0 ** np.random.default_rng(0).uniform(-8, -4, 2000)
    assert (without_rounding(drawn) == drawn).all()
    assert without_rounding(np.array([0.0])).tolist() == [0.0]
