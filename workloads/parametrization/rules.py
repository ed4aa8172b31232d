"""Scaling rules as values: how hyperparameters go from the base model to a larger one.

A parametrization says which learning rates, epsilons and initial spreads it has for each role,
in terms of the maximal-update rules of :mod:`updates`. A rule prints as its formulas and gives
numbers for a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from workloads.optimizers import spec_of
from workloads.parametrization.formula import ONE, Growth, Monomial, monomial
from workloads.parametrization.parametrizations import Scaling
from workloads.parametrization.roles import INSIDE, TensorKind
from workloads.parametrization.updates import OptimizerTraits, UpdateRule


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the hyperparameters of one kind of tensor go with its growth; prints as formulas.

    Attributes:
        learning_rate: factor on the learning rate.
        epsilons: by name, factors on the optimizer's epsilons.
        weight_decay: factor on weight decay, apart from weight_decay_rule.
        init_std: factor on the standard deviation of the initial values.
    """

    learning_rate: Monomial
    epsilons: Mapping[str, Monomial]
    weight_decay: Monomial
    init_std: Monomial

    @property
    def formulas(self) -> dict[str, str]:
        """Every factor as a formula in the numbers of a :class:`Growth`."""
        return {
            "learning_rate": str(self.learning_rate),
            **{name: str(each) for name, each in self.epsilons.items()},
            "weight_decay": str(self.weight_decay),
            "init_std": str(self.init_std),
        }

    def __str__(self) -> str:
        return ", ".join(f"{name} {formula}" for name, formula in self.formulas.items())


def rule_of(scaling: Scaling, traits: OptimizerTraits, tensor: TensorKind) -> Rule:
    """Returns the rule of one kind of tensor driven by one optimizer.

    Raises:
        ValueError: there is no such optimizer.
    """
    maximal = spec_of(traits.optimizer).rule(traits, tensor)
    epsilons = {name: _epsilon(scaling, tensor, each) for name, each in maximal.epsilons.items()}
    return Rule(
        learning_rate=_rate(scaling, traits, tensor, maximal),
        epsilons=epsilons,
        weight_decay=scaling.exponent(tensor.role, "weight_decay"),
        init_std=_init_std(scaling, tensor),
    )


def _rate(
    scaling: Scaling, traits: OptimizerTraits, tensor: TensorKind, maximal: UpdateRule
) -> Monomial:
    """Returns the factor on the learning rate; ``maximal`` is the rule of maximal updates."""
    depth = ONE if scaling.depth_alpha == 1 else monomial(depth=1)  # in residual blocks only
    match scaling.rule.rates:
        case "constant":
            return ONE
        case "maximal":
            return maximal.learning_rate * depth
        case "spectral":
            return (maximal.published or maximal.learning_rate) * depth
        case "moonlight":
            return monomial(longest=0.5) if spec_of(traits.optimizer).orthogonal else ONE
        case "custom":
            return scaling.exponent(tensor.role, "learning_rate")


def _epsilon(scaling: Scaling, tensor: TensorKind, maximal: Monomial) -> Monomial:
    return {
        "constant": ONE,
        "maximal": maximal,
        "depth": maximal.only("gamma"),
        "custom": scaling.exponent(tensor.role, "epsilon"),
    }[scaling.rule.epsilons]


def _init_std(scaling: Scaling, tensor: TensorKind) -> Monomial:
    if scaling.parametrization == "custom":
        return scaling.exponent(tensor.role, "init")
    return monomial(r_in=scaling.rule.readout_std if tensor.role == "readout" else -0.5)


@dataclass(frozen=True, kw_only=True)
class Multipliers:
    """Factors on the hyperparameters of the base model for one tensor of a larger one.

    Attributes:
        learning_rate: on the learning rate.
        epsilons: by name, on the optimizer's epsilons.
        weight_decay: on weight decay, apart from weight_decay_rule; 0 for vectors, which are
            never decayed.
        init_std: on the standard deviation of the initial values.
    """

    learning_rate: float
    epsilons: Mapping[str, float]
    weight_decay: float
    init_std: float


@lru_cache(maxsize=8192)
def multipliers(scaling: Scaling, traits: OptimizerTraits, tensor: TensorKind) -> Multipliers:
    """Returns the factors for one kind of tensor, relative to the base model.

    Raises:
        ValueError: there is no such optimizer.
    """
    rule = rule_of(scaling, traits, tensor)
    growth = growth_of(scaling, traits, tensor)
    return Multipliers(
        learning_rate=rule.learning_rate.at(growth),
        epsilons={name: each.at(growth) for name, each in rule.epsilons.items()},
        weight_decay=0.0 if tensor.role == "vector" else rule.weight_decay.at(growth),
        init_std=rule.init_std.at(growth),
    )


def growth_of(scaling: Scaling, traits: OptimizerTraits, tensor: TensorKind) -> Growth:
    """Returns how one kind of tensor grows."""
    place = tensor.layer or tensor.role
    depth = scaling.depth_ratio if place in INSIDE and scaling.rule.depth else 1.0
    flow = 1.0 if place == "readout" else scaling.width_ratio**scaling.rule.gradient
    bare = Growth(
        gamma=flow * depth**-scaling.depth_alpha,
        depth=depth ** (scaling.depth_alpha - 1),
        m=scaling.width_ratio,
        **_sizes(tensor, block_size=traits.block_size, max_dim=traits.max_dim),
    )
    return Growth(**{**vars(bare), "std": _init_std(scaling, tensor).at(bare)})


def _sizes(tensor: TensorKind, *, block_size: int | None, max_dim: int) -> dict[str, float]:
    """Returns the part of a growth that is geometry: r_in, r_out, n_in, n_out and longest.

    Args:
        tensor: the tensor.
        block_size: side of the blocks of a preconditioner; None for no blocks.
        max_dim: a side longer than this is not cut into blocks.
    """

    def blocks(here: float, base: float) -> float:
        if block_size is None or here > max_dim:
            return 1.0
        return _blocks(here, block_size) / _blocks(base, block_size)

    longest = max(tensor.fan_in, tensor.fan_out)
    base_longest = max(tensor.base_fan_in, tensor.base_fan_out)
    return {
        "r_in": tensor.fan_in / tensor.base_fan_in,
        "r_out": tensor.fan_out / tensor.base_fan_out,
        "n_in": blocks(tensor.fan_in, tensor.base_fan_in),
        "n_out": blocks(tensor.fan_out, tensor.base_fan_out),
        "longest": longest / base_longest,
    }


def _blocks(side: float, size: int) -> int:
    return ceil(side / size - 1e-9)  # a side computed as ratio times width may be off by rounding
