"""Weight decay: how it goes with size, and the share of a weight that a step takes away."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workloads.workload import Config

CONVENTIONS: Mapping[str, str] = {
    "independent": "independent: W <- W - s(t) * (learning_rate * update + weight_decay * W)",
    "coupled": "coupled: W <- W - s(t) * learning_rate * (update + weight_decay * W); the "
    "weight_decay of a group is the product, learning_rate * weight_decay",
    "constant": "constant: W <- W - s(t) * learning_rate * update - weight_decay * W",
}
"""What each convention means, for trial records."""

DECAY_RULES: Mapping[str, Callable[[float, float], float]] = {
    "none": lambda width_ratio, rate: 1.0,
    "inverse_width": lambda width_ratio, rate: 1 / width_ratio,
    "inverse_learning_rate": lambda width_ratio, rate: 1 / rate,
    "timescale": lambda width_ratio, rate: 1.0,
}
"""Factor on weight decay by width ratio and by the rule's factor on the learning rate: 1/width of
arXiv 2512.05620, sections 3.4 and 4; the others keep the timescale of arXiv 2405.13698."""


DECAY_FORMULAS: Mapping[str, str] = {
    "none": "{}",
    "inverse_width": "{} / m",
    "inverse_learning_rate": "{} / (learning_rate's factor)",
    "timescale": "{}",
}
"""The same written out, around the formula of the parametrization's own factor."""


def decays(config: Config) -> bool:
    """Returns whether any weight is decayed."""
    return bool(config["weight_decay"]) or config["weight_decay_rule"] == "timescale"


def is_coupled(config: Config) -> bool:
    """Returns whether the share is learning rate times weight decay; a timescale gives the share
    itself."""
    coupled: bool = config["weight_decay_convention"] == "coupled"
    return coupled and config["weight_decay_rule"] != "timescale"


def base_decay(config: Config) -> float:
    """Returns weight decay before any factor: of a timescale T, 1 / (T steps)."""
    if config["weight_decay_rule"] == "timescale":
        return float(1 / (config["weight_decay_timescale"] * config["steps"]))
    return float(config["weight_decay"])
