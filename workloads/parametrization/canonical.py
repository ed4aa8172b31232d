"""The settings of optimizers and rules in the one form that all their equals share."""

from __future__ import annotations

from typing import Any

from workloads.optimizers import SPECS, newton_schulz_coefficients
from workloads.parametrization.checks import warnings
from workloads.parametrization.decay import CONVENTIONS, decays, is_coupled
from workloads.parametrization.groups import TensorsOf, groups_of, with_optimizer_defaults
from workloads.parametrization.parametrizations import ratios, scaling_of
from workloads.workload import Config

_IDLE = {"parametrization": "sp", "weight_decay_rule": "none"}
"""Rules by setting, and the value that changes nothing."""

_OF_A_RULE = (
    *("base_depth", "depth_alpha", "power_iterations", "power_warmup_steps"),
    *(setting.name for spec in SPECS.values() for setting in spec.rule_settings),
)
"""Settings that a parametrization has for itself, besides the exponents of ``custom``."""


def canonical_rules(config: Config, tensors_of: TensorsOf) -> dict[str, Any]:
    """Returns a completed, faultless config with its optimizers and rules in canonical form.

    Names and counts that follow from others are filled in. A rule that changes nothing is
    written as none: ``mup`` at the base width and depth is ``sp``, a weight decay rule at the
    base width or without weight decay is ``none`` (but for coupled decay under a
    parametrization, which has to name one), and without weight decay the convention is
    ``independent``. What nothing reads then is left out or at its default. So the base model is
    one trial, whichever variant asks for it.

    Args:
        config: completed, with ``steps`` known.
        tensors_of: lists the tensors of a config.
    """
    result = with_optimizer_defaults(config)
    if not decays(result):
        result |= {"weight_decay_rule": "none", "weight_decay_convention": "independent"}
        result |= {name: 0.0 for name in result if _is_custom(name, "weight_decay")}
    if result["weight_decay_rule"] == "timescale" and not _is_constant(result):
        result["weight_decay_convention"] = "independent"  # a timescale gives the share itself
    for name, idle in _IDLE.items():
        if (
            name == "weight_decay_rule"
            and is_coupled(result)
            and result["parametrization"] != "sp"
        ):
            continue  # coupled decay under a parametrization is asked to name a rule
        if result[name] != idle and _without_effect(result, name, idle, tensors_of):
            result[name] = idle
    return {name: value for name, value in _read(result).items() if value is not None}


def rule_results(config: Config, tensors_of: TensorsOf) -> dict[str, Any]:
    """Returns what follows from the rules of a canonical config: branch_multiplier,
    weight_decay_convention, groups, warnings, and newton_schulz_coefficients where used."""
    results = {
        "branch_multiplier": scaling_of(config).branch_multiplier,
        "weight_decay_convention": CONVENTIONS[config["weight_decay_convention"]],
        "groups": groups_of(config, tensors_of(config)),
        "warnings": list(warnings(config, tensors_of(config))),
    }
    if "newton_schulz" in config:
        results["newton_schulz_coefficients"] = newton_schulz_coefficients(
            config["newton_schulz"],
            config["newton_schulz_steps"],
            config.get("newton_schulz_margin", 1.0),
        )
    return results


def _is_constant(config: Config) -> bool:
    return bool(config["weight_decay_convention"] == "constant")


def _is_custom(name: str, quantity: str) -> bool:
    return name.startswith("custom.") and name.endswith(f".{quantity}")


def _without_effect(config: Config, name: str, idle: str, tensors_of: TensorsOf) -> bool:
    """Returns whether a config trains as it would with an idle rule; explicit normalisation of
    the updates has an effect at any size."""
    if config[name] == "normalized":
        return False
    other = {**config, name: idle}
    if scaling_of(config).branch_multiplier != scaling_of(other).branch_multiplier:
        return False
    return groups_of(config, tensors_of(config)) == groups_of(other, tensors_of(other))


def _read(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config without the settings that no rule reads."""
    drop = set()
    if config["parametrization"] == "sp":
        drop |= {*_OF_A_RULE, *(name for name in config if name.startswith("custom."))}
    if ratios(config)[1] == 1:
        drop |= {"base_depth", "depth_alpha"}
    if config["weight_decay_rule"] != "timescale":
        drop.add("weight_decay_timescale")
    if config["parametrization"] == "sp" and config["weight_decay_rule"] == "none":
        drop.add("base_width")
    return {name: value for name, value in config.items() if name not in drop}
