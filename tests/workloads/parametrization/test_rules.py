"""Scaling rules against the paper's tables written out by hand, and against its derivation."""

from __future__ import annotations

from math import isclose, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from workloads.parametrization.roles import ROLES, Role
from workloads.parametrization.rules import (
    WEIGHT_DECAY_RULES,
    branch_multiplier,
    multipliers,
)

Matrix = NDArray[np.float64]

ROOT2, ROOT8 = 1.4142135623730951, 2.8284271247461903

# width ratio, then embedding, hidden, readout: tables A3 and A4 of the rules, as numbers
ADAMW_RATES = [(2, 1, 0.5, 0.5), (4, 1, 0.25, 0.25), (8, 1, 0.125, 0.125)]
ADAMW_EPSILONS = [(2, 0.5, 0.5, 1), (4, 0.25, 0.25, 1), (8, 0.125, 0.125, 1)]
MUON_RATES = [(2, ROOT2, 1, 1 / ROOT2), (4, 2, 1, 0.5), (8, ROOT8, 1, 1 / ROOT8)]
MUON_EPSILONS = [(2, 1 / ROOT2, 1, ROOT2), (4, 0.5, 1, 2), (8, 1 / ROOT8, 1, ROOT8)]
MUP_STDS = [(2, 1, 1 / ROOT2, 0.5), (4, 1, 0.5, 0.25), (8, 1, 1 / ROOT8, 0.125)]
SP_STDS = [(2, 1, 1 / ROOT2, 1 / ROOT2), (4, 1, 0.5, 0.5), (8, 1, 1 / ROOT8, 1 / ROOT8)]

MATRICES: tuple[Role, ...] = ("embedding", "hidden", "readout")


@pytest.mark.parametrize(
    ("parametrization", "optimizer", "field", "table"),
    [
        ("mup", "adamw", "learning_rate", ADAMW_RATES),
        ("mup", "adamw", "epsilon", ADAMW_EPSILONS),
        ("mup", "muon", "learning_rate", MUON_RATES),
        ("mup", "muon", "epsilon", MUON_EPSILONS),
        ("mup", "adamw", "init_std", MUP_STDS),
        ("mup", "muon", "init_std", MUP_STDS),
        ("sp", "adamw", "init_std", SP_STDS),
        ("sp", "muon", "init_std", SP_STDS),
    ],
)
def test_multipliers_are_those_of_the_table(
    parametrization: str, optimizer: str, field: str, table: list[tuple[float, ...]]
) -> None:
    for width_ratio, *expected in table:
        for role, value in zip(MATRICES, expected, strict=True):
            factors = multipliers(
                parametrization, optimizer=optimizer, role=role, width_ratio=width_ratio
            )
            assert isclose(getattr(factors, field), value, rel_tol=1e-12), (width_ratio, role)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("role", ROLES)
def test_the_standard_parametrization_leaves_rates_and_epsilons_alone(
    optimizer: str, role: Role
) -> None:
    factors = multipliers("sp", optimizer=optimizer, role=role, width_ratio=8, depth_ratio=4)
    assert (factors.learning_rate, factors.epsilon) == (1.0, 1.0)


@pytest.mark.parametrize("parametrization", ["sp", "mup"])
@pytest.mark.parametrize("role", ROLES)
def test_nothing_changes_at_the_base(parametrization: str, role: Role) -> None:
    factors = multipliers(parametrization, optimizer="muon", role=role, width_ratio=1.0)
    assert (factors.learning_rate, factors.epsilon, factors.init_std) == (1.0, 1.0, 1.0)


def test_a_gain_keeps_its_learning_rate_and_is_never_decayed() -> None:
    factors = multipliers("mup", optimizer="adamw", role="vector", width_ratio=4)
    assert factors.learning_rate == 1.0
    assert factors.epsilon == 0.25
    assert factors.weight_decay == 0.0


