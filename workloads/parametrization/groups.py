"""Parameter groups: the hyperparameters of each kind of tensor as they really are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workloads.optimizers import MARGINS, SPECS, default_steps, others_of, traits_of, vectors_of
from workloads.parametrization.decay import DECAY_RULES, base_decay, is_coupled
from workloads.parametrization.parametrizations import Scaling, scaling_of
from workloads.parametrization.roles import Role, TensorKind
from workloads.parametrization.rules import Multipliers, multipliers
from workloads.workload import Config

Group = dict[str, Any]
"""``optimizer``, ``learning_rate`` (peak), ``weight_decay`` (the share of a weight that a step
takes away at the peak of the schedule, whatever the convention), ``epsilon`` and the optimizer's
other epsilons, and ``init_std``, all absolute."""

TensorsOf = Callable[[Config], Sequence[TensorKind]]
"""Lists the tensors of a workload's completed config, the one that has a role's name as its key
before the others of that role."""


def with_optimizer_defaults(config: Config) -> dict[str, Any]:
    """Returns a config with what follows for the optimizers filled in."""
    result = dict(config)
    if "newton_schulz" in result and result["newton_schulz_steps"] is None:
        result["newton_schulz_steps"] = default_steps(result["newton_schulz"])
    if "newton_schulz_margin" in result and result["newton_schulz_margin"] is None:
        result["newton_schulz_margin"] = MARGINS[result["newton_schulz"]]
    result["others"] = others_of(result)
    if result["others_learning_rate_ratio"] is None:
        result["others_learning_rate_ratio"] = _others_ratio(result)
    return result


def _others_ratio(config: Config) -> float:
    """Returns the usual learning rate of the others over that of the hidden matrices."""
    optimizer = config["optimizer"]
    of_norm_one = SPECS[optimizer].has_norm_one(config)
    return 0.3 if of_norm_one and config["others"] != optimizer else 1.0


def groups_of(config: Config, tensors: Sequence[TensorKind]) -> dict[str, Group]:
    """Returns the group of each role, and those of the tensors that differ from it.

    A tensor such as ``hidden.mlp_in`` has a group of its own only where its learning rate, weight
    decay or an epsilon is another than that of its role; its initial values are the role's.

    Args:
        config: completed, with ``steps`` and ``others_learning_rate_ratio`` known.
        tensors: the tensors, see :data:`TensorsOf`.
    """
    groups: dict[str, Group] = {}
    for tensor, group in zip(tensors, single_groups(config, tensors), strict=True):
        if tensor.key == tensor.role or _differs(group, groups[tensor.role]):
            groups[tensor.key] = group
    return groups


def single_groups(config: Config, tensors: Sequence[TensorKind]) -> list[Group]:
    """Returns the group of each tensor by itself, in their order; see :func:`groups_of`."""
    scaling = scaling_of(config)
    return [_group(tensor, config, scaling) for tensor in tensors]


def optimizer_of(role: Role, config: Config) -> str:
    """Returns the optimizer that drives a role."""
    if role == "hidden":
        return str(config["optimizer"])
    return vectors_of(config) if role == "vector" else others_of(config)


def factors_of(tensor: TensorKind, config: Config, scaling: Scaling) -> Multipliers:
    """Returns the factors that a completed config has for a tensor."""
    return multipliers(scaling, traits_of(optimizer_of(tensor.role, config), config), tensor)


def decay_factor(factors: Multipliers, config: Config, scaling: Scaling) -> float:
    """Returns the factor on weight decay, that of ``weight_decay_rule`` included."""
    rule = DECAY_RULES[config["weight_decay_rule"]]
    return factors.weight_decay * rule(scaling.width_ratio, factors.learning_rate)


def _group(tensor: TensorKind, config: Config, scaling: Scaling) -> Group:
    factors = factors_of(tensor, config, scaling)
    share = 1.0 if tensor.role == "hidden" else config["others_learning_rate_ratio"]
    rate = config["learning_rate"] * share * factors.learning_rate
    decay = base_decay(config) * decay_factor(factors, config, scaling)
    optimizer = optimizer_of(tensor.role, config)
    return {
        "optimizer": optimizer,
        "learning_rate": rate,
        "weight_decay": rate * decay if is_coupled(config) else decay,
        **({} if SPECS[optimizer].epsilons else {"epsilon": 0.0}),
        **{
            name: config[setting] * factors.epsilons[name]
            for name, setting in SPECS[optimizer].epsilons.items()
            if name in factors.epsilons
        },
        "init_std": tensor.base_std * factors.init_std,
    }


def _differs(group: Group, other: Group) -> bool:
    return {**group, "init_std": None} != {**other, "init_std": None}
