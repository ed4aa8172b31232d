"""A scaling rule written out: what a card that has rules says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from workloads.workload import Config


@dataclass(frozen=True, kw_only=True)
class ScaledTensor:
    """How the hyperparameters of one kind of tensor go from the base model to a larger one.

    Attributes:
        optimizer: what drives it.
        factors: ``learning_rate``, ``epsilon`` (1 where the optimizer has none) and further
            epsilons, ``weight_decay`` (of the share of a weight that a step takes away; 0 where
            nothing is ever taken) and ``init_std``, each over its value in the base model.
        formulas: the same as formulas in the symbols of the table.
    """

    optimizer: str
    factors: Mapping[str, float]
    formulas: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RuleTable:
    """A scaling rule written out for one model.

    Attributes:
        config: the completed config that it is for; settings that do not apply are left out.
        source: where the rule is from, in words.
        roles: by role, ``embedding``, ``hidden``, ``readout`` and ``vector``.
        leaves: by name, the tensors whose factors differ from those of their role.
        branch_multiplier: factor on residual branches.
        symbols: what each symbol of the formulas means.
        warnings: what the author of the config may not have meant.
    """

    config: Config
    source: str
    roles: Mapping[str, ScaledTensor]
    leaves: Mapping[str, ScaledTensor]
    branch_multiplier: float
    symbols: Mapping[str, str]
    warnings: tuple[str, ...]


@runtime_checkable
class HasScalingRules(Protocol):
    """A card that can write out its scaling rules."""

    def rules(self, config: Config) -> RuleTable:
        """Returns the scaling rule of a config, in which only ``width`` is required.

        Raises:
            ValueError: the config has faults; the message lists them all.
        """
        ...
