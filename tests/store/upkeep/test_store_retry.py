"""Trials that are made pending again, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from ended_trials import end, there
from on_disk import on_disk
from sample_store import ELSEWHERE, dump, members, save, study, trials
from sqlalchemy import Connection, update

from sweeper.errors import RequestError, StoreError, UnknownNameError
from sweeper.store.database import Database
from sweeper.store.files.local import LocalFiles
from sweeper.store.owner import Owner
from sweeper.store.store import Store
from sweeper.store.tables import results


def test_failed_trials_become_pending_and_keep_their_attempts(store: Store) -> None:
    keys = save(store, 4)
    end(store, keys[0])
    end(store, keys[1], "bug")
    end(store, keys[2], "out_of_memory")
    end(store, keys[2], "lost_worker", attempt=2)
    end(store, keys[2], "out_of_memory", attempt=3)

    done = store.retry("widths", failed=True)

    assert (done.failed, done.withdrawn, done.pending) == (tuple(keys[1:3]), (), ())
    account = store.account("widths")
    assert (account.done, account.failed, account.pending) == (1, 0, 3)
    assert store.failures_of(keys) == {} == store.worker_deaths(keys)
    assert store.frame("widths")["outcome"].tolist() == ["completed"] + ["missing"] * 3
    assert store.query("select count(*) from attempts where excused").rows == [(4,)]
    claims = store.claim(keys, owner=Owner.here(), lease_s=60)
    assert [item.attempt for item in claims] == [2, 4, 1]


def test_a_trial_that_fails_again_after_a_retry_has_failed_once(store: Store) -> None:
    keys = save(store, 1)
    end(store, keys[0], "bug")
    end(store, keys[0], "bug", attempt=2)
    store.retry("widths", failed=True)

    end(store, keys[0], "bug", attempt=3)

    assert store.failures_of(keys)[keys[0]].count == 1
    assert store.account("widths").failed == 1


def test_a_withdrawn_result_leaves_its_metrics_and_a_curve_that_nobody_takes_over(
    store: Store,
) -> None:
    keys = save(store, 2)
    curve, late = end(store, keys[0]), end(store, keys[0], attempt=2)
    end(store, keys[1], "diverged")

    done = store.retry("widths", keys=[keys[0][:6].upper()])

    assert (done.failed, done.withdrawn) == ((), (keys[0],))
    assert store.results_of(keys) == {keys[1]: "diverged"}
    assert store.query("select count(*) from marks where value = 3.5").rows == [(1,)]
    rows = store.query(
        "select number, state, accepted, excused, metrics is null from attempts "
        f"where trial_key = '{keys[0]}' order by number"
    ).rows
    kept = [(number, state, *map(bool, flags)) for number, state, *flags in rows]
    assert kept == [(number, "completed", False, True, False) for number in (1, 2)]
    assert store.paths.curves_of(keys[0]) == []
    assert all(there(store, *map(store.paths.withdrawn, (curve, late))))
    (claim,) = store.claim(keys, owner=Owner.here(), lease_s=60)
    assert claim.attempt == 3
    end(store, keys[0], attempt=3)
    assert store.account("widths").done == 1


def test_diverged_trials_are_withdrawn_when_asked_for_and_hidden_ones_are_left(
    store: Store,
) -> None:
    keys = save(store, 3)
    for key in keys[1:]:
        end(store, key, "diverged")
    store.save_study(study(), members(trials(2)))

    done = store.retry("widths", failed=True, diverged=True)

    assert done.withdrawn == (keys[1],)
    assert store.results_of(keys) == {keys[2]: "diverged"}


def test_a_trial_that_is_pending_already_stays_so(store: Store) -> None:
    keys = save(store, 1)
    end(store, keys[0], "lost_worker")

    assert store.retry("widths", keys=[keys[0]]).pending == (keys[0],)
    assert store.worker_deaths(keys) == {}
    assert store.account("widths").pending == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("abc", r"6 to 64 digits of 0-9 and a-f"),
        ("not-hex", r"6 to 64 digits"),
        ("0" * 65, r"6 to 64 digits"),
        ("ffffff", r"no trial of study widths has a key that begins so"),
    ],
)
def test_a_key_that_names_nothing_is_refused(store: Store, text: str, why: str) -> None:
    save(store, 2)

    with pytest.raises(RequestError, match=rf"--key .*{why}"):
        store.retry("widths", keys=[text])


def test_a_key_that_names_several_trials_is_refused(store: Store) -> None:
    alike = [replace(item, key=f"abcdef{number:058}") for number, item in enumerate(trials(3))]
    store.save_study(study(), members(alike))

    with pytest.raises(RequestError, match=r"--key abcdef: 3 trials begin so .*give more digits"):
        store.retry("widths", keys=["abcdef"])


def test_a_hidden_trial_is_refused_and_nothing_is_changed(store: Store) -> None:
    keys = save(store, 2)
    for key in keys:
        end(store, key, "bug")
    store.save_study(study(), members(trials(1)))
    before = dump(store)

    with pytest.raises(RequestError, match=r"the trial is hidden.*put its values back"):
        store.retry("widths", failed=True, keys=[keys[1][:12]])

    assert dump(store) == before


def test_a_running_trial_is_refused_with_who_runs_it(store: Store) -> None:
    keys = save(store, 2)
    end(store, keys[0], "bug")
    store.claim(keys[1:], owner=ELSEWHERE, lease_s=60)
    before = dump(store)

    with pytest.raises(RequestError, match=r"is running on another\.machine \(process 1\)"):
        store.retry("widths", failed=True, keys=[keys[1]])

    assert dump(store) == before
    store.claim(keys[:1], owner=ELSEWHERE, lease_s=60)
    assert store.retry("widths", failed=True).failed == ()


def test_an_unknown_study_is_refused(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="'nothing'"):
        store.retry("nothing", failed=True)


class Full(Database):
    """A database whose disk is full when a transaction is to be committed."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            yield connection
            raise StoreError("the disk is full")


