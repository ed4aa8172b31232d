"""Calls again while the store is away."""

from __future__ import annotations

import threading

import pytest

from sweeper.engine.ledger import StoreRetry
from sweeper.errors import StoreAway, StoreError


class Asked:
    """A store that fails so many times."""

    def __init__(self, failures: int, fault: StoreError) -> None:
        self.left, self.fault, self.times = failures, fault, 0

    def __call__(self) -> str:
        self.times += 1
        if self.left:
            self.left -= 1
            raise self.fault
        return "answer"


def test_a_store_that_comes_back_is_asked_again_with_growing_waits() -> None:
    notes: list[str] = []
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    store = Asked(8, StoreAway("locked"))
    assert StoreRetry(note=notes.append, wait=wait).call(store) == "answer"
    assert store.times == 9
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert notes[0] == "waiting for the store: locked"
    assert notes[1].startswith("the store is back")
    assert len(notes) == 2


def test_a_store_that_neither_answers_nor_fails_is_told_of() -> None:
    said = threading.Event()
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        said.set()

    retry = StoreRetry(note=note, wait=lambda seconds: False, late=0.01)
    assert retry.call(lambda: said.wait(60)), "it answers once somebody knows that it is late"
    assert notes == ["the store has not answered for 0 s; waiting for it"]


def test_a_store_with_another_trouble_is_not_asked_again() -> None:
    store = Asked(1, StoreError("damaged"))
    with pytest.raises(StoreError, match="damaged"):
        StoreRetry(note=lambda text: None, wait=lambda seconds: False).call(store)
    assert store.times == 1


def test_waiting_ends_when_it_is_told_to_or_when_the_limit_is_over() -> None:
    told = Asked(9, StoreAway("gone"))
    with pytest.raises(StoreAway):
        StoreRetry(note=lambda text: None, wait=lambda seconds: True).call(told)
    assert told.times == 1
    clock = iter(range(0, 10_000, 100))
    late = Asked(99, StoreAway("gone"))
    with pytest.raises(StoreAway):
        StoreRetry(
            note=lambda text: None,
            wait=lambda seconds: False,
            limit=250,
            clock=lambda: float(next(clock)),
        ).call(late)
    assert late.times == 3
