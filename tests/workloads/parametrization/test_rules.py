"""Factors of the rules against the papers' tables, written out by hand as numbers."""

from __future__ import annotations

from math import isclose
from typing import Any

import pytest
from sized_tensors import factors, tensor_of

from workloads.optimizers.spec import OPTIMIZERS
from workloads.parametrization.parametrizations import PARAMETRIZATIONS, Scaling
from workloads.parametrization.roles import ROLES, Role
from workloads.parametrization.rules import rule_of
from workloads.parametrization.updates import OptimizerTraits

ROOT2, ROOT8 = 1.4142135623730951, 2.8284271247461903

Row = tuple[float, float, float]
Table = dict[int, Row]
"""Embedding, hidden and readout by width ratio."""

MATRICES: tuple[Role, ...] = ("embedding", "hidden", "readout")

SGD: Table = {2: (2, 1, 1 / 2), 4: (4, 1, 1 / 4), 8: (8, 1, 1 / 8)}
ADAM: Table = {2: (1, 1 / 2, 1 / 2), 4: (1, 1 / 4, 1 / 4), 8: (1, 1 / 8, 1 / 8)}
NORM_ONE: Table = {2: (ROOT2, 1, 1 / ROOT2), 4: (2, 1, 1 / 2), 8: (ROOT8, 1, 1 / ROOT8)}
FLAT: Table = {2: (1, 1, 1), 4: (1, 1, 1), 8: (1, 1, 1)}
HALF_BLOCKED: Table = {
    2: (1 / 2, 1 / 4, 1 / 2),
    4: (1 / 4, 1 / 16, 1 / 4),
    8: (1 / 8, 1 / 64, 1 / 8),
}
LAMB: Table = {2: (1, 1 / ROOT2, 1), 4: (1, 1 / 2, 1), 8: (1, 1 / ROOT8, 1)}

BLOCKED = {"block_size": 128}

RATES: list[tuple[str, dict[str, Any], Table]] = [
    ("sgd", {}, SGD),
    ("adamw", {}, ADAM),
    ("adopt", {}, ADAM),
    ("sophia", {}, ADAM),
    ("adamuon", {}, ADAM),
    ("adamuon", {"sign": True}, ADAM),
    ("lamb", {}, LAMB),
    ("muon", {}, NORM_ONE),
    ("muonclip", {}, NORM_ONE),
    ("dion", {}, NORM_ONE),
    ("shampoo", {}, NORM_ONE),
    ("shampoo", BLOCKED, ADAM),
    ("shampoo", {"exponent": 0.5}, FLAT),
    ("shampoo", {"exponent": 0.5, **BLOCKED}, HALF_BLOCKED),
    ("shampoo", {"graft": "adam"}, ADAM),
    ("shampoo", {"graft": "adam", **BLOCKED}, ADAM),
    ("shampoo", {"graft": "rmsprop", "exponent": 0.5}, ADAM),
    ("shampoo", {"graft": "sgd", "exponent": 0.5, **BLOCKED}, SGD),
    ("soap", {}, NORM_ONE),
    ("soap", BLOCKED, ADAM),
]


@pytest.mark.parametrize(("optimizer", "traits", "table"), RATES)
def test_learning_rates_of_mup_are_those_of_the_table(
    optimizer: str, traits: dict[str, Any], table: Table
) -> None:
    for m, row in table.items():
        for role, value in zip(MATRICES, row, strict=True):
            found = factors("mup", optimizer, role, m, **traits).learning_rate
            assert isclose(found, value, rel_tol=1e-12), (m, role)


# a vocabulary beyond max_preconditioner_dim: embedding and readout have one preconditioner each
ONE_SIDED: list[tuple[str, dict[str, Any], dict[int, tuple[float, float]]]] = [
    (
        "shampoo",
        {},
        {
            2: (1.681792830507429, 0.5946035575013605),
            4: (2.8284271247461903, 0.35355339059327373),
            8: (4.756828460010884, 0.21022410381342863),
        },
    ),
    ("shampoo", BLOCKED, {2: (ROOT2, 1 / 2), 4: (2, 1 / 4), 8: (ROOT8, 1 / 8)}),
    ("shampoo", {"exponent": 0.5}, {2: (ROOT2, 1 / ROOT2), 4: (2, 1 / 2), 8: (ROOT8, 1 / ROOT8)}),
    ("shampoo", {"exponent": 0.5, **BLOCKED}, {2: (1, 1 / 2), 4: (1, 1 / 4), 8: (1, 1 / 8)}),
    ("soap", {}, {2: (ROOT2, 1 / ROOT2), 4: (2, 1 / 2), 8: (ROOT8, 1 / ROOT8)}),
    ("soap", BLOCKED, {2: (1, 1 / 2), 4: (1, 1 / 4), 8: (1, 1 / 8)}),
]


