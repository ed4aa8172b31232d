"""Who may run a trial, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sample_store import ELSEWHERE, dump, dump_from_a_new_process, outcome, save, spawn
from sqlalchemy import Connection

from sweeper.errors import StoreError
from sweeper.store.database import Database, shared_clock
from sweeper.store.owner import Owner
from sweeper.store.store import Store

NEARBY = Owner(id="nearby-1", host="a.third.machine", pid=1, started="boot/ns:1")

CLAIM_AND_WAIT = """
import json, sys
from sweeper.store.owner import Owner
from sweeper.store.store import Store
with Store.open(sys.argv[1]) as store:
    claims = store.claim(json.loads(sys.argv[2]), owner=Owner.here(), lease_s=3600)
    print(len(claims), flush=True)
    sys.stdin.read()
"""

CLAIM_IN_SMALL_BATCHES = """
import json, sys
from sweeper.store.owner import Owner
from sweeper.store.store import Store
keys = json.loads(sys.argv[2])
with Store.open(sys.argv[1]) as store:
    owner, mine = Owner.here(), set()
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(0, len(keys), 7):
        batch = keys[max(0, start - 3) : start + 7]
        mine |= {(item.key, item.attempt, item.fence)
                 for item in store.claim(batch, owner=owner, lease_s=3600)}
    print(json.dumps(list(mine)), flush=True)
    sys.stdin.read()  # stay: what a process that ended has claimed is free again
