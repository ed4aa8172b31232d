"""The canonical ``mlp`` config and all that follows from it before a step is trained."""

from __future__ import annotations

from typing import Any

from workloads.data import absolute, sizes_of
from workloads.mlp.shape import shape_of
from workloads.mlp.tensors import gain_of, leaves_of
from workloads.parametrization import rule_results, settled
from workloads.training import warmup_steps
from workloads.workload import Config


def canonical(config: Config) -> dict[str, Any]:
    """Returns a completed, faultless config in the one form that all its equals share.

    The horizon becomes ``steps``; ``evals`` at most one a step; ``init_gain`` a number; the folder
    of images absolute; optimizers and rules as in :func:`settled`.
    """
    result = dict(config)
    result["steps"] = steps = steps_of(config)
    result["epochs"] = None
    result["init_gain"] = gain_of(config)
    result["evals"] = min(config["evals"], steps)
    result["data"] = absolute(config["data"])
    return settled(result, leaves_of)


def derived(config: Config) -> dict[str, Any]:
    """Returns the derived quantities of a canonical config; an example counts as a token."""
    shape = shape_of(config)
    examples = config["steps"] * shape.batch_size
    return {
        "params": shape.params,
        "params_non_embedding": shape.params_non_embedding,
        "steps": config["steps"],
        "tokens": examples,
        "flops": 3 * shape.flops_per_example * examples,
        "flops_per_token": shape.flops_per_example,
        "warmup_steps": warmup_steps(config),
        "vocabulary": shape.classes,
        **rule_results(config, leaves_of),
    }


def steps_of(config: Config) -> int:
    """Returns the length of the run in steps: epochs become whole batches, at least one."""
    if config["steps"] is not None:
        return int(config["steps"])
    examples = config["epochs"] * sizes_of(config["data"]).train
    return max(1, int(examples // config["batch_size"]))
