"""What is wrong with an ``mlp`` config, its canonical form, and all that follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workloads.data import absolute, is_source, sizes_of
from workloads.mlp.shape import gain_of, shape_of, tensors_of
from workloads.optimizers import SPECS
from workloads.parametrization import canonical_rules, rule_faults, rule_results
from workloads.training import has_one_horizon, run_faults, warmup_steps
from workloads.workload import Config, Problem

HORIZONS = ("steps", "epochs")


def canonical(config: Config) -> dict[str, Any]:
    """Returns a completed, faultless config in the one form that all its equals share.

    The horizon becomes ``steps``; ``evals`` at most one a step; ``init_gain`` a number; the folder
    of images absolute; optimizers and rules as in :func:`canonical_rules`.
    """
    result = dict(config)
    result["steps"] = steps = steps_of(config)
    result["epochs"] = None
    result["init_gain"] = gain_of(config)
    result["evals"] = min(config["evals"], steps)
    result["data"] = absolute(config["data"])
    return canonical_rules(result, tensors_of)


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
        **rule_results(config, tensors_of),
    }


def steps_of(config: Config) -> int:
    """Returns the length of the run in steps: epochs become whole batches, at least one."""
    if config["steps"] is not None:
        return int(config["steps"])
    examples = config["epochs"] * sizes_of(config["data"]).train
    return max(1, int(examples // config["batch_size"]))


def faults(config: Config) -> Iterator[Problem]:
    """Yields every fault of the combination of settings."""
    yield from _data_faults(config)
    yield from run_faults(config, HORIZONS)
    yield from _depth_faults(config)
    yield from _optimizer_faults(config)
    if is_source(config["data"]):
        yield from _rule_faults(config)


def _data_faults(config: Config) -> Iterator[Problem]:
    if not is_source(config["data"]):
        yield Problem(
            keys=("data",),
            message=f"data {config['data']!r} is no source; use digits, fashion-mnist, or "
            "fashion-mnist:FOLDER with the folder of its four idx files",
        )


def _depth_faults(config: Config) -> Iterator[Problem]:
    if config.get("base_depth") is not None and not config["residual"]:
        yield Problem(
            keys=("base_depth", "residual"),
            message=f"base_depth {config['base_depth']} asks for a rule over depth, which divides "
            "residual branches, and residual is false; set residual: true or remove base_depth",
        )


def _optimizer_faults(config: Config) -> Iterator[Problem]:
    optimizer = config["optimizer"]
    left = SPECS[optimizer].without_clip
    if left is not None:
        yield Problem(
            keys=("optimizer",),
            message=f"optimizer {optimizer} scales down queries and keys of attention, and an mlp "
            f"has none; use {left}, which is what is left of it",
        )


def _rule_faults(config: Config) -> Iterator[Problem]:
    steps = steps_of(config) if has_one_horizon(config, HORIZONS) else None
    yield from rule_faults(config, tensors_of(config), steps)
