"""Scales and effective hyperparameters that are asked for by name or formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from made_studies import Made

from sweeper.answers.view import statements_of, view_study
from sweeper.errors import AnalysisRefusal, RequestError, UnknownNameError
from sweeper.store.store import Store

WIDTHS = [32, 64, 128, 256]
RATES = [2.0**k for k in range(-8, -1)]


def wave(config: Mapping[str, Any], seed: int) -> float:
    """Returns a small change that no fit takes for a trend."""
    return 1e-4 * math.sin(17 * math.log2(config["learning_rate"]) + config["width"] + 3 * seed)


def by_rate(config: Mapping[str, Any], seed: int) -> float:
    """Loss whose best rate is 2^-5 at width 64 and falls by half an octave per doubling."""
    away = math.log2(config["learning_rate"]) + 5 + 0.5 * math.log2(config["width"] / 64)
    return 2 + 10 / config["width"] + 0.05 * away**2 + wave(config, seed)


def by_product(config: Mapping[str, Any], seed: int) -> float:
    """Loss of a narrow valley: the product wants 2^-9 everywhere, the ratio 1."""
    rate, decay = math.log2(config["learning_rate"]), math.log2(config["weight_decay"])
    return (
        2
        + 10 / config["width"]
        + 0.05 * (rate + decay + 9) ** 2
        + 0.02 * (rate - decay - 1) ** 2
        + wave(config, seed)
    )


def roles(config: Mapping[str, Any]) -> dict[str, Any]:
    """Derived quantities in which the hidden rate falls with the width, as under muP."""
    rate = config["learning_rate"] * 32 / config["width"]
    hidden = {"optimizer": "adamw", "learning_rate": rate, "weight_decay": rate / 16}
    qkv = {**hidden, "learning_rate": 2 * rate}
    size = config["width"] ** 2
    return {
        "params": size,
        "flops": 6e3 * size,
        "params_non_embedding": size // 2,
        "steps": 100,
        "groups": {"hidden": hidden, "hidden.qkv": qkv, "embedding": {"learning_rate": 1.0}},
    }


def slope(store: Store, **question: Any) -> float:
    (statement,) = statements_of(store, "made", **question)
    (group,) = statement.groups
    assert group.drift is not None
    return group.drift.slope


def test_the_optimum_of_a_product_is_that_of_its_best_pairs(store: Store) -> None:
    axes = {"width": WIDTHS[:3], "learning_rate": RATES, "weight_decay": RATES}
    Made(axes=axes, loss=by_product).save(store)
    (statement,) = statements_of(store, "made", "learning_rate*weight_decay")
    (group,) = statement.groups
    assert group.settings == {}
    assert [o.log2 for o in group.optima] == pytest.approx([-9, -9, -9], abs=0.1)
    assert group.drift is not None and group.drift.slope == pytest.approx(0, abs=0.05)
    assert any("best of all learning_rate and weight_decay" in note for note in statement.notes)
    assert group.evidence.trials < 3 * 7 * 7 * 2


def test_factors_in_another_order_give_the_same_numbers(store: Store) -> None:
    axes = {"width": WIDTHS[:3], "learning_rate": RATES, "weight_decay": RATES}
    Made(axes=axes, loss=by_product).save(store)
    (one,) = statements_of(store, "made", "learning_rate*weight_decay")
    (other,) = statements_of(store, "made", "weight_decay * learning_rate")
    assert one.to_json()["groups"] == other.to_json()["groups"]


def test_a_setting_that_a_formula_does_not_name_makes_groups(store: Store) -> None:
    axes = {"width": WIDTHS[:3], "learning_rate": RATES, "weight_decay": [0.125, 0.25]}
    Made(axes=axes, loss=by_product).save(store)
    (statement,) = statements_of(store, "made", "learning_rate*width")
    assert [dict(g.settings) for g in statement.groups] == [
        {"weight_decay": 0.125},
        {"weight_decay": 0.25},
    ]


def test_a_power_of_the_scale_shifts_the_drift_by_its_exponent(store: Store) -> None:
    Made(axes={"width": WIDTHS, "learning_rate": RATES}, loss=by_rate, derived=roles).save(store)
    plain = slope(store)
    assert plain == pytest.approx(-0.5, abs=0.03)
    assert slope(store, hyperparameter="learning_rate*width") == pytest.approx(plain + 1, abs=1e-4)
    assert slope(store, hyperparameter="1/learning_rate") == pytest.approx(-plain, abs=1e-4)


def test_the_rate_of_a_role_is_read_from_what_each_trial_really_had(store: Store) -> None:
    Made(axes={"width": WIDTHS, "learning_rate": RATES}, loss=by_rate, derived=roles).save(store)
    plain = slope(store)
    assert slope(store, hyperparameter="learning_rate.hidden") == pytest.approx(
        plain - 1, abs=1e-4
    )
    view = view_study(store, "made", hyperparameters=["learning_rate.hidden.qkv"])
    row = view.trials.iloc[0]
    assert row["learning_rate.hidden.qkv"] == 2 * row["learning_rate"]


def test_a_tensor_without_a_group_of_its_own_has_that_of_its_role(store: Store) -> None:
    Made(axes={"width": WIDTHS, "learning_rate": RATES}, loss=by_rate, derived=roles).save(store)
    names = ["learning_rate.hidden.mlp_in", "learning_rate.hidden"]
    trials = view_study(store, "made", hyperparameters=names).trials
    assert trials[names[0]].tolist() == trials[names[1]].tolist()


def test_the_timescale_is_the_share_of_the_run_over_which_weights_forget(store: Store) -> None:
    Made(axes={"width": WIDTHS, "learning_rate": RATES}, loss=by_rate, derived=roles).save(store)
    trials = view_study(store, "made", hyperparameters=["timescale"]).trials
    share = trials["learning_rate"] * 32 / trials["width"] / 16
    assert trials["timescale"].tolist() == pytest.approx((1 / (share * 100)).tolist())
    assert slope(store, hyperparameter="timescale") == pytest.approx(-(slope(store) - 1), abs=1e-4)


def test_a_share_that_goes_with_both_rates_is_read_as_their_product(store: Store) -> None:
    def coupled(config: Mapping[str, Any]) -> dict[str, Any]:
        share = config["learning_rate"] * config["weight_decay"]
        return {"steps": 100, "groups": {"hidden": {"weight_decay": share}}}

    axes = {"width": WIDTHS[:3], "learning_rate": RATES, "weight_decay": RATES}
    Made(axes=axes, loss=by_product, derived=coupled).save(store)
    (share,) = statements_of(store, "made", "weight_decay.hidden")
    (product,) = statements_of(store, "made", "learning_rate*weight_decay")
    (timescale,) = statements_of(store, "made", "timescale")
    found = [[o.log2 for o in each.groups[0].optima] for each in (share, product, timescale)]
    assert found[0] == pytest.approx(found[1])
    assert found[2] == pytest.approx([-log2 - math.log2(100) for log2 in found[0]], abs=0.02)


def test_a_derived_scale_takes_the_place_of_the_studys_own(store: Store) -> None:
    axes = {"width": WIDTHS, "depth": [2, 4], "learning_rate": RATES}
    claim = {"hyperparameter": "learning_rate", "exponent": -0.5, "tolerance": 0.2}
    Made(axes=axes, loss=by_rate, derived=roles, claims=[claim]).save(store)
    (statement,) = statements_of(store, "made", scale="params")
    assert statement.scale == "params"
    assert [dict(group.settings) for group in statement.groups] == [{"depth": 2}, {"depth": 4}]
    for group in statement.groups:
        assert [o.scale for o in group.optima] == [w * w for w in WIDTHS]
        assert group.drift is not None
        assert group.drift.slope == pytest.approx(-0.25, abs=0.02)
        assert group.verdicts == ()
    assert any("none is judged along params" in note for note in statement.notes)
    for name in ("params_non_embedding", "flops", "width^2"):
        (other,) = statements_of(store, "made", scale=name)
        assert other.groups[0].drift is not None
        assert other.groups[0].drift.slope == pytest.approx(-0.25, abs=0.02)


def test_another_swept_setting_as_scale_groups_by_the_studys_own(store: Store) -> None:
    def loss(config: Mapping[str, Any], seed: int) -> float:
        return by_rate(config, seed) + 0.01 * config["depth"]

    axes = {"width": [32, 64], "depth": [2, 4, 8], "learning_rate": RATES}
    Made(axes=axes, loss=loss).save(store)
    (statement,) = statements_of(store, "made", scale="depth")
    assert [dict(group.settings) for group in statement.groups] == [{"width": 32}, {"width": 64}]
    for group in statement.groups:
        assert group.drift is not None and group.drift.slope == pytest.approx(0, abs=0.02)


def test_each_of_several_scales_has_the_others_as_settings(store: Store) -> None:
    def loss(config: Mapping[str, Any], seed: int) -> float:
        away = (
            math.log2(config["lr"])
            + 5
            + 0.7 * math.log2(config["N"])
            - 0.3 * math.log2(config["D"])
        )
        return 2 + 1 / config["N"] + 0.05 * away**2 + 1e-4 * math.sin(9 * away + seed)

    axes = {"N": [1, 2, 4], "D": [1, 2, 4], "lr": [2.0**k for k in range(-9, -1)]}
    Made(axes=axes, loss=loss, scale="N", scales=["N", "D"]).save(store)
    (along_n,) = statements_of(store, "made")
    assert along_n.hyperparameter == "lr"
    assert [dict(g.settings) for g in along_n.groups] == [{"D": 1}, {"D": 2}, {"D": 4}]
    (along_d,) = statements_of(store, "made", scale="D")
    assert [dict(g.settings) for g in along_d.groups] == [{"N": 1}, {"N": 2}, {"N": 4}]
    for statement, expected in ((along_n, -0.7), (along_d, 0.3)):
        for group in statement.groups:
            assert group.drift is not None
            assert group.drift.slope == pytest.approx(expected, abs=0.05)


def test_a_scale_that_goes_with_the_one_asked_about_makes_no_groups(store: Store) -> None:
    axes = {"width": WIDTHS, "learning_rate": RATES, "batch_size": WIDTHS}

    def diagonal(config: Mapping[str, Any], seed: int) -> float:
        return by_rate(config, seed) if config["batch_size"] == config["width"] else math.nan

    Made(axes=axes, loss=diagonal, scales=["width", "batch_size"]).save(store)
    view = view_study(store, "made")
    answered = view.trials[view.trials["outcome"] == "completed"]
    object.__setattr__(view, "trials", answered)
    assert view.select("learning_rate").settings == ()


def test_trials_without_weight_decay_are_left_out_of_its_axis_and_said_so(store: Store) -> None:
    def loss(config: Mapping[str, Any], seed: int) -> float:
        if config["weight_decay"] == 0:
            return 3.0
        return by_rate({**config, "learning_rate": config["weight_decay"]}, seed)

    axes = {"width": WIDTHS, "learning_rate": [0.5], "weight_decay": [0.0, *RATES]}
    Made(axes=axes, loss=loss).save(store)
    (statement,) = statements_of(store, "made", "weight_decay")
    (group,) = statement.groups
    assert group.drift is not None and group.drift.slope == pytest.approx(-0.5, abs=0.05)
    assert group.evidence.declared == 4 * 7 * 2
    assert statement.notes == ("8 trials are left out: their weight_decay has no log2",)


def test_unknown_names_are_refused_with_the_nearest_ones(store: Store) -> None:
    Made(axes={"width": WIDTHS, "learning_rate": RATES}, loss=by_rate, derived=roles).save(store)
    with pytest.raises(UnknownNameError, match=r"did you mean 'learning_rate\.hidden'"):
        view_study(store, "made", hyperparameters=["learning_rate.hiden"])
    with pytest.raises(UnknownNameError, match="did you mean 'learning_rate'"):
        view_study(store, "made", hyperparameters=["learning_rat*width"])
    with pytest.raises(UnknownNameError, match="did you mean 'params'"):
        view_study(store, "made", scale="parms")


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (
            {"hyperparameters": ["width*3"]},
            r"one value with a log2 at each width.*swept: width, learning_rate",
        ),
        ({"scale": "steps"}, "one value in all trials"),
        ({"hyperparameters": ["kind*width"]}, "kind holds no numbers"),
        ({"hyperparameters": ["offset*width"]}, "negative"),
        ({"scale": "learning_rate", "hyperparameters": ["learning_rate"]}, "asked for twice"),
        ({"hyperparameters": ["learning_rate+1"]}, "has no place"),
    ],
)
def test_axes_that_cannot_be_read_are_refused(
    store: Store, question: dict[str, Any], why: str
) -> None:
    axes = {"width": WIDTHS, "learning_rate": RATES, "kind": ["a"], "offset": [-1]}
    Made(axes=axes, loss=by_rate, derived=roles, hidden_axes=["kind", "offset"]).save(store)
    with pytest.raises((AnalysisRefusal, RequestError), match=why):
        view_study(store, "made", **question)
