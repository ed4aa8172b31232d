"""Derived quantities of trials, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from sample_store import study

from sweeper.errors import UnknownNameError
from sweeper.store.records import Membership
from sweeper.store.store import Store
from sweeper.trial import Trial

GROUPS = {
    "hidden": {"optimizer": "muon", "learning_rate": 0.5, "weight_decay": 0.0},
    "hidden.qkv": {"optimizer": "muon", "learning_rate": 0.25, "weight_decay": 0.0},
}


def save(store: Store, *documents: dict[str, Any]) -> list[str]:
    """Saves a study with one trial a document of derived quantities; returns the keys."""
    declared = [
        Trial.of(
            workload="made", version="1", data="", config={"at": place}, seed=0, derived=derived
        )
        for place, derived in enumerate(documents)
    ]
    names = ("muon", "adam")
    store.save_study(
        study(), [Membership(trial=item, variant=names[i % 2]) for i, item in enumerate(declared)]
    )
    return [item.key for item in declared]


def test_places_are_those_of_numbers_in_the_first_trial_of_each_variant(store: Store) -> None:
    save(
        store,
        {"groups": GROUPS, "steps": 10, "warnings": ["none"], "exact": True},
        {"heads": 4},
        {"only_later": 1},
    )
    assert store.derived_places("widths") == [
        ("groups", "hidden", "learning_rate"),
        ("groups", "hidden", "weight_decay"),
        ("groups", "hidden.qkv", "learning_rate"),
        ("groups", "hidden.qkv", "weight_decay"),
        ("heads",),
        ("steps",),
    ]


def test_a_number_is_taken_from_the_first_place_that_has_one(store: Store) -> None:
    bare = {"groups": {"hidden": {"learning_rate": 0.125}}}
    keys = save(store, {"groups": GROUPS}, bare, {})
    places = [("groups", name, "learning_rate") for name in ("hidden.qkv", "hidden")]

    found = store.derived("widths", {"rate": places, "decay": [("groups", "hidden", "none")]})

    assert found.loc[keys[:2], "rate"].tolist() == [0.25, 0.125]
    assert found.loc[keys[2:], "rate"].isna().all()
    assert found["decay"].isna().all()
    assert len(found) == 3


def test_derived_quantities_of_an_unknown_study_are_refused(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="nowhere"):
        store.derived_places("nowhere")
    with pytest.raises(UnknownNameError, match="nowhere"):
        store.derived("nowhere", {})
