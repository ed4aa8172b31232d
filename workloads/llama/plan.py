"""The canonical ``llama`` config and all that follows from it before a step is trained."""

from __future__ import annotations

from typing import Any

from workloads.data import canonical_source
from workloads.llama.shape import LlamaShape
from workloads.llama.tensors import leaves_of
from workloads.parametrization import rule_results, settled
from workloads.training import warmup_steps
from workloads.workload import Config


def canonical(config: Config, shape: LlamaShape) -> dict[str, Any]:
    """Returns a completed, faultless config in the one form that all its equals share.

    The horizon becomes ``steps``; ``eval_tokens`` whole sequences; ``evals`` at most one a step;
    the path of a text file absolute; optimizers and rules as in
    :func:`settled`.
    """
    result = dict(config)
    result["steps"] = steps = steps_of(config, shape)
    result["evals"] = min(config["evals"], steps)
    result["eval_tokens"] = config["eval_tokens"] // config["context"] * config["context"]
    result |= canonical_source(config)
    _drop_idle_attention(result)
    for name in ("tokens", "tokens_per_param"):
        result[name] = None
    return settled(result, leaves_of)


def derived(config: Config, shape: LlamaShape) -> dict[str, Any]:
    """Returns the derived quantities of a canonical config."""
    tokens = config["steps"] * shape.tokens_per_step
    return {
        "params": shape.params,
        "params_non_embedding": shape.params_non_embedding,
        "steps": config["steps"],
        "tokens": tokens,
        "flops": 3 * shape.flops_per_token * tokens,
        "flops_per_token": shape.flops_per_token,
        "warmup_steps": warmup_steps(config),
        "heads": shape.heads,
        "mlp_hidden": shape.mlp_hidden,
        "vocabulary": shape.vocabulary,
        **rule_results(config, leaves_of),
    }


def steps_of(config: Config, shape: LlamaShape) -> int:
    """Returns the length of the run in steps: tokens become whole batches, at least one."""
    if config["steps"] is not None:
        return int(config["steps"])
    per_param = config["tokens_per_param"]
    tokens = config["tokens"] if per_param is None else per_param * shape.params
    return max(1, int(tokens // shape.tokens_per_step))


def _drop_idle_attention(config: dict[str, Any]) -> None:
    """Writes an attention scale without effect as the usual one."""
    if config["base_head_dim"] == config["head_dim"]:
        config["attention_scale"] = "sqrt"
    if config["attention_scale"] == "sqrt":
        config["base_head_dim"] = None
