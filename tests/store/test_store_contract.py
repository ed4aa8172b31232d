"""What a store promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from on_disk import on_disk
from sample_store import (
    dump,
    dump_from_a_new_process,
    members,
    outcome,
    save,
    study,
    trial,
    trials,
)

from sweeper.errors import StoreError, UnknownNameError
from sweeper.store.owner import Owner
from sweeper.store.records import Account, Cause, Changes, Estimate, Membership, Probe, Stand
from sweeper.store.store import Store
from sweeper.trial import Trial


def test_a_study_comes_back_as_it_was_saved(store: Store) -> None:
    save(store, 2)

    found = store.study("widths")

    assert found.created_at is not None and found.created_at.tzinfo is not None
    assert found.created_at == found.updated_at
    assert (found.question, found.scale, found.goal) == ("Does it transfer?", "width", "min")
    assert found.document == {"name": "widths", "sweep": {"width": [32, 64]}}
    assert [item.name for item in store.studies()] == ["widths"]


def test_saving_a_study_again_updates_it_and_keeps_its_birthday(store: Store) -> None:
    save(store, 1)
    born = store.study("widths").created_at

    store.save_study(study(metric="train_loss"), members(trials(1)))

    found = store.study("widths")
    assert found.metric == "train_loss"
    assert found.created_at == born
    assert found.updated_at is not None and born is not None and found.updated_at > born


def test_an_unknown_study_is_named_with_its_nearest_neighbour(store: Store) -> None:
    save(store, 1)

    for ask in (store.study, store.account, store.frame, store.marks, store.curve_files):
        with pytest.raises(UnknownNameError, match="did you mean 'widths'"):
            ask("width")
    with pytest.raises(UnknownNameError, match="did you mean 'widths'"):
        store.save_estimates("width", "learning_rate", [])


def test_values_removed_from_a_study_are_hidden_and_come_back(store: Store) -> None:
    declared = members(trials(4))

    assert store.save_study(study(), declared) == Changes(added=4, kept=0, hidden=0, restored=0)
    store.record(outcome(declared[0].trial.key, attempt=0), objective=2.5)
    fewer = declared[1:] + members([trial(9)])
    assert store.save_study(study(), fewer) == Changes(added=1, kept=3, hidden=1, restored=0)
    assert store.account("widths").hidden == 1
    assert len(store.frame("widths")) == 4
    assert store.frame("widths", hidden=True)["hidden"].sum() == 1
    assert store.save_study(study(), fewer) == Changes(added=0, kept=4, hidden=0, restored=0)
    assert store.save_study(study(), declared) == Changes(added=0, kept=3, hidden=1, restored=1)
    assert store.frame("widths")["outcome"].tolist() == ["completed", *["missing"] * 3]


def test_members_are_in_declared_order_also_after_it_changes(store: Store) -> None:
    declared = members(trials(3))
    store.save_study(study(), declared)

    store.save_study(study(), declared[::-1])

    assert store.frame("widths")["key"].tolist() == [item.trial.key for item in declared[::-1]]


def test_two_studies_share_the_results_of_the_trials_they_share(store: Store) -> None:
    keys = save(store, 3, "first")
    store.record(outcome(keys[1], attempt=0), objective=2.5)

    save(store, 2, "second")

    assert store.results_of(keys) == {keys[1]: "completed"}
    assert store.account("second").done == 1
    assert store.query("select count(*) from trials").rows == [(3,)]


def test_a_trial_of_two_variants_counts_once_and_has_a_row_in_each(store: Store) -> None:
    shared = trial(0)
    both = [Membership(trial=shared, variant=variant) for variant in ("sp", "mup")]

    store.save_study(study(), both)

    assert store.account("widths").declared == 1
    assert store.frame("widths")["variant"].tolist() == ["sp", "mup"]


def test_names_of_any_language_and_broken_text_are_kept(store: Store, location: str) -> None:
    name = "größe 宽度 🙂 'quoted\" %s :x ?"
    declared = members(trials(1), variant="ñ/μP")
    store.save_study(study(name), declared)
    error = "bad byte \udc80, zero \0, ümlaut\nValueError: ✗"
    report = outcome(declared[0].trial.key, "bug", error=error, host="\udcff", attempt=0)
    store.record(report, objective=None)

    assert store.study(name).document["name"] == name
    assert store.frame(name)["variant"].tolist() == ["ñ/μP"]
    cause = store.account(name).causes[0].cause
    assert cause.startswith("bug: bad byte") and cause.endswith("ümlaut")
    assert dump(store) == dump_from_a_new_process(location)


def test_a_study_without_trials_answers_with_nothing(store: Store) -> None:
    store.save_study(study(), [])

    assert store.account("widths").declared == 0
    assert store.frame("widths").empty
    assert "loss" in store.frame("widths").columns
    assert store.marks("widths").empty


def test_everything_written_is_there_in_a_new_process(store: Store, location: str) -> None:
    keys = save(store, 5)
    owner = Owner.here()
    store.claim(keys[:4], owner=owner, lease_s=60)
    store.record(outcome(keys[0]), objective=2.5)
    store.record_many([(outcome(keys[1], "diverged"), None), (outcome(keys[2], "bug"), None)])
    store.save_probe(_probe(0.25))
    store.save_estimates("widths", "learning_rate", [Estimate(kind="drift", variant="sp")])
    store.make_wish("widths", "pause", keys=[keys[3]], by="größe@lab")
    stands = {keys[3]: Stand(step=3, loss=2.5)}
    said = {"executor": "ray", "lease_s": 60, "slots": 2, "trials": stands, "left_seconds": 90.0}
    store.report(owner, "widths", doing="running", **said)  # type: ignore[arg-type]

    there = dump_from_a_new_process(location)

    assert there == dump(store)
    assert {table: len(rows) for table, rows in there.items()} == {
        "studies": 1,
        "trials": 5,
        "study_trials": 5,
        "attempts": 4,
        "results": 2,
        "marks": 2,
        "probes": 1,
        "estimates": 1,
        "wishes": 1,
        "controllers": 1,
    }


def test_an_account_always_adds_up_and_groups_failures_by_cause(store: Store) -> None:
    keys = save(store, 9)
    owner = Owner.here()
    store.claim(keys[:7], owner=owner, lease_s=60)
    store.record(outcome(keys[0]), objective=2.5)
    store.record(outcome(keys[1], "diverged"), objective=None)
    for key in keys[2:4]:
        store.record(outcome(key, "bug", error="Traceback\nValueError: no"), objective=None)
    short = outcome(keys[4], "out_of_memory", error="CUDA out of memory")
    store.record(short, objective=None)
    store.record(outcome(keys[5], "lost_node"), objective=None)
    once = store.account("widths")
    assert (once.failed, once.pending) == (2, 4), "it has one more try"
    store.claim(keys[4:5], owner=owner, lease_s=60)
    store.record(replace(short, attempt=2), objective=None)

    account = store.account("widths")

    assert account == Account(
        declared=9,
        done=1,
        diverged=1,
        running=1,
        pending=3,
        failed=3,
        hidden=0,
        causes=[
            Cause(cause="bug: ValueError: no", count=2, example=min(keys[2:4])),
            Cause(cause="out_of_memory: CUDA out of memory", count=1, example=keys[4]),
        ],
    )


def test_an_account_read_while_another_thread_writes_adds_up(store: Store) -> None:
    keys = save(store, 60)
    store.claim(keys, owner=Owner.here(), lease_s=60)
    kinds = ("completed", "diverged", "bug", "stopped")

    def write() -> None:
        for index, key in enumerate(keys):
            store.record(outcome(key, kinds[index % 4]), objective=1.0)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        account = store.account("widths")
        parts = (account.done, account.diverged, account.running, account.pending, account.failed)
        assert sum(parts) == account.declared == 60
        assert min(parts) >= 0
    writer.join()
    assert store.account("widths").done == 15


def test_scale_columns_serve_sql_and_skip_what_does_not_fit(store: Store) -> None:
    odd = trial(1, width="wide", depth=2.0, batch_size=2**70, weight_decay=True)
    store.save_study(study(), members([trial(0), odd]))

    columns = "width, depth, batch_size, weight_decay, learning_rate, optimizer, params, flops"
    rows = store.query(f"select {columns} from trials order by learning_rate").rows

    assert rows[0] == (32, None, None, None, 1 / 1024, "adamw", 1000, 6.0e5)
    assert rows[1] == (None, 2, None, None, 2 / 1024, "adamw", 1000, 6.0e5)


def test_the_newest_probe_of_the_same_circumstances_counts(store: Store) -> None:
    store.save_probe(_probe(0.5))
    store.save_probe(_probe(0.25))

    def ask(width: int) -> Probe | None:
        return store.probe_for(
            workload="quadratic",
            workload_version="1.0.0",
            shape={"depth": 2, "width": width},
            device="cpu",
            threads=1,
            pack=1,
        )

    found = ask(32)
    assert found is not None and found.step_seconds == 0.25
    assert found.measured_at is not None
    assert dict(found.shape) == {"width": 32, "depth": 2}
    assert ask(64) is None


def test_estimates_are_replaced_for_one_hyperparameter_of_one_study(store: Store) -> None:
    save(store, 1)
    old = Estimate(kind="optimum", variant="sp", scale=32, value=0.5, text="old")
    new = Estimate(
        kind="drift", variant="sp", settings={"weight_decay": 0.1}, value=-0.5, low=-math.inf
    )
    store.save_estimates("widths", "learning_rate", [old, old])
    store.save_estimates("widths", "weight_decay", [old])

    store.save_estimates("widths", "learning_rate", [new])

    (found,) = store.estimates("widths", "learning_rate")
    assert (found.kind, found.value, found.low) == ("drift", -0.5, None)
    assert found.settings == {"weight_decay": 0.1}
    assert store.estimates("widths", "weight_decay") == [old]
    store.save_estimates("widths", "weight_decay", [])
    assert store.estimates("widths", "weight_decay") == []


def test_a_store_opened_for_reading_refuses_to_write(store: Store, location: str) -> None:
    keys = save(store, 1)
    before = dump(store)

    with Store.open(location, read_only=True) as reader:
        assert reader.account("widths").pending == 1
        with pytest.raises(StoreError, match=r"opened for reading|may not write"):
            reader.claim(keys, owner=Owner.here(), lease_s=60)
        with pytest.raises(StoreError):
            reader.save_study(study("other"), [])

    assert dump(store) == before


def test_a_store_that_does_not_exist_is_not_made_unless_asked(location: str) -> None:
    with pytest.raises(StoreError, match=r"there is no store here.*sweeper run"):
        Store.open(location)
    with pytest.raises(StoreError, match="there is no store here"):
        Store.open(location, read_only=True)


def test_the_files_of_a_store_lie_in_one_folder(store: Store, tmp_path: Path) -> None:
    assert tmp_path in on_disk(store.paths).root.parents


def test_more_trials_than_a_statement_takes_are_saved_and_asked_for_in_seconds(
    store: Store,
) -> None:
    declared = [
        Trial(key=f"{index:064x}", workload="w", version="1", data="", config={"i": index}, seed=0)
        for index in range(5_000)
    ]
    keys = [item.key for item in declared]
    started = time.monotonic()

    store.save_study(study(), members(declared))
    again = store.save_study(study(), members(declared))
    assert store.results_of([*keys, *(f"{index:064x}" for index in range(5_000, 100_000))]) == {}
    store.claim(keys[:2000], owner=Owner.here(), lease_s=60)
    store.record_many([(outcome(key), 1.0) for key in keys[:2000]])

    assert again.kept == 5_000
    assert len(store.results_of(keys)) == 2000
    assert store.account("widths").pending == 3_000
    assert time.monotonic() - started < 60


def _probe(step_seconds: float) -> Probe:
    return Probe(
        workload="quadratic",
        workload_version="1.0.0",
        shape={"width": 32, "depth": 2},
        device="cpu",
        threads=1,
        pack=1,
        startup_seconds=1.0,
        step_seconds=step_seconds,
        steps=20,
    )
