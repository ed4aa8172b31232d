"""From a study to its trials: keys, order, what remains and its price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sweeper.errors import DataError
from sweeper.study.plan import (
    PlannedTrial,
    SecondsFrom,
    expand,
    price,
    remaining,
    shape_digest,
    unique_trials,
)
from sweeper.study.study import Study
from sweeper.trial import Trial, trial_key


def study(workload: str = "planted", **sections: Any) -> Study:
    document: dict[str, Any] = {
        "name": "plans",
        "workload": workload,
        "scale": "width",
        "fixed": {"steps": 5},
        "sweep": {"width": [64, 32], "learning_rate": [0.25, 0.125], "seed": [0, 1]},
    }
    return Study.from_document(document | sections)


def keys(planned: Sequence[PlannedTrial]) -> set[str]:
    return {item.trial.key for item in planned}


def second_each(trial: Trial) -> tuple[float | None, SecondsFrom]:
    return 1.0, "finished trials"


def test_every_cell_becomes_a_trial_under_the_hash_of_its_content() -> None:
    planned = expand(study())
    assert len(planned) == len(keys(planned)) == 8
    for item in planned:
        trial = item.trial
        assert trial.key == trial_key(
            workload="planted", version="1.0.0", data="none", config=trial.config, seed=trial.seed
        )
        assert "seed" not in trial.config
        assert item.scale == trial.config["width"]
        assert trial.derived["flops"] == 5 * item.scale**2


def test_the_cheapest_trials_come_first_and_one_price_keeps_the_order_of_the_file() -> None:
    order = [
        (item.scale, item.trial.config["learning_rate"], item.trial.seed)
        for item in expand(study())
    ]
    assert order == [
        (width, rate, seed) for width in (32, 64) for rate in (0.25, 0.125) for seed in (0, 1)
    ]


def test_names_resources_search_and_claims_leave_the_keys_alone() -> None:
    other = study(
        name="another",
        question="Why?",
        resources={"cpus": 2},
        budget={"trials": 3},
        claims=[{"hyperparameter": "learning_rate", "exponent": 0, "tolerance": 0.1}],
    )
    assert keys(expand(other)) == keys(expand(study()))


def test_a_default_written_out_is_the_same_trial() -> None:
    written = study(fixed={"steps": 5, "noise": 0.01, "misbehave": "never"})
    assert keys(expand(written)) == keys(expand(study()))


def test_whatever_decides_the_result_changes_every_key() -> None:
    for fixed in ({"steps": 6}, {"steps": 5, "noise": 0.02}, {"steps": 5, "optimum": -4}):
        assert not keys(expand(study(fixed=fixed))) & keys(expand(study()))


def test_a_trial_of_two_variants_is_declared_twice_and_run_once() -> None:
    both = study(variants={"a": {}, "b": {"sweep": {"learning_rate": [0.25, 0.0625]}}})
    planned = expand(both)
    assert len(planned) == 16
    shared = {item.trial.key for item in planned if item.trial.config["learning_rate"] == 0.25}
    for key in shared:
        assert {item.variant for item in planned if item.trial.key == key} == {"a", "b"}
    assert len(shared) == 4
    assert len(unique_trials(planned)) == 12
    assert len(remaining(planned, [])) == 12
    assert sum(row.trials for row in price(planned, [], second_each)) == 12


def test_what_remains_is_the_set_difference() -> None:
    planned = expand(study())
    done = [planned[0].trial.key, planned[5].trial.key]
    left = remaining(planned, done)
    assert [item.trial.key for item in left] == [
        item.trial.key for item in planned if item.trial.key not in done
    ]
    assert remaining(planned, keys(planned)) == []


def test_a_grown_study_leaves_only_its_new_cells() -> None:
    grown = study(sweep={"width": [64, 32, 128], "learning_rate": [0.25, 0.125], "seed": [0, 1]})
    left = remaining(expand(grown), keys(expand(study())))
    assert [item.scale for item in left] == [128.0] * 4


def test_members_of_one_shape_share_a_digest() -> None:
    plans = study()
    digests = {shape_digest(plans, item.trial.config) for item in expand(plans)}
    assert len(digests) == 2, "one a width: the learning rate is packable"


def test_the_price_adds_up_what_is_left_per_scale() -> None:
    planned = expand(study())
    done = [item.trial.key for item in planned if item.scale == 32][:3]
    small, large = price(planned, done, lambda trial: (trial.derived["flops"] / 1e3, "probe"))
    assert (small.scale, small.trials, small.left) == (32.0, 4, 1)
    assert (large.scale, large.trials, large.left) == (64.0, 4, 4)
    assert small.params == (32**2, 32**2)
    assert large.flops == 4 * 5 * 64**2
    assert large.device_seconds == pytest.approx(4 * 5 * 64**2 / 1e3)
    assert large.source == "probe"


def test_the_price_says_from_what_the_seconds_are_known() -> None:
    planned = expand(study())
    first = planned[0].trial.key

    def mixed(trial: Trial) -> tuple[float | None, SecondsFrom]:
        return (1.0, "probe") if trial.key == first else (1.0, "finished trials")

    def unknown(trial: Trial) -> tuple[float | None, SecondsFrom]:
        return (None, "unknown") if trial.key == first else (1.0, "finished trials")

    assert [row.source for row in price(planned, [], mixed)] == ["probe", "finished trials"]
    rows = price(planned, [], unknown)
    assert [(row.device_seconds, row.source) for row in rows] == [
        (None, "unknown"),
        (4.0, "finished trials"),
    ]


def test_what_is_done_costs_nothing_more() -> None:
    planned = expand(study())
    for row in price(planned, keys(planned), lambda trial: (None, "unknown")):
        assert (row.left, row.flops, row.device_seconds) == (0, 0.0, 0.0)


def test_missing_data_are_named_with_the_study() -> None:
    absent = Study.from_document(
        {
            "name": "absent",
            "workload": "llama",
            "scale": "width",
            "fixed": {"steps": 5, "data": "text:/no/such/file.txt"},
            "sweep": {"width": [16], "learning_rate": [0.1]},
        }
    )
    with pytest.raises(DataError, match=r"study absent: .*/no/such/file\.txt") as caught:
        expand(absent)
    assert caught.value.exit_code == 4
