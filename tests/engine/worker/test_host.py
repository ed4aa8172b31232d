"""One order in one process: training, failures of members, dropping them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_studies import order_of, outcomes_in
from hosts import RATES, advance_to, curves, facts, finish, llama, planted
from on_disk import on_disk
from pyarrow import parquet

from sweeper.engine.messages import Advanced
from sweeper.engine.worker.host import Host
from workloads.workload import Record


@pytest.mark.parametrize(
    ("workload", "config"), [("planted", planted()), ("llama", llama())], ids=["planted", "llama"]
)
def test_a_trial_runs_to_its_end(workload: str, config: dict[str, Any], tmp_path: Path) -> None:
    order = order_of(tmp_path, [config], workload=workload, attempt=3)
    events = finish(Host(order))
    (outcome,) = outcomes_in(events)
    assert (outcome.key, outcome.attempt, outcome.kind) == (order.tasks[0].key, 3, "completed")
    assert outcome.step == 12
    assert outcome.flops == order.tasks[0].flops
    assert outcome.tokens == order.tasks[0].tokens
    assert 0 < outcome.device_seconds <= outcome.wall_seconds
    assert outcome.host
    assert outcome.device
    assert outcome.environment["threads"] == 1
    assert {mark.step for mark in outcome.marks} == ({12} if workload == "planted" else {4, 8, 12})
    assert outcome.marks[-1].value in outcome.metrics.values()
    assert curves(order, [outcome])
    steps = on_disk(order.paths).steps_of(outcome.key)
    assert steps == ([] if workload == "planted" else [4, 8]), "at every mark but the last"


def test_what_is_recorded_are_columns_of_the_curve_and_changes_no_result(tmp_path: Path) -> None:
    plain = order_of(tmp_path / "plain", [llama()], workload="llama")
    record = Record(quantities=("updates",), steps=(1, 12))
    recorded = replace(order_of(tmp_path / "recorded", [llama()], workload="llama"), record=record)
    results = {}
    for order in (plain, recorded):
        (outcome,) = results[order.record] = outcomes_in(finish(Host(order)))
        assert outcome.curve is not None
        table = parquet.read_table(order.paths.files.local(outcome.curve)).to_pydict()
        if order.record is None:
            assert not any(name.startswith("update") for name in table)
        else:
            norms = table["update_norm.hidden"]
            known = [s for s, norm in zip(table["step"], norms, strict=True) if norm == norm]
            assert known == [1, 12]
    assert facts(results[None]) == facts(results[record])


def test_the_members_of_a_pack_end_as_they_do_alone(tmp_path: Path) -> None:
    configs = [llama(learning_rate=rate, seed=seed) for rate in RATES for seed in (0, 1)]
    together = outcomes_in(finish(Host(order_of(tmp_path / "pack", configs, workload="llama"))))
    alone = [
        outcome
        for config in configs
        for outcome in outcomes_in(
            finish(Host(order_of(tmp_path / "alone", [config], workload="llama")))
        )
    ]
    assert len(together) == 6
    assert facts(together) == facts(alone)


@pytest.mark.parametrize(("misbehave", "kind"), [("bug", "bug"), ("memory", "out_of_memory")])
def test_a_bad_member_fails_alone_and_the_others_finish(
    misbehave: str, kind: str, tmp_path: Path
) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES]
    expected = facts(outcomes_in(finish(Host(order_of(tmp_path / "calm", configs)))))
    bad = planted(learning_rate=0.03, misbehave=misbehave)
    order = order_of(tmp_path, [configs[0], bad, *configs[1:]])
    outcomes = outcomes_in(finish(Host(order)))
    found = facts(outcomes)
    (failed,) = [outcome for outcome in outcomes if outcome.kind == kind]
    assert failed.key == order.tasks[1].key
    assert "planted" in (failed.error or "")
    assert "Traceback" in (failed.error or "")
    assert failed.step == 5
    del found[failed.key]
    assert found == expected


def test_a_diverged_member_is_a_result_and_the_others_finish(tmp_path: Path) -> None:
    configs = [planted(learning_rate=rate, cliff=1.0) for rate in (0.01, 0.9, 0.02)]
    outcomes = outcomes_in(finish(Host(order_of(tmp_path, configs))))
    assert sorted(outcome.kind for outcome in outcomes) == ["completed", "completed", "diverged"]
    (diverged,) = [outcome for outcome in outcomes if outcome.kind == "diverged"]
    assert diverged.accepted
    assert diverged.metrics == {}
    assert diverged.error is None


def test_a_dropped_member_ends_without_a_word_and_the_others_finish(tmp_path: Path) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES]
    expected = facts(outcomes_in(finish(Host(order_of(tmp_path / "calm", configs)))))
    order = order_of(tmp_path / "rough", configs, checkpoint_seconds=0.0)
    gone, *others = (task.key for task in order.tasks)
    host = Host(order)
    advance_to(host, 5)
    host.drop([gone, "0" * 64])
    found = facts(outcomes_in(finish(host)))
    assert found == {key: expected[key] for key in others}
    assert max(on_disk(order.paths).steps_of(gone)) <= 5
    assert order.paths.curves_of(gone) == []


def test_dropping_every_member_ends_the_order(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted(learning_rate=rate) for rate in RATES])
    host = Host(order)
    advance_to(host, 5)
    host.drop([task.key for task in order.tasks])
    assert host.done
    assert outcomes_in([*host.advance(0.01), *host.stop()]) == []
    assert not list(tmp_path.rglob("*.*"))


def test_members_dropped_before_their_turn_are_never_trained(tmp_path: Path) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES]
    first = Host(order_of(tmp_path, configs[:1]))
    advance_to(first, 3)
    first.stop()
    order = order_of(tmp_path, configs)
    host = Host(order)
    advance_to(host, 4)
    assert list(host.running) == [order.tasks[0].key], (
        "it goes on from step 3, before the others start"
    )
    host.drop([order.tasks[1].key, order.tasks[2].key])
    assert [outcome.key for outcome in outcomes_in(finish(host))] == [order.tasks[0].key]


def test_a_member_dropped_from_a_pack_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted(), planted(learning_rate=0.03, misbehave="bug")])
    host = Host(order)
    advance_to(host, 3)
    host.drop([order.tasks[1].key])
    (outcome,) = outcomes_in(finish(host))
    assert (outcome.key, outcome.kind) == (order.tasks[0].key, "completed")


def test_progress_is_told_as_often_as_asked(tmp_path: Path) -> None:
    host = Host(order_of(tmp_path, [planted(step_seconds=0.01)]), progress_seconds=0.0)
    events = host.advance(0.05) + finish(host)
    fractions = [event.fraction for event in events if isinstance(event, Advanced)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 1
