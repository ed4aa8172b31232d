"""The version of the recipe of keys: today's is fixed, and a newer one is refused."""

from __future__ import annotations

import pytest
from sample_store import save
from store_places import written

from sweeper import trial
from sweeper.errors import StoreError
from sweeper.store.store import Store

GOLDEN = "53725170d4ae7b8f9577688300f87d1854095587014d5aa5e981b4d3a25085ae"


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


def test_trials_of_an_older_recipe_stay_as_they_are(location: str) -> None:
    with Store.open(location, create=True) as store:
        keys = save(store, 2)
    with written(location) as connection:  # keys that today's recipe would not make
        connection.exec_driver_sql("update trials set hash_version = 0, seed = 99")
    with Store.open(location) as store:
        assert store.frame("widths")["key"].tolist() == keys
        assert store.verify().findings == ()


def test_keys_of_a_newer_recipe_are_refused(location: str) -> None:
    with Store.open(location, create=True) as store:
        save(store, 1)
    with written(location) as connection:
        connection.exec_driver_sql("update trials set hash_version = 2")

    with pytest.raises(StoreError, match=r"keys of version 2 .*makes version 1.*upgrade sweeper"):
        Store.open(location, create=True)
