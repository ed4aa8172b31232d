"""A scaling rule written out: factors and formulas of every kind of tensor of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workloads.optimizers import traits_of
from workloads.parametrization.checks import rule_faults, warnings
from workloads.parametrization.decay import DECAY_FORMULAS, is_coupled
from workloads.parametrization.formula import MEANINGS
from workloads.parametrization.groups import (
    decay_factor,
    factors_of,
    optimizer_of,
    with_optimizer_defaults,
)
from workloads.parametrization.parametrizations import PARAMETRIZATIONS, Scaling, scaling_of
from workloads.parametrization.roles import TensorKind
from workloads.parametrization.rules import rule_of
from workloads.rule_table import RuleTable, ScaledTensor
from workloads.workload import Config, Problem

PLACEHOLDERS = {"learning_rate": 1e-9, "steps": 10**9}
"""Required settings on which no rule depends, so that no share of weight decay gets too large."""


def rule_table(
    config: Config, tensors: Sequence[TensorKind], problems: Sequence[Problem] = ()
) -> RuleTable:
    """Returns the rule of a completed config.

    Args:
        config: completed, with ``steps``.
        tensors: its tensors, vectors among them.
        problems: faults of the config besides those of its rules.

    Raises:
        ValueError: there are faults; the message lists them all.
    """
    faults = [*problems, *rule_faults(config, tensors, config["steps"])]
    if faults:
        raise ValueError("; ".join(problem.message for problem in faults))
    full = with_optimizer_defaults(config)
    scaling = scaling_of(full)
    rows = {tensor.key: _row(tensor, full, scaling) for tensor in tensors}
    roles: dict[str, ScaledTensor] = {tensor.role: rows[tensor.role] for tensor in tensors}
    return RuleTable(
        config=full,
        source=PARAMETRIZATIONS[config["parametrization"]].source,
        roles=roles,
        leaves={
            tensor.key: rows[tensor.key]
            for tensor in tensors
            if rows[tensor.key].factors != roles[tensor.role].factors
        },
        branch_multiplier=scaling.branch_multiplier,
        symbols=_symbols(rows),
        warnings=tuple(warnings(full, tensors)),
    )


def _row(tensor: TensorKind, config: Config, scaling: Scaling) -> ScaledTensor:
    factors = factors_of(tensor, config, scaling)
    decay = decay_factor(factors, config, scaling)
    optimizer = optimizer_of(tensor.role, config)
    return ScaledTensor(
        optimizer=optimizer,
        factors={
            "learning_rate": factors.learning_rate,
            "epsilon": 1.0,
            **factors.epsilons,
            "weight_decay": decay * factors.learning_rate if is_coupled(config) else decay,
            "init_std": factors.init_std,
        },
        formulas=_formulas(tensor, config, scaling),
    )


def _formulas(tensor: TensorKind, config: Config, scaling: Scaling) -> dict[str, str]:
    traits = traits_of(optimizer_of(tensor.role, config), config)
    formulas = rule_of(scaling, traits, tensor).formulas
    decay = DECAY_FORMULAS[config["weight_decay_rule"]].format(formulas["weight_decay"])
    if is_coupled(config):
        decay += ", times learning_rate's factor"
    return {**formulas, "weight_decay": "never decayed" if tensor.role == "vector" else decay}


def _symbols(rows: Mapping[str, ScaledTensor]) -> dict[str, str]:
    text = " ".join(formula for row in rows.values() for formula in row.formulas.values())
    words = set(text.replace("(", " ").replace(")", " ").replace("^", " ").split())
    return {symbol: meaning for symbol, meaning in MEANINGS.items() if symbol in words}
