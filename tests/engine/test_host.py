"""One order in one process: training, checkpoints, failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altered_card
import pytest
from engine_studies import TINY_LLAMA, order_of, outcomes_in, warnings_in

from sweeper.engine.host import Host
from sweeper.engine.order import Event, Order, Progress
from sweeper.errors import StoreError
from sweeper.outcome import Outcome
from sweeper.store.paths import Paths

PLANTED: Mapping[str, Any] = {"width": 32, "learning_rate": 0.02, "steps": 12}
RATES = (0.01, 0.02, 0.04)


@pytest.fixture
def card() -> Iterator[altered_card.AlteredCard]:
    """Yields the altered card, put right again after the test."""
    altered_card.CARD.__dict__.clear()
    yield altered_card.CARD
    altered_card.CARD.__dict__.clear()


def planted(**settings: Any) -> dict[str, Any]:
    return {**PLANTED, **settings}


def llama(**settings: Any) -> dict[str, Any]:
    return {**TINY_LLAMA, "learning_rate": 0.01, **settings}


def finish(host: Host) -> list[Event]:
    events: list[Event] = []
    for _ in range(10_000):
        if host.done:
            return events
        events.extend(host.advance(0.05))
    raise AssertionError("the order never ends")


def advance_to(host: Host, step: int) -> None:
    """Goes on until the running members have done ``step`` steps."""
    while max(record.step for record in host._records.values()) < step:
        host._one_step()


def curve_bytes(order: Order, outcomes: Sequence[Outcome]) -> dict[str, bytes]:
    found = {}
    for outcome in outcomes:
        assert outcome.curve is not None
        found[outcome.key] = order.paths.absolute(outcome.curve).read_bytes()
    return found


def facts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What must not depend on interruptions, by key."""
    return {
        outcome.key: (outcome.kind, dict(outcome.metrics), outcome.marks, outcome.step)
        for outcome in outcomes
    }


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
    assert curve_bytes(order, [outcome])
    assert not list(tmp_path.rglob("*.pt"))


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
    assert curve_bytes(order, found) == curve_bytes(calm, expected)
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
    names = [path.name for path in order.paths.checkpoints_of(order.tasks[0].key)]
    assert names == ["step-000000005.pt"]


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
    (bad,) = order.paths.checkpoints_of(order.tasks[1].key)
    if damage == "truncated":
        bad.write_bytes(bad.read_bytes()[:-20])
    elif damage == "garbage":
        bad.write_bytes(bytes(range(256)))
    elif damage == "foreign":
        bad.write_bytes(order.paths.checkpoints_of(order.tasks[0].key)[0].read_bytes())
    else:
        bad.with_suffix(".journal.json").write_text("{", encoding="utf-8")
    again = Host(order)
    events = finish(again)
    assert facts(outcomes_in(events)) == expected
    (warning,) = warnings_in(events)
    assert f"{bad} skipped" in warning


def test_the_good_checkpoints_of_a_pack_survive_a_bad_one(tmp_path: Path) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES]
    order = order_of(tmp_path, configs)
    host = Host(order)
    advance_to(host, 5)
    host.stop()
    order.paths.checkpoints_of(order.tasks[1].key)[0].write_bytes(b"{")
    again = Host(order)
    steps: dict[str, list[int]] = {task.key: [] for task in order.tasks}
    while not again.done:
        try:
            again._one_step()
        except ValueError as fault:
            again._fail(fault)
        for task in again._running:
            steps[task.key].append(again._records[task.key].step)
    firsts = [steps[task.key][0] for task in order.tasks]
    assert firsts == [6, 1, 6]


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


def test_an_allocation_that_fails_in_torch_is_a_shortage_of_memory(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16)
    card.save_fault = caught.value
    order = order_of(tmp_path, [planted()], workload=altered_card.NAME, checkpoint_seconds=0.0)
    (outcome,) = outcomes_in(finish(Host(order)))
    assert outcome.kind == "out_of_memory"


def test_a_trainer_that_stops_early_is_a_bug(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.last_step = 4
    configs = [planted(learning_rate=rate) for rate in RATES]
    outcomes = outcomes_in(finish(Host(order_of(tmp_path, configs, workload=altered_card.NAME))))
    assert [outcome.kind for outcome in outcomes] == ["bug"] * 3
    assert all("stopped before" in (outcome.error or "") for outcome in outcomes)


@pytest.mark.parametrize("members", [1, 3])
def test_altered_data_stop_the_order_and_name_both_fingerprints(
    members: int, card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES[:members]]
    order = order_of(tmp_path, configs, workload=altered_card.NAME)
    card.fingerprint = "altered since"
    outcomes = outcomes_in(finish(Host(order)))
    assert [outcome.kind for outcome in outcomes] == ["stopped"] * members
    for outcome in outcomes:
        assert "as planned" in (outcome.error or "")
        assert "altered since" in (outcome.error or "")


def test_missing_data_stop_the_order(card: altered_card.AlteredCard, tmp_path: Path) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES]
    order = order_of(tmp_path, configs, workload=altered_card.NAME)
    card.fingerprint = None
    outcomes = outcomes_in(finish(Host(order)))
    assert [(outcome.kind, outcome.error) for outcome in outcomes] == [
        ("stopped", "the corpus is gone")
    ] * 3


