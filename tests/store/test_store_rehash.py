"""A changed recipe of keys migrates every trial with all it has, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
from ended_trials import checkpoint, end
from sample_store import ELSEWHERE, members, outcome, save, study, trials
from sample_store import trial as sample

from sweeper import trial
from sweeper.errors import StoreError
from sweeper.store import rehash
from sweeper.store import studies as members_module
from sweeper.store.files.checkpoints import read_journal
from sweeper.store.store import Store

GOLDEN = "53725170d4ae7b8f9577688300f87d1854095587014d5aa5e981b4d3a25085ae"


def second_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the seed is forgotten: trials that differ in it alone become one."""

    def key(
        *, workload: str, version: str, data: str, config: Mapping[str, Any], seed: int
    ) -> str:
        text = trial.canonical_json([2, workload, version, data, dict(config)])
        return hashlib.sha256(text.encode()).hexdigest()

    monkeypatch.setattr(trial, "trial_key", key)
    monkeypatch.setattr(trial, "HASH_VERSION", 2)
    monkeypatch.setattr(members_module, "HASH_VERSION", 2)


def test_the_recipe_of_today_makes_the_keys_that_stores_hold() -> None:
    assert trial.HASH_VERSION == 1
    assert (
        trial.trial_key(
            workload="llama",
            version="2.0.0",
            data="sotu-1",
            config={"width": 64, "learning_rate": 0.001, "name": "größe", "tied": False},
            seed=3,
        )
        == GOLDEN
    )


def test_every_trial_moves_to_its_new_key_with_all_it_has(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehash, "GROUP", 2)
    with Store.open(location) as store:
        keys = save(store, 5)
        store.save_study(study("other"), members(trials(3)))
        curve = end(store, keys[0])
        end(store, keys[1], "bug")
        store.claim(keys[2:3], owner=ELSEWHERE, lease_s=3600)
        step = checkpoint(store, keys[3], 10)
        before = store.frame("widths").drop(columns="key")
        accounts = [store.account(name) for name in ("widths", "other")]

    second_recipe(monkeypatch)
    new = [item.key for item in trials(5)]
    with Store.open(location) as store:
        assert set(new).isdisjoint(keys)
        assert store.frame("widths")["key"].tolist() == new
        assert store.frame("widths").drop(columns="key").equals(before)
        assert [_counts(store.account(name)) for name in ("widths", "other")] == [
            _counts(account) for account in accounts
        ]
        assert store.failures_of(new).keys() == {new[1]}
        assert store.holders(new).keys() == {new[2]}
        assert store.marks("widths")["key"].tolist() == [new[0]]
        assert store.curve_files("widths") == {new[0]: curve}
        moved = store.paths.checkpoint(new[3], 10)
        assert not step.exists()
        assert read_journal(moved, key=new[3]).step == 10
        assert store.query("select distinct hash_version from trials").rows == [(2,)]
        assert store.verify().findings == ()
        assert store.save_study(study(), members(trials(5))).kept == 5
        assert store.record(outcome(new[2], attempt=1), objective=2.5)


def test_trials_that_become_one_keep_one_result_and_all_attempts(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = (of_seed(seed) for seed in range(3))
    with Store.open(location) as store:
        store.save_study(study(), members([one, other]))
        store.save_study(study("more"), members([third, other]))
        store.save_study(study("more"), members([third]))
        end(store, one.key, "bug")
        end(store, other.key)
        end(store, third.key)
        end(store, third.key, attempt=2)

    second_recipe(monkeypatch)
    with Store.open(location) as store:
        key = of_seed(0).key
        assert store.results_of([key]) == {key: "completed"}
        accepted = "select number, state, accepted from attempts order by number"
        rows = [(number, state) for number, state, _ in store.query(accepted).rows]
        assert sorted(rows) == rows
        assert sorted(state for _, state in rows) == ["bug"] + ["completed"] * 3
        assert [number for number, _ in rows] == [1, 2, 3, 4]
        assert sum(bool(flag) for *_, flag in store.query(accepted).rows) == 1
        assert [store.account(name).done for name in ("widths", "more")] == [1, 1]
        assert store.account("more").hidden == 0
        assert len(store.marks("widths")) == 1


def test_keys_of_a_newer_recipe_are_refused(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, Store.open(location) as store:
        second_recipe(patch)
        save(store, 1)

    with pytest.raises(StoreError, match=r"keys of version 2 .*makes version 1.*upgrade sweeper"):
        Store.open(location)


def of_seed(seed: int) -> trial.Trial:
    return sample(0, seed=seed)


def _counts(account: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(account).items() if name != "causes"}
