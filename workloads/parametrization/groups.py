"""Parameter groups: the hyperparameters of each role as they really are."""

from __future__ import annotations

from typing import Any

from workloads.optimizer_names import others_of, vectors_of
from workloads.parametrization.roles import ROLES, Role
from workloads.parametrization.rules import WEIGHT_DECAY_RULES, multipliers
from workloads.workload import Config

Group = dict[str, Any]
"""``optimizer``, ``learning_rate`` (peak), ``weight_decay`` (independent), ``epsilon`` and
``init_std``, all absolute."""


def ratios(config: Config) -> tuple[float, float]:
    """Returns width and depth of a config over those of its base model; 1 where it names none."""
    base_width = config.get("base_width") or config["width"]
    base_depth = config.get("base_depth") or config["depth"]
    return config["width"] / base_width, config["depth"] / base_depth


def groups_of(config: Config) -> dict[str, Group]:
    """Returns the group of each role that a completed config has; vectors only with gains.

    ``init_std`` of hidden is that of a matrix with ``width`` inputs: a matrix with another number
    of inputs (the one out of the MLP's hidden layer) takes inputs^(-1/2) instead, and the outputs
    of attention and MLP take 0 under ``zero_init``. Gains start at 1, so their spread is 0.
    """
    return {
        role: _group(role, config) for role in ROLES if role != "vector" or config["norm_gain"]
    }


def _group(role: Role, config: Config) -> Group:
    optimizer = _optimizer(role, config)
    width_ratio, depth_ratio = ratios(config)
    factors = multipliers(
        config["parametrization"],
        optimizer=optimizer,
        role=role,
        width_ratio=width_ratio,
        depth_ratio=depth_ratio,
    )
    decay_rule = WEIGHT_DECAY_RULES[config["weight_decay_rule"]]
    share = 1.0 if role == "hidden" else config["others_learning_rate_ratio"]
    epsilon = config["muon_epsilon"] if optimizer == "muon" else config["epsilon"]
    return {
        "optimizer": optimizer,
        "learning_rate": config["learning_rate"] * share * factors.learning_rate,
        "weight_decay": config["weight_decay"] * decay_rule(width_ratio) * factors.weight_decay,
        "epsilon": epsilon * factors.epsilon,
        "init_std": _base_std(role, config, width_ratio) * factors.init_std,
    }


def _optimizer(role: Role, config: Config) -> str:
    if role == "hidden":
        return str(config["optimizer"])
    return vectors_of(config) if role == "vector" else others_of(config)


def _base_std(role: Role, config: Config, width_ratio: float) -> float:
    """Returns the standard deviation of the initial values at the base width."""
    if role == "embedding":
        return float(config["embedding_std"])
    if role == "vector" or (role == "readout" and config["zero_init"]):
        return 0.0
    return float((config["width"] / width_ratio) ** -0.5)
