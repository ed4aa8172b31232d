"""From the groups of a card to the optimizers that drive them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from workloads.optimizers.adam import Adam
from workloads.optimizers.adamuon import AdaMuon
from workloads.optimizers.adamw import FusedAdamW
from workloads.optimizers.adopt import Adopt
from workloads.optimizers.algorithm import Algorithm
from workloads.optimizers.blocked import Blocked
from workloads.optimizers.dion import Dion
from workloads.optimizers.grafted import Grafted, RMSprop
from workloads.optimizers.lamb import Lamb
from workloads.optimizers.muon import Muon
from workloads.optimizers.names import EPSILONS
from workloads.optimizers.newton_schulz import Coefficients
from workloads.optimizers.optimizer import Group, Optimizer, Parameters, Unit
from workloads.optimizers.sgd import SGD
from workloads.optimizers.shampoo import Shampoo
from workloads.optimizers.soap import Soap
from workloads.optimizers.sophia import Sophia
from workloads.optimizers.spectral import RootMeanSquare, Spectral
from workloads.optimizers.stacked import Stacked
from workloads.workload import Config, Resolved


def _coefficients(plan: Resolved) -> Coefficients:
    return [(a, b, c) for a, b, c in plan.derived["newton_schulz_coefficients"]]


def _sgd(plan: Resolved) -> Algorithm:
    return SGD(momentum=plan.config["sgd_momentum"])


def _adamw(plan: Resolved) -> Algorithm:
    return Adam(beta1=plan.config["beta1"], beta2=plan.config["beta2"])


def _adopt(plan: Resolved) -> Algorithm:
    return Adopt(beta1=plan.config["adopt_beta1"], beta2=plan.config["adopt_beta2"])


def _lamb(plan: Resolved) -> Algorithm:
    return Lamb(beta1=plan.config["lamb_beta1"], beta2=plan.config["lamb_beta2"])


def _sophia(plan: Resolved) -> Algorithm:
    return Sophia(
        beta1=plan.config["sophia_beta1"],
        beta2=plan.config["sophia_beta2"],
        rho=plan.config["sophia_rho"],
        frequency=plan.config["sophia_frequency"],
        batch_tokens=plan.derived["tokens"] // plan.derived["steps"],
    )


def _muon(plan: Resolved) -> Algorithm:
    return _orthogonal(plan, nesterov=plan.config["nesterov"])


def _muonclip(plan: Resolved) -> Algorithm:
    return _orthogonal(plan, nesterov=False)  # its heads are clipped by the trainer


def _orthogonal(plan: Resolved, *, nesterov: bool) -> Algorithm:
    return Muon(
        momentum=plan.config["momentum"],
        nesterov=nesterov,
        coefficients=_coefficients(plan),
        shape_factor=plan.config["shape_factor"],
        products=_products(plan.config),
    )


def _adamuon(plan: Resolved) -> Algorithm:
    return AdaMuon(
        momentum=plan.config["momentum"],
        nesterov=plan.config["nesterov"],
        coefficients=_coefficients(plan),
        beta2=plan.config["adamuon_beta2"],
        sign=plan.config["adamuon_sign"],
        rms_align=plan.config["adamuon_rms_align"],
        products=_products(plan.config),
    )


def _products(config: Config) -> torch.dtype | None:
    """Returns the number format of the model's products, Newton-Schulz's too; None for auto."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(config.get("dtype", "auto"))


def _dion(plan: Resolved) -> Algorithm:
    return Dion(
        momentum=plan.config["dion_momentum"],
        rank=plan.config["dion_rank"],
        shape_factor=plan.config["shape_factor"],
    )


def _shampoo(plan: Resolved) -> Algorithm:
    config = plan.config
    direction = Shampoo(
        beta1=config["shampoo_beta1"],
        beta2=config["shampoo_beta2"],
        exponent=config["shampoo_exponent"],
        sides=config["preconditioner_sides"],
        max_dim=config["max_preconditioner_dim"],
        frequency=config["preconditioner_frequency"],
        relative=config["shampoo_ridge"] == "relative",
        root=config["shampoo_root"],
    )
    if config["graft"] == "none":
        return _blocked(direction, config)
    if config["graft_per"] == "block":
        return _blocked(_grafted(direction, config), config)
    return _grafted(_blocked(direction, config), config)


