"""From the groups of a card to the optimizers that drive them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from workloads.optimizers.algorithm import Algorithm
from workloads.optimizers.layout import Parameters, Unit
from workloads.optimizers.optimizer import Group, Optimizer
from workloads.optimizers.spec import SPECS
from workloads.optimizers.spectral import RootMeanSquare, Spectral
from workloads.workload import Config, Resolved


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
    spec = SPECS[optimizer]
    if spec.fused is not None and config["parametrization"] != "normalized":
        return spec.fused(parameters, group, config)
    algorithm = algorithm_of(optimizer, name.partition(".")[0], plans[0])
    return Optimizer(parameters, group, algorithm)


def algorithm_of(optimizer: str, role: str, plan: Resolved) -> Algorithm:
    """Returns the algorithm by which an optimizer drives the tensors of a role; under the
    parametrization ``normalized`` its updates are brought to their size."""
    algorithm = SPECS[optimizer].build(plan)
    if plan.config["parametrization"] == "normalized":
        return _normalized(algorithm, role, plan.config)
    return algorithm


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
            for name in SPECS[optimizer].epsilons
            if name in settings[0]
        },
        constant_decay=config["weight_decay_convention"] == "constant",
    )
