"""Parameter groups as absolute numbers."""

from __future__ import annotations

from math import isclose
from typing import Any

import pytest

from workloads.llama.card import LLAMA

BASE: dict[str, Any] = {"width": 128, "base_width": 32, "steps": 10, "learning_rate": 0.01}


def groups(**settings: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = LLAMA.resolve({**BASE, **settings}).derived["groups"]
    return found


def test_sp_adamw_has_one_learning_rate_everywhere() -> None:
    found = groups(optimizer="adamw", parametrization="sp", norm_gain=True)
    assert list(found) == ["embedding", "hidden", "readout", "vector"]
    assert {group["learning_rate"] for group in found.values()} == {0.01}
    assert {group["epsilon"] for group in found.values()} == {1e-8}
    assert {group["optimizer"] for group in found.values()} == {"adamw"}


def test_mup_adamw_divides_hidden_and_readout_by_the_width_ratio() -> None:
    found = groups(optimizer="adamw", parametrization="mup")
    rates = {role: group["learning_rate"] for role, group in found.items()}
    assert rates == {"embedding": 0.01, "hidden": 0.0025, "readout": 0.0025}
    epsilons = {role: group["epsilon"] for role, group in found.items()}
    assert epsilons == {"embedding": 2.5e-9, "hidden": 2.5e-9, "readout": 1e-8}


def test_mup_muon_scales_the_readout_alone_and_drives_the_rest_at_its_share() -> None:
    found = groups(
        optimizer="muon",
        parametrization="mup",
        norm_gain=True,
        others_learning_rate_ratio=0.5,
        muon_epsilon=1e-6,
    )
    assert found["hidden"]["optimizer"] == "muon"
    assert (found["hidden"]["learning_rate"], found["hidden"]["epsilon"]) == (0.01, 1e-6)
    assert found["embedding"]["optimizer"] == "adamw"
    assert found["embedding"]["learning_rate"] == 0.005
    assert found["readout"]["learning_rate"] == 0.00125
    assert found["vector"]["learning_rate"] == 0.005
    assert found["readout"]["epsilon"] == 1e-8


def test_weight_decay_spares_gains_and_goes_as_inverse_width_when_asked() -> None:
    flat = groups(weight_decay=0.004, norm_gain=True)
    assert {role: group["weight_decay"] for role, group in flat.items()} == {
        "embedding": 0.004,
        "hidden": 0.004,
        "readout": 0.004,
        "vector": 0.0,
    }
    ruled = groups(weight_decay=0.004, weight_decay_rule="inverse_width")
    assert {group["weight_decay"] for group in ruled.values()} == {0.001}


@pytest.mark.parametrize(
    ("parametrization", "readout"), [("sp", 128**-0.5), ("mup", 32**-0.5 / 4)]
)
def test_initial_spreads_are_those_of_the_fan_in(parametrization: str, readout: float) -> None:
    found = groups(parametrization=parametrization, zero_init=False, norm_gain=True)
    assert found["embedding"]["init_std"] == 0.1
    assert isclose(found["hidden"]["init_std"], 128**-0.5)
    assert isclose(found["readout"]["init_std"], readout)
    assert found["vector"]["init_std"] == 0.0


def test_a_zero_initialised_readout_has_no_spread() -> None:
    assert groups(parametrization="mup")["readout"]["init_std"] == 0.0


def test_a_leaf_has_a_group_of_its_own_only_where_it_differs() -> None:
    plain = groups(optimizer="shampoo", parametrization="mup")
    assert list(plain) == ["embedding", "hidden", "readout"]
    blocked = groups(optimizer="shampoo", parametrization="mup", block_size=64)
    assert list(blocked) == ["embedding", "hidden", "hidden.mlp_in", "hidden.mlp_out", "readout"]
    assert isclose(blocked["hidden"]["learning_rate"], 0.01 / 2)  # 2 x 2 blocks, 1 at the base
    assert isclose(blocked["hidden.mlp_in"]["learning_rate"], 0.01 / 8**0.5)  # 8 x 2, 2 x 1
    assert groups(optimizer="shampoo", parametrization="sp", block_size=64).keys() == plain.keys()


def test_heads_on_their_own_do_not_grow() -> None:
    found = groups(optimizer="muon", parametrization="mup", qkv="per_head")
    assert found["hidden"]["learning_rate"] == 0.01
    assert found["hidden.qkv"]["learning_rate"] == 0.005  # sqrt(1 / 4)
    assert found["hidden.qkv"]["epsilon"] == 2e-7
    assert "hidden.qkv" not in groups(optimizer="muon", parametrization="mup", qkv="fused")


def test_learned_positions_have_a_group_where_their_number_matters() -> None:
    same = groups(parametrization="mup", positions="learned")
    assert "embedding.position" not in same
    one_sided = {"optimizer": "shampoo", "others": "shampoo", "max_preconditioner_dim": 200}
    long = groups(parametrization="mup", positions="learned", context=256, **one_sided)
    assert "embedding.position" not in long  # 256 positions, as many as tokens
    short = groups(parametrization="mup", positions="learned", context=64, **one_sided)
    assert isclose(short["embedding"]["learning_rate"], 0.01 * 4**0.75)
    assert isclose(short["embedding.position"]["learning_rate"], 0.02)


def test_groups_hold_every_epsilon_of_their_optimizer() -> None:
    shampoo = groups(optimizer="shampoo", parametrization="mup", graft="adam")["hidden"]
    assert shampoo.keys() >= {"epsilon", "graft_epsilon", "adam_epsilon"}
    assert shampoo["adam_epsilon"] == 2.5e-9
    ungrafted = groups(optimizer="shampoo", parametrization="mup")["hidden"]
    assert not ungrafted.keys() & {"graft_epsilon", "adam_epsilon"}
    sgd = groups(optimizer="shampoo", parametrization="mup", graft="sgd")["hidden"]
    assert "adam_epsilon" not in sgd
    assert "basis_epsilon" in groups(optimizer="soap")["hidden"]
    assert "norm_epsilon" in groups(optimizer="adamuon")["hidden"]
    assert groups(optimizer="sgd")["hidden"]["epsilon"] == 0.0


def test_weight_decay_is_stored_as_the_share_whatever_the_convention() -> None:
    coupled = groups(
        optimizer="adamw",
        parametrization="mup",
        weight_decay=0.1,
        weight_decay_convention="coupled",
        weight_decay_rule="inverse_learning_rate",
    )
    assert {role: group["weight_decay"] for role, group in coupled.items()} == {
        "embedding": pytest.approx(0.001),
        "hidden": pytest.approx(0.001),
        "readout": pytest.approx(0.001),
    }
    ruled = groups(
        parametrization="mup",
        weight_decay=0.1,
        weight_decay_convention="coupled",
        weight_decay_rule="inverse_width",
    )
    assert ruled["embedding"]["weight_decay"] == pytest.approx(0.01 * 0.1 / 4)
    assert ruled["hidden"]["weight_decay"] == pytest.approx(0.01 * 0.1 / 16)


def test_a_timescale_is_a_share_of_the_steps_and_spares_gains() -> None:
    found = groups(
        weight_decay_rule="timescale",
        weight_decay_timescale=0.5,
        parametrization="mup",
        norm_gain=True,
    )
    assert found["hidden"]["weight_decay"] == 1 / (0.5 * 10)
    assert found["vector"]["weight_decay"] == 0.0


def test_custom_exponents_reach_the_groups() -> None:
    exponents = {"custom.hidden.learning_rate": -1, "custom.readout.weight_decay": -0.5}
    found = groups(parametrization="custom", weight_decay=0.1, zero_init=False, **exponents)
    assert found["hidden"]["learning_rate"] == 0.0025
    assert found["readout"]["weight_decay"] == 0.05
    assert isclose(found["readout"]["init_std"], 128**-0.5)
