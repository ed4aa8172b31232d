"""A slot, with a mailbox that answers at once and a host that only counts."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from sweeper.engine.messages import Advanced, Ended, Event
from sweeper.engine.ray import slot
from sweeper.engine.ray.mailbox import Reply
from sweeper.engine.ray.slot import Slot
from sweeper.outcome import Outcome


class Box:
    """A mailbox that keeps what is posted."""

    def __init__(self, quiet: float) -> None:
        self.posted: list[list[Event]] = []
        self.post = self
        self._quiet = quiet

    def remote(self, name: str, events: Sequence[Event]) -> Reply:
        self.posted.append(list(events))
        return Reply(quiet=self._quiet)


class Counting:
    """A host that is never done, and tells how far it is or what it is given."""

    done = False

    def __init__(self) -> None:
        self.count = 0
        self.news: list[Event] = []

    def advance(self) -> list[Event]:
        self.count += 1
        news, self.news = self.news, []
        return [Advanced(order=1, fraction=self.count / 100), *news]


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns what makes a slot with an order in hand, given how quiet it may be."""
    monkeypatch.setattr(slot.ray, "get", lambda reply, timeout: reply)

    def make(quiet: float) -> tuple[Slot, Box, Any]:
        made, box, host = Slot.__new__(Slot), Box(quiet), Counting()
        made._name, made._mailbox, made._events, made._silent_until = "a", box, [], 0.0
        made._watch = SimpleNamespace(given=None)  # no machine is taken away
        return made, box, host

    return make


def test_a_slot_without_news_posts_when_its_quiet_is_over(at_work: Any) -> None:
    made, box, host = at_work(3600.0)
    for _ in range(5):
        made._advance(host)
    assert len(box.posted) == 1
    assert made._events == [Advanced(order=1, fraction=0.05)], "how far it is now, and no more"
    made, box, host = at_work(0.0)
    for _ in range(5):
        made._advance(host)
    assert len(box.posted) == 5


def test_news_are_posted_at_once_whatever_the_quiet(at_work: Any) -> None:
    made, box, host = at_work(3600.0)
    made._advance(host)
    made._advance(host)
    host.news = [Ended(order=1, outcome=Outcome(key="k", attempt=1, kind="completed"))]
    made._advance(host)
    assert [type(event) for event in box.posted[-1]] == [Advanced, Advanced, Ended]
