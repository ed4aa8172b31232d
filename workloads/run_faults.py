"""Faults of the settings of a run, shared by the workloads, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workloads.workload import Config, Problem


def run_faults(config: Config, horizons: Sequence[str]) -> Iterator[Problem]:
    """Yields the faults of a completed config.

    Args:
        config: completed.
        horizons: settings of which exactly one gives the length of the run.
    """
    yield from _horizon_faults(config, horizons)
    if config["warmup"] >= 1:
        yield Problem(
            keys=("warmup",),
            message=f"warmup is {config['warmup']:g}; it has to be at least 0 and below 1",
        )
    yield from _accumulation_faults(config)


def has_one_horizon(config: Config, horizons: Sequence[str]) -> bool:
    """Returns whether exactly one setting gives the length of the run."""
    return sum(config[name] is not None for name in horizons) == 1


def _horizon_faults(config: Config, horizons: Sequence[str]) -> Iterator[Problem]:
    given = [name for name in horizons if config[name] is not None]
    if not given:
        yield Problem(
            keys=tuple(horizons),
            message="the length of the run is missing; give one of "
            f"{', '.join(horizons[:-1])} and {horizons[-1]}",
        )
    if len(given) > 1:
        values = " and ".join(f"{name} {config[name]:g}" for name in given)
        yield Problem(
            keys=tuple(given),
            message=f"{values} are both lengths of the run; keep one of them and remove the rest",
        )


def _accumulation_faults(config: Config) -> Iterator[Problem]:
    parts, size = config["accumulation"], config["batch_size"]
    if size % parts:
        below = max(number for number in range(1, parts) if size % number == 0)
        yield Problem(
            keys=("accumulation", "batch_size"),
            message=f"batch_size {size} does not divide into accumulation {parts} equal parts; "
            f"the next smaller accumulation that does is {below}",
        )
