"""The settings of the scaling rules, shared by the workloads."""

from __future__ import annotations

from workloads.optimizers import optimizer_rule_settings
from workloads.parametrization.decay import CONVENTIONS, DECAY_RULES
from workloads.parametrization.parametrizations import PARAMETRIZATIONS
from workloads.settings import choice, count, positive
from workloads.workload import Condition, Setting

CUSTOM_EXPONENTS = ("learning_rate", "epsilon", "init", "weight_decay")

_DEPTH_RULES = tuple(name for name, rule in PARAMETRIZATIONS.items() if rule.depth)


def rule_settings(vectors: Condition) -> tuple[Setting, ...]:
    """Returns the settings of parametrization, learning rate and weight decay.

    Args:
        vectors: the condition under which the model has vectors.
    """
    return (*_parametrization(vectors), *_rates(), *_custom(vectors))


def _parametrization(vectors: Condition) -> tuple[Setting, ...]:
    return (
        choice(
            "parametrization",
            "sp",
            tuple(PARAMETRIZATIONS),
            "Rule for learning rate, epsilon and initialisation over width and depth, "
            "relative to base_width and base_depth: sp (none), mup (arXiv 2512.05620), spectral "
            "(2602.20937), normalized (every update scaled by its spectral norm), moonlight "
            "(2502.16982), completep (2505.01618), ntk and mean_field (2407.05872), or custom "
            "exponents.",
        ),
        count(
            "base_width",
            None,
            "Width at which the rules change nothing; every rule over width needs it.",
        ),
        count(
            "base_depth",
            None,
            "Depth at which the depth rule changes nothing; null for no depth rule.",
            when={"parametrization": _DEPTH_RULES},
        ),
        Setting(
            name="depth_alpha",
            kind="float",
            default=1.0,
            low=0.5,
            high=1.0,
            when={"parametrization": ("completep", "spectral")},
            doc="Residual branches are divided by (depth / base_depth) to this power: 1 is "
            "CompleteP, 0.5 is depth-muP.",
        ),
        *optimizer_rule_settings(vectors),
    )


def _rates() -> tuple[Setting, ...]:
    return (
        Setting(
            name="learning_rate",
            kind="float",
            required=True,
            low=0.0,
            low_open=True,
            packable=True,
            doc="Peak learning rate at the base width.",
        ),
        Setting(
            name="weight_decay",
            kind="float",
            default=0.0,
            low=0.0,
            packable=True,
            doc="Weight decay at the base width, in the sense of weight_decay_convention.",
        ),
        choice(
            "weight_decay_convention",
            "independent",
            tuple(CONVENTIONS),
            "independent: the share of a weight lost per step at the peak of the schedule; "
            "coupled: times the learning rate of the tensor too, as in PyTorch; constant: a share "
            "per step whatever the schedule.",
        ),
        choice(
            "weight_decay_rule",
            "none",
            tuple(DECAY_RULES),
            "How weight decay goes with size: none; inverse_width, times base_width / width; "
            "inverse_learning_rate, divided by the rule's factor on the learning rate (coupled "
            "decay then does not go with size); timescale, so that weights forget over "
            "weight_decay_timescale.",
        ),
        positive(
            "weight_decay_timescale",
            None,
            "Steps over which weights forget by a factor e at the peak of the schedule, as a "
            "share of all steps (arXiv 2405.13698).",
            when={"weight_decay_rule": ("timescale",)},
            packable=True,
        ),
    )


def _custom(vectors: Condition) -> tuple[Setting, ...]:
    return tuple(
        Setting(
            name=f"custom.{role}.{quantity}",
            kind="float",
            default=_STANDARD.get((role, quantity), 0.0),
            low=-8.0,
            high=8.0,
            when={"parametrization": ("custom",), **(vectors if role == "vector" else {})},
            doc=f"Exponent of width / base_width in {_WORDS[quantity]} of {_ROLES[role]}.",
        )
        for role in _ROLES
        for quantity in CUSTOM_EXPONENTS
        if role != "vector" or quantity in _OF_VECTORS
    )


_STANDARD = {("hidden", "init"): -0.5, ("readout", "init"): -0.5}
"""Exponents of the standard parametrization, where they are not 0."""

_OF_VECTORS = ("learning_rate", "epsilon")
"""Gains and biases start at a constant and are never decayed."""

_WORDS = {
    "learning_rate": "the learning rate",
    "epsilon": "every epsilon",
    "init": "the standard deviation of the initial values",
    "weight_decay": "the weight decay",
}
_ROLES = {
    "embedding": "embeddings",
    "hidden": "hidden matrices",
    "readout": "the readout",
    "vector": "gains and biases",
}
