"""From resolved configs to optimizers: every setting arrives where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from matrix_cases import copied, draws
from torch import Tensor

from workloads.llama.card import LLAMA
from workloads.optimizers.adamuon import AdaMuon
from workloads.optimizers.adamw import Adam, FusedAdamW
from workloads.optimizers.adopt import Adopt
from workloads.optimizers.algorithm import Algorithm
from workloads.optimizers.blocked import Blocked
from workloads.optimizers.dion import Dion
from workloads.optimizers.factory import build
from workloads.optimizers.grafted import Grafted
from workloads.optimizers.lamb import Lamb
from workloads.optimizers.layout import Unit
from workloads.optimizers.muon import Muon
from workloads.optimizers.optimizer import Group, Optimizer
from workloads.optimizers.sgd import SGD
from workloads.optimizers.shampoo import Shampoo
from workloads.optimizers.soap import Soap
from workloads.optimizers.sophia import Sophia
from workloads.optimizers.spec import OPTIMIZERS, SPECS
from workloads.optimizers.spectral import RootMeanSquare, Spectral
from workloads.workload import Resolved

SHAPES: dict[str, tuple[int, ...]] = {
    "embedding": (10, 8),
    "query": (8, 8),
    "up": (16, 8),
    "gain": (8,),
    "readout": (10, 8),
}
UNITS = {
    "embedding": [Unit(names=("embedding",), turned=True)],
    "hidden": [Unit(names=("query",)), Unit(names=("up",))],
    "vector": [Unit(names=("gain",))],
    "readout": [Unit(names=("readout",))],
}
CUBIC = [
    (3.3656576 / 1.25, -3.3420992 / 1.25**3, 0.0),
    (2.5744352 / 1.25, -1.4957376 / 1.25**3, 0.0),
    (2.5368962 / 1.25, -1.4312570 / 1.25**3, 0.0),
]

# Settings that are not the defaults, and the algorithm that they describe.
CASES: dict[str, tuple[dict[str, Any], Callable[[], Algorithm]]] = {
    "sgd": ({"sgd_momentum": 0.7}, lambda: SGD(momentum=0.7)),
    "adopt": (
        {"adopt_beta1": 0.7, "adopt_beta2": 0.8, "adopt_epsilon": 0.1},
        lambda: Adopt(beta1=0.7, beta2=0.8),
    ),
    "lamb": (
        {"lamb_beta1": 0.7, "lamb_beta2": 0.8, "lamb_epsilon": 0.1},
        lambda: Lamb(beta1=0.7, beta2=0.8),
    ),
    "sophia": (
        {
            "sophia_beta1": 0.7,
            "sophia_beta2": 0.8,
            "sophia_rho": 0.01,
            "sophia_frequency": 2,
            "sophia_epsilon": 0.1,
        },
        lambda: Sophia(beta1=0.7, beta2=0.8, rho=0.01, frequency=2, batch_tokens=64 * 4),
    ),
    "muon": (
        {
            "momentum": 0.7,
            "nesterov": False,
            "newton_schulz": "cubic",
            "newton_schulz_steps": 3,
            "newton_schulz_margin": 1.25,
            "muon_epsilon": 0.1,
            "shape_factor": "keller_jordan",
        },
        lambda: Muon(
            momentum=0.7,
            nesterov=False,
            coefficients=CUBIC,
            margin=1.25,
            shape_factor="keller_jordan",
        ),
    ),
    "muonclip": (
        {
            "momentum": 0.7,
            "newton_schulz": "cubic",
            "newton_schulz_steps": 3,
            "newton_schulz_margin": 1.25,
            "others": "muon",
        },
        lambda: Muon(momentum=0.7, nesterov=False, coefficients=CUBIC, margin=1.25),
    ),
    "adamuon": (
        {
            "momentum": 0.7,
            "nesterov": False,
            "newton_schulz": "cubic",
            "newton_schulz_steps": 3,
            "newton_schulz_margin": 1.25,
            "muon_epsilon": 0.1,
            "adamuon_beta2": 0.8,
            "adamuon_epsilon": 0.2,
            "adamuon_sign": True,
            "adamuon_rms_align": True,
        },
        lambda: AdaMuon(
            momentum=0.7,
            nesterov=False,
            coefficients=CUBIC,
            margin=1.25,
            beta2=0.8,
            sign=True,
            rms_align=True,
        ),
    ),
    "shampoo": (
        {
            "shampoo_beta1": 0.7,
            "shampoo_beta2": 0.8,
            "shampoo_exponent": 0.5,
            "preconditioner_sides": "output",
            "max_preconditioner_dim": 12,
            "preconditioner_frequency": 2,
            "shampoo_ridge": "absolute",
            "shampoo_epsilon": 0.1,
            "shampoo_root": "eigh",
            "block_size": 6,
            "graft": "adam",
            "graft_per": "block",
            "graft_start": 2,
            "graft_epsilon": 0.3,
            "epsilon": 0.2,
        },
        lambda: Blocked(
            Grafted(
                Shampoo(
                    beta1=0.7,
                    beta2=0.8,
                    exponent=0.5,
                    sides="output",
                    max_dim=12,
                    frequency=2,
                    relative=False,
                    root="eigh",
                    start=2,
                ),
                Adam(beta1=0.7, beta2=0.8),
                start=2,
            ),
            size=6,
            max_dim=12,
        ),
    ),
    "soap": (
        {
            "soap_beta1": 0.7,
            "soap_beta2": 0.8,
            "preconditioner_sides": "input",
            "max_preconditioner_dim": 12,
            "preconditioner_frequency": 2,
            "soap_eigh_steps": 1,
            "soap_epsilon": 0.1,
            "soap_basis_epsilon": 0.2,
        },
        lambda: Soap(beta1=0.7, beta2=0.8, sides="input", max_dim=12, frequency=2, eigh_steps=1),
    ),
    "dion": (
        {"dion_momentum": 0.7, "dion_rank": 0.5, "dion_epsilon": 0.1, "shape_factor": "mup"},
        lambda: Dion(momentum=0.7, rank=0.5, shape_factor="mup"),
    ),
}


def resolved(**config: Any) -> Resolved:
    settings = {
        "width": 32,
        "steps": 10,
        "context": 64,
        "batch_size": 4,
        "norm_gain": True,
        "learning_rate": 0.1,
        "weight_decay": 0.02,
    }
    return LLAMA.resolve({**settings, **config})


def tensors(steps: int = 1, members: int = 1) -> list[dict[str, Tensor]]:
    return list(draws(61, members, steps=steps, dtype=torch.float32, shapes=SHAPES))


def by_hand(plan: Resolved, algorithm: Algorithm, start: dict[str, Tensor]) -> Optimizer:
    """Returns the optimizer of the hidden matrices over given parameters."""
    settings = plan.derived["groups"]["hidden"]
    group = Group(
        units=tuple(UNITS["hidden"]),
        learning_rates=(0.1,),
        weight_decays=(0.02,),
        epsilons={
            name: (plan.config[setting],)
            for name, setting in SPECS[settings["optimizer"]].epsilons.items()
            if setting in plan.config
        },
    )
    return Optimizer(start, group, algorithm)


def test_every_optimizer_has_a_case() -> None:
    assert set(OPTIMIZERS) == {*CASES, "adamw"}


@pytest.mark.parametrize("name", CASES)
def test_every_setting_reaches_the_algorithm(name: str) -> None:
    config, algorithm = CASES[name]
    plan = resolved(optimizer=name, **config)
    assert config.items() <= plan.config.items()
    start, *gradients = tensors(6)
    built, made = copied(start), copied(start)
    _, hidden, *_ = build(built, UNITS, [plan])
    reference = by_hand(plan, algorithm(), made)
    for step, each in enumerate(gradients, start=1):
        assert hidden.wants_curvature(step) == reference.wants_curvature(step)
        hidden.step(copied(each), scale=0.5, step=step, curvature=copied(each))
        reference.step(copied(each), scale=0.5, step=step, curvature=copied(each))
    for unit in UNITS["hidden"]:
        assert torch.equal(built[unit.names[0]], made[unit.names[0]])
        assert not torch.equal(built[unit.names[0]], start[unit.names[0]])


def test_adamw_is_the_fused_one_with_its_settings() -> None:
    plan = resolved(optimizer="adamw", beta1=0.7, beta2=0.8, epsilon=0.1)
    start, *gradients = tensors(6)
    built, made = copied(start), copied(start)
    optimizers = build(built, UNITS, [plan])
    assert all(isinstance(each, FusedAdamW) for each in optimizers)
    reference = by_hand(plan, Adam(beta1=0.7, beta2=0.8), made)
    for step, each in enumerate(gradients, start=1):
        optimizers[1].step(copied(each), scale=0.5, step=step)
        reference.step(copied(each), scale=0.5, step=step)
    for name in ("query", "up"):
        torch.testing.assert_close(built[name], made[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("others", ["auto", "soap"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_role_moves_and_no_two_tensors_share_a_key_of_state(name: str, others: str) -> None:
    plan = resolved(optimizer=name, others=others)
    start, *gradients = tensors(3, members=2)
    parameters = copied(start)
    optimizers = build(parameters, UNITS, [plan, plan])
    assert len(optimizers) == 4
    keys = [key for each in optimizers for key in each.state(0)]
    assert len(keys) == len(set(keys))
    for step, each in enumerate(gradients, start=1):
        for optimizer in optimizers:
            optimizer.step(copied(each), scale=1.0, step=step, curvature=copied(each))
    assert not any(torch.equal(parameters[n], weight) for n, weight in start.items())
    assert all(weight.isfinite().all() for weight in parameters.values())


def test_members_have_the_settings_of_their_own_plans() -> None:
    plans = [
        resolved(optimizer="muon", learning_rate=rate, weight_decay=decay, muon_epsilon=epsilon)
        for rate, decay, epsilon in ((0.1, 0.0, 1e-7), (0.2, 0.05, 0.5))
    ]
    start, gradient = tensors(2, members=2)
    packed = copied(start)
    for optimizer in build(packed, UNITS, plans):
        optimizer.step(copied(gradient), scale=1.0, step=1)
    for i, plan in enumerate(plans):
        alone = {name: value[i : i + 1].clone() for name, value in start.items()}
        mine = {name: value[i : i + 1] for name, value in gradient.items()}
        for optimizer in build(alone, UNITS, [plan]):
            optimizer.step(copied(mine), scale=1.0, step=1)
        assert all(torch.equal(packed[name][i], weight[0]) for name, weight in alone.items())


def test_constant_decay_does_not_follow_the_schedule() -> None:
    start, gradient = tensors(2)
    for convention, share in (("independent", 1.0), ("constant", 0.98)):
        parameters = copied(start)
        plan = resolved(optimizer="muon", weight_decay_convention=convention)
        for optimizer in build(parameters, UNITS, [plan]):
            optimizer.step(copied(gradient), scale=0.0, step=1)
        torch.testing.assert_close(parameters["query"], share * start["query"])


def test_a_normalized_update_is_wrapped_by_role() -> None:
    plan = resolved(
        optimizer="sgd",
        parametrization="normalized",
        base_width=16,
        sgd_momentum=0.7,
        weight_decay=0.0,
        power_iterations=2,
        power_warmup_steps=1,
    )
    groups = plan.derived["groups"]
    start, *gradients = tensors(5)
    built, made = copied(start), copied(start)
    sgd = SGD(momentum=0.7)
    spectral = Spectral(sgd, iterations=2, warmup_steps=1)
    wrapped = {
        role: spectral if role in ("hidden", "readout") else RootMeanSquare(sgd) for role in UNITS
    }
    references = [
        Optimizer(
            made,
            Group(
                units=tuple(units),
                learning_rates=(groups[role]["learning_rate"],),
                weight_decays=(0.0,),
            ),
            wrapped[role],
        )
        for role, units in UNITS.items()
    ]
    optimizers = build(built, UNITS, [plan])
    for step, each in enumerate(gradients, start=1):
        for optimizer, reference in zip(optimizers, references, strict=True):
            optimizer.step(copied(each), scale=1.0, step=step)
            reference.step(copied(each), scale=1.0, step=step)
    assert all(torch.equal(built[name], weight) for name, weight in made.items())


@pytest.mark.parametrize("name", ["muon", "muonclip", "adamuon"])
def test_newton_schulz_computes_in_the_number_format_of_the_model(name: str) -> None:
    start, gradient = tensors(2)
    ends = {}
    for dtype in ("auto", "float32", "bfloat16"):
        ends[dtype] = copied(start)
        for optimizer in build(ends[dtype], UNITS, [resolved(optimizer=name, dtype=dtype)]):
            optimizer.step(copied(gradient), scale=1.0, step=1)
    assert torch.equal(ends["auto"]["query"], ends["float32"]["query"])  # on a CPU
    assert not torch.equal(ends["auto"]["query"], ends["bfloat16"]["query"])
    torch.testing.assert_close(ends["auto"]["query"], ends["bfloat16"]["query"], rtol=0, atol=2e-2)


def test_a_group_without_tensors_has_no_optimizer() -> None:
    (start,) = tensors()
    del start["gain"]
    assert len(build(start, {**UNITS, "vector": []}, [resolved(optimizer="muon")])) == 3


def test_a_tensor_without_a_unit_and_one_in_two_groups_are_refused() -> None:
    (start,) = tensors()
    plan = resolved(optimizer="muon")
    missing = {name: units for name, units in UNITS.items() if name != "vector"}
    with pytest.raises(ValueError, match=r"one unit of a group; .* \{'gain': 0\}"):
        build(start, missing, [plan])
    with pytest.raises(ValueError, match=r"number of units: \{'query': 2\}"):
        build(start, {**UNITS, "readout": [*UNITS["readout"], *UNITS["hidden"][:1]]}, [plan])
