"""A Ray cluster of three nodes on this machine, whose nodes can be torn off, stopped and added."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

from engine_program import AGENTS, MARK, SLOTS, marked_processes


class Nodes:
    """A Ray cluster of three nodes with one processor each, on this machine."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.mark = uuid.uuid4().hex
        os.environ[MARK] = self.mark  # what its processes are told by
        # A node is given up after five questions without an answer: 2.5 s rather than 15 for one
        # that is gone, and at most 8 rather than 65 for one that hangs.
        often = {"health_check_period_ms": 500, "health_check_timeout_ms": 1000}
        node = {"num_cpus": 1, "include_dashboard": False, "_system_config": often}
        self.cluster: Any = Cluster(initialize_head=True, head_node_args=node)
        self.others = [self.cluster.add_node(num_cpus=1) for _ in range(2)]
        self.cluster.wait_for_nodes()

    def pids_on(self, node: Any) -> set[int]:
        """Returns the slots on a node: the children of its raylet."""
        parent = node.all_processes["raylet"][0].process.pid
        return {
            pid
            for pid, line in marked_processes(self.mark).items()
            if line.startswith(SLOTS) and _parent(pid) == parent
        }

    def tear_off(self, node: Any) -> None:
        """Kills the raylet of a node, as if its machine were gone."""
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    def join(self) -> None:
        """Adds a node."""
        self.others.append(self.cluster.add_node(num_cpus=1))

    def cut_off(self, node: Any) -> list[int]:
        """Stops a node with its slots, as if its network were gone; returns the processes."""
        stopped = [node.all_processes["raylet"][0].process.pid, *self.pids_on(node)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        return stopped

    def shutdown(self) -> None:
        """Ends all nodes; asserts that nothing is left of them but what ends by itself."""
        del os.environ[MARK]
        self.cluster.shutdown()
        until = time.monotonic() + 30
        while left := [x for x in marked_processes(self.mark).values() if x not in AGENTS]:
            assert time.monotonic() < until, f"still running: {left}"
            time.sleep(0.1)


def _parent(pid: int) -> int:
    """The process that started another one; 0 if that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