@pytest.mark.parametrize(("optimizer", "traits", "table"), ONE_SIDED)
def test_a_side_too_long_for_a_preconditioner_has_the_one_sided_rule(
    optimizer: str, traits: dict[str, Any], table: dict[int, tuple[float, float]]
) -> None:
    for m, (embedding, readout) in table.items():
        rows: tuple[tuple[Role, float], ...] = (("embedding", embedding), ("readout", readout))
        for role, value in rows:
            found = factors("mup", optimizer, role, m, vocabulary=20_000, **traits)
            assert isclose(found.learning_rate, value, rel_tol=1e-12), (m, role)


def test_one_sided_hidden_matrices_and_ragged_blocks_count_as_they_are() -> None:
    shampoo = factors("mup", "shampoo", "hidden", 8, sides="output", **BLOCKED)
    assert isclose(shampoo.learning_rate, 64**-0.25)  # E = 1/4, 8 x 8 blocks
    soap = factors("mup", "soap", "hidden", 8, sides="output", **BLOCKED)
    assert isclose(soap.learning_rate, 1 / 8)  # sqrt(8 / 8) / 8
    assert isclose(factors("mup", "soap", "hidden", 8, sides="input").learning_rate, 8**-0.5)
    ragged = factors("mup", "shampoo", "hidden", 1000 / 128, **BLOCKED)
    assert isclose(ragged.learning_rate, 1 / 8)  # 8 blocks a side, the last one smaller
    coarse = factors("mup", "shampoo", "hidden", 4, block_size=256)
    assert isclose(coarse.learning_rate, 1 / 2)  # one block at the base, 2 x 2 here
    unconditioned = factors("mup", "soap", "hidden", 8, max_dim=100)
    assert isclose(unconditioned.learning_rate, 1 / 8)


N = 3
EPSILONS: list[tuple[str, dict[str, Any], str, Table]] = [
    ("adamw", {}, "epsilon", {4: (1 / 4, 1 / 12, 1), 8: (1 / 8, 1 / 24, 1)}),
    ("adopt", {}, "epsilon", {4: (1 / 4, 1 / 12, 1)}),
    ("lamb", {}, "epsilon", {4: (1 / 4, 1 / 12, 1)}),
    ("sophia", {}, "epsilon", {4: (1 / 16, 1 / 144, 1)}),
    ("muon", {}, "epsilon", {4: (1 / 2, 1 / 3, 2), 8: (1 / ROOT8, 1 / 3, ROOT8)}),
    ("dion", {}, "epsilon", {4: (1 / 2, 1 / 3, 2)}),
    ("adamuon", {}, "epsilon", {4: (1 / 2, 1 / 4, 1 / 2), 8: (1 / ROOT8, 1 / 8, 1 / ROOT8)}),
    ("adamuon", {}, "norm_epsilon", {4: (1 / 2, 1 / 3, 2)}),
    ("adamuon", {"sign": True}, "norm_epsilon", {4: (2, 4, 2)}),
    ("shampoo", {}, "epsilon", {4: (1, 1, 1)}),
    ("shampoo", {"relative": False}, "epsilon", {4: (1 / 4, 1 / 9, 4)}),
    ("shampoo", {"relative": False, **BLOCKED}, "epsilon", {4: (1 / 16, 1 / 144, 1)}),
    ("shampoo", {"graft": "adam"}, "adam_epsilon", {4: (1 / 4, 1 / 12, 1)}),
    ("shampoo", {"graft": "adam"}, "graft_epsilon", {4: (1, 1, 1)}),
    ("shampoo", {"graft": "adam", **BLOCKED}, "graft_epsilon", {4: (2, 4, 2)}),
    (
        "shampoo",
        {"graft": "adam", "graft_per": "block", **BLOCKED},
        "graft_epsilon",
        {4: (1, 1, 1)},
    ),
    ("shampoo", {"graft": "sgd", "exponent": 0.5}, "graft_epsilon", {4: (2, 3, 1 / 2)}),
    ("soap", {}, "epsilon", {4: (1 / 2, 1 / 3, 2)}),
    ("soap", BLOCKED, "epsilon", {4: (1 / 4, 1 / 12, 1)}),
    ("soap", {"sides": "input"}, "epsilon", {4: (1 / 4, 1 / 6, 2)}),
    ("soap", {"sides": "output"}, "epsilon", {4: (1 / 2, 1 / 6, 1)}),
    ("soap", {}, "basis_epsilon", {4: (1 / 4, 1 / 9, 4)}),
    ("soap", BLOCKED, "basis_epsilon", {4: (1 / 16, 1 / 144, 1)}),
]


