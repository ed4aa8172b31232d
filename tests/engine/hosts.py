"""Orders to run in this process, and what must not depend on how they were run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine_studies import TINY_LLAMA
from pyarrow import parquet

from sweeper.engine.messages import Ended, Event, Order
from sweeper.engine.worker.host import Host
from sweeper.outcome import Outcome

PLANTED: Mapping[str, Any] = {"width": 32, "learning_rate": 0.02, "steps": 12}
ONE_STEP = 0.0
"""Seconds in which a host makes one step."""

RATES = (0.01, 0.02, 0.04)


def planted(**settings: Any) -> dict[str, Any]:
    return {**PLANTED, **settings}


def llama(**settings: Any) -> dict[str, Any]:
    return {**TINY_LLAMA, "learning_rate": 0.01, **settings}


def finish(host: Host) -> list[Event]:
    events: list[Event] = []
    for _ in range(10_000):
        if host.done:
            return events
        events.extend(host.advance(0.05))
    raise AssertionError("the order never ends")


def advance_to(host: Host, step: int) -> None:
    """Goes on until the running members have done ``step`` steps."""
    while max(host.running.values(), default=0) < step:
        host.advance(ONE_STEP)


def curves(order: Order, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The exact numbers of the outcomes' curves, by key."""
    found = {}
    for outcome in outcomes:
        assert outcome.curve is not None
        table = parquet.read_table(order.paths.files.local(outcome.curve))
        found[outcome.key] = repr(table.to_pydict())
    return found


def facts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What must not depend on interruptions, by key."""
    return {
        outcome.key: (outcome.kind, dict(outcome.metrics), outcome.marks, outcome.step)
        for outcome in outcomes
    }


def adopted_in(events: Sequence[Event]) -> set[str]:
    """The keys of trials whose results were taken over rather than trained."""
    return {event.outcome.key for event in events if isinstance(event, Ended) and event.adopted}