def test_a_withdrawal_that_cannot_be_committed_gives_the_curve_its_name_back(
    store: Store,
) -> None:
    keys = save(store, 1)
    curve = end(store, keys[0])
    before = dump(store)

    with Store(Full(store.database.location)) as full, pytest.raises(StoreError, match="full"):
        full.retry("widths", keys=[keys[0]])

    assert there(store, curve, store.paths.withdrawn(curve)) == [True, False]
    assert dump(store) == before


@pytest.mark.parametrize("curve", ["../theirs.parquet", "curves/../../theirs.parquet"])
def test_a_curve_outside_the_folder_is_left_alone(store: Store, curve: str) -> None:
    if not isinstance(store.paths.files, LocalFiles):
        pytest.skip("these files are in no folder")
    (key,) = save(store, 1)
    end(store, key)
    theirs = on_disk(store.paths).root.parent / "theirs.parquet"
    theirs.write_bytes(b"theirs")
    with store.database.write() as connection:
        connection.execute(update(results).values(curve=curve))
    before = dump(store)

    with pytest.raises(StoreError, match="lies outside its folder"):
        store.retry("widths", keys=[key])

    assert theirs.read_bytes() == b"theirs" and dump(store) == before


def test_a_curve_of_another_trial_keeps_its_name(store: Store) -> None:
    """As a foreign database may name one, or itself."""
    keys = save(store, 2)
    own, others = end(store, keys[0]), end(store, keys[1])
    with store.database.write() as connection:
        here = results.c.trial_key == keys[0]
        connection.execute(update(results).where(here).values(curve=others))

    (wrong,) = store.verify("widths").findings
    assert "it is of another trial" in wrong.what and wrong.repair is None
    store.retry("widths", keys=[keys[0]])

    assert there(store, own, others) == [False, True]