@pytest.mark.parametrize(("optimizer", "traits", "name", "table"), EPSILONS)
def test_epsilons_of_mup_are_those_of_the_table(
    optimizer: str, traits: dict[str, Any], name: str, table: Table
) -> None:
    for m, row in table.items():
        for role, value in zip(MATRICES, row, strict=True):
            found = factors("mup", optimizer, role, m, depth=N, **traits).epsilons[name]
            assert isclose(found, value, rel_tol=1e-12), (m, role)


def test_learning_rates_go_with_the_depth_where_an_update_goes_with_its_gradient() -> None:
    def rate(optimizer: str, **traits: Any) -> float:
        return factors("mup", optimizer, "hidden", 4, depth=N, **traits).learning_rate

    assert rate("sgd") == N
    assert rate("adamw") == 1 / 4
    assert rate("muon") == rate("shampoo") == 1
    assert isclose(rate("shampoo", exponent=0.5), 1 / N)
    assert rate("shampoo", exponent=0.5, sides="input") == 1
    assert isclose(rate("shampoo", exponent=0.25, sides="input"), N**0.5)


def test_square_matrices_have_a_factor_of_exactly_one() -> None:
    for m in (3, 1.7, 8, 11):
        for optimizer in ("sgd", "muon", "shampoo", "soap"):
            assert factors("mup", optimizer, "hidden", m).learning_rate == 1.0


STDS = {
    "sp": (1, 1 / 2, 1 / 2),
    "moonlight": (1, 1 / 2, 1 / 2),
    "ntk": (1, 1 / 2, 1 / 2),
    "mup": (1, 1 / 2, 1 / 4),
    "spectral": (1, 1 / 2, 1 / 4),
    "normalized": (1, 1 / 2, 1 / 4),
    "completep": (1, 1 / 2, 1 / 4),
    "mean_field": (1, 1 / 2, 1 / 4),
}


@pytest.mark.parametrize("parametrization", STDS)
def test_initial_spreads_go_with_the_inputs(parametrization: str) -> None:
    found = tuple(factors(parametrization, "adamw", role, 4).init_std for role in MATRICES)
    assert found == STDS[parametrization]


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nothing_changes_at_the_base(parametrization: str, optimizer: str) -> None:
    for role in ROLES:
        found = factors(parametrization, optimizer, role, 1, graft="adam", **BLOCKED)
        assert {found.learning_rate, found.init_std, *found.epsilons.values()} == {1.0}
        assert found.weight_decay == (0.0 if role == "vector" else 1.0)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_every_rule_prints_as_formulas(parametrization: str) -> None:
    for optimizer in OPTIMIZERS:
        rule = rule_of(
            Scaling(parametrization=parametrization),
            OptimizerTraits(optimizer=optimizer),
            tensor_of("hidden", 256),
        )
        assert str(rule).startswith("learning_rate ")
        assert list(rule.formulas) == ["learning_rate", *rule.epsilons, "weight_decay", "init_std"]
        assert all(rule.formulas.values())
    assert PARAMETRIZATIONS[parametrization].source in repr(PARAMETRIZATIONS[parametrization])


def test_formulas_read_as_in_the_paper() -> None:
    def printed(optimizer: str, **traits: Any) -> dict[str, str]:
        scaling, tensor = Scaling(parametrization="mup"), tensor_of("readout", 256)
        return rule_of(scaling, OptimizerTraits(optimizer=optimizer, **traits), tensor).formulas

    assert printed("adamw") == {
        "learning_rate": "1 / r_in",
        "epsilon": "gamma / r_out",
        "weight_decay": "1",
        "init_std": "1 / r_in",
    }
    assert printed("muon")["learning_rate"] == "r_out^(1/2) / r_in^(1/2)"
    assert printed("sgd")["learning_rate"] == "r_out / (gamma r_in)"
    shampoo = printed("shampoo", exponent=0.125)
    assert shampoo["learning_rate"] == (
        "r_out^(3/4) / (gamma^(1/2) r_in^(3/4) n_out^(1/4) n_in^(1/4))"
    )


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"parametrization": "mu"}, "no parametrization named 'mu'; known: sp, mup, spectral"),
        ({"width_ratio": 0.0}, "width_ratio is 0.0; it has to be positive and finite"),
        ({"depth_ratio": float("nan")}, "depth_ratio is nan; it has to be positive and finite"),
    ],
)
def test_a_scaling_that_does_not_exist_is_refused(scaling: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scaling(**{"parametrization": "mup", **scaling})


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="no optimizer named 'lion'; known: sgd, adamw"):
        factors("mup", "lion", "hidden", 2)
