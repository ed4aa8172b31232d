"""Marks inside runs as horizons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from made_studies import Made

from sweeper.answers.horizons import DECAYING
from sweeper.answers.view import statements_of, view_study
from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.store.store import Store

RATES = [2.0**k for k in range(-9, -1)]
AXES = {"width": [32, 64, 128], "learning_rate": RATES}

Config = Mapping[str, Any]


def loss_at(config: Config, seed: int, share: float) -> float:
    """Loss whose best rate is 2^-5.5 at the end and an octave higher at a quarter of the run."""
    away = math.log2(config["learning_rate"]) + 5.5 + 0.5 * math.log2(share)
    ripple = 1e-4 * math.sin(11 * away + config["width"] + 5 * seed)
    return 2 + 1 / share + 10 / config["width"] + 0.05 * away**2 + ripple


def at_the_end(config: Config, seed: int) -> float:
    return loss_at(config, seed, 1.0)


def quarters(config: Config, seed: int) -> Sequence[tuple[int, int, float]]:
    return [(25 * i, 250 * i, loss_at(config, seed, i / 4)) for i in range(1, 5)]


def study(**changes: Any) -> Made:
    return Made(**({"axes": AXES, "loss": at_the_end, "marks": quarters} | changes))


def test_every_common_mark_is_a_group_with_its_own_optima(store: Store) -> None:
    study().save(store)
    (statement,) = statements_of(store, "made", horizon="all")
    found = {group.settings["horizon_tokens"]: group.optima[0].log2 for group in statement.groups}
    assert list(found) == [250, 500, 750, 1000]
    for tokens, log2 in found.items():
        assert log2 == pytest.approx(-5.5 - 0.5 * math.log2(tokens / 1000), abs=0.05)
    assert DECAYING in statement.notes


def test_the_end_of_the_runs_is_the_answer_without_a_horizon(store: Store) -> None:
    study().save(store)
    (plain,) = statements_of(store, "made")
    (ended,) = statements_of(store, "made", horizon="1.0")
    assert ended.groups[0].optima[0].log2 == plain.groups[0].optima[0].log2
    assert ended.groups[0].settings == {"horizon_share": 1.0}
    assert DECAYING not in ended.notes


@pytest.mark.parametrize(
    ("asked", "column", "place"),
    [
        ("500", "horizon_tokens", 500),
        ("5e2", "horizon_tokens", 500),
        ("0.5", "horizon_share", 0.5),
        ("50%", "horizon_share", 0.5),
        ("505", "horizon_tokens", 505),
    ],
)
def test_one_horizon_is_asked_for_by_tokens_or_by_share(
    store: Store, asked: str, column: str, place: float
) -> None:
    study().save(store)
    view = view_study(store, "made", horizon=asked)
    assert view.horizon == column
    assert set(view.trials[column]) == {place}
    (group,) = view.statement("learning_rate").groups
    assert group.optima[0].log2 == pytest.approx(-5, abs=0.05)
    expected = 505 if asked == "505" else 500
    assert set(view.trials["tokens"]) == {expected}
    assert view.trials["flops"].iloc[0] == pytest.approx(1e6 * expected / 1000)


def test_a_trial_that_diverges_later_counts_until_then(store: Store) -> None:
    def loss(config: Config, seed: int) -> float:
        return math.inf if config["learning_rate"] >= 2**-3 else at_the_end(config, seed)

    def marks(config: Config, seed: int) -> Sequence[tuple[int, int, float]]:
        all_marks = quarters(config, seed)
        return (
            all_marks[:1]
            if config["learning_rate"] == 2**-3
            else ([] if config["learning_rate"] > 2**-3 else all_marks)
        )

    study(loss=loss, marks=marks).save(store)
    trials = view_study(store, "made", horizon="all").trials
    outcome = trials.groupby(["learning_rate", "horizon_tokens"])["outcome"].unique().map(list)
    assert outcome[2**-4, 250] == outcome[2**-4, 1000] == ["completed"]
    assert outcome[2**-3, 250] == ["completed"]
    assert outcome[2**-3, 500] == outcome[2**-2, 250] == ["diverged"]
    early = trials[(trials["learning_rate"] == 2**-3) & (trials["horizon_tokens"] == 250)]
    assert early["loss"].map(math.isfinite).all()


def test_runs_of_different_lengths_share_horizons_by_share(store: Store) -> None:
    steps = {32: 101, 64: 199, 128: 400}

    def derived(config: Config) -> dict[str, Any]:
        return {"tokens": 10 * steps[config["width"]]}

    def marks(config: Config, seed: int) -> Sequence[tuple[int, int, float]]:
        whole = steps[config["width"]]
        at = [-(-whole * i // 4) for i in range(1, 5)]
        return [(step, 10 * step, loss_at(config, seed, i / 4)) for i, step in enumerate(at, 1)]

    study(derived=derived, marks=marks).save(store)
    view = view_study(store, "made", horizon="all")
    assert view.horizon == "horizon_share"
    counts = view.trials.groupby("horizon_share").size()
    assert counts.to_dict() == {0.25: 48, 0.5: 48, 0.75: 48, 1.0: 48}
    half = view.trials[view.trials["horizon_share"] == 0.5]
    assert half.groupby("width")["tokens"].first().to_dict() == {32: 505, 64: 995, 128: 2000}


def test_marks_that_some_trials_lack_are_no_common_horizon(store: Store) -> None:
    def marks(config: Config, seed: int) -> Sequence[tuple[int, int, float]]:
        return quarters(config, seed)[1 if config["width"] == 128 else 0 :]

    study(marks=marks).save(store)
    view = view_study(store, "made", horizon="all")
    assert set(view.trials["horizon_tokens"]) == {500, 750, 1000}
    (statement,) = statements_of(store, "made", horizon="250")
    assert [optimum.scale for optimum in statement.groups[0].optima] == [32, 64]
    assert any("left out are only width 128" in note for note in statement.notes)


def test_tokens_of_the_horizon_may_be_the_scale(store: Store) -> None:
    study().save(store)
    for scale in ("tokens", "horizon_tokens"):
        (statement,) = statements_of(store, "made", horizon="all", scale=scale)
        assert [dict(g.settings) for g in statement.groups] == [
            {"width": 32},
            {"width": 64},
            {"width": 128},
        ]
        for group in statement.groups:
            assert group.drift is not None
            assert group.drift.slope == pytest.approx(-0.5, abs=0.03)


def test_a_metric_to_be_maximised_is_turned_round_at_marks_too(store: Store) -> None:
    def marks(config: Config, seed: int) -> Sequence[tuple[int, int, float]]:
        return [(step, tokens, -loss) for step, tokens, loss in quarters(config, seed)]

    study(goal="max", marks=marks).save(store)
    study(name="down").save(store)
    (up,) = statements_of(store, "made", horizon="500")
    (down,) = statements_of(store, "down", horizon="500")
    assert [o.log2 for o in up.groups[0].optima] == [o.log2 for o in down.groups[0].optima]


@pytest.mark.parametrize("asked", ["half", "0", "-5", "nan", "inf", "120%", "%", ""])
def test_what_is_no_horizon_is_refused(store: Store, asked: str) -> None:
    study().save(store)
    with pytest.raises(RequestError, match="a number of tokens such as 1e6, or a share"):
        view_study(store, "made", horizon=asked)


def test_a_horizon_without_a_mark_is_refused_with_those_that_there_are(store: Store) -> None:
    study().save(store)
    with pytest.raises(AnalysisRefusal, match="at these tokens: 250, 500, 750, 1000"):
        view_study(store, "made", horizon="600")
    study(name="bare", marks=lambda config, seed: ()).save(store)
    with pytest.raises(AnalysisRefusal, match=r"at these shares of the run: 1$"):
        view_study(store, "bare", horizon="0.5")


def test_a_study_without_results_has_no_horizon(store: Store) -> None:
    study(loss=lambda config, seed: math.nan).save(store)
    with pytest.raises(AnalysisRefusal, match="no marks inside their runs"):
        view_study(store, "made", horizon="all")
