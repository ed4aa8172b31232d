"""Scaling rules as values: how hyperparameters go from the base model to a larger one.

A parametrization says which learning rates, epsilons and initial spreads it has for each role,
in terms of the maximal-update rules of :mod:`updates`. A rule prints as
its formulas and gives numbers for a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from workloads.optimizers import ORTHOGONAL, spec_of
from workloads.parametrization.formula import ONE, Monomial, monomial
from workloads.parametrization.growth import Growth, sizes
from workloads.parametrization.roles import INSIDE, TensorKind
from workloads.parametrization.scaling import Scaling
from workloads.parametrization.updates import STEP, OptimizerTraits, UpdateRule


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


def rule_of(scaling: Scaling, method: OptimizerTraits, leaf: TensorKind) -> Rule:
    """Returns the rule of one kind of tensor driven by one optimizer.

    Raises:
        ValueError: there is no such optimizer.
    """
    maximal = spec_of(method.optimizer).rule(method, leaf)
    rate = _RATES[scaling.rule.rates](scaling, method, leaf, maximal)
    epsilons = {name: _epsilon(scaling, leaf, each) for name, each in maximal.epsilons.items()}
    return Rule(
        learning_rate=rate,
        epsilons=epsilons,
        weight_decay=scaling.exponent(leaf.role, "weight_decay"),
        init_std=_init_std(scaling, leaf),
    )


_Rate = Callable[[Scaling, OptimizerTraits, TensorKind, UpdateRule], Monomial]


def _maximal(
    scaling: Scaling, method: OptimizerTraits, leaf: TensorKind, maximal: UpdateRule
) -> Monomial:
    return maximal.learning_rate * _depth(scaling)


def _spectral(
    scaling: Scaling, method: OptimizerTraits, leaf: TensorKind, maximal: UpdateRule
) -> Monomial:
    """LAMB and Shampoo as published; the paper's Shampoo has E = 1/2 and no blocks."""
    published = maximal.learning_rate
    if method.optimizer == "lamb":
        published = monomial(r_in=-0.5) if scaling.lamb_per_entry else ONE
    elif method.optimizer == "shampoo" and method.graft == "none":
        published = STEP if method.total_exponent(leaf) == 0.5 else published
    return published * _depth(scaling)


def _depth(scaling: Scaling) -> Monomial:
    """Returns the factor on learning rates in residual blocks, which is 1 for alpha = 1."""
    return ONE if scaling.depth_alpha == 1 else monomial(depth=1)


def _moonlight(
    scaling: Scaling, method: OptimizerTraits, leaf: TensorKind, maximal: UpdateRule
) -> Monomial:
    return monomial(longest=0.5) if method.optimizer in ORTHOGONAL else ONE


_RATES: Mapping[str, _Rate] = {
    "constant": lambda scaling, method, leaf, maximal: ONE,
    "maximal": _maximal,
    "spectral": _spectral,
    "moonlight": _moonlight,
    "custom": lambda scaling, method, leaf, maximal: scaling.exponent(leaf.role, "learning_rate"),
}


def _epsilon(scaling: Scaling, leaf: TensorKind, maximal: Monomial) -> Monomial:
    return {
        "constant": ONE,
        "maximal": maximal,
        "depth": maximal.only("gamma"),
        "custom": scaling.exponent(leaf.role, "epsilon"),
    }[scaling.rule.epsilons]


def _init_std(scaling: Scaling, leaf: TensorKind) -> Monomial:
    if scaling.parametrization == "custom":
        return scaling.exponent(leaf.role, "init")
    return monomial(r_in=scaling.rule.readout_std if leaf.role == "readout" else -0.5)


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
def multipliers(scaling: Scaling, method: OptimizerTraits, leaf: TensorKind) -> Multipliers:
    """Returns the factors for one kind of tensor, relative to the base model.

    Raises:
        ValueError: there is no such optimizer.
    """
    rule = rule_of(scaling, method, leaf)
    growth = growth_of(scaling, method, leaf)
    return Multipliers(
        learning_rate=rule.learning_rate.at(growth),
        epsilons={name: each.at(growth) for name, each in rule.epsilons.items()},
        weight_decay=0.0 if leaf.role == "vector" else rule.weight_decay.at(growth),
        init_std=rule.init_std.at(growth),
    )


def growth_of(scaling: Scaling, method: OptimizerTraits, leaf: TensorKind) -> Growth:
    """Returns how one kind of tensor grows."""
    place = leaf.layer or leaf.role
    depth = scaling.depth_ratio if place in INSIDE and scaling.rule.depth else 1.0
    flow = 1.0 if place == "readout" else scaling.width_ratio**scaling.rule.gradient
    bare = Growth(
        gamma=flow * depth**-scaling.depth_alpha,
        depth=depth ** (scaling.depth_alpha - 1),
        m=scaling.width_ratio,
        **sizes(leaf, block_size=method.block_size, max_dim=method.max_dim),
    )
    return Growth(**{**vars(bare), "std": _init_std(scaling, leaf).at(bare)})
