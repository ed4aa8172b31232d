"""Orders that are stopped and go on: from checkpoints, and from results nobody recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import altered_card
import pytest
import torch
from engine_studies import order_of, outcomes_in, warnings_in
from hosts import ONE_STEP, RATES, adopted_in, advance_to, curves, facts, finish, llama, planted
from on_disk import on_disk

from sweeper.engine.messages import Order
from sweeper.engine.worker.host import Host
from sweeper.store.files.checkpoints import read_journal, write_checkpoint
from workloads.workload import TrainerFactory


@pytest.mark.parametrize("step", [1, 5, 11])
@pytest.mark.parametrize(
    ("workload", "make"), [("planted", planted), ("llama", llama)], ids=["planted", "llama"]
)
def test_a_stopped_pack_goes_on_in_another_process_with_the_same_bits(
    workload: str, make: Callable[..., dict[str, Any]], step: int, tmp_path: Path
) -> None:
    configs = [make(learning_rate=rate) for rate in RATES]
    calm = order_of(tmp_path / "calm", configs, workload=workload)
    expected = outcomes_in(finish(Host(calm)))
    order = order_of(tmp_path / "rough", configs, workload=workload)
    host = Host(order)
    advance_to(host, step)
    stopped = outcomes_in(host.stop())
    assert [outcome.kind for outcome in stopped] == ["stopped"] * 3
    assert {outcome.step for outcome in stopped} == {step}
    assert {outcome.error for outcome in stopped} == {None}
    second = Host(order)
    events = finish(second)
    found = outcomes_in(events)
    assert facts(found) == facts(expected)
    assert curves(order, found) == curves(calm, expected)
    assert warnings_in(events) == []
    assert min(outcome.device_seconds for outcome in found) > max(
        outcome.device_seconds for outcome in stopped
    ), "the seconds of the first part belong to the trial too"


def test_a_stop_before_the_first_step_leaves_nothing_behind(tmp_path: Path) -> None:
    host = Host(order_of(tmp_path, [planted()]))
    (outcome,) = outcomes_in(host.stop())
    assert (outcome.kind, outcome.step) == ("stopped", 0)
    assert host.done
    assert not list(tmp_path.rglob("*.pt"))


def test_members_stopped_at_different_steps_go_on_apart(tmp_path: Path) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES]
    expected = outcomes_in(finish(Host(order_of(tmp_path / "calm", configs))))
    for config, step in zip(configs[:2], (3, 7), strict=True):
        host = Host(order_of(tmp_path, [config]))
        advance_to(host, step)
        host.stop()
    found = outcomes_in(finish(Host(order_of(tmp_path, configs))))
    assert facts(found) == facts(expected)
    keys = [task.key for task in order_of(tmp_path, configs).tasks]
    assert [outcome.key for outcome in found] == [keys[1], keys[0], keys[2]], "furthest first"


def test_checkpoints_are_written_on_the_way(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted()], checkpoint_seconds=0.0)
    host = Host(order)
    advance_to(host, 5)
    names = [path.name for path in on_disk(order.paths).checkpoints_of(order.tasks[0].key)]
    assert names == ["step-000000004.pt", "step-000000005.pt"]


def test_checkpoints_are_written_at_every_mark(tmp_path: Path) -> None:
    order = order_of(tmp_path, [llama(seed=seed) for seed in (0, 1)], workload="llama")
    host = Host(order)
    for step, marks in ((3, []), (4, [4]), (9, [4, 8])):
        advance_to(host, step)
        for task in order.tasks:
            found = on_disk(order.paths).steps_of(task.key)
            assert found == marks


@pytest.mark.parametrize("damage", ["truncated", "garbage", "foreign", "journal"])
@pytest.mark.parametrize(
    ("workload", "make"), [("planted", planted), ("llama", llama)], ids=["planted", "llama"]
)
def test_a_damaged_checkpoint_is_skipped_with_a_warning_and_costs_its_owner_alone(
    workload: str, make: Callable[..., dict[str, Any]], damage: str, tmp_path: Path
) -> None:
    configs = [make(learning_rate=rate) for rate in RATES]
    expected = facts(
        outcomes_in(finish(Host(order_of(tmp_path / "a", configs, workload=workload))))
    )
    order = order_of(tmp_path / "b", configs, workload=workload)
    host = Host(order)
    advance_to(host, 5)
    host.stop()
    bad = on_disk(order.paths).checkpoints_of(order.tasks[1].key)[-1]
    if damage == "truncated":
        bad.write_bytes(bad.read_bytes()[:-20])
    elif damage == "garbage":
        bad.write_bytes(bytes(range(256)))
    elif damage == "foreign":
        bad.write_bytes(on_disk(order.paths).checkpoints_of(order.tasks[0].key)[-1].read_bytes())
    else:
        bad.with_suffix(".journal.json").write_text("{", encoding="utf-8")
    again = Host(order)
    events = finish(again)
    assert facts(outcomes_in(events)) == expected
    (warning,) = warnings_in(events)
    assert f"{bad} skipped" in warning
    assert not list((tmp_path / "b").rglob(".tmp-*"))


def first_steps(order: Order) -> list[int]:
    """Runs an order to its end; returns the first step that each task trained."""
    host = Host(order)
    firsts: dict[str, int] = {}
    while not host.done:
        host.advance(ONE_STEP)
        firsts = {**host.running, **firsts}
    return [firsts[task.key] for task in order.tasks]


def test_the_good_checkpoints_of_a_pack_survive_a_bad_one(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted(learning_rate=rate) for rate in RATES])
    host = Host(order)
    advance_to(host, 5)
    host.stop()
    on_disk(order.paths).checkpoints_of(order.tasks[1].key)[0].write_bytes(b"{")
    assert first_steps(order) == [6, 1, 6]


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        ('{"trial": "another"}', "is a checkpoint of another trial"),
        ("[]", "AttributeError"),
        ('{"trial": %s}', "KeyError"),
        ('{"trial": %s, "step": "x", "sum": 0.0}', "holds values of another kind"),
    ],
)
def test_a_checkpoint_that_only_the_trainer_can_refuse_costs_its_owner_alone(
    forged: str, why: str, tmp_path: Path
) -> None:
    order = order_of(tmp_path, [planted(learning_rate=rate) for rate in RATES])
    host = Host(order)
    advance_to(host, 5)
    host.stop()
    (bad,) = on_disk(order.paths).checkpoints_of(order.tasks[1].key)
    files, name = order.paths.files, order.paths.checkpoint(order.tasks[1].key, 5)
    journal = read_journal(files, name, key=order.tasks[1].key)

    own = json.loads(bad.read_text(encoding="utf-8"))["trial"]

    def foreign(path: Path) -> None:
        path.write_text(forged.replace("%s", json.dumps(own)), encoding="utf-8")

    write_checkpoint(files, name, journal, foreign)
    again = Host(order)
    events = finish(again)
    assert {outcome.kind for outcome in outcomes_in(events)} == {"completed"}
    (warning,) = warnings_in(events)
    assert f"{bad} skipped: " in warning and why in warning


def test_a_pickle_in_the_place_of_a_checkpoint_runs_nothing_and_is_skipped(tmp_path: Path) -> None:
    expected = facts(
        outcomes_in(finish(Host(order_of(tmp_path / "a", [llama()], workload="llama"))))
    )
    order = order_of(tmp_path / "b", [llama()], workload="llama", checkpoint_seconds=0.0)
    host = Host(order)
    advance_to(host, 5)
    host.stop()
    key = order.tasks[0].key
    files, name = order.paths.files, order.paths.checkpoints_of(order.tasks[0].key)[-1]
    journal = read_journal(files, name, key=key)
    ran = tmp_path / "ran"

    def malicious(path: Path) -> None:
        with path.open("wb") as file:
            torch.save({"format": 1, "trial": _Runs(ran)}, file)

    write_checkpoint(files, name, journal, malicious)  # with the right digest in its journal
    torch.load(files.local(name), weights_only=False)
    assert ran.exists(), "it is a pickle that runs code where it is let"
    ran.unlink()
    events = finish(Host(order))
    assert facts(outcomes_in(events)) == expected
    (warning,) = warnings_in(events)
    assert "skipped: " in warning and "cannot be read" in warning
    assert not ran.exists()


class _Runs:
    """What makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_a_checkpoint_that_vanishes_before_it_is_loaded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = altered_card.NAME
    order = order_of(tmp_path, [planted()], checkpoint_seconds=0.0, workload=name)
    calm = order_of(tmp_path / "calm", [planted()], workload=name)
    expected = facts(outcomes_in(finish(Host(calm))))
    host = Host(order)
    advance_to(host, 5)
    host.stop()
    (before, newest) = on_disk(order.paths).checkpoints_of(order.tasks[0].key)

    def overtaken(card: altered_card.AlteredCard) -> TrainerFactory:
        newest.unlink(missing_ok=True)
        assert before.exists()
        return altered_card.AlteredTrainer

    monkeypatch.setattr(altered_card.AlteredCard, "trainer", overtaken)
    events = finish(Host(order))
    assert facts(outcomes_in(events)) == expected
    (warning,) = warnings_in(events)
    assert f"checkpoint {newest} skipped" in warning