"""


def test_a_claim_numbers_attempts_from_one_in_the_order_of_the_keys(store: Store) -> None:
    keys = save(store, 3)

    claims = store.claim([keys[2], keys[0], keys[2]], owner=Owner.here(), lease_s=60)

    assert [(item.key, item.attempt) for item in claims] == [(keys[2], 1), (keys[0], 1)]
    assert store.account("widths").running == 2


def test_a_trial_that_somebody_runs_or_that_is_done_is_not_claimed(store: Store) -> None:
    keys = save(store, 4)
    store.claim(keys[:2], owner=ELSEWHERE, lease_s=60)
    store.record(outcome(keys[0]), objective=2.5)
    store.claim(keys[2:3], owner=Owner.here(), lease_s=60)

    claims = store.claim(keys, owner=Owner.here(), lease_s=60)

    assert [item.key for item in claims] == [keys[3]]


def test_an_owner_that_asks_again_is_given_the_same_claims(store: Store, location: str) -> None:
    """It did not hear of its commit, since the connection was cut then."""
    keys = save(store, 4)
    here = Owner.here()
    first = store.claim(keys[:2], owner=here, lease_s=-1)
    store.claim(keys[3:], owner=ELSEWHERE, lease_s=60)
    before = dump(store)

    assert store.claim(keys[:2], owner=here, lease_s=-1) == first
    again = store.claim(keys, owner=here, lease_s=60)

    assert [(item.key, item.attempt) for item in again] == [(key, 1) for key in keys[:3]]
    assert again[:2] == first
    assert len(dump(store)["attempts"]) == len(before["attempts"]) + 1
    assert set(store.holders(keys)) == set(keys), "their leases are renewed"
    store.record(outcome(keys[0]), objective=2.5)
    assert [item.key for item in store.claim(keys, owner=here, lease_s=60)] == keys[1:3]


def test_a_failed_trial_may_be_claimed_again_under_the_next_number(store: Store) -> None:
    keys = save(store, 1)
    first = store.claim(keys, owner=Owner.here(), lease_s=60)
    store.record(outcome(keys[0], "bug"), objective=None)

    second = store.claim(keys, owner=Owner.here(), lease_s=60)

    assert [item.attempt for item in first + second] == [1, 2]
    assert second[0].fence > first[0].fence


def test_fencing_numbers_grow_over_all_trials_and_owners(store: Store) -> None:
    keys = save(store, 6)

    claims = [
        item
        for start in range(0, 6, 2)
        for item in store.claim(keys[start : start + 2], owner=Owner.here(), lease_s=60)
    ]

    fences = [item.fence for item in claims]
    assert fences == sorted(set(fences))


def test_a_lapsed_lease_is_given_to_the_next_one_who_asks(store: Store, location: str) -> None:
    keys = save(store, 2)
    store.claim(keys, owner=ELSEWHERE, lease_s=-1)
    assert store.account("widths").pending == 2

    claims = store.claim(keys[:1], owner=Owner.here(), lease_s=60)

    assert [(item.key, item.attempt) for item in claims] == [(keys[0], 2)]
    (row,) = store.query(
        "select state, error from attempts where accepted or number = 1 and state <> 'running'"
    ).rows
    assert row[0] == "lost_worker"
    assert "the lease of elsewhere-1 ended" in row[1]
    assert dump(store) == dump_from_a_new_process(location)


def test_a_heartbeat_keeps_a_lease_and_names_what_is_held(store: Store) -> None:
    keys = save(store, 2)
    store.claim(keys, owner=ELSEWHERE, lease_s=-1)

    assert store.heartbeat(ELSEWHERE, 60) == frozenset(keys)

    assert store.claim(keys, owner=Owner.here(), lease_s=60) == []
    assert store.account("widths").running == 2


def test_a_heartbeat_does_not_bring_back_what_was_given_away(store: Store) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=ELSEWHERE, lease_s=-1)
    store.claim(keys, owner=Owner.here(), lease_s=60)

    assert store.heartbeat(ELSEWHERE, 60) == frozenset()


@contextmanager
def clock_off_by(store: Store, **change: float) -> Iterator[None]:
    """The clock of a store jumps."""
    store.database.clock = lambda connection: shared_clock(connection) + timedelta(**change)
    yield
    store.database.clock = shared_clock


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a process lives")
def test_a_live_process_of_this_machine_keeps_its_lease_whatever_the_clock_says(
    store: Store, location: str
) -> None:
    keys = save(store, 2)
    child = spawn(CLAIM_AND_WAIT, location, json.dumps(keys))
    assert child.stdout.readline() == "2\n"

    for jump in (timedelta(days=1), timedelta(days=-1)):
        with clock_off_by(store, seconds=jump.total_seconds()):
            assert store.claim(keys, owner=Owner.here(), lease_s=60) == []
            assert store.account("widths").running == 2
            assert set(store.holders(keys)) == set(keys)
    os.kill(child.pid, signal.SIGSTOP)  # stopped, or swapped out for minutes: it will go on
    with clock_off_by(store, days=1):
        assert store.claim(keys, owner=Owner.here(), lease_s=60) == []
    os.kill(child.pid, signal.SIGCONT)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    with clock_off_by(store, days=-1):
        assert len(store.claim(keys, owner=Owner.here(), lease_s=60)) == 2
    _finish(child)


def test_no_attempt_begins_before_the_one_that_it_takes_over_has_ended(store: Store) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=ELSEWHERE, lease_s=60)
    ticks = itertools.count(100)
    store.database.clock = lambda connection: (
        shared_clock(connection) + timedelta(seconds=next(ticks))
    )

    store.claim(keys, owner=NEARBY, lease_s=60)

    text = "select started_at, ended_at from attempts order by number"
    (_, ended), (began, _) = store.query(text).rows
    assert began >= ended


def test_of_another_machine_only_the_clock_speaks_forward_and_back(store: Store) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=ELSEWHERE, lease_s=60)

    with clock_off_by(store, hours=-1):
        assert store.claim(keys, owner=Owner.here(), lease_s=60) == []
        assert store.heartbeat(ELSEWHERE, 60) == frozenset(keys)
    assert store.holders(keys) == {}  # the heartbeat's own clock was an hour behind
    with clock_off_by(store, hours=1):
        assert store.heartbeat(ELSEWHERE, 60) == frozenset(keys)
    assert store.claim(keys, owner=Owner.here(), lease_s=60) == []
    with clock_off_by(store, hours=2):
        assert [item.attempt for item in store.claim(keys, owner=NEARBY, lease_s=60)] == [2]
    assert store.heartbeat(ELSEWHERE, 60) == frozenset()


def test_holders_say_where_each_trial_runs(store: Store) -> None:
    keys = save(store, 3)
    here = Owner.here()
    store.claim(keys[:1], owner=ELSEWHERE, lease_s=60)
    store.claim(keys[1:2], owner=here, lease_s=60)

    found = store.holders(keys)

    assert {key: (item.host, item.pid) for key, item in found.items()} == {
        keys[0]: ("another.machine", 1),
        keys[1]: (here.host, os.getpid()),
    }
    assert all(item.expires_at is not None for item in found.values())


class Away(Database):
    """A database that cannot be written."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        raise StoreError("the store is away")
        yield


def test_a_run_that_could_not_give_back_its_leases_holds_up_nobody_in_its_process(
    store: Store,
) -> None:
    keys = save(store, 1)
    owner = Owner.here()
    store.claim(keys, owner=owner, lease_s=60)

    with Store(Away(store.database.location)) as away, pytest.raises(StoreError, match="away"):
        away.release(owner)

    assert [item.attempt for item in store.claim(keys, owner=Owner.here(), lease_s=60)] == [2]


def test_losses_that_a_controller_reports_count_and_its_own_end_does_not(store: Store) -> None:
    keys = save(store, 3)
    store.claim(keys, owner=ELSEWHERE, lease_s=60)
    store.record(outcome(keys[0], "lost_worker", step=0, error="killed"), objective=None)
    store.record(outcome(keys[0], "lost_node", attempt=2, step=0), objective=None)
    store.record(outcome(keys[0], "stopped", attempt=3), objective=None)
    with clock_off_by(store, hours=1):
        store.claim(keys, owner=Owner.here(), lease_s=60)

    states = store.query("select state, count(*) from attempts group by state order by state")
    assert states.rows[:2] == [("lost_node", 1), ("lost_worker", 3)]
    assert store.worker_deaths(keys) == {keys[0]: 1}


