"""One accepted result a trial, and everything else kept, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from sample_store import ELSEWHERE, dump, dump_from_a_new_process, outcome, save

from sweeper.errors import StoreError
from sweeper.store.owner import Owner
from sweeper.store.store import Store

ATTEMPTS = "select number, state, accepted from attempts order by number"


def attempts(store: Store) -> list[tuple[int, str, bool]]:
    return [
        (number, state, bool(accepted)) for number, state, accepted in store.query(ATTEMPTS).rows
    ]


def test_the_first_result_is_accepted_with_all_it_says(store: Store, location: str) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=Owner.here(), lease_s=60)

    assert store.record(outcome(keys[0], curve="curves/ab/x.1.parquet"), objective=2.5)

    assert attempts(store) == [(1, "completed", True)]
    columns = "outcome, objective, step, tokens, flops, device, host, curve"
    assert store.query(f"select {columns} from results").rows == [
        ("completed", 2.5, 10, 640, 6.0e5, "cpu", "here", "curves/ab/x.1.parquet")
    ]
    assert store.results_of(keys) == {keys[0]: "completed"}
    assert dump(store) == dump_from_a_new_process(location)


def test_an_accepted_outcome_says_how_long_it_took_by_which_the_rest_of_a_run_is_told(
    store: Store,
) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=Owner.here(), lease_s=60)
    told = outcome(keys[0])
    store.record(told, objective=2.5)
    found = store.outcomes_of(keys)[keys[0]]
    assert told.device_seconds > 0
    assert (found.device_seconds, found.step) == (told.device_seconds, told.step)


def test_a_diverged_trial_is_a_result(store: Store) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=Owner.here(), lease_s=60)

    assert store.record(outcome(keys[0], "diverged"), objective=None)

    assert store.results_of(keys) == {keys[0]: "diverged"}
    assert store.claim(keys, owner=Owner.here(), lease_s=60) == []


@pytest.mark.parametrize("kind", ["bug", "out_of_memory", "lost_worker", "lost_node", "stopped"])
def test_an_accident_is_no_result(store: Store, kind: str) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=Owner.here(), lease_s=60)

    assert not store.record(outcome(keys[0], kind, error="why"), objective=None)  # type: ignore[arg-type]

    assert store.results_of(keys) == {}
    assert attempts(store) == [(1, kind, False)]
    assert len(store.claim(keys, owner=Owner.here(), lease_s=60)) == 1


def test_a_late_result_never_overwrites_and_never_fails(store: Store, location: str) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=ELSEWHERE, lease_s=-1)
    store.claim(keys, owner=Owner.here(), lease_s=60)
    assert store.record(outcome(keys[0], attempt=2, loss=2.0), objective=2.0)

    assert not store.record(outcome(keys[0], attempt=1, loss=9.0), objective=9.0)

    assert store.query("select objective from results").rows == [(2.0,)]
    assert attempts(store) == [(1, "completed", False), (2, "completed", True)]
    assert store.frame("widths")["loss"].tolist() == [2.0]
    assert store.frame("widths")["attempts"].tolist() == [2]
    assert dump(store) == dump_from_a_new_process(location)


def test_a_result_that_comes_after_its_lease_lapsed_still_counts_if_it_is_the_first(
    store: Store,
) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=ELSEWHERE, lease_s=-1)
    store.claim(keys, owner=Owner.here(), lease_s=60)

    assert store.record(outcome(keys[0], attempt=1), objective=2.5)

    assert attempts(store) == [(1, "completed", True), (2, "running", False)]
    assert store.account("widths").done == 1
    assert store.account("widths").running == 0


def test_the_same_report_twice_counts_once(store: Store) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=Owner.here(), lease_s=60)
    report = outcome(keys[0])

    assert store.record_many([(report, 2.5), (report, 2.5)]) == [True, True]
    assert store.record(report, objective=2.5)

    assert attempts(store) == [(1, "completed", True)]


def test_a_different_report_of_an_ended_attempt_is_kept_beside_it(store: Store) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=Owner.here(), lease_s=60)
    store.record(outcome(keys[0]), objective=2.5)

    assert not store.record(outcome(keys[0], "bug", step=3), objective=None)

    assert attempts(store) == [(1, "completed", True), (2, "bug", False)]


def test_a_report_of_an_attempt_that_nobody_claimed_is_kept_under_its_number(
    store: Store,
) -> None:
    keys = save(store, 1)

    assert store.record(outcome(keys[0], attempt=7), objective=2.5)
    store.record(outcome(keys[0], "bug", attempt=0), objective=None)

    assert attempts(store) == [(7, "completed", True), (8, "bug", False)]


def test_several_outcomes_are_written_all_or_none(store: Store) -> None:
    keys = save(store, 2)
    store.claim(keys, owner=Owner.here(), lease_s=60)
    before = dump(store)

    with pytest.raises(StoreError, match="not in the store"):
        store.record_many([(outcome(keys[0]), 2.5), (outcome("f" * 64), 2.5)])
    assert dump(store) == before

    assert store.record_many([(outcome(keys[0]), 2.5), (outcome(keys[1], "bug"), None)]) == [
        True,
        False,
    ]
    assert store.record_many([]) == []


def test_of_two_results_of_one_trial_in_one_group_the_first_is_accepted(store: Store) -> None:
    keys = save(store, 1)
    group = [(outcome(keys[0], attempt=number, loss=number), float(number)) for number in (1, 2)]

    assert store.record_many(group) == [True, False]

    assert store.query("select objective from results").rows == [(1.0,)]
