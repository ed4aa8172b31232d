"""What a config trains but its author may not have meant: warnings about rules and optimizers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workloads.optimizers import others_of
from workloads.parametrization.decay import decays, is_coupled
from workloads.parametrization.groups import factors_of, optimizer_of
from workloads.parametrization.roles import TensorKind
from workloads.parametrization.scaling import scaling_of
from workloads.workload import Config

LARGE = 4
"""Width ratio from which a fixed epsilon is worth a warning."""


def warnings(config: Config, leaves: Sequence[TensorKind]) -> Iterator[str]:
    """Yields the warnings of a canonical config, in words that do not go with its size, so that a
    study has each of them once."""
    yield from _epsilon_warnings(config)
    yield from _decay_warnings(config, leaves)
    yield from _lamb_warnings(config)
    yield from _clip_warnings(config)
    yield from _side_warnings(config, leaves)


def _epsilon_warnings(config: Config) -> Iterator[str]:
    rule = config["parametrization"]
    if rule in ("spectral", "moonlight") and scaling_of(config).width_ratio >= LARGE:
        yield (
            f"parametrization {rule} keeps epsilon fixed while gradients shrink with the width; "
            "use an epsilon far below the gradients of the widest model"
        )


def _decay_warnings(config: Config, leaves: Sequence[TensorKind]) -> Iterator[str]:
    """An independent lambda over the factor on the learning rate is the rule for a coupled one."""
    if config["weight_decay_rule"] != "inverse_learning_rate" or is_coupled(config):
        return
    scaling = scaling_of(config)
    if decays(config) and any(
        factors_of(leaf, config, scaling).learning_rate < 1
        for leaf in leaves
        if leaf.role != "vector"
    ):
        yield (
            "weight_decay_rule inverse_learning_rate with weight_decay_convention "
            f"{config['weight_decay_convention']} makes larger models lose more of a weight each "
            "step; the rule is meant for coupled decay, which it keeps the same at every size"
        )


def _lamb_warnings(config: Config) -> Iterator[str]:
    if config["parametrization"] == "sp" or not config.get("zero_init"):
        return
    if "lamb" in (config["optimizer"], others_of(config)):
        yield (
            "lamb moves weights in proportion to their size, and zero_init starts some at zero: "
            "these move by learning_rate at first, whatever the rule; use zero_init: false"
        )


def _clip_warnings(config: Config) -> Iterator[str]:
    if config["optimizer"] != "muonclip" or not config.get("qk_norm"):
        return
    threshold, head_dim = config["qk_clip_threshold"], config["head_dim"]
    if threshold >= head_dim**0.5:
        yield (
            f"qk_clip_threshold {threshold:g} never acts: with qk_norm no attention logit exceeds "
            "sqrt(head_dim); lower it or set qk_norm: false"
        )


def _side_warnings(config: Config, leaves: Sequence[TensorKind]) -> Iterator[str]:
    limit = config.get("max_preconditioner_dim")
    if limit is None:
        return
    for leaf in leaves:
        sides = ((leaf.fan_in, leaf.base_fan_in), (leaf.fan_out, leaf.base_fan_out))
        crossed = any(here > limit >= base for here, base in sides)
        if crossed and optimizer_of(leaf.role, config) in ("shampoo", "soap"):
            yield (
                f"a side of {leaf.key} exceeds max_preconditioner_dim {limit} here but not at the "
                "base width, and no rule relates the two; raise max_preconditioner_dim"
            )