def test_depth_divides_the_epsilons_inside_the_blocks_and_the_branches() -> None:
    deep = {
        role: multipliers("mup", optimizer="adamw", role=role, width_ratio=1, depth_ratio=4)
        for role in ROLES
    }
    assert {role: factors.epsilon for role, factors in deep.items()} == {
        "embedding": 1.0,
        "hidden": 0.25,
        "readout": 1.0,
        "vector": 0.25,
    }
    assert all(factors.learning_rate == 1.0 for factors in deep.values())
    muon = multipliers("mup", optimizer="muon", role="hidden", width_ratio=2, depth_ratio=4)
    assert (muon.learning_rate, muon.epsilon) == (1.0, 0.25)
    assert branch_multiplier("mup", depth_ratio=4) == 0.25
    assert branch_multiplier("sp", depth_ratio=4) == 1.0


def _rank_one_gradient(fan_in: int, fan_out: int) -> Matrix:
    """Returns delta x^T with x of order 1 and delta of order 1/fan_out, [fan_out, fan_in]."""
    x = np.ones(fan_in) * np.resize([1.0, -1.0], fan_in)
    delta = np.ones(fan_out) * np.resize([1.0, 1.0, -1.0], fan_out) / fan_out
    gradient: Matrix = np.outer(delta, x)
    return gradient


def _update(optimizer: str, gradient: Matrix) -> Matrix:
    if optimizer == "adamw":
        signs: Matrix = np.sign(gradient)
        return signs
    u, _, v = np.linalg.svd(gradient, full_matrices=False)
    polar: Matrix = np.outer(u[:, 0], v[0])
    return polar


SIZES: list[tuple[Role, tuple[int, int], tuple[int, int]]] = [
    ("embedding", (10, 12), (10, 48)),
    ("hidden", (12, 12), (48, 48)),
    ("readout", (12, 10), (48, 10)),
]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(("role", "small", "large"), SIZES)
def test_learning_rates_keep_the_spectral_norm_of_a_step_in_proportion(
    optimizer: str, role: Role, small: tuple[int, int], large: tuple[int, int]
) -> None:
    """The paper's derivation: eta ||Q(G)||_2 goes as sqrt(d_out / d_in), computed here by SVD."""

    def needed_rate(fan_in: int, fan_out: int) -> float:
        step = _update(optimizer, _rank_one_gradient(fan_in, fan_out))
        return sqrt(fan_out / fan_in) / float(np.linalg.norm(step, 2))

    factors = multipliers("mup", optimizer=optimizer, role=role, width_ratio=4)
    assert isclose(factors.learning_rate, needed_rate(*large) / needed_rate(*small), rel_tol=1e-9)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(("role", "small", "large"), SIZES)
def test_epsilons_stay_in_proportion_to_what_they_are_added_to(
    optimizer: str, role: Role, small: tuple[int, int], large: tuple[int, int]
) -> None:
    def scale(fan_in: int, fan_out: int) -> float:
        gradient = _rank_one_gradient(fan_in, fan_out)
        if optimizer == "muon":
            return float(np.linalg.norm(gradient))
        return float(np.abs(gradient).mean())

    factors = multipliers("mup", optimizer=optimizer, role=role, width_ratio=4)
    assert isclose(factors.epsilon, scale(*large) / scale(*small), rel_tol=1e-9)


def test_the_weight_decay_rule_is_one_over_the_width_ratio() -> None:
    assert [WEIGHT_DECAY_RULES["inverse_width"](m) for m in (1, 2, 4, 8)] == [1, 0.5, 0.25, 0.125]
    assert WEIGHT_DECAY_RULES["none"](8) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parametrization": "ntk"}, "no parametrization named 'ntk'; known: sp, mup"),
        ({"optimizer": "lion"}, "no optimizer named 'lion'; known: adamw, muon"),
        ({"role": "bias"}, "no role named 'bias'; known: embedding, hidden, readout, vector"),
        ({"width_ratio": 0.0}, "width_ratio is 0.0; it has to be positive and finite"),
        ({"depth_ratio": float("nan")}, "depth_ratio is nan; it has to be positive and finite"),
    ],
)
def test_a_rule_that_does_not_exist_is_refused(arguments: dict[str, Any], message: str) -> None:
    full: dict[str, Any] = {
        "parametrization": "mup",
        "optimizer": "adamw",
        "role": "hidden",
        "width_ratio": 2.0,
    }
    with pytest.raises(ValueError, match=message):
        multipliers(**{**full, **arguments})
