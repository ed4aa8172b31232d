"""The dispatcher with a store of plain Python beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.messages import Ended, Event, Order, Shape, Started
from sweeper.engine.packing import Pack
from sweeper.outcome import Outcome
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths

SHAPE = Shape()


@dataclass
class Desk:
    """Stands in for the store: hands out attempt numbers and keeps what is recorded."""

    taken: set[str] = field(default_factory=set)
    claims: list[tuple[str, ...]] = field(default_factory=list)
    recorded: list[Outcome] = field(default_factory=list)
    seen: list[Event] = field(default_factory=list)
    ordered: list[Order] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)

    def claim(self, keys: Sequence[str]) -> dict[str, int]:
        self.claims.append(tuple(keys))
        free = [key for key in keys if key not in self.taken]
        self.attempts.update(free)
        return {key: self.attempts[key] for key in free}


def dispatcher(
    desk: Desk, packs: Sequence[Pack], *, files: LocalFiles | None = None, **options: Any
) -> Dispatcher:
    return Dispatcher(
        packs,
        claim=desk.claim,
        workload="planted",
        paths=Paths(files or LocalFiles(Path("/nowhere"))),
        record=desk.recorded.append,
        observe=desk.seen.append,
        ordered=desk.ordered.append,
        **options,
    )


def finish(office: Dispatcher, order: Order, **fields: Any) -> None:
    for task in order.tasks:
        values = {"kind": "completed"} | fields
        outcome = Outcome(key=task.key, attempt=task.attempt, **values)
        office.handle(Ended(order=order.number, outcome=outcome))


def keys(orders: Sequence[Order]) -> list[str]:
    return [task.key for order in orders for task in order.tasks]


def begin(office: Dispatcher, order: Order, place: str, *, slot: str | None = None) -> None:
    name = slot or place
    office.handle(Started(order=order.number, slot=name, host=place, pid=1, place=place))
