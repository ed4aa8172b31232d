"""Gaps and advice of studies in the store along other scales, and at marks inside the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from made_studies import Made

from sweeper.analysis.transfer.advice import Advice
from sweeper.answers.advice import Constants, budget_advice
from sweeper.answers.transfer import Transfer, transfers_of
from sweeper.errors import RequestError, UnknownNameError
from sweeper.store.store import Store

RATES = [2.0**k for k in range(-9, -1)]
WIDTHS = [32, 64, 128, 256]
Config = Mapping[str, Any]


def loss_at(config: Config, seed: int, share: float) -> float:
    """Loss 2 + 10 / width, higher by 1 / share - 1 before the end; the optimum, -5.5 plus 32 /
    width octaves, is an octave higher at a quarter of the run."""
    best = -5.5 + 32 / config["width"] - 0.5 * math.log2(share)
    away = math.log2(config["learning_rate"]) - best
    ripple = 1e-5 * math.sin(11 * away + config["width"] + 5 * seed)
    return float(1 + 1 / share + 10 / config["width"] + 0.05 * away**2 + ripple)


def marks(config: Config, seed: int) -> Sequence[tuple[int, int, float]]:
    return [(25 * i, 250 * i, loss_at(config, seed, i / 4)) for i in range(1, 5)]


@pytest.fixture
def made(store: Store) -> Store:
    """Returns a store with a study whose parameters are 12 width^2."""
    Made(
        axes={"width": WIDTHS, "learning_rate": RATES},
        loss=lambda config, seed: loss_at(config, seed, 1.0),
        marks=marks,
        derived=lambda config: {
            "params": 12 * config["width"] ** 2,
            "tokens": 1000,
            "flops": 72e3 * config["width"] ** 2,
        },
    ).save(store)
    return store


def only(store: Store, **options: Any) -> Transfer:
    (statement,) = transfers_of(store, "made", **options)
    (group,) = statement.groups
    assert isinstance(group, Transfer)
    return group


def test_along_parameters_the_gaps_stay_and_the_rates_halve(made: Store) -> None:
    width, params = only(made), only(made, scale="params")
    assert [row.scale for row in params.rows] == [12 * w**2 for w in WIDTHS[:3]]
    for one, other in zip(width.rows, params.rows, strict=True):
        assert other.a.value == pytest.approx(one.a.value)
        assert other.b.value == pytest.approx(one.b.value)
    assert width.rates["a"].value == pytest.approx(1.0, abs=0.02)
    assert params.rates["a"].value == pytest.approx(0.5, abs=0.01)
    assert params.rates["b"].value == pytest.approx(width.rates["b"].value / 2, abs=0.02)


def test_a_horizon_has_gaps_of_its_own(made: Store) -> None:
    (statement,) = transfers_of(made, "made", horizon="0.25")
    (group,) = statement.groups
    assert isinstance(group, Transfer)
    assert group.settings == {"horizon_share": 0.25}
    assert float(group.reference.log2[0]) == pytest.approx(-4.5 + 32 / 256, abs=0.03)
    assert float(group.reference.loss[0]) == pytest.approx(5 + 10 / 256, abs=0.001)
    assert any("not the end of a run" in note for note in statement.notes)
    (every,) = transfers_of(made, "made", horizon="all")
    assert len(every.groups) == 4


def advice(store: Store, target: float, **options: Any) -> Advice:
    """Returns the advice for a hundred runs of a model of width 1024."""
    budget = 100 * 72e3 * 1024**2
    found = budget_advice(
        store, "made", target=target, budget=budget, given=Constants(), **options
    )
    (each,) = found.groups
    assert each.advice is not None, each.refused
    return each.advice


def test_advice_along_parameters_is_that_along_the_width(made: Store) -> None:
    width, params = advice(made, 1024), advice(made, 12 * 1024**2, scale="params")
    assert width.best.strategy == params.best.strategy
    assert params.best.scale == 12 * 1024**2
    assert params.best.loss == pytest.approx(width.best.loss, abs=2e-3)


def test_advice_at_a_horizon_pays_for_the_tokens_until_there(made: Store) -> None:
    whole, quarter = advice(made, 1024), advice(made, 1024, horizon="0.25")
    direct = [
        next(option for option in each.options if option.strategy == "untuned")
        for each in (whole, quarter)
    ]
    assert direct[1].flops == pytest.approx(direct[0].flops / 4)


def test_unknown_scales_and_horizons_are_refused(made: Store) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'width'"):
        transfers_of(made, "made", scale="wdith")
    with pytest.raises(RequestError, match="a share of the run"):
        budget_advice(made, "made", horizon="soon", target=1e3, budget=1e18, given=Constants())