@pytest.mark.parametrize("kind", ["lost_node", "lost_worker", "stopped"])
def test_what_was_given_up_and_reports_all_the_same_ended_when_it_was_given_up(
    store: Store, kind: str
) -> None:
    """Or an attempt would seem to begin before the one before it had ended."""
    keys = save(store, 1)
    times = "select number, state, started_at, ended_at, accepted from attempts order by number"
    store.claim(keys, owner=Owner.here(), lease_s=60)
    store.record(outcome(keys[0], kind), objective=None)
    ((_, _, _, ended, _),) = store.query(times).rows
    store.claim(keys, owner=Owner.here(), lease_s=60)

    assert store.record(outcome(keys[0]), objective=2.5)
    assert not store.record(outcome(keys[0], attempt=2), objective=2.5)

    first, second = store.query(times).rows
    assert first[1] == "completed" and first[3] == ended and first[4]
    assert second[2] >= ended and second[3] > second[2] and not second[4]


def test_released_attempts_are_stopped_and_free_at_once(store: Store, location: str) -> None:
    keys = save(store, 3)
    owner = Owner.here()
    store.claim(keys, owner=owner, lease_s=60)
    store.record(outcome(keys[0]), objective=2.5)

    assert store.release(owner) == 2

    assert store.query(
        "select state, count(*) from attempts group by state order by state"
    ).rows == [("completed", 1), ("stopped", 2)]
    assert dump(store) == dump_from_a_new_process(location)
    claims = store.claim(keys, owner=Owner.here(), lease_s=60)
    assert [(item.key, item.attempt) for item in claims] == [(key, 2) for key in keys[1:]]


def test_a_key_that_was_never_saved_is_refused_and_nothing_is_claimed(store: Store) -> None:
    keys = save(store, 1)

    with pytest.raises(StoreError, match=r"1 of 2 trials are not in the store.*save their study"):
        store.claim([*keys, "f" * 64], owner=Owner.here(), lease_s=60)

    assert store.account("widths").running == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a process has ended")
def test_what_a_killed_process_held_is_free_at_once(store: Store, location: str) -> None:
    keys = save(store, 3)
    child = spawn(CLAIM_AND_WAIT, location, json.dumps(keys))
    assert child.stdout.readline() == "3\n"
    assert store.claim(keys, owner=Owner.here(), lease_s=60) == []
    assert store.account("widths").running == 3

    child.kill()
    # It has ended and nobody has collected it: a zombie, when the next run asks.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    claims = store.claim(keys, owner=Owner.here(), lease_s=60)

    assert [item.attempt for item in claims] == [2, 2, 2]
    assert "has ended" in store.query("select error from attempts where number = 1").rows[0][0]
    _finish(child)


def test_processes_that_claim_the_same_keys_at_once_share_them_out(
    store: Store, location: str
) -> None:
    keys = save(store, 60)
    orders = (keys, keys[::-1], keys[30:] + keys[:30])
    children = [spawn(CLAIM_IN_SMALL_BATCHES, location, json.dumps(order)) for order in orders]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()

    claimed = [json.loads(child.stdout.readline()) for child in children]
    for child in children:
        _finish(child)

    everything = [item for mine in claimed for item in mine]
    assert sorted(key for key, _, _ in everything) == sorted(keys)
    assert {attempt for _, attempt, _ in everything} == {1}
    assert len({fence for _, _, fence in everything}) == len(keys)


def test_failures_name_the_last_kind_and_count_all(store: Store) -> None:
    keys = save(store, 5)
    for number, kind in enumerate(("out_of_memory", "lost_node", "bug"), start=1):
        store.record(outcome(keys[0], kind, attempt=number, error=f"e{number}"), objective=None)
    store.record(outcome(keys[1], "bug"), objective=None)
    store.record(outcome(keys[1], attempt=2), objective=2.5)
    store.record(outcome(keys[2], "bug"), objective=None)
    store.record(outcome(keys[2], "lost_worker", attempt=2), objective=None)
    store.record(outcome(keys[3], "bug"), objective=None)
    store.claim(keys[3:4], owner=Owner.here(), lease_s=60)

    failures = store.failures_of(keys)

    assert set(failures) == {keys[0], keys[3]}
    assert (failures[keys[0]].kind, failures[keys[0]].count, failures[keys[0]].error) == (
        "bug",
        2,
        "e3",
    )


def _finish(child: Any) -> None:
    child.stdin.close()
    child.stdout.close()
    child.wait(timeout=30)
