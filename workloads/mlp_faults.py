"""What cannot be trained: faults of a completed ``mlp`` config, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator

from workloads.data.images import is_source
from workloads.mlp_leaves import leaves_of
from workloads.mlp_plan import steps_of
from workloads.rule_faults import rule_faults
from workloads.workload import Config, Problem

HORIZONS = ("steps", "epochs")


def faults(config: Config) -> Iterator[Problem]:
    """Yields every fault of the combination of settings."""
    yield from _data_faults(config)
    yield from _horizon_faults(config)
    yield from _run_faults(config)
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


def _horizon_faults(config: Config) -> Iterator[Problem]:
    given = [name for name in HORIZONS if config[name] is not None]
    if not given:
        yield Problem(
            keys=HORIZONS,
            message="the length of the run is missing; give one of steps and epochs",
        )
    if len(given) > 1:
        values = " and ".join(f"{name} {config[name]:g}" for name in given)
        yield Problem(
            keys=tuple(given),
            message=f"{values} are both lengths of the run; keep one of them and remove the other",
        )


def _run_faults(config: Config) -> Iterator[Problem]:
    if config["warmup"] >= 1:
        yield Problem(
            keys=("warmup",),
            message=f"warmup is {config['warmup']:g}; it has to be at least 0 and below 1",
        )
    size, parts = config["batch_size"], config["accumulation"]
    if size % parts:
        below = max(number for number in range(1, parts) if size % number == 0)
        yield Problem(
            keys=("accumulation", "batch_size"),
            message=f"batch_size {size} does not divide into accumulation {parts} equal parts; "
            f"the next smaller accumulation that does is {below}",
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
    one_horizon = sum(config[name] is not None for name in HORIZONS) == 1
    steps = steps_of(config) if one_horizon else None
    yield from rule_faults(config, leaves_of(config), steps)
