"""Gaps, rates and verdicts of planted studies, through the whole chain."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from converging import converging, group_of

from sweeper.analysis.scaling.claim import Claim
from sweeper.analysis.transfer.economy import Economy
from sweeper.answers.drift import drift_statement
from sweeper.answers.transfer import (
    NoTransfer,
    Transfer,
    TransferStatement,
    transfer_of,
    transfer_statement,
    why_refused,
)
from sweeper.errors import AnalysisRefusal, UnknownNameError

SEVEN = (32, 64, 128, 256, 512, 1024, 2048)
FAST: dict[str, Any] = {"loss": (3.0, 5.0, 0.5), "optimum": (-6.0, -60.0, 1.0), "widths": SEVEN}
SLOW: dict[str, Any] = {"loss": (3.0, 50.0, 1.0), "optimum": (-6.0, -6.0, 0.2), "widths": SEVEN}
RELU: dict[str, Any] = {"loss": (0.108, 6.37, 0.742), "optimum": (-6.78, -7.80, 0.388)}
"""The two-layer ReLU network of arXiv 2512.22768: printed fits of its loss and learning rate."""


def transfer(frame: pd.DataFrame, reference: str = "largest", **options: Any) -> Transfer:
    return transfer_of(group_of(frame, **options), reference=reference)


def state(frame: pd.DataFrame, **options: Any) -> TransferStatement:
    drifts = drift_statement(
        frame,
        study="converging",
        scale="width",
        hyperparameter="learning_rate",
        estimator="spline",
        resamples=200,
        partial=True,
    )
    return transfer_statement(drifts, **options)


@pytest.mark.parametrize("reference", ["largest", "limit"])
def test_exact_curves_give_the_planted_rates(reference: str) -> None:
    group = transfer(converging(**FAST), reference)
    assert group.rates["a"].value == pytest.approx(0.5, abs=1e-4)
    assert group.rates["b"].value == pytest.approx(1.0, abs=1e-4)
    assert group.rates["c"].value == pytest.approx(2.0, abs=2e-4)
    assert (group.verdict.speed, group.verdict.useful, group.verdict.free) == (
        "fast",
        "yes",
        "yes",
    )


def test_gaps_to_the_largest_scale_are_what_was_planted() -> None:
    for row in transfer(converging(**FAST)).rows:
        octaves = 60 * (1 / row.scale - 1 / 2048)
        assert row.a.value == pytest.approx(5 * (row.scale**-0.5 - 2048**-0.5), abs=1e-6)
        assert row.b.value == pytest.approx(octaves, abs=1e-6)
        assert row.c.value == pytest.approx(0.025 * octaves**2, abs=1e-6)
        assert row.expected == pytest.approx(row.c.value, abs=1e-6)
        assert row.ratio == pytest.approx(row.c.value / row.a.value)


def test_gaps_to_the_limit_are_what_was_planted() -> None:
    group = transfer(converging(**FAST), "limit")
    assert group.reference.scale == np.inf
    assert group.reference.log2[0] == pytest.approx(-6, abs=1e-4)
    assert group.reference.loss[0] == pytest.approx(3, abs=1e-4)
    assert group.rows[-1].scale == 2048
    for row in group.rows:
        assert row.b.value == pytest.approx(60 / row.scale, abs=1e-4)


@pytest.mark.parametrize("reference", ["largest", "limit"])
@pytest.mark.parametrize(("planted", "speed"), [(FAST, "fast"), (SLOW, "slow")])
def test_noise_leaves_clear_verdicts_alone(
    planted: dict[str, Any], speed: str, reference: str
) -> None:
    group = transfer(converging(**planted, noise=1e-3), reference)
    assert group.verdict.speed == speed
    beta = planted["optimum"][2]
    assert group.rates["b"].low < beta < group.rates["b"].high


@pytest.mark.parametrize("noise", [0.0, 2e-4, 1e-3])
@pytest.mark.parametrize("reference", ["largest", "limit"])
def test_the_two_layer_relu_network_is_not_called_fast(noise: float, reference: str) -> None:
    group = transfer(converging(**RELU, noise=noise, draw=3), reference)
    assert group.verdict.speed == "not distinguishable"
    assert group.verdict.useful == "undecided"
    assert group.verdict.lead is not None
    assert abs(group.verdict.lead.value) < 0.1
    assert "to settle it" in group.verdict.why


def test_a_straight_drift_is_not_fast_although_its_gaps_to_the_largest_close() -> None:
    planted = {"loss": (3.0, 5.0, 0.5), "optimum": (-5.0, 0.0, 1.0), "widths": SEVEN}
    frame = converging(**planted, noise=0.0)
    # Move every optimum by -0.3 octaves per doubling: no limit at all.
    move = 2.0 ** (-0.3 * np.log2(frame["width"] / 32))
    group = transfer(frame.assign(learning_rate=frame["learning_rate"] * move))
    assert group.rates["b"].value == pytest.approx(0, abs=1e-3)
    assert group.verdict.speed == "slow"


def test_the_claimed_rule_takes_the_drift_out_of_the_gaps() -> None:
    frame = converging(loss=(3.0, 5.0, 0.5), optimum=(-5.0, 0.0, 1.0), widths=SEVEN)
    move = 2.0 ** (-0.3 * np.log2(frame["width"] / 32))
    moved = frame.assign(learning_rate=frame["learning_rate"] * move)
    rule = Claim(exponent=-0.3, tolerance=0.1)
    group = transfer_of(group_of(moved, claims=[rule]))
    assert group.exponent == -0.3
    assert max(row.b.measured for row in group.rows) < 1e-6


def test_what_is_below_the_noise_is_zero_and_has_no_rate() -> None:
    frame = converging(loss=(3.0, 5.0, 0.5), optimum=(-6.0, 0.0, 1.0), widths=SEVEN, noise=2e-3)
    group = transfer(frame)
    assert [row.b.value for row in group.rows] == [0.0] * 6
    assert [row.c.value for row in group.rows] == [0.0] * 6
    assert all(row.b.measured > 0 for row in group.rows)
    error = 2e-3 / np.sqrt(3)
    for row in group.rows:
        assert row.a.floor == pytest.approx(np.sqrt(2) * error, rel=0.25)
        assert row.c.floor >= 0.75 * error
        assert row.b.floor == pytest.approx(np.sqrt(2 * row.c.floor / group.reference.curvature))
    assert set(group.rates) == {"a"}
    assert group.verdict.speed == "not distinguishable"
    assert "above its noise floor" in group.verdict.why
    assert "0 of 6 scales" in group.verdict.why


def test_two_gaps_above_the_noise_are_no_verdict() -> None:
    planted = FAST | {"widths": (32, 64, 2048)}
    group = transfer(converging(**planted))
    assert group.rates["b"].value == pytest.approx(1, abs=1e-3)
    assert group.verdict.speed == "not distinguishable"
    assert "needs 3" in group.verdict.why


def test_the_pair_of_laws_is_that_of_the_plant() -> None:
    laws = transfer(converging(**FAST)).laws
    assert laws.base == 32
    assert laws.tuned is not None
    assert laws.tuned.asymptote == pytest.approx(3, abs=1e-3)
    assert laws.tuned.terms[0].exponent == pytest.approx(0.5, abs=1e-3)
    # Transferred from 32 the loss is above by curvature / 2 (60/32 - 60/n)^2, at 2048 0.085.
    assert laws.transferred is not None
    there = laws.transferred.at(scale=2048.0).loss
    assert there - (3 + 5 * 2048**-0.5) == pytest.approx(
        0.025 * (60 / 32 - 60 / 2048) ** 2, abs=0.02
    )


def test_free_tuning_depends_on_the_price_of_a_run() -> None:
    group = group_of(converging(**(FAST | {"optimum": (-6.0, -6.0, 0.32)})))
    cheap = transfer_of(group, economy=Economy(cost_exponent=4.0)).verdict
    dear = transfer_of(group, economy=Economy(cost_exponent=0.8, hyperparameters=2)).verdict
    assert (cheap.free, dear.free) == ("yes", "no")
    assert cheap.free_from == pytest.approx(0.5 * 4 / (8 - 0.5), abs=1e-3)
    assert dear.free_from == pytest.approx(0.5 * 0.8 / (1.6 - 1.0), abs=1e-2)


def test_settings_beyond_the_grid_or_the_cliff_are_not_invented() -> None:
    frame = converging(
        **(FAST | {"optimum": (-6.0, 60.0, 1.0)}), octaves=tuple(np.arange(-8, -3.4, 0.5))
    )
    cut = frame[(frame["width"] < 2048) | (frame["learning_rate"] < 2.0**-4.9)]
    first = transfer(cut).rows[0]
    assert np.isnan(first.c.value)
    assert np.isnan(first.ratio)
    gone = frame.copy()
    beyond = (gone["width"] == 2048) & (gone["learning_rate"] > 2.0**-4.9)
    gone.loc[beyond, ["loss", "outcome"]] = [np.nan, "diverged"]
    assert transfer(gone).rows[0].c.value == np.inf


def test_the_json_is_strict_and_has_the_documented_keys() -> None:
    document = state(converging(**FAST, noise=1e-3), reference="limit").to_json()
    text = json.dumps(document, allow_nan=False)
    head = {"study", "scale", "hyperparameter", "reference", "estimator", "groups", "notes"}
    assert set(json.loads(text)) == head
    (group,) = document["groups"]
    keys = {"variant", "settings", "refused", "exponent", "reference", "gaps", "rates"}
    keys |= {"verdict", "laws", "quality", "left_out", "warnings", "evidence"}
    assert set(group) == keys
    assert group["reference"]["scale"] is None
    gap = {"value", "measured", "low", "high", "floor"}
    assert set(group["gaps"][0]["a"]) == gap
    assert set(group["gaps"][0]) == {"scale", "a", "b", "c", "expected_c", "c_over_a"}
    assert set(group["rates"]) == {"a", "b", "c"}
    verdict = {"speed", "why", "lead", "useful", "free", "free_from"}
    assert set(group["verdict"]) == verdict
    assert document["estimator"] == "spline"


def test_order_and_repetition_of_rows_change_nothing() -> None:
    frame = converging(**FAST, noise=1e-3)
    first = state(frame).to_json()
    shuffled = frame.sample(frac=1, random_state=0)[sorted(frame.columns, reverse=True)]
    assert state(shuffled).to_json() == first
    assert state(pd.concat([frame, frame.iloc[::7]])).to_json() == first


def test_losses_in_bits_give_the_same_rates_and_verdict() -> None:
    frame = converging(**FAST, noise=1e-3)
    nats, bits = transfer(frame), transfer(frame.assign(loss=frame["loss"] / np.log(2)))
    assert bits.verdict.speed == nats.verdict.speed
    for name, rate in nats.rates.items():
        other = bits.rates[name]
        assert (other.value, other.low, other.high) == pytest.approx(
            (rate.value, rate.low, rate.high), rel=1e-4
        )
    assert bits.rows[0].a.value * np.log(2) == pytest.approx(nats.rows[0].a.value)
    assert bits.rows[0].ratio == pytest.approx(nats.rows[0].ratio, rel=1e-5)


def test_one_group_that_cannot_answer_does_not_stop_the_others() -> None:
    edge = converging(**FAST, variant="edge", octaves=tuple(np.arange(-11, -6.4, 0.5)))
    statement = state(pd.concat([edge, converging(**FAST)], ignore_index=True))
    refused, answered = statement.groups
    assert isinstance(refused, NoTransfer)
    assert "largest scale, 2048" in refused.refused
    assert isinstance(answered, Transfer)
    assert statement.to_json()["groups"][0]["refused"] == refused.refused


def test_scales_whose_optimum_is_a_bound_are_named() -> None:
    frame = converging(**FAST)
    cut = frame[(frame["width"] > 32) | (frame["learning_rate"] > 2.0**-7.6)]
    group = transfer(cut)
    assert list(group.left_out) == [32]
    assert group.rows[0].scale == 64


@pytest.mark.parametrize(
    ("widths", "options", "message"),
    [
        ((32,), {}, "gaps need 2"),
        ((32, 64, 128), {"reference": "limit"}, "needs 4"),
    ],
)
def test_too_few_scales_are_refused(
    widths: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnalysisRefusal, match=message):
        state(converging(**(FAST | {"widths": widths})), **options)


def test_losses_that_do_not_fall_to_a_limit_are_refused() -> None:
    frame = converging(**(FAST | {"loss": (3.0, -5.0, 0.5)}))
    with pytest.raises(AnalysisRefusal, match="do not fall to a limit"):
        state(frame, reference="limit")


def test_a_limit_that_noise_hides_is_refused() -> None:
    frame = converging(**(SLOW | {"optimum": (-6.0, -6.0, 0.1), "widths": SEVEN[:5]}), noise=4e-3)
    with pytest.raises(AnalysisRefusal, match=r"limit is known|comes to no limit"):
        state(frame, reference="limit")


def test_an_unknown_reference_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="known: largest, limit"):
        transfer_of(group_of(converging(**FAST)), reference="infinity")


def test_an_estimator_without_curvature_is_refused() -> None:
    with pytest.raises(AnalysisRefusal, match="no curvature"):
        transfer(converging(**FAST), estimator="argmin")


@pytest.mark.parametrize(("exponent", "count"), [(0.0, 1), (np.nan, 1), (2.0, 0)])
def test_an_economy_without_sense_is_refused(exponent: float, count: int) -> None:
    with pytest.raises(AnalysisRefusal, match=r"cost exponent|hyperparameters"):
        Economy(cost_exponent=exponent, hyperparameters=count)


def test_flaws_of_the_optima_behind_the_constants_are_said_in_words() -> None:
    group = group_of(converging(**FAST))
    flagged = replace(group.optima[1], flags=("poor_fit", "few_points"))
    optima = (group.optima[0], flagged, *group.optima[2:])
    warnings = transfer_of(replace(group, optima=optima)).warnings
    assert "the constants rest on a poor fit, which its own points contradict, at scale 64" in (
        warnings
    )
    assert "the constants rest on fits through fewer than five points at scale 64" in warnings


def test_a_number_without_an_interval_is_refused_in_words() -> None:
    assert why_refused(-0.49, -np.inf, np.inf) == "its interval is open on both sides"
    assert why_refused(0.833, 0.833, 0.833).startswith("its interval has no width")
    assert why_refused(0.06, -0.23, 0.35) == ""
    assert why_refused(0.06, -np.inf, 0.35) == ""


def test_variants_of_the_same_settings_are_compared_in_the_limit() -> None:
    worse = converging(loss=(3.3, 5.0, 0.5), optimum=FAST["optimum"], widths=SEVEN, variant="sp")
    statement = state(pd.concat([converging(**FAST), worse], ignore_index=True))
    by_name = {group.variant: group for group in statement.groups}
    best, other = by_name["mup"], by_name["sp"]
    assert isinstance(best, Transfer) and isinstance(other, Transfer)
    assert best.penalty is None
    assert other.penalty is not None
    assert other.penalty.value == pytest.approx(0.3, abs=1e-3)
    quality = statement.to_json()["groups"][1]["quality"]
    assert quality["R_inf"]["value"] == other.penalty.value
    assert quality["kappa"]["value"] == pytest.approx(0, abs=1e-6)
    assert quality["E"] == other.quality.fit_error
