"""The nodes of a cluster, each asked before trials run there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from sweeper.engine.doctor import (
    Machine,
    Visit,
    answer_faults,
    examine,
    file_faults,
    here,
    version_faults,
)
from sweeper.engine.ray.address import head_address, token_state
from sweeper.engine.ray.cluster import answered, cluster, on_node
from sweeper.engine.worker import hostname
from sweeper.errors import StoreError
from sweeper.store import Paths


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What is known of a cluster.

    Attributes:
        address: of its head.
        token: the state of Ray's token, in words.
        dashboard: where its dashboard listens, ``host:port``; None if there is none.
        visits: to this process and to every node.
        notes: what a person should know.
    """

    address: str
    token: str
    dashboard: str | None
    visits: tuple[Visit, ...]
    notes: tuple[str, ...]


def visit_cluster(address: str, paths: Paths, *, ask_devices: bool) -> Cluster:
    """Joins a cluster, asks this process and every node, and leaves it.

    Args:
        address: ``auto`` or ``host:port``.
        paths: where curves and checkpoints go.
        ask_devices: have torch tell the GPUs of the nodes, which takes seconds.

    Raises:
        RequestError: the address is none of a cluster that can be joined.
        ClusterError: there is no cluster, or it does not answer.
    """
    notes: list[str] = []
    head = head_address(address)
    with cluster(address, note=notes.append):
        visits = examine([this_process(), *_nodes()], paths.files, _ask, ask_devices=ask_devices)
        node: Any = ray._private.worker._global_node
        dashboard = node.webui_url or None
        token = token_state()
    return Cluster(
        address=head,
        token=token,
        dashboard=dashboard,
        visits=tuple(visits),
        notes=tuple(notes),
    )


def require_shared(paths: Paths, note: Callable[[str], None]) -> None:
    """Sees to it that all nodes of the cluster that was joined write and read the same files.

    Args:
        paths: where curves and checkpoints go.
        note: is told of nodes that do not answer, and of versions that differ.

    Raises:
        StoreError: a node does not see what another one writes.
    """
    nodes = [node for node in _nodes() if node.trains]
    if len(nodes) < 2:
        return
    visits = examine([this_process(), *nodes], paths.files, _ask, ask_devices=False)
    if faults := list(file_faults(visits, paths.files.shown(""))):
        raise StoreError(f"{faults[0]} (`sweeper doctor --address auto` tells all)")
    for sentence in (*answer_faults(visits), *version_faults(visits)):
        note(sentence)


def this_process() -> Machine:
    """Returns this process, which trains nothing itself where it has joined a cluster."""
    return Machine(name=f"this process on {hostname()}", cpus=0.0, gpus=0.0)


def _nodes() -> list[Machine]:
    """Returns the nodes that live, the largest first."""
    found = [
        Machine(
            name=f"{node['NodeManagerHostname']} (node {node['NodeID'][:8]})",
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            custom=tuple(node["Resources"].items()),
            node=node["NodeID"],
        )
        for node in answered(ray.nodes)
        if node["Alive"]
    ]
    return sorted(found, key=lambda node: (-node.cpus, -node.gpus, node.name))


def _ask(machine: Machine, function: Callable[..., Any], *arguments: Any) -> Any:
    return (
        on_node(machine.node, function, *arguments) if machine.node else here(function, *arguments)
    )
