"""The canonical ``llama`` config and all that follows from it before a step is trained."""

from __future__ import annotations

from typing import Any

from workloads.data.vocabulary import canonical_source
from workloads.llama_shape import LlamaShape
from workloads.optimizer_names import (
    ORTHOGONAL,
    default_steps,
    newton_schulz_coefficients,
    others_of,
)
from workloads.parametrization.groups import groups_of, ratios
from workloads.parametrization.rules import branch_multiplier
from workloads.workload import Config

WEIGHT_DECAY_CONVENTION = (
    "independent: W <- W - s(t) * (learning_rate * update + weight_decay * W)"
)


def canonical(config: Config, shape: LlamaShape) -> dict[str, Any]:
    """Returns a completed, faultless config in the one form that all its equals share.

    The horizon becomes ``steps``; ``eval_tokens`` whole sequences; ``evals`` at most one a step;
    the path of a text file absolute. A rule that changes nothing is written as none: ``mup`` at
    the base width and depth is ``sp``, and ``inverse_width`` at the base width or without any
    weight decay is ``none``; a base that no rule reads is left out. So the base model is one
    trial, whichever variant asks for it.
    """
    result = dict(config)
    result["steps"] = steps = _steps(config, shape)
    result["evals"] = min(config["evals"], steps)
    result["eval_tokens"] = config["eval_tokens"] // config["context"] * config["context"]
    result |= canonical_source(config)
    if "newton_schulz" in result and result["newton_schulz_steps"] is None:
        result["newton_schulz_steps"] = default_steps(result["newton_schulz"])
    result["others"] = others_of(result)
    if result["others_learning_rate_ratio"] is None:
        result["others_learning_rate_ratio"] = _others_ratio(result)
    _drop_idle_rules(result)
    _drop_idle_attention(result)
    for name in ("tokens", "tokens_per_param"):
        result[name] = None
    return {name: value for name, value in result.items() if value is not None}


def derived(config: Config, shape: LlamaShape) -> dict[str, Any]:
    """Returns the derived quantities of a canonical config."""
    tokens = config["steps"] * shape.tokens_per_step
    result = {
        "params": shape.params,
        "params_non_embedding": shape.params_non_embedding,
        "steps": config["steps"],
        "tokens": tokens,
        "flops": 3 * shape.flops_per_token * tokens,
        "flops_per_token": shape.flops_per_token,
        "warmup_steps": _warmup_steps(config),
        "heads": shape.heads,
        "mlp_hidden": shape.mlp_hidden,
        "vocabulary": shape.vocabulary,
        "branch_multiplier": branch_multiplier(
            config["parametrization"], depth_ratio=ratios(config)[1]
        ),
        "weight_decay_convention": WEIGHT_DECAY_CONVENTION,
        "groups": groups_of(config),
    }
    if "newton_schulz" in config:
        result["newton_schulz_coefficients"] = newton_schulz_coefficients(
            config["newton_schulz"], config["newton_schulz_steps"]
        )
    return result


def _steps(config: Config, shape: LlamaShape) -> int:
    """Returns the length of the run in steps: tokens become whole batches, at least one."""
    if config["steps"] is not None:
        return int(config["steps"])
    per_param = config["tokens_per_param"]
    tokens = config["tokens"] if per_param is None else per_param * shape.params
    return max(1, int(tokens // shape.tokens_per_step))


def _warmup_steps(config: Config) -> int:
    """Returns the steps of warmup: the nearest whole number, fewer than all steps."""
    return min(int(config["warmup"] * config["steps"] + 0.5), int(config["steps"]) - 1)


def _others_ratio(config: Config) -> float:
    """Returns the usual learning rate of the others over that of the hidden matrices."""
    optimizer = config["optimizer"]
    of_norm_one = optimizer in ORTHOGONAL or (optimizer == "shampoo" and config["graft"] == "none")
    return 0.3 if of_norm_one and config["others"] != optimizer else 1.0


def _drop_idle_rules(config: dict[str, Any]) -> None:
    """Writes rules without effect as none and removes the bases that nothing reads then."""
    width_ratio, depth_ratio = ratios(config)
    if width_ratio == 1 or config["weight_decay"] == 0:
        config["weight_decay_rule"] = "none"
    if depth_ratio == 1:
        config.pop("base_depth", None)
    if width_ratio == 1 and depth_ratio == 1:
        config["parametrization"] = "sp"
    if config["parametrization"] == "sp" and config["weight_decay_rule"] == "none":
        config["base_width"] = None


def _drop_idle_attention(config: dict[str, Any]) -> None:
    """Writes an attention scale and a choice of heads without effect as the usual ones."""
    if config["base_head_dim"] == config["head_dim"]:
        config["attention_scale"] = "sqrt"
    if config["attention_scale"] == "sqrt":
        config["base_head_dim"] = None
    if config.get("qkv") == "per_head" and config["head_dim"] == config["width"]:
        config["qkv"] = "split"
