"""What cannot be trained with optimizers and scaling rules, and what may not be meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workloads.optimizers import SHARES, SPECS, others_of
from workloads.parametrization.decay import decays, is_coupled
from workloads.parametrization.groups import (
    factors_of,
    groups_of,
    optimizer_of,
    with_optimizer_defaults,
)
from workloads.parametrization.parametrizations import scaling_of
from workloads.parametrization.roles import TensorKind
from workloads.settings import LEAST_EPSILON
from workloads.workload import Config, Problem

_LEAVES_SHAPES = ("sp", "custom")
"""Parametrizations that leave the shapes of matrices to the optimizer."""

_MAXIMAL = ("mup", "spectral", "normalized", "completep")
"""Parametrizations under which attention logits have to be divided by the size of a head."""

LARGE = 4
"""Width ratio from which a fixed epsilon is worth a warning."""


def rule_faults(
    config: Config, tensors: Sequence[TensorKind], steps: int | None
) -> Iterator[Problem]:
    """Yields the faults of a completed config.

    Args:
        config: completed.
        tensors: its tensors.
        steps: length of the run; None where that is a fault of its own.
    """
    yield from _base_faults(config)
    yield from _shape_faults(config)
    yield from _moonlight_faults(config)
    for spec in SPECS.values():
        yield from spec.faults(config)
    yield from _share_faults(config)
    yield from _head_size_faults(config)
    timescale = list(_timescale_faults(config))
    yield from timescale
    yield from _coupled_faults(config, tensors)
    if not timescale and steps is not None:
        known = with_optimizer_defaults({**config, "steps": steps})
        yield from _decay_faults(known, tensors)
        yield from _epsilon_faults(known, tensors)
        yield from _tied_faults(known, tensors)


def _base_faults(config: Config) -> Iterator[Problem]:
    if config["base_width"] is not None:
        return
    needing = []
    if config["parametrization"] != "sp":
        needing.append(f"parametrization {config['parametrization']}")
    if config["weight_decay_rule"] == "inverse_width":
        needing.append("weight_decay_rule inverse_width")
    if needing:
        verb = "scale" if len(needing) > 1 else "scales"
        yield Problem(
            keys=("base_width",),
            message=f"base_width is missing, and {' and '.join(needing)} {verb} relative to it; "
            "set it to the width at which the hyperparameters are tuned",
        )


def _shape_faults(config: Config) -> Iterator[Problem]:
    factor, rule = config.get("shape_factor", "none"), config["parametrization"]
    if factor != "none" and rule not in _LEAVES_SHAPES:
        yield Problem(
            keys=("shape_factor", "parametrization"),
            message=f"shape_factor {factor} and parametrization {rule} are two width rules on "
            f"top of each other; use shape_factor none, or parametrization "
            f"{' or '.join(_LEAVES_SHAPES)}",
        )


def _moonlight_faults(config: Config) -> Iterator[Problem]:
    treated = [name for name, spec in SPECS.items() if spec.moonlight]
    if config["parametrization"] == "moonlight" and config["optimizer"] not in treated:
        yield Problem(
            keys=("parametrization", "optimizer"),
            message="parametrization moonlight brings orthogonal updates to the size of AdamW's "
            f"and is not defined for optimizer {config['optimizer']}; use one of "
            f"{', '.join(treated)}, or another parametrization",
        )


def _share_faults(config: Config) -> Iterator[Problem]:
    for name in SHARES:
        if config.get(name, 0.0) >= 1:
            yield Problem(
                keys=(name,),
                message=f"{name} is {config[name]:g}; it has to be at least 0 and below 1",
            )


def _head_size_faults(config: Config) -> Iterator[Problem]:
    base, size = config.get("base_head_dim"), config.get("head_dim")
    scale, rule = config.get("attention_scale"), config["parametrization"]
    if base is None or scale != "sqrt" or rule not in _MAXIMAL or base == size:
        return
    yield Problem(
        keys=("attention_scale", "base_head_dim", "head_dim"),
        message=f"head_dim {size} is not base_head_dim {base}, and under parametrization {rule} "
        "logits have to be divided by head_dim, not by its root, to keep their size; use "
        "attention_scale linear, or equal sizes",
    )


def _timescale_faults(config: Config) -> Iterator[Problem]:
    if config["weight_decay_rule"] != "timescale":
        return
    if config["weight_decay_timescale"] is None:
        yield Problem(
            keys=("weight_decay_timescale", "weight_decay_rule"),
            message="weight_decay_timescale is missing, and weight_decay_rule timescale computes "
            "weight decay from it; set it to a share of all steps, for example 0.2",
        )
    if config["weight_decay"]:
        yield Problem(
            keys=("weight_decay", "weight_decay_rule"),
            message=f"weight_decay is {config['weight_decay']:g}, and weight_decay_rule timescale "
            "computes it from weight_decay_timescale; remove one of the two",
        )


def _coupled_faults(config: Config, tensors: Sequence[TensorKind]) -> Iterator[Problem]:
    """Coupled decay is the product of two numbers, of which a rule scales one alone."""
    if not (config["weight_decay"] and is_coupled(config)):
        return
    if config["weight_decay_rule"] != "none":
        return
    scaling = scaling_of(config)
    for tensor in tensors:
        factors = factors_of(tensor, config, scaling)
        scaled = factors.learning_rate != 1 and factors.weight_decay == 1
        if scaled:
            yield Problem(
                keys=("weight_decay_convention", "weight_decay_rule", "weight_decay"),
                message=f"parametrization {config['parametrization']} multiplies the learning "
                f"rate of {tensor.key} by {factors.learning_rate:.4g}, and coupled decay with it, "
                "while weight_decay itself stays: coupled decay with an unscaled lambda; use "
                "weight_decay_rule inverse_learning_rate, or weight_decay_convention independent",
            )
            return


def _decay_faults(config: Config, tensors: Sequence[TensorKind]) -> Iterator[Problem]:
    if not decays(config):
        return
    given = "weight_decay" if config["weight_decay"] else "weight_decay_timescale"
    for key, group in groups_of(config, tensors).items():
        share = group["weight_decay"]
        if share > 1:
            times = " times the learning rate" if is_coupled(config) else ""
            yield Problem(
                keys=(given,),
                message=f"{given} {config[given]:g} takes {share:.4g} of each weight of {key} "
                f"away in a step, which is more than all of it: the share{times} has to be at "
                "most 1",
            )
            return


def _epsilon_faults(config: Config, tensors: Sequence[TensorKind]) -> Iterator[Problem]:
    for key, group in groups_of(config, tensors).items():
        for name, setting in SPECS[group["optimizer"]].epsilons.items():
            if group.get(name, LEAST_EPSILON) < LEAST_EPSILON:
                yield Problem(
                    keys=(setting, "parametrization"),
                    message=f"parametrization {config['parametrization']} makes {setting} "
                    f"{config[setting]:g} for {key} {group[name]:.4g}, which float32 takes for 0: "
                    f"it has to be at least {LEAST_EPSILON:.4g}; use a larger {setting}",
                )
                return


def _tied_faults(config: Config, tensors: Sequence[TensorKind]) -> Iterator[Problem]:
    if not config.get("tied_embeddings"):
        return
    groups = groups_of(config, tensors)
    one, other = groups["embedding"], groups["readout"]
    differing = [name for name in one if name != "init_std" and one[name] != other.get(name)]
    if differing:
        values = ", ".join(f"{name} ({one[name]} and {other.get(name)})" for name in differing)
        yield Problem(
            keys=("tied_embeddings", "parametrization"),
            message="tied_embeddings makes embedding and readout one tensor, and parametrization "
            f"{config['parametrization']} gives them different {values}; use tied_embeddings: "
            "false or a parametrization that treats them alike",
        )


def warnings(config: Config, tensors: Sequence[TensorKind]) -> Iterator[str]:
    """Yields the warnings of a canonical config, in words that do not go with its size, so that a
    study has each of them once."""
    yield from _epsilon_warnings(config)
    yield from _decay_warnings(config, tensors)
    yield from _zero_warnings(config)
    yield from _clip_warnings(config)
    yield from _side_warnings(config, tensors)


def _epsilon_warnings(config: Config) -> Iterator[str]:
    rule = config["parametrization"]
    if rule in ("spectral", "moonlight") and scaling_of(config).width_ratio >= LARGE:
        yield (
            f"parametrization {rule} keeps epsilon fixed while gradients shrink with the width; "
            "use an epsilon far below the gradients of the widest model"
        )


def _decay_warnings(config: Config, tensors: Sequence[TensorKind]) -> Iterator[str]:
    """An independent lambda over the factor on the learning rate is the rule for a coupled one."""
    if config["weight_decay_rule"] != "inverse_learning_rate" or is_coupled(config):
        return
    scaling = scaling_of(config)
    if decays(config) and any(
        factors_of(tensor, config, scaling).learning_rate < 1
        for tensor in tensors
        if tensor.role != "vector"
    ):
        yield (
            "weight_decay_rule inverse_learning_rate with weight_decay_convention "
            f"{config['weight_decay_convention']} makes larger models lose more of a weight each "
            "step; the rule is meant for coupled decay, which it keeps the same at every size"
        )


def _zero_warnings(config: Config) -> Iterator[str]:
    if config["parametrization"] == "sp" or not config.get("zero_init"):
        return
    for optimizer in dict.fromkeys((config["optimizer"], others_of(config))):
        if SPECS[optimizer].moves_by_size:
            yield (
                f"{optimizer} moves weights in proportion to their size, and zero_init starts "
                "some at zero: these move by learning_rate at first, whatever the rule; use "
                "zero_init: false"
            )


def _clip_warnings(config: Config) -> Iterator[str]:
    if not SPECS[config["optimizer"]].clips_attention or not config.get("qk_norm"):
        return
    threshold, head_dim = config["qk_clip_threshold"], config["head_dim"]
    if threshold >= head_dim**0.5:
        yield (
            f"qk_clip_threshold {threshold:g} never acts: with qk_norm no attention logit exceeds "
            "sqrt(head_dim); lower it or set qk_norm: false"
        )


def _side_warnings(config: Config, tensors: Sequence[TensorKind]) -> Iterator[str]:
    limit = config.get("max_preconditioner_dim")
    if limit is None:
        return
    for tensor in tensors:
        sides = ((tensor.fan_in, tensor.base_fan_in), (tensor.fan_out, tensor.base_fan_out))
        crossed = any(here > limit >= base for here, base in sides)
        spec = SPECS[optimizer_of(tensor.role, config)]
        if crossed and spec.reads("max_preconditioner_dim"):
            yield (
                f"a side of {tensor.key} exceeds max_preconditioner_dim {limit} here but not at "
                "the base width, and no rule relates the two; raise max_preconditioner_dim"
            )
