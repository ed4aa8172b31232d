"""The Ray cluster: started here or joined, and how many slots of a shape it can hold."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Iterator
from typing import Any

import ray

from sweeper.engine.order import Shape
from sweeper.errors import ClusterError

CAPACITY_SECONDS = 5.0
"""How often the size of the cluster is asked for again."""


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Holds a connection to a Ray cluster.

    Args:
        address: of a running cluster (``auto`` or ``host:port``); None starts a local one,
            which ends with the context.

    Raises:
        ClusterError: Ray cannot be started or joined; says what to do.
    """
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": len(os.sched_getaffinity(0)),
        }
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except (Exception, SystemExit) as fault:
        raise ClusterError(_advice(address, fault)) from fault
    try:
        yield
    finally:
        ray.shutdown()


def _advice(address: str | None, fault: BaseException) -> str:
    said = str(fault).strip().splitlines()
    reason = said[0] if said else type(fault).__name__
    if address is None:
        return (
            f"Ray could not be started on this machine: {reason}. A port may be taken or "
            "another Ray half stopped: `ray stop` ends it; `--address HOST:PORT` joins a "
            "running cluster; `--executor inline` runs without Ray"
        )
    return (
        f"no Ray cluster answers at {address!r}: {reason}. Start one with `ray start --head`, "
        "leave `--address` out to start a local one, or run with `--executor inline`"
    )


class Capacity:
    """How many slots of a shape the whole cluster holds; asks Ray every few seconds."""

    def __init__(self) -> None:
        self._resources: dict[str, float] = {}
        self._asked = -math.inf

    def slots(self, shape: Shape) -> int:
        """Returns the number of slots, at least one: a shape that does not fit waits for nodes
        rather than being dropped."""
        if time.monotonic() - self._asked > CAPACITY_SECONDS:
            self._resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
            self._asked = time.monotonic()
        fits = math.inf
        if shape.cpus:
            fits = min(fits, self._resources.get("CPU", 0.0) / shape.cpus)
        if shape.gpus:
            fits = min(fits, self._resources.get("GPU", 0.0) / shape.gpus)
        return max(1, int(fits + 1e-9))
