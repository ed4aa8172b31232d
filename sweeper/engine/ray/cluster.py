"""The Ray cluster: started here or joined, and how many slots of a shape it can hold."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray._private import services
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.engine.messages import Shape
from sweeper.engine.packing import local_processors
from sweeper.engine.signals import WARNINGS
from sweeper.errors import ClusterError, Interrupted

KNOCK_SECONDS = 5.0
"""How long the head of a cluster may take to accept a connection."""

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""A frame without content of type 4; see RFC 9113, sections 4.1 and 6.5."""

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
        Interrupted: SIGTERM came while Ray was starting.
    """
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": local_processors(),
        }
    else:
        _knock(_found(address))
    with _own_sigterm(), _warnings_for_us_alone():
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
        except SystemExit as fault:
            if fault.code in (1, signal.SIGTERM):  # how Ray's own handlers end the process
                raise Interrupted("interrupted while Ray was starting; run it again") from fault
            raise ClusterError(_advice(address, fault)) from fault
        except Exception as fault:
            raise ClusterError(_advice(address, fault)) from fault
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray puts a SIGTERM handler of its own in place of ours, which ends the process at once;
    what schedulers and containers send has to end a run gracefully."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(ours) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


@contextlib.contextmanager
def _warnings_for_us_alone() -> Iterator[None]:
    """A scheduler may send its warning to every process of a job, and it would end those of Ray,
    which have to live until the trials are on the disk: what is started in this context does not
    receive it. What comes in meanwhile is heard afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _found(address: str) -> str:
    """Returns the address that Ray takes for ``auto``: that of RAY_ADDRESS, or of the cluster
    that was started last on this machine, which may be dead."""
    if address != "auto":
        return address
    try:
        return services.canonicalize_bootstrap_address(address) or address
    except ValueError:
        return address  # of another kind (ray://), which Ray judges
    except ConnectionError as fault:
        raise ClusterError(_advice(address, fault)) from fault


def _knock(address: str) -> None:
    """Raises ClusterError if nothing listens at ``host:port``, or something that is not Ray: Ray
    itself would go on trying for more than ten minutes (measured with 2.60).

    Ray's head speaks gRPC, so it answers the opening of HTTP/2 with a SETTINGS frame (RFC 9113,
    section 3.4); with TLS it cannot be asked this way.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        return
    try:
        place = (host.strip("[]"), int(port))
        with socket.create_connection(place, timeout=KNOCK_SECONDS) as link:
            if os.environ.get("RAY_USE_TLS", "0") in ("0", ""):
                link.sendall(HTTP2_PREFACE + EMPTY_SETTINGS)
                answer = link.recv(len(EMPTY_SETTINGS))
                if answer[3:4] != EMPTY_SETTINGS[3:4]:
                    raise ConnectionError("something that is not Ray listens there")
    except TimeoutError as fault:
        silence = ConnectionError("what listens there, if anything, does not answer as Ray does")
        raise ClusterError(_advice(address, silence)) from fault
    except (OSError, OverflowError) as fault:
        raise ClusterError(_advice(address, fault)) from fault


def _advice(address: str | None, fault: BaseException) -> str:
    said = str(fault).strip().splitlines()
    reason = said[0].rstrip(".") if said else type(fault).__name__
    if address is None and "AF_UNIX path length" in reason:
        folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
        return (
            f"Ray could not be started on this machine: the names of its sockets below {folder}, "
            "the folder for temporary files, are too long; name a shorter one in "
            "RAY_TMPDIR, for example RAY_TMPDIR=/tmp"
        )
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
        self._sizes: list[float] = []
        self._asked = -math.inf

    def __str__(self) -> str:
        cpus, gpus = self._resources.get("CPU", 0.0), self._resources.get("GPU", 0.0)
        return f"{cpus:g} CPUs and {gpus:g} GPUs"

    def slots(self, shape: Shape) -> int:
        """Returns the number of slots, at least one: a shape that does not fit waits for nodes
        rather than being dropped."""
        return max(1, self.fitting(shape))

    def fitting(self, shape: Shape) -> int:
        """Returns the number of slots that fit now, 0 included."""
        self._look()
        fitting = shape.fitting(self._resources.get("CPU", 0.0), self._resources.get("GPU", 0.0))
        # Trials that want a device of their own are few, and come one after the other.
        return min(fitting, 1) if shape.alone else fitting

    def nodes(self) -> int:
        """Returns the number of nodes that have processors for trials."""
        self._look()
        return sum(size > 0 for size in self._sizes)

    def bundle(self, shape: Shape) -> dict[str, float]:
        """Returns what a slot asks Ray for; one that wants to be alone, all accelerators that it
        touches, or failing those all processors of a node (of the most common size that the
        cluster has: it waits until one is free)."""
        if shape.gpus:
            gpus = float(math.ceil(shape.gpus)) if shape.alone else shape.gpus
            return {"CPU": shape.cpus, "GPU": gpus}
        if not shape.alone:
            return {"CPU": shape.cpus}
        self._look()
        sizes = Counter(self._sizes)
        fitting = {size: count for size, count in sizes.items() if size >= shape.cpus}
        return {"CPU": max(fitting, key=lambda size: (fitting[size], size), default=shape.cpus)}

    def _look(self) -> None:
        if time.monotonic() - self._asked > CAPACITY_SECONDS:
            self._resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
            nodes = ray.nodes()  # type: ignore[no-untyped-call]
            self._sizes = [node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]]
            self._asked = time.monotonic()


def on_node(node: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function once in a process of a node; returns Ray's reference to its answer.

    Args:
        node: Ray's name of the node.
        function: what to call; takes no processor.
        arguments: what it is given.
    """
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(function).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
    return task.remote(*arguments)


def end_process(node: str, pid: int) -> None:
    """Ends a process on a node of the cluster, whatever it is doing; does not wait for it.

    Args:
        node: Ray's name of the node.
        pid: the process's number there.
    """
    on_node(node, _kill, pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def check_shapes(shapes: Sequence[Shape], *, may_grow: bool, note: Callable[[str], None]) -> None:
    """Looks for trials that need more than the cluster has.

    Args:
        shapes: what slots need.
        may_grow: True if nodes may join; such trials then wait for them, and a note says so.
        note: is given a sentence about each.

    Raises:
        ClusterError: they would wait for ever.
    """
    capacity = Capacity()
    for shape in shapes:
        if capacity.fitting(shape):
            continue
        needs = f"some trials need {shape.cpus:g} CPUs and {shape.gpus:g} GPUs each"
        if may_grow:
            note(f"{needs}, which the cluster does not have; they wait for nodes to join")
        else:
            raise ClusterError(
                f"{needs}, and this machine has {capacity}; lower `resources` in the study, or "
                "join a cluster with --address"
            )
