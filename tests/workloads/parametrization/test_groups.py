"""Parameter groups as absolute numbers."""

from __future__ import annotations

from math import isclose
from typing import Any

import pytest

from workloads.cards import LLAMA

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
