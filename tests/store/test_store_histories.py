"""Random histories of claims, reports, crashes and edits against a model in plain Python."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from long_form import draws
from sample_store import members, outcome, study, trials

from sweeper.store.owner import Owner
from sweeper.store.store import Store

TRIALS = trials(4)
KEYS = [item.key for item in TRIALS]
OWNERS = [Owner(id=f"owner-{index}", host=f"host-{index}") for index in range(3)]
KINDS = ["completed", "diverged", "out_of_memory", "bug", "lost_worker", "lost_node", "stopped"]

some_keys = st.lists(st.sampled_from(range(4)), min_size=1, max_size=4)
event = st.one_of(
    st.tuples(st.just("claim"), some_keys, st.sampled_from(range(3)), st.booleans()),
    st.tuples(
        st.just("record"), st.sampled_from(range(4)), st.integers(0, 4), st.sampled_from(KINDS)
    ),
    st.tuples(st.just("release"), st.sampled_from(range(3))),
    st.tuples(st.just("heartbeat"), st.sampled_from(range(3)), st.booleans()),
    st.tuples(st.just("edit"), st.sets(st.sampled_from(range(4)))),
)


@pytest.fixture(scope="module")
def empty_store() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        with Store.open(folder, create=True) as store:
            store.save_study(study(), members(TRIALS))
        yield Path(folder)


@settings(max_examples=draws(20, 60), deadline=None)
@given(history=st.lists(event, max_size=15))
def test_no_history_loses_or_doubles_a_result(empty_store: Path, history: list[Any]) -> None:
    with _copy(empty_store) as store:
        accepted: dict[str, tuple[str, float]] = {}
        alive: dict[tuple[str, int], str] = {}
        shown = set(range(4))
        for number, (what, *details) in enumerate(history):
            if what == "claim":
                _claim(store, accepted, alive, *details)
            elif what == "record":
                _record(store, accepted, alive, float(number), *details)
            elif what == "release":
                store.release(OWNERS[details[0]])
                _forget(alive, OWNERS[details[0]].id)
            elif what == "heartbeat":
                _heartbeat(store, alive, *details)
            else:
                shown = details[0]
                store.save_study(study(), members([TRIALS[index] for index in sorted(shown)]))
            _check(store, accepted, alive, shown)


@contextmanager
def _copy(folder: Path) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as copy:
        shutil.copy(folder / "sweeper.db", copy)
        with Store.open(copy, create=False) as store:
            yield store


def _claim(
    store: Store, accepted: Any, alive: Any, indices: list[int], owner: int, lasting: bool
) -> None:
    keys = list(dict.fromkeys(KEYS[index] for index in indices))
    claims = store.claim(keys, owner=OWNERS[owner], lease_s=3600 if lasting else -1)
    busy = {key for (key, _), holder in alive.items() if holder != OWNERS[owner].id}
    assert [item.key for item in claims] == [
        key for key in keys if key not in accepted and key not in busy
    ]
    for item in claims:
        alive.pop((item.key, item.attempt), None)
        if lasting:
            alive[item.key, item.attempt] = OWNERS[owner].id


def _record(
    store: Store, accepted: Any, alive: Any, loss: float, index: int, attempt: int, kind: Any
) -> None:
    key = KEYS[index]
    report = outcome(key, kind, attempt=attempt, loss=loss, device_seconds=loss)
    verdict = store.record(report, objective=loss)
    assert verdict == (report.accepted and key not in accepted)
    if verdict:
        accepted[key] = (kind, loss)
    alive.pop((key, attempt), None)


def _heartbeat(store: Store, alive: Any, owner: int, lasting: bool) -> None:
    """A heartbeat may bring back a lease that lapsed and that nobody took over since."""
    store.heartbeat(OWNERS[owner], 3600 if lasting else -1)
    held = store.query(
        "select trial_key, number from attempts where state = 'running' and owner = ?",
        [OWNERS[owner].id],
    ).rows
    _forget(alive, OWNERS[owner].id)
    if lasting:
        alive.update(dict.fromkeys(held, OWNERS[owner].id))


def _forget(alive: Any, owner: str) -> None:
    for place in [place for place, holder in alive.items() if holder == owner]:
        del alive[place]


def _check(store: Store, accepted: Any, alive: Any, shown: set[int]) -> None:
    assert store.results_of(KEYS) == {key: kind for key, (kind, _) in accepted.items()}
    rows = store.query("select trial_key, objective from results").rows
    assert dict(rows) == {key: loss for key, (_, loss) in accepted.items()}
    account = store.account("widths")
    parts = (account.done, account.diverged, account.running, account.pending, account.failed)
    assert min(parts) >= 0
    assert sum(parts) == account.declared == len(shown)
    assert account.hidden == len(TRIALS) - len(shown)
    running = {key for key, _ in alive} - set(accepted)
    assert account.running == len(running & {KEYS[index] for index in shown})
    assert sum(item.count for item in account.causes) == account.failed
