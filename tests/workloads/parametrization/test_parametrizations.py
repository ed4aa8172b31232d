"""What each parametrization does differently from maximal updates, by hand."""

from __future__ import annotations

from math import isclose, sqrt
from typing import Any

import pytest
from sized_tensors import factors, tensor_of

from workloads.optimizers.spec import OPTIMIZERS
from workloads.parametrization.parametrizations import Scaling
from workloads.parametrization.roles import Role, TensorKind
from workloads.parametrization.rules import multipliers
from workloads.parametrization.updates import OptimizerTraits

MATRICES: tuple[Role, ...] = ("embedding", "hidden", "readout")

M = 4


def rates(parametrization: str, optimizer: str, **changes: Any) -> tuple[float, ...]:
    return tuple(
        factors(parametrization, optimizer, role, M, **changes).learning_rate for role in MATRICES
    )


def epsilons(parametrization: str, optimizer: str, **changes: Any) -> tuple[float, ...]:
    return tuple(
        factors(parametrization, optimizer, role, M, **changes).epsilons["epsilon"]
        for role in MATRICES
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_standard_and_the_normalized_leave_every_learning_rate_alone(optimizer: str) -> None:
    for parametrization in ("sp", "normalized"):
        assert rates(parametrization, optimizer, depth=3, exponent=0.5) == (1, 1, 1)


def test_the_normalized_has_the_epsilons_of_mup_and_the_standard_none() -> None:
    assert epsilons("normalized", "adamw", depth=3) == epsilons("mup", "adamw", depth=3)
    assert epsilons("sp", "adamw", depth=3) == (1, 1, 1)


@pytest.mark.parametrize(
    ("optimizer", "changes", "expected"),
    [
        ("sgd", {}, (4, 1, 1 / 4)),
        ("adamw", {}, (1, 1 / 4, 1 / 4)),
        ("adopt", {}, (1, 1 / 4, 1 / 4)),
        ("sophia", {}, (1, 1 / 4, 1 / 4)),
        ("lamb", {}, (1, 1, 1)),
        ("shampoo", {}, (2, 1, 1 / 2)),
        ("shampoo", {"block_size": 128}, (2, 1, 1 / 2)),
        ("shampoo", {"exponent": 0.5}, (1, 1, 1)),  # not the paper's: what its condition gives
        ("muon", {}, (2, 1, 1 / 2)),
        ("soap", {"block_size": 128}, (1, 1 / 4, 1 / 4)),
    ],
)
def test_the_spectral_has_the_published_rates_whatever_the_blocks(
    optimizer: str, changes: dict[str, Any], expected: tuple[float, ...]
) -> None:
    assert rates("spectral", optimizer, **changes) == expected


def test_the_spectral_scales_epsilons_with_the_depth_alone() -> None:
    assert epsilons("spectral", "adamw") == (1, 1, 1)
    assert epsilons("spectral", "adamw", depth=9, alpha=0.5) == (1, 1 / 3, 1)
    assert epsilons("spectral", "lamb", depth=9) == (1, 1 / 9, 1)
    assert rates("spectral", "adamw", depth=4, alpha=0.5) == (1, 1 / 8, 1 / 4)


def test_lamb_per_entry_goes_as_the_root_of_the_inputs() -> None:
    assert rates("spectral", "lamb", per_entry=True) == (1, 1 / 2, 1 / 2)


def test_moonlight_goes_as_the_root_of_the_longer_side_and_never_as_one_over_width() -> None:
    for optimizer in ("muon", "muonclip", "dion"):
        assert rates("moonlight", optimizer) == (sqrt(2), 2, sqrt(2))  # 512 over 256, 128
    for optimizer in ("adamw", "adamuon", "sgd"):
        assert rates("moonlight", optimizer) == (1, 1, 1)
    tall = TensorKind(
        key="hidden.mlp_in",
        role="hidden",
        fan_in=512,
        fan_out=2048,
        base_fan_in=128,
        base_fan_out=512,
        base_std=1.0,
    )
    scaling = Scaling(parametrization="moonlight", width_ratio=M)
    assert multipliers(scaling, OptimizerTraits(optimizer="muon"), tall).learning_rate == 2
    assert epsilons("moonlight", "muon") == (1, 1, 1)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_completep_is_mup_with_a_power_of_the_depth(alpha: float) -> None:
    N = 9
    inner = N ** (alpha - 1)
    expected = (1, inner / 4, 1 / 4)
    assert rates("completep", "adamw", depth=N, alpha=alpha) == pytest.approx(expected)
    assert epsilons("completep", "adamw", depth=N, alpha=alpha) == pytest.approx(
        (1 / 4, 1 / (4 * N**alpha), 1)
    )
    gain = factors("completep", "adamw", "vector", M, depth=N, alpha=alpha)
    assert isclose(gain.learning_rate, inner)
    sgd = factors("completep", "sgd", "hidden", M, depth=N, alpha=alpha)
    assert isclose(sgd.learning_rate, N ** (2 * alpha - 1))  # unchanged for alpha = 1/2
    scaling = Scaling(parametrization="completep", depth_ratio=N, depth_alpha=alpha)
    assert isclose(scaling.branch_multiplier, N**-alpha)


def test_only_rules_over_depth_divide_the_branches() -> None:
    found = {
        name: Scaling(parametrization=name, depth_ratio=4).branch_multiplier
        for name in ("sp", "mup", "spectral", "normalized", "moonlight", "completep", "ntk")
    }
    assert found == {
        "sp": 1,
        "mup": 1 / 4,
        "spectral": 1 / 4,
        "normalized": 1 / 4,
        "moonlight": 1,
        "completep": 1 / 4,
        "ntk": 1,
    }


# table 1 of arXiv 2407.05872, full alignment: a of the forward multiplier m^-a, c of the learning
# rate m^-c and the gradient's exponent, for embedding, hidden and readout; without the forward
# multiplier they are c + a for Adam, c + 2a for SGD, and the gradient's less a
EVERETT: dict[str, dict[str, tuple[float, float, float]]] = {
    "ntk": {"a": (0, 0.5, 0.5), "adam": (0, 0.5, 0.5), "sgd": (-0.5, -0.5, 0)},
    "mean_field": {"a": (0, 0.5, 1), "adam": (0, 0.5, 0), "sgd": (-1, -1, -1)},
}
GRADIENTS = {"ntk": (0.5, 1, 0.5), "mean_field": (1, 1.5, 1)}


@pytest.mark.parametrize("parametrization", EVERETT)
def test_rules_with_forward_multipliers_are_written_without_them(parametrization: str) -> None:
    exponents = EVERETT[parametrization]
    for place, role in enumerate(MATRICES):
        a = exponents["a"][place]
        adam = factors(parametrization, "adamw", role, M)
        assert isclose(adam.learning_rate, M ** -(exponents["adam"][place] + a)), role
        sgd = factors(parametrization, "sgd", role, M)
        assert isclose(sgd.learning_rate, M ** -(exponents["sgd"][place] + 2 * a)), role
        assert isclose(adam.epsilons["epsilon"], M ** -(GRADIENTS[parametrization][place] - a))
        assert isclose(adam.init_std, M**-a), role


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_mean_field_without_forward_multipliers_is_mup(optimizer: str) -> None:
    for role in MATRICES:
        assert factors("mean_field", optimizer, role, M) == factors("mup", optimizer, role, M)


def test_custom_exponents_are_powers_of_the_width_for_every_epsilon() -> None:
    scaling = Scaling(
        parametrization="custom",
        width_ratio=M,
        custom=(
            ("hidden.learning_rate", -1.0),
            ("hidden.epsilon", 0.5),
            ("hidden.init", -0.5),
            ("hidden.weight_decay", 1.0),
            ("readout.learning_rate", -2.0),
        ),
    )
    hidden = multipliers(scaling, OptimizerTraits(optimizer="soap"), tensor_of("hidden", M * 128))
    assert (hidden.learning_rate, hidden.init_std, hidden.weight_decay) == (1 / 4, 1 / 2, 4)
    assert hidden.epsilons == {"epsilon": 2, "basis_epsilon": 2}
    readout = multipliers(
        scaling, OptimizerTraits(optimizer="adamw"), tensor_of("readout", M * 128)
    )
    assert (readout.learning_rate, readout.init_std) == (1 / 16, 1)
