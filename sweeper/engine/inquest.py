"""What a lost order is laid to: its worker alone, or the death of the whole node."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import ray

from sweeper.engine.cluster import on_node
from sweeper.engine.order import Event, Lost

INQUEST_SECONDS = 60.0
"""How long a node may take to answer or to be declared dead; Ray takes about 20 seconds."""


@dataclass
class _Case:
    """A loss whose node is being asked for a sign of life."""

    event: Lost
    sign: Any
    since: float


class Inquest:
    """Holds back losses until it is known whether their nodes live.

    A worker dies at once with its node, and Ray notices the worker first: only a task on that
    node tells the two apart.
    """

    def __init__(self) -> None:
        self._here = ray.get_runtime_context().get_node_id()
        self._cases: list[_Case] = []

    def review(self, events: tuple[Event, ...]) -> list[Event]:
        """Returns the events that can be dealt with now, in order: the new ones, but for losses
        on nodes that have not answered yet, and earlier losses that are settled."""
        ready: list[Event] = []
        for event in events:
            if isinstance(event, Lost) and not event.node and event.where not in ("", self._here):
                self._cases.append(_Case(event, on_node(event.where, _answer), time.monotonic()))
            else:
                ready.append(event)
        for case in list(self._cases):
            verdict = _verdict(case)
            if verdict is not None:
                self._cases.remove(case)
                reason = f"{case.event.reason} (its node is gone)" if verdict else None
                ready.append(replace(case.event, node=verdict, reason=reason or case.event.reason))
        return ready


def _answer() -> bool:
    return True


def _verdict(case: _Case) -> bool | None:
    """True if the node is gone, False if it lives, None as long as nobody knows."""
    done, _ = ray.wait([case.sign], timeout=0)
    if done:
        try:
            return not ray.get(case.sign)
        except ray.exceptions.RayError:
            return True  # nobody there to run it
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    if not any(node["NodeID"] == case.event.where and node["Alive"] for node in nodes):
        return True
    return False if time.monotonic() - case.since > INQUEST_SECONDS else None
