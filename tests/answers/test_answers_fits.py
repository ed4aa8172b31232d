"""Rules of studies in the store: which scales, which hyperparameters, which groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from made_studies import Made

from sweeper.answers.prediction import predictions_of
from sweeper.answers.rules import rules_of
from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.store.store import Store

RATES = [2.0**k for k in range(-10, -1)]


def loss(config: Mapping[str, Any], seed: int) -> float:
    """Best learning rate 2^-2 width^-0.5, best weight decay 2^-4, tilted against each other."""
    a = np.log2(config["learning_rate"]) + 2 + 0.5 * np.log2(config["width"])
    b = np.log2(config["weight_decay"]) + 4 if config.get("weight_decay") else 3.0
    rng = np.random.default_rng([seed, int(config["width"]), int(10 * a) + 500, int(10 * b) + 500])
    return float(3 + 0.04 * a * a + 0.01 * a * b + 0.03 * b * b + 0.001 * rng.standard_normal())


def study(**more: Any) -> Made:
    axes = {"width": [32, 64, 128, 256], "learning_rate": RATES, **more.pop("axes", {})}
    return Made(axes=axes, loss=loss, **more)


DECAYS = [0.0, *(2.0**k for k in range(-7, 0))]


def squares(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"params": 12 * config["width"] ** 2, "tokens": 1000, "flops": 1e6}


def test_the_rule_is_over_the_study_scale_and_the_first_swept(store: Store) -> None:
    study().save(store)
    statement = rules_of(store, "made")
    assert statement.scales == ("width",)
    (group,) = statement.groups
    assert group.hyperparameter == "learning_rate"
    assert group.rule is not None
    assert group.rule.terms[0].exponent == pytest.approx(-0.5, abs=0.02)


def test_a_derived_scale_gives_the_exponent_of_its_own(store: Store) -> None:
    study(derived=squares).save(store)
    (group,) = rules_of(store, "made", scales=("params",)).groups
    assert group.rule is not None
    # Parameters grow as the square of the width, so the exponent is half as large.
    assert group.rule.terms[0].exponent == pytest.approx(-0.25, abs=0.01)


def test_another_hyperparameter_is_tuned_unless_each_of_its_values_is_asked_for(
    store: Store,
) -> None:
    study(axes={"weight_decay": DECAYS[-3:]}).save(store)
    asked = ("learning_rate",)
    (group,) = rules_of(store, "made", hyperparameters=asked).groups
    assert (group.settings, group.tuned) == ({}, ("weight_decay",))
    assert group.rule is not None
    assert group.rule.terms[0].exponent == pytest.approx(-0.5, abs=0.02)
    groups = rules_of(store, "made", hyperparameters=asked, each=("weight_decay",)).groups
    assert [group.settings for group in groups] == [{"weight_decay": d} for d in DECAYS[-3:]]


def test_two_together_leave_zeros_out_and_say_so(store: Store) -> None:
    study(axes={"weight_decay": DECAYS}).save(store)
    asked = ("learning_rate", "weight_decay")
    statement = rules_of(store, "made", hyperparameters=asked)
    assert any("their weight_decay has no log2" in note for note in statement.notes)
    rate, decay = statement.groups
    assert rate.rule is not None
    assert decay.rule is not None
    assert rate.rule.terms[0].exponent == pytest.approx(-0.5, abs=0.02)
    assert decay.rule.terms[0].exponent == pytest.approx(0, abs=0.02)
    assert len(rate.joint) == 4
    assert all(cost is not None and cost < 0.01 for cost in rate.costs)


def test_predictions_take_a_derived_scale_as_target(store: Store) -> None:
    study(derived=squares).save(store)
    (one,) = predictions_of(store, "made", {"params": 12 * 1024**2}).groups
    assert one.prediction is not None
    assert one.prediction.log2 == pytest.approx(-7 - 0.01 * 3 / 0.08, abs=0.02)
    assert one.prediction.target == {"params": pytest.approx(12 * 1024**2)}


def test_a_scale_that_never_changes_is_noted_and_one_that_alone_does_is_refused(
    store: Store,
) -> None:
    study(derived=squares).save(store)
    statement = predictions_of(store, "made", {"tokens": 5000, "width": 1024})
    assert any("tokens is 1000 in the whole study" in note for note in statement.notes)
    with pytest.raises(AnalysisRefusal, match="tokens has one value"):
        predictions_of(store, "made", {"tokens": 5000})


def test_three_hyperparameters_at_once_are_refused(store: Store) -> None:
    study(axes={"weight_decay": DECAYS[1:4], "momentum": [0.8, 0.9]}).save(store)
    asked = ("learning_rate", "weight_decay", "momentum")
    with pytest.raises(AnalysisRefusal, match="to two different ones"):
        rules_of(store, "made", hyperparameters=asked)


def test_a_study_without_results_is_refused(store: Store) -> None:
    Made(
        axes={"width": [32, 64], "learning_rate": RATES}, loss=lambda config, seed: float("nan")
    ).save(store)
    with pytest.raises(AnalysisRefusal, match="has a result"):
        rules_of(store, "made")


def test_a_prediction_without_a_target_names_the_scales(store: Store) -> None:
    study().save(store)
    with pytest.raises(RequestError, match="--at width=VALUE"):
        predictions_of(store, "made", {})