def test_the_data_are_looked_at_once_an_order(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    configs = [planted(learning_rate=rate, misbehave="bug") for rate in RATES]
    order = order_of(tmp_path, configs, workload=altered_card.NAME)
    before = card.looked
    assert len(outcomes_in(finish(Host(order)))) == 3
    assert card.looked == before + 1


def test_a_workload_that_is_not_installed_here_stops_the_order(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted(), planted(learning_rate=0.5)])
    elsewhere = Order(**{**vars(order), "workload": "no_such_package.cards:CARD"})
    outcomes = outcomes_in(finish(Host(elsewhere)))
    assert [outcome.kind for outcome in outcomes] == ["stopped", "stopped"]
    assert all("no module no_such_package" in (outcome.error or "") for outcome in outcomes)


def test_a_full_disk_stops_the_order_and_loses_no_result(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.save_fault = StoreError("no space left")
    configs = [planted(steps=3), planted(steps=3, learning_rate=0.01)]
    order = order_of(tmp_path, configs, workload=altered_card.NAME, checkpoint_seconds=0.0)
    outcomes = outcomes_in(finish(Host(order)))
    assert [(outcome.kind, outcome.error) for outcome in outcomes] == [
        ("stopped", "no space left")
    ] * 2


def test_a_member_that_ends_in_the_step_of_a_failure_is_not_lost(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.save_fault = StoreError("no space left")
    configs = [planted(cliff=1.0), planted(learning_rate=0.9, cliff=1.0)]
    order = order_of(tmp_path, configs, workload=altered_card.NAME, checkpoint_seconds=0.0)
    outcomes = outcomes_in(finish(Host(order)))
    assert {outcome.key: outcome.kind for outcome in outcomes} == {
        order.tasks[0].key: "stopped",
        order.tasks[1].key: "diverged",
    }


def test_a_curve_that_cannot_be_written_stops_the_trial(tmp_path: Path) -> None:
    (tmp_path / "curves").write_bytes(b"a file in the place of the folder")
    (outcome,) = outcomes_in(finish(Host(order_of(tmp_path, [planted()]))))
    assert outcome.kind == "stopped"
    assert "curves" in (outcome.error or "")


def test_a_checkpoint_folder_that_cannot_be_read_stops_the_order(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted()])
    folder = Paths(tmp_path).checkpoint_folder(order.tasks[0].key)
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"a file in the place of the folder")
    (outcome,) = outcomes_in(finish(Host(order)))
    assert outcome.kind == "stopped"
    assert str(folder) in (outcome.error or "")


def test_a_stop_that_cannot_save_says_so(card: altered_card.AlteredCard, tmp_path: Path) -> None:
    card.save_fault = StoreError("no space left")
    host = Host(order_of(tmp_path, [planted()], workload=altered_card.NAME))
    advance_to(host, 3)
    (outcome,) = outcomes_in(host.stop())
    assert (outcome.kind, outcome.error) == ("stopped", "no space left")
    assert host.done


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
    assert max(map(order.paths.step_of, order.paths.checkpoints_of(gone))) <= 5
    assert not list(order.paths.curves.rglob(f"{gone}*"))


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
    assert host._running == order.tasks[:1], "it goes on from step 3, before the others start"
    host.drop([order.tasks[1].key, order.tasks[2].key])
    assert [outcome.key for outcome in outcomes_in(finish(host))] == [order.tasks[0].key]


def test_a_member_dropped_from_a_pack_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted(), planted(learning_rate=0.03, misbehave="bug")])
    host = Host(order)
    advance_to(host, 3)
    host.drop([order.tasks[1].key])
    (outcome,) = outcomes_in(finish(host))
    assert (outcome.key, outcome.kind) == (order.tasks[0].key, "completed")


def test_progress_is_told_about_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.engine.host.PROGRESS_SECONDS", 0.0)
    host = Host(order_of(tmp_path, [planted(step_seconds=0.01)]))
    events = host.advance(0.05) + finish(host)
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 1


def test_the_journal_of_a_checkpoint_is_plain_json(tmp_path: Path) -> None:
    order = order_of(tmp_path, [llama()], workload="llama")
    host = Host(order)
    advance_to(host, 5)
    host.stop()
    (journal,) = tmp_path.rglob("*.journal.json")
    document = json.loads(journal.read_text(encoding="utf-8"))
    assert (document["step"], len(document["curve"]), len(document["marks"])) == (5, 5, 2)
