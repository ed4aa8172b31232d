"""Orders whose trials take several devices: the records of one, and what a lost process means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import failing_llama
import parallel_card
import pytest
from engine_studies import order_of, outcomes_in
from hosts import advance_to, curves, facts, finish, llama, planted

from sweeper.engine.messages import Lost, Order, Shape
from sweeper.engine.worker.host import Host

TWO = Shape(cpus=2, processes=2)


@pytest.fixture
def failing() -> Iterator[failing_llama.FailingCard]:
    """Yields the card of a llama that fails where it is told to."""
    yield failing_llama.CARD
    failing_llama.CARD.misbehave = ""


def on_two(root: Path, config: dict[str, Any], **options: Any) -> Order:
    return replace(order_of(root, [config], **{"workload": "llama", **options}), shape=TWO)


def test_a_trial_in_two_processes_leaves_the_records_of_one(tmp_path: Path) -> None:
    config = llama(accumulation=2)
    alone = order_of(tmp_path / "alone", [config], workload="llama")
    together = on_two(tmp_path / "together", config)
    (expected,), (found,) = (outcomes_in(finish(Host(each))) for each in (alone, together))
    assert together.tasks[0].key == alone.tasks[0].key
    assert facts([found]) == facts([expected])
    assert curves(together, [found]) == curves(alone, [expected])
    assert (found.tokens, found.flops) == (expected.tokens, expected.flops)
    assert found.device == f"2 x {expected.device}"
    assert (expected.environment["processes"], found.environment["processes"]) == (1, 2)
    assert found.environment["threads"] == 1


def test_the_time_of_every_device_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    monkeypatch.setattr("sweeper.engine.worker.host.time.monotonic", lambda: float(next(seconds)))
    spent = {}
    for shape in (Shape(), TWO):
        seconds = iter(range(1000))
        order = order_of(tmp_path / str(shape), [planted()], workload=parallel_card.NAME)
        (outcome,) = outcomes_in(finish(Host(replace(order, shape=shape))))
        spent[shape.processes] = outcome.device_seconds
    assert spent[2] == 2 * spent[1] > 0


def test_a_stopped_trial_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    config = llama(accumulation=2)
    whole = outcomes_in(finish(Host(order_of(tmp_path / "calm", [config], workload="llama"))))
    first = Host(on_two(tmp_path / "store", config))
    advance_to(first, 5)
    (stopped,) = outcomes_in(first.stop())
    assert stopped.kind == "stopped"
    rest = order_of(tmp_path / "store", [config], workload="llama", attempt=2)
    assert facts(outcomes_in(finish(Host(rest)))) == facts(whole)


@pytest.mark.parametrize(
    ("misbehave", "kind", "said"),
    [
        ("memory", "out_of_memory", "torch.OutOfMemoryError: planted shortage"),
        ("raise", "bug", "LookupError: planted bug"),
    ],
)
def test_what_one_process_raises_is_the_end_of_the_trial(
    misbehave: str, kind: str, said: str, failing: failing_llama.FailingCard, tmp_path: Path
) -> None:
    failing.misbehave = misbehave
    order = on_two(tmp_path, llama(), workload=failing_llama.NAME)
    (outcome,) = outcomes_in(finish(Host(order)))
    assert outcome.kind == kind
    assert outcome.error is not None
    assert outcome.error.startswith(said)
    assert "in _misbehave" in outcome.error


def test_a_process_that_dies_is_a_worker_lost_and_no_failure(
    failing: failing_llama.FailingCard, tmp_path: Path
) -> None:
    failing.misbehave = "die"
    host = Host(on_two(tmp_path, llama(), workload=failing_llama.NAME, number=7))
    events = finish(host)
    assert outcomes_in(events) == []
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert (lost.order, lost.node) == (7, False)
    assert "was killed by SIGKILL" in lost.reason


def test_a_workload_of_its_own_is_told_how_many_devices_it_has_and_closed(tmp_path: Path) -> None:
    parallel_card.CARD.told.clear()
    parallel_card.CARD.closed = 0
    order = on_two(tmp_path, planted(), workload=parallel_card.NAME)
    (outcome,) = outcomes_in(finish(Host(order)))
    assert outcome.kind == "completed"
    stopped = Host(on_two(tmp_path, planted(steps=20), workload=parallel_card.NAME))
    advance_to(stopped, 3)
    stopped.stop()
    bug = on_two(tmp_path, planted(misbehave="bug"), workload=parallel_card.NAME)
    assert [each.kind for each in outcomes_in(finish(Host(bug)))] == ["bug"]
    assert (parallel_card.CARD.told, parallel_card.CARD.closed) == ([2, 2, 2], 3)


def test_a_workload_of_one_device_is_not_trained_on_several(tmp_path: Path) -> None:
    (outcome,) = outcomes_in(finish(Host(on_two(tmp_path, planted(), workload="planted"))))
    assert outcome.kind == "bug"
    assert "planted trains a trial on one device, not on 2" in (outcome.error or "")
