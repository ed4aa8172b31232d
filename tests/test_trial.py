"""The key of a trial is the hash of what decides its result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.trial import Trial, canonical_json, trial_key

BASE: dict[str, Any] = {
    "workload": "llama",
    "version": "1.0.0",
    "data": "sha",
    "config": {"width": 32, "learning_rate": 0.001},
    "seed": 0,
}


def test_the_key_is_sha256_of_the_written_recipe() -> None:
    text = (
        '{"config":{"learning_rate":0.001,"width":32},"data":"sha","hash":1,"seed":0,'
        '"version":"1.0.0","workload":"llama"}'
    )
    assert trial_key(**BASE) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"workload": "other"},
        {"version": "1.0.1"},
        {"data": "other"},
        {"seed": 1},
        {"config": {"width": 64, "learning_rate": 0.001}},
        {"config": {"width": 32, "learning_rate": 0.001, "depth": 2}},
    ],
)
def test_whatever_decides_the_result_changes_the_key(change: dict[str, Any]) -> None:
    assert trial_key(**{**BASE, **change}) != trial_key(**BASE)


def test_derived_quantities_and_key_order_do_not_change_the_key() -> None:
    swapped = {"learning_rate": 0.001, "width": 32}
    one = Trial.of(**BASE, derived={"params": 1})
    two = Trial.of(**{**BASE, "config": swapped}, derived={"params": 2})
    assert one.key == two.key
    assert one == two


def test_a_number_that_json_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError):
        trial_key(**{**BASE, "config": {"learning_rate": float("nan")}})


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    )
)
def test_canonical_json_reads_back_as_what_was_written(document: dict[str, Any]) -> None:
    assert json.loads(canonical_json(document)) == document