def test_a_result_that_nobody_recorded_is_taken_over_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [planted(learning_rate=rate, cliff=1.0) for rate in (0.01, 0.9)]
    first = outcomes_in(finish(Host(order_of(tmp_path, configs))))
    assert {outcome.kind for outcome in first} == {"completed", "diverged"}
    order = order_of(tmp_path, configs, attempt=2)
    monkeypatch.setattr(altered_card.AlteredCard, "trainer", lambda card: pytest.fail("trained"))
    elsewhere = Order(**{**vars(order), "workload": altered_card.NAME})
    events = finish(Host(elsewhere))
    found = outcomes_in(events)
    assert sorted(found, key=lambda each: each.key) == sorted(
        (replace(outcome, attempt=2) for outcome in first), key=lambda each: each.key
    )
    assert adopted_in(events) == {task.key for task in order.tasks}


def test_the_others_of_a_pack_are_trained_where_one_has_a_result(tmp_path: Path) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES]
    expected = facts(outcomes_in(finish(Host(order_of(tmp_path / "calm", configs)))))
    finish(Host(order_of(tmp_path, configs[1:2])))
    order = order_of(tmp_path, configs, attempt=2)
    events = finish(Host(order))
    assert facts(outcomes_in(events)) == expected
    assert warnings_in(events) == []
    assert adopted_in(events) == {order.tasks[1].key}
    written = {path.name for path in on_disk(order.paths).curve_paths()}
    assert written == {
        f"{order.tasks[0].key}.2.parquet",
        f"{order.tasks[1].key}.1.parquet",
        f"{order.tasks[2].key}.2.parquet",
    }


def test_a_damaged_result_is_told_and_trained_again(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted()])
    expected = outcomes_in(finish(Host(order)))
    curve = on_disk(order.paths).curve(order.tasks[0].key, 1)
    curve.write_bytes(curve.read_bytes()[:-50])
    again = order_of(tmp_path, [planted()], attempt=2)
    events = finish(Host(again))
    assert facts(outcomes_in(events)) == facts(expected)
    (warning,) = warnings_in(events)
    assert f"the result in {curve} is not taken over: it cannot be read" in warning
    assert outcomes_in(events)[0].curve == order.paths.curve(again.tasks[0].key, 2)


def test_the_journal_of_a_checkpoint_is_plain_json(tmp_path: Path) -> None:
    order = order_of(tmp_path, [llama()], workload="llama")
    host = Host(order)
    advance_to(host, 5)
    host.stop()
    *_, journal = sorted(tmp_path.rglob("*.journal.json"))
    document = json.loads(journal.read_text(encoding="utf-8"))
    assert (document["step"], len(document["curve"]), len(document["marks"])) == (5, 5, 2)
