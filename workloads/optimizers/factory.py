"""From the groups of a card to the optimizers that drive them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workloads.optimizers.adamw import AdamW
from workloads.optimizers.muon import Muon
from workloads.optimizers.optimizer import Group, Optimizer, Parameters
from workloads.workload import Resolved

Make = Callable[[Parameters, Group, Resolved], Optimizer]


def _adamw(parameters: Parameters, group: Group, plan: Resolved) -> Optimizer:
    beta1, beta2 = plan.config["beta1"], plan.config["beta2"]
    return AdamW(parameters, group, beta1=beta1, beta2=beta2)


def _muon(parameters: Parameters, group: Group, plan: Resolved) -> Optimizer:
    return Muon(
        parameters,
        group,
        momentum=plan.config["momentum"],
        nesterov=plan.config["nesterov"],
        coefficients=[(a, b, c) for a, b, c in plan.derived["newton_schulz_coefficients"]],
    )


OPTIMIZERS: Mapping[str, Make] = {"adamw": _adamw, "muon": _muon}
"""How to make an optimizer from a group and the resolved config, by the name in the group."""


def build(
    parameters: Parameters, roles: Mapping[str, str], plans: Sequence[Resolved]
) -> list[Optimizer]:
    """Returns one optimizer for each role that has tensors.

    Args:
        parameters: stacked parameters by name; the optimizers keep and update this very dict.
        roles: role of each parameter.
        plans: resolved config of each member; its ``groups`` are used verbatim.
    """
    optimizers = []
    for role in dict.fromkeys(roles.values()):
        names = tuple(name for name, its_role in roles.items() if its_role == role)
        settings = [plan.derived["groups"][role] for plan in plans]
        make = OPTIMIZERS[settings[0]["optimizer"]]
        optimizers.append(make(parameters, _group(names, settings), plans[0]))
    return optimizers


def _group(names: tuple[str, ...], settings: Sequence[Mapping[str, Any]]) -> Group:
    return Group(
        names=names,
        learning_rates=tuple(float(each["learning_rate"]) for each in settings),
        weight_decays=tuple(float(each["weight_decay"]) for each in settings),
        epsilons=tuple(float(each["epsilon"]) for each in settings),
    )
