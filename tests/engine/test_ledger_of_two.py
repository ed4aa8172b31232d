"""Claims that pass from one controller to another: what is dropped, and what is not repeated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_studies import planted
from life_cycle import Clock, Controller

from sweeper.engine.policy import Limits
from sweeper.store.store import Store

NAME = "planted"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def _one_trial(store: Store, *, number: int, here: bool) -> Controller:
    study = planted(sweep={"width": [32], "learning_rate": [0.1]})
    return Controller(study, store, number=number, here=here)


def test_a_bug_under_another_controller_is_not_repeated_by_the_one_that_lost_the_trial(
    store: Store,
) -> None:
    first, second = (_one_trial(store, number=n, here=n == 1) for n in (1, 2))
    first.take(1)
    first.lose(first.workers[0], node=False)
    second.take(1)
    second.end(second.workers[0], "bug", 1.0)
    assert first.take(1) == []
    first.look()
    assert first.idle
    summary = first.run.summary(0.0)
    assert (summary.failed, summary.failed_before, summary.elsewhere) == (0, 1, 0)
    for each in (first, second):
        each.crash()


def test_a_bug_that_a_lost_worker_tells_late_is_not_repeated(store: Store) -> None:
    only = _one_trial(store, number=1, here=True)
    only.take(1)
    only.lose(only.workers[0], node=False)
    only.end(only.zombies[0], "bug", 1.0)
    assert only.take(1) == []
    only.look()
    assert only.idle
    assert store.account(NAME).failed == 1
    only.crash()


def test_a_trial_out_of_memory_runs_once_more_and_not_again(store: Store) -> None:
    only = _one_trial(store, number=1, here=True)
    shapes = []
    while orders := only.take(1):
        shapes.append(orders[0].shape.alone)
        only.end(only.workers[0], "out_of_memory", float(len(shapes)))
    assert shapes == [False, True]
    assert store.account(NAME).failed == 1
    only.close()
    assert _one_trial(store, number=2, here=True).idle


def test_a_trial_that_was_taken_over_is_dropped_and_its_late_result_is_kept_beside(
    store: Store,
) -> None:
    clock = Clock()
    clock.set_on(store)
    slow, quick = (_one_trial(store, number=n, here=False) for n in (1, 2))
    slow.take(1)
    (worker,) = slow.workers
    clock.offset += Limits.lease_seconds + 1
    quick.take(1)
    assert slow.dispatcher.held() == quick.dispatcher.held(), "nobody has told it yet"
    slow.beat()
    assert (slow.dispatcher.held(), slow.workers) == (set(), [])
    quick.end(quick.workers[0], "completed", 2.0)
    worker.tasks = list(worker.order.tasks)
    slow.end(worker, "completed", 1.0)
    statement = "select number, state, accepted from attempts order by number"
    rows = [tuple(row) for row in store.query(statement).rows]
    assert rows == [(1, "completed", False), (2, "completed", True)]
    assert store.query("select objective from results").rows == [(2.0,)]
    for each in (slow, quick):
        each.close()
