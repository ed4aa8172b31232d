"""What cannot be trained: faults of a completed ``mlp`` config, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator

from workloads.data import is_source
from workloads.mlp.plan import steps_of
from workloads.mlp.tensors import leaves_of
from workloads.parametrization import rule_faults
from workloads.training import has_one_horizon, run_faults
from workloads.workload import Config, Problem

HORIZONS = ("steps", "epochs")


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
    if config["optimizer"] == "muonclip":
        yield Problem(
            keys=("optimizer",),
            message="optimizer muonclip scales down queries and keys of attention, and an mlp "
            "has none; use muon with nesterov: false, which is what is left of it",
        )


def _rule_faults(config: Config) -> Iterator[Problem]:
    steps = steps_of(config) if has_one_horizon(config, HORIZONS) else None
    yield from rule_faults(config, leaves_of(config), steps)
