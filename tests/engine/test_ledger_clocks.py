"""Leases of other machines in one SQLite database, whose clocks nobody compares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from engine_studies import attempts_of, planted, trials_of

from sweeper.engine.ledger import LeaseKeeper, StoreRetry
from sweeper.engine.policy import Limits
from sweeper.engine.run import Run
from sweeper.store.database import shared_clock
from sweeper.store.owner import Owner
from sweeper.store.store import Store

BEHIND = Owner(id="behind", host="another.machine", pid=7)
"""A controller on a machine whose clock is ten minutes behind."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


class Desk:
    """A lease keeper of this machine, at a time that a test sets."""

    def __init__(self, store: Store) -> None:
        self.now = 0.0
        self.notes: list[str] = []
        self.keeper = LeaseKeeper(
            store,
            store_retry=StoreRetry(note=self.notes.append, wait=lambda seconds: True),
            note=self.notes.append,
            held=set,
            lost=lambda keys: None,
            lease_seconds=120,
            clock=lambda: self.now,
        )


def beat(store: Store, keys: list[str], *, minutes: float) -> None:
    """Claims or renews for the other machine, whose clock is off by so many minutes."""
    store.database.clock = lambda link: shared_clock(link) + timedelta(minutes=minutes)
    try:
        store.claim(keys, owner=BEHIND, lease_s=120)
    finally:
        store.database.clock = shared_clock


def test_what_a_machine_renews_whose_clock_is_behind_is_left_to_it(store: Store) -> None:
    study = planted()
    keys = [trial.key for trial in trials_of(study)]
    Run(study, store, executor="inline")
    desk = Desk(store)
    for _ in range(20):
        beat(store, keys[:2], minutes=-10)
        assert desk.keeper.claim(keys[:2]) == {}
        desk.now += 30
    (note,) = desk.notes
    assert "another.machine has claims in this SQLite database" in note
    assert set(desk.keeper.claim(keys)) == set(keys[2:])


def test_what_it_renews_no_more_is_taken_over_after_a_lease(store: Store) -> None:
    study = planted()
    keys = [trial.key for trial in trials_of(study)]
    Run(study, store, executor="inline")
    desk = Desk(store)
    beat(store, keys[:1], minutes=-10)
    assert desk.keeper.claim(keys[:1]) == {}
    assert desk.keeper.watched(keys) == {keys[0]}
    desk.now = 119
    assert desk.keeper.claim(keys[:1]) == {}
    desk.now = 121
    assert desk.keeper.claim(keys[:1]) == {keys[0]: 2}


def test_what_it_claims_or_renews_after_a_look_is_left_to_it(store: Store) -> None:
    """Between the look at its leases and the claim, another machine may write."""
    study = planted()
    keys = [trial.key for trial in trials_of(study)]
    Run(study, store, executor="inline")

    class Meanwhile(Store):
        def held_elsewhere(self, *given: Any) -> Any:
            found = super().held_elsewhere(*given)
            beat(store, keys[:2], minutes=-10)
            return found

    beat(store, keys[:1], minutes=-11)
    desk = Desk(Meanwhile(store.database))
    assert desk.keeper.claim(keys[:2]) == {}
    beat(store, keys[:1], minutes=-11)
    assert desk.keeper.watched(keys[:1]) == {keys[0]}
    desk.now = 121
    assert desk.keeper.claim(keys[:3]) == {keys[2]: 1}


def test_a_lapsed_lease_of_this_machine_is_taken_over_at_once(store: Store) -> None:
    """As a container leaves it that was removed: another name, and the same clock."""
    study = planted()
    keys = [trial.key for trial in trials_of(study)]
    Run(study, store, executor="inline")
    boot = Owner.here().started.partition("/")[0]
    if not boot:
        pytest.skip("this system does not tell one boot from another")
    there = Owner(id="there", host="a-container", pid=os.getpid(), started=f"{boot}/pid:[1]//1:2")
    store.claim(keys[:2], owner=there, lease_s=-1)
    assert Desk(store).keeper.claim(keys[:2]) == dict.fromkeys(keys[:2], 2)


def test_a_machine_of_the_same_name_is_not_taken_for_this_one(store: Store) -> None:
    study = planted()
    keys = [trial.key for trial in trials_of(study)]
    Run(study, store, executor="inline")
    here = Owner.here()
    if not here.started:
        pytest.skip("this system does not tell one boot from another")
    there = Owner(id="there", host=here.host, pid=7, started="another-boot/pid:[1]//1:2")
    store.claim(keys[:2], owner=there, lease_s=-1)
    desk = Desk(store)
    assert desk.keeper.claim(keys[:2]) == {}
    desk.now = 121
    assert desk.keeper.claim(keys[:2]) == dict.fromkeys(keys[:2], 2)


def test_a_run_takes_over_what_another_machine_has_left(store: Store) -> None:
    study = planted()
    run = Run(study, store, executor="inline", limits=Limits(lease_seconds=0.4))
    beat(store, [trial.key for trial in trials_of(study)][:2], minutes=-10)
    summary = run.execute()
    assert (summary.finished, summary.elsewhere) == (6, 0)
    assert sorted(attempts_of(store)) == [("completed",)] * 6 + [("lost_worker",)] * 2