def _grafted(direction: Algorithm, config: Config) -> Algorithm:
    beta1, beta2 = config["shampoo_beta1"], config["shampoo_beta2"]
    grafts: Mapping[str, Algorithm] = {
        "adam": Adam(beta1=beta1, beta2=beta2),
        "rmsprop": RMSprop(beta1=beta1, beta2=beta2),
        "sgd": SGD(momentum=beta1),
    }
    return Grafted(direction, grafts[config["graft"]], start=config["graft_start"])


def _soap(plan: Resolved) -> Algorithm:
    config = plan.config
    algorithm = Soap(
        beta1=config["soap_beta1"],
        beta2=config["soap_beta2"],
        sides=config["preconditioner_sides"],
        max_dim=config["max_preconditioner_dim"],
        frequency=config["preconditioner_frequency"],
        eigh_steps=config["soap_eigh_steps"],
    )
    return _blocked(algorithm, config)


def _blocked(algorithm: Algorithm, config: Config) -> Algorithm:
    size = config.get("block_size")
    if size is None:
        return algorithm
    return Blocked(algorithm, size=size, max_dim=config["max_preconditioner_dim"])


ALGORITHMS: Mapping[str, Callable[[Resolved], Algorithm]] = {
    "sgd": _sgd,
    "adamw": _adamw,
    "adopt": _adopt,
    "lamb": _lamb,
    "sophia": _sophia,
    "muon": _muon,
    "muonclip": _muonclip,
    "adamuon": _adamuon,
    "shampoo": _shampoo,
    "soap": _soap,
    "dion": _dion,
}
"""How to make an algorithm from a resolved config, by the name in the group."""


def build(
    parameters: Parameters, units: Mapping[str, Sequence[Unit]], plans: Sequence[Resolved]
) -> list[Optimizer]:
    """Returns one optimizer for each group that has tensors.

    Args:
        parameters: stacked parameters by name; the optimizers keep and update this very dict.
        units: what the tensors of each group make up, by the group's name: a role, or a role and
            the kind of the tensor.
        plans: resolved config of each member; its ``groups`` are used verbatim.

    Raises:
        ValueError: a tensor is in no unit or in two.
    """
    _check_once(parameters, units)
    return [
        _optimizer(parameters, name, tuple(its_units), plans)
        for name, its_units in units.items()
        if its_units
    ]


def _check_once(parameters: Parameters, units: Mapping[str, Sequence[Unit]]) -> None:
    driven = Counter(name for each in units.values() for unit in each for name in unit.names)
    wrong = {name: driven[name] for name in (*parameters, *driven) if driven[name] != 1}
    if wrong:
        raise ValueError(
            f"every tensor has to be in one unit of a group; number of units: {wrong}"
        )


def _optimizer(
    parameters: Parameters, name: str, units: tuple[Unit, ...], plans: Sequence[Resolved]
) -> Optimizer:
    settings = [plan.derived["groups"][name] for plan in plans]
    config, optimizer = plans[0].config, settings[0]["optimizer"]
    group = _group(optimizer, units, settings, config)
    if optimizer == "adamw" and config["parametrization"] != "normalized":
        return FusedAdamW(parameters, group, beta1=config["beta1"], beta2=config["beta2"])
    algorithm = ALGORITHMS[optimizer](plans[0])
    if config["parametrization"] == "normalized":
        algorithm = _normalized(algorithm, name.partition(".")[0], config)
    return Stacked(parameters, group, algorithm)


def _normalized(algorithm: Algorithm, role: str, config: Config) -> Algorithm:
    if role in ("embedding", "vector"):
        return RootMeanSquare(algorithm)
    return Spectral(
        algorithm,
        iterations=config["power_iterations"],
        warmup_steps=config["power_warmup_steps"],
    )


def _group(
    optimizer: str,
    units: tuple[Unit, ...],
    settings: Sequence[Mapping[str, Any]],
    config: Config,
) -> Group:
    return Group(
        units=units,
        learning_rates=tuple(float(each["learning_rate"]) for each in settings),
        weight_decays=tuple(float(each["weight_decay"]) for each in settings),
        epsilons={
            name: tuple(float(each[name]) for each in settings)
            for name in EPSILONS[optimizer]
            if name in settings[0]
        },
        constant_decay=config["weight_decay_convention"] == "constant",
    )
