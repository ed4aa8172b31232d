"""Conflicts of scaling rules are refused with the reason and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.llama.card import LLAMA
from workloads.mlp.card import MLP

BASE: dict[str, Any] = {"width": 128, "base_width": 32, "steps": 100, "learning_rate": 0.01}

COUPLED: dict[str, Any] = {"weight_decay": 0.1, "weight_decay_convention": "coupled"}


def told(**changes: Any) -> list[tuple[tuple[str, ...], str]]:
    problems = LLAMA.problems({**BASE, **changes})
    return [(problem.keys, problem.message) for problem in problems]


RULES = ("mup", "spectral", "normalized", "moonlight", "completep", "ntk", "mean_field")


@pytest.mark.parametrize("rule", [*RULES, "custom"])
def test_every_rule_over_width_needs_a_base(rule: str) -> None:
    ((keys, message),) = told(base_width=None, parametrization=rule, optimizer="muon")
    assert keys == ("base_width",)
    assert f"parametrization {rule} scales relative to it" in message


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("optimizer", ["muon", "muonclip", "dion"])
def test_two_width_rules_are_not_stacked(rule: str, optimizer: str) -> None:
    changes = {"optimizer": optimizer, "shape_factor": "moonlight"}
    ((keys, message),) = told(parametrization=rule, **changes)
    assert keys == ("shape_factor", "parametrization")
    assert f"shape_factor moonlight and parametrization {rule} are two width rules" in message
    assert told(parametrization="sp", **changes) == told(parametrization="custom", **changes) == []


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb", "shampoo", "soap"])
def test_moonlight_is_refused_where_it_is_not_defined(optimizer: str) -> None:
    ((keys, message),) = told(parametrization="moonlight", optimizer=optimizer)
    assert keys[0] == "parametrization"
    assert f"not defined for optimizer {optimizer}; use one of muon, muonclip, dion" in message


def test_coupled_decay_with_an_unscaled_lambda_is_refused() -> None:
    ((keys, message),) = told(parametrization="mup", **COUPLED)
    assert keys[0] == "weight_decay_convention"
    assert "multiplies the learning rate of hidden by 0.25" in message
    assert "use weight_decay_rule inverse_learning_rate" in message
    for scaled in ("inverse_learning_rate", "inverse_width"):
        assert told(parametrization="mup", weight_decay_rule=scaled, **COUPLED) == []
    assert told(parametrization="sp", **COUPLED) == []
    assert told(parametrization="normalized", **COUPLED) == []
    assert told(parametrization="mup", weight_decay=0.1) == []
    assert told(parametrization="mup", width=32, **COUPLED) == []


def test_custom_exponents_of_weight_decay_are_a_scaled_lambda() -> None:
    custom = {"parametrization": "custom", "custom.hidden.learning_rate": -1.0, **COUPLED}
    assert [keys[0] for keys, _ in told(**custom)] == ["weight_decay_convention"]
    assert told(**custom, **{"custom.hidden.weight_decay": 1.0}) == []


def test_tied_embeddings_cannot_have_two_learning_rates() -> None:
    ((keys, message),) = told(parametrization="mup", tied_embeddings=True)
    assert keys[0] == "tied_embeddings"
    assert "learning_rate (0.01 and 0.0025)" in message
    assert "epsilon (2.5e-09 and 1e-08)" in message
    assert told(parametrization="sp", tied_embeddings=True) == []
    ((_, spectral),) = told(parametrization="spectral", tied_embeddings=True)
    assert "learning_rate" in spectral
    assert "epsilon" not in spectral
    alike = {"custom.embedding.learning_rate": -1.0, "custom.readout.learning_rate": -1.0}
    assert told(parametrization="custom", tied_embeddings=True, **alike) == []


def test_a_timescale_needs_its_number_and_no_other() -> None:
    ((keys, message),) = told(weight_decay_rule="timescale")
    assert keys[0] == "weight_decay_timescale"
    assert "is missing" in message
    ((keys, message),) = told(
        weight_decay_rule="timescale", weight_decay_timescale=0.2, weight_decay=0.1
    )
    assert keys[0] == "weight_decay"
    assert "remove one of the two" in message


def test_heads_of_another_size_need_logits_divided_by_it() -> None:
    sizes = {"base_head_dim": 16, "head_dim": 32}
    for rule in ("mup", "spectral", "normalized", "completep"):
        ((keys, message),) = told(parametrization=rule, **sizes)
        assert keys == ("attention_scale", "base_head_dim", "head_dim")
        assert "use attention_scale linear" in message
    assert told(parametrization="mup", attention_scale="linear", **sizes) == []
    assert told(parametrization="sp", **sizes) == []
    assert told(parametrization="mup", base_head_dim=16, head_dim=16) == []


@pytest.mark.parametrize(("exponent", "right"), [(0.25, True), (0.5, True), (0.3, False)])
def test_newton_takes_roots_of_a_whole_order(exponent: float, right: bool) -> None:
    found = told(optimizer="shampoo", shampoo_root="newton", shampoo_exponent=exponent)
    assert [keys[0] for keys, _ in found] == ([] if right else ["shampoo_exponent"])
    assert right or "use 0.333333, or shampoo_root eigh" in found[0][1]
    assert told(optimizer="shampoo", shampoo_exponent=exponent) == []


def test_a_share_of_weight_decay_above_one_is_refused() -> None:
    for convention in ("independent", "constant"):
        ((keys, message),) = told(weight_decay=1.5, weight_decay_convention=convention)
        assert keys == ("weight_decay",)
        assert "takes 1.5 of each weight of embedding away in a step" in message
    assert told(weight_decay=1.5, weight_decay_convention="coupled") == []
    ((_, message),) = told(weight_decay=150, weight_decay_convention="coupled")
    assert "times the learning rate has to be at most 1" in message
    ((keys, _),) = told(weight_decay_rule="timescale", weight_decay_timescale=0.001)
    assert keys == ("weight_decay_timescale",)


def test_an_epsilon_that_a_rule_shrinks_to_zero_is_refused() -> None:
    shrunk = {"parametrization": "mup", "epsilon": 2.0**-126}
    ((keys, message),) = told(**shrunk)
    assert keys == ("epsilon", "parametrization")
    assert "makes epsilon 1.17549e-38 for embedding 2.939e-39, which float32" in message
    assert told(parametrization="mup", epsilon=2.0**-124) == []
    assert told(parametrization="sp", epsilon=2.0**-126) == []
    ((keys, _),) = told(optimizer="muon", **shrunk)
    assert keys == ("epsilon", "parametrization")


def test_the_mlp_has_the_same_conflicts() -> None:
    shared = {**BASE, "optimizer": "muon", "shape_factor": "mup"}
    problems = MLP.problems({**shared, "parametrization": "mup"})
    assert [problem.keys[0] for problem in problems] == ["shape_factor"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parametrization": "spectral"}, "keeps epsilon fixed"),
        ({"parametrization": "moonlight", "optimizer": "muon"}, "keeps epsilon fixed"),
        (
            {
                "parametrization": "mup",
                "weight_decay": 0.1,
                "weight_decay_rule": "inverse_learning_rate",
            },
            "lose more of a weight each step",
        ),
        ({"parametrization": "mup", "optimizer": "lamb"}, "use zero_init: false"),
        ({"optimizer": "muonclip"}, "never acts"),
        (
            {"parametrization": "mup", "optimizer": "soap", "max_preconditioner_dim": 100},
            "exceeds max_preconditioner_dim 100 here but not at the base",
        ),
    ],
)
def test_what_may_not_be_meant_is_warned_of(changes: dict[str, Any], words: str) -> None:
    warnings = LLAMA.resolve({**BASE, **changes}).derived["warnings"]
    assert any(words in warning for warning in warnings)


@pytest.mark.parametrize(
    "changes",
    [
        {"parametrization": "mup"},
        {"parametrization": "spectral", "width": 64},
        {"parametrization": "mup", "optimizer": "lamb", "zero_init": False},
        {"optimizer": "muonclip", "qk_clip_threshold": 3.0},
        {"optimizer": "muonclip", "qk_norm": False},
        {
            "parametrization": "mup",
            "weight_decay_rule": "inverse_learning_rate",
            **COUPLED,
        },
    ],
)
def test_nothing_is_warned_of_without_a_reason(changes: dict[str, Any]) -> None:
    assert LLAMA.resolve({**BASE, **changes}).derived["warnings"] == []
