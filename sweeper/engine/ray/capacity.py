"""What a Ray cluster holds: nodes that live and stay, and how many slots of a shape fit them."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray._private.state import state

from sweeper.engine.messages import Shape
from sweeper.engine.ray.cluster import answered
from sweeper.engine.ray.pulse import Call, aside
from sweeper.errors import ClusterError

CAPACITY_SECONDS = 5.0
"""How often the size of the cluster is asked for again."""


@dataclass(frozen=True)
class Nodes:
    """The nodes of a cluster.

    Attributes:
        staying: what each node has that lives and is not being drained, by resource.
        draining: Ray's names of those that are: they take no new slots, and will be gone.
    """

    staying: tuple[Mapping[str, float], ...] = ()
    draining: frozenset[str] = frozenset()

    @property
    def total(self) -> Counter[str]:
        """What those that stay have together."""
        sums: Counter[str] = Counter()
        for node in self.staying:
            sums.update(node)
        return sums


class Capacity:
    """How many slots of a shape the whole cluster holds; asks Ray every few seconds, and waits
    for its first answer only.

    Raises:
        ClusterError: Ray does not answer when it is asked for the first time.
    """

    def __init__(self) -> None:
        self._nodes = Nodes()
        self._asked = -math.inf
        self._answer: Call[Nodes] | None = None

    def __str__(self) -> str:
        total = self.nodes.total
        return _listed(total.get("CPU", 0.0), total.get("GPU", 0.0), self.custom)

    @property
    def custom(self) -> dict[str, float]:
        """How much there is of each custom resource."""
        names = {name for node in self.nodes.staying for name in node}
        return {
            name: self.nodes.total[name]
            for name in sorted(names - set(OWN))
            if not name.startswith("node:")
        }

    @property
    def nodes(self) -> Nodes:
        """The nodes, as they were seconds ago."""
        self._look()
        return self._nodes

    def slots(self, shape: Shape) -> int:
        """Returns the number of slots, at least one: a shape that does not fit waits for nodes
        rather than being dropped."""
        return max(1, self.fitting(shape))

    def fitting(self, shape: Shape) -> int:
        """Returns the number of slots that fit now, 0 included."""
        fits = sum(shape.fitting(node) for node in self.nodes.staying)
        # Trials that want a device of their own are few, and come one after the other.
        return min(fits, 1) if shape.alone else fits

    def places(self) -> int:
        """Returns the number of nodes that have processors for trials."""
        return sum(node.get("CPU", 0.0) > 0 for node in self.nodes.staying)

    def bundle(self, shape: Shape) -> dict[str, float]:
        """Returns what a slot asks Ray for; one that wants to be alone, all accelerators that it
        touches, or failing those all processors of a node (of the most common size that the
        cluster has: it waits until one is free)."""
        if not shape.alone:
            return shape.bundle
        if shape.gpus:
            return {**shape.bundle, "GPU": float(math.ceil(shape.gpus))}
        fits = [node for node in self.nodes.staying if shape.fitting(node)]
        sizes = Counter(node["CPU"] for node in fits)
        most = max(sizes, key=lambda size: (sizes[size], size), default=shape.cpus)
        return {**shape.bundle, "CPU": most}

    def _look(self) -> None:
        now = time.monotonic()
        if self._asked == -math.inf:
            self._nodes = answered(_nodes)
            self._asked = now
        elif self._answer is None and now - self._asked > CAPACITY_SECONDS:
            self._answer, self._asked = aside(_nodes), now
        elif self._answer is not None and self._answer.done():
            with contextlib.suppress(ray.exceptions.RayError):
                self._nodes = self._answer.result()
            self._answer = None


OWN = ("CPU", "GPU", "memory", "object_store_memory")
"""Names of resources that every cluster has."""


def _nodes() -> Nodes:
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    draining = frozenset(state.get_draining_nodes())
    staying = (node["Resources"] for node in alive if node["NodeID"] not in draining)
    return Nodes(tuple(staying), draining)


def _listed(cpus: float, gpus: float, custom: Mapping[str, float]) -> str:
    more = [f"{amount:g} {name}" for name, amount in custom.items()]
    *first, last = [f"{cpus:g} CPUs", f"{gpus:g} GPUs", *more]
    return f"{', '.join(first)} and {last}"


def check_shapes(shapes: Sequence[Shape], *, may_grow: bool, note: Callable[[str], None]) -> None:
    """Looks for trials that need more than any node of the cluster has.

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
        needs = f"some trials need {_listed(shape.cpus, shape.gpus, dict(shape.custom))} each"
        lacking = [name for name, _ in shape.custom if name not in capacity.custom]
        hint = f"; {_unknown(lacking, capacity.custom)}" if lacking else ""
        if may_grow:
            note(f"{needs}, which no node of the cluster has; they wait for nodes to join{hint}")
        else:
            raise ClusterError(
                f"{needs}, and this machine has {capacity}; lower `resources` in the study, or "
                f"join a cluster with --address{hint}"
            )


def _unknown(names: Sequence[str], known: Mapping[str, float]) -> str:
    there = f"it has {', '.join(known)}" if known else "it has none"
    return (
        f"{', '.join(names)} is a custom resource, which a node has if it was started with `ray "
        f"start --resources='{{\"{names[0]}\": 1}}'` ({there})"
    )
