"""Trials of a study as data frames, on SQLite and on PostgreSQL."""

from __future__ import annotations

import gc
import math

import pytest
from sample_store import members, outcome, save, study, trial, trials

from sweeper.errors import UnknownNameError
from sweeper.outcome import Mark
from sweeper.store.store import Store


def test_a_frame_has_a_row_for_every_member_and_says_how_it_went(store: Store) -> None:
    keys = save(store, 4)
    store.record(outcome(keys[0], loss=3.25, attempt=0), objective=3.25)
    store.record(outcome(keys[1], "diverged", attempt=0), objective=None)
    store.record(outcome(keys[2], "bug", attempt=0), objective=None)

    frame = store.frame("widths").set_index("key").loc[keys]

    assert frame["outcome"].tolist() == ["completed", "diverged", "failed", "missing"]
    assert frame["loss"].tolist()[:2] == [3.25, math.inf]
    assert frame["loss"].isna().tolist() == [False, False, True, True]
    assert frame["learning_rate"].tolist() == [(index + 1) / 1024 for index in range(4)]
    assert frame["width"].tolist() == [32] * 4
    assert frame["tokens"].tolist() == [640.0] * 4
    assert frame["attempts"].tolist() == [1, 1, 1, 0]
    assert frame["torch"].tolist()[0] == "2.6"
    assert frame["commit"].tolist()[0] == "abc"
    assert frame["device_seconds"].tolist()[:2] == [1.5, 1.5]


def test_a_diverged_trial_is_the_worst_whichever_end_is_better(store: Store) -> None:
    declared = trials(1)
    store.save_study(study(goal="max"), members(declared))

    store.record(outcome(declared[0].key, "diverged", attempt=0), objective=None)

    assert store.frame("widths")["loss"].tolist() == [-math.inf]


def test_each_study_reads_its_own_metric_from_a_shared_result(store: Store) -> None:
    keys = save(store, 1, "by_val")
    store.save_study(study("by_train", metric="train_loss"), members(trials(1)))
    store.save_study(study("by_other", metric="accuracy"), members(trials(1)))

    store.record(outcome(keys[0], loss=2.5, attempt=0), objective=2.5)

    assert store.frame("by_val")["loss"].tolist() == [2.5]
    assert store.frame("by_train")["loss"].tolist() == [2.0]
    assert store.frame("by_other")["loss"].isna().tolist() == [True]


def test_seeds_of_a_point_stand_in_declared_order_with_what_each_has_of_its_own(
    store: Store,
) -> None:
    declared = [trial(index, seed=seed, position="left") for seed in (2, 1) for index in (1, 0)]
    store.save_study(study(), members(declared))
    for place in (2, 0):
        store.record(
            outcome(declared[place].key, loss=place / 3, device_seconds=place / 3, attempt=0),
            objective=None,
        )

    store.read_ahead("widths")
    frame = store.frame("widths", counted=False)

    assert frame["key"].tolist() == [item.key for item in declared]
    assert frame["seed"].tolist() == [2, 2, 1, 1]
    assert frame["learning_rate"].tolist() == [2 / 1024, 1 / 1024] * 2
    assert frame["position"].tolist() == ["left"] * 4
    assert frame["outcome"].tolist() == ["completed", "missing", "completed", "missing"]
    assert frame["loss"].dropna().tolist() == [0.0, 2 / 3]
    assert frame["device_seconds"].dropna().tolist() == [0.0, 2 / 3]
    assert store.frame("widths").drop(columns="attempts").equals(frame)


def test_a_study_that_is_none_is_said_when_its_frame_is_asked_for(store: Store) -> None:
    store.read_ahead("depths")

    with pytest.raises(UnknownNameError):
        store.frame("depths", counted=False)


def test_a_setting_named_like_a_column_of_the_frame_keeps_its_own_column(store: Store) -> None:
    store.save_study(study(), members([trial(0, loss="hinge", device="left")]))

    frame = store.frame("widths")

    assert frame["setting_loss"].tolist() == ["hinge"]
    assert frame["setting_device"].tolist() == ["left"]
    assert frame["loss"].isna().all()


def test_a_number_that_is_not_finite_is_never_in_a_numeric_column(store: Store) -> None:
    keys = save(store, 1)
    marks = (
        Mark(step=1, tokens=64, metric="val_loss", value=math.inf),
        Mark(step=2, tokens=128, metric="val_loss", value=1.5),
    )
    report = outcome(keys[0], loss=math.nan, attempt=0, device_seconds=math.inf, marks=marks)

    assert store.record(report, objective=math.nan)

    row = store.query("select objective, device_seconds from results").rows
    assert row == [(None, None)]
    assert store.query("select count(*) from marks where value is null").rows == [(1,)]
    assert store.frame("widths")["loss"].isna().all()
    assert store.marks("widths")["value"].tolist()[1] == 1.5


def test_marks_of_a_study_come_as_a_frame(store: Store) -> None:
    keys = save(store, 2)
    repeated = tuple(Mark(step=5, tokens=320, metric="val_loss", value=v) for v in (4.0, 3.0))
    store.record(outcome(keys[0], marks=repeated, attempt=0), objective=2.5)

    frame = store.marks("widths")

    assert list(frame.columns) == ["variant", "key", "step", "tokens", "metric", "value"]
    assert frame.to_dict("records") == [
        {
            "variant": "default",
            "key": keys[0],
            "step": 5,
            "tokens": 320,
            "metric": "val_loss",
            "value": 3.0,
        }
    ]


def test_the_curve_file_of_a_result_is_found(store: Store) -> None:
    keys = save(store, 2)
    name = store.paths.curve(keys[0], 1)
    store.record(outcome(keys[0], curve=name, attempt=0), objective=2.5)

    assert store.curve_files("widths") == {keys[0]: name}


@pytest.mark.parametrize("enabled", [True, False])
def test_reading_a_frame_leaves_the_garbage_collector_as_it_was(
    store: Store, enabled: bool
) -> None:
    save(store, 2)
    was_enabled = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        assert len(store.frame("widths")) == 2
        assert store.marks("widths").empty
        with pytest.raises(UnknownNameError):
            store.frame("depths")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
