"""What is run again after which end, and how often."""

from __future__ import annotations

from sweeper.engine.messages import Lost, Shape
from sweeper.engine.policy import MAX_ACCIDENTS, MAX_DEATHS, Retries


def test_workers_are_replaced_up_to_a_cap() -> None:
    retries = Retries()
    event = Lost(order=1, reason="signal 9")
    ends = [retries.after_loss("key", number, event) for number in range(1, MAX_DEATHS + 1)]
    assert [end.kind for end in ends] == ["lost_worker"] * (MAX_DEATHS - 1) + ["bug"]
    assert [end.attempt for end in ends] == [1, 2, 3]
    assert "given up: 3 workers in a row" in (ends[-1].error or "")
    assert retries.after_loss("other", 1, event).kind == "lost_worker"


def test_a_trial_that_gets_further_each_time_is_not_to_blame() -> None:
    retries = Retries()
    event = Lost(order=1, reason="signal 9")
    ends = [retries.after_loss("key", 1, event, kept=step) for step in range(10, 100, 10)]
    assert {end.kind for end in ends} == {"lost_worker"}
    assert [end.step for end in ends] == list(range(10, 100, 10)), "what is kept is on record"
    stuck = [retries.after_loss("key", 1, event, kept=90).kind for _ in range(MAX_DEATHS - 1)]
    assert stuck == ["lost_worker"] * (MAX_DEATHS - 2) + ["bug"]


def test_losses_of_earlier_runs_count() -> None:
    retries = Retries()
    retries.remember({"key": MAX_DEATHS - 1}, ())
    assert retries.after_loss("key", 9, Lost(order=1, reason="signal 9")).kind == "bug"


def test_nodes_that_die_are_not_held_against_a_trial_as_soon_as_workers() -> None:
    retries = Retries()
    event = Lost(order=1, reason="power", node=True)
    kinds = [retries.after_loss("key", 1, event).kind for _ in range(MAX_ACCIDENTS)]
    assert kinds == ["lost_node"] * (MAX_ACCIDENTS - 1) + ["bug"]
    assert retries.after_loss("key", 1, Lost(order=1, reason="signal 9")).kind == "lost_worker"


def test_a_slot_that_is_taken_away_again_and_again_is_not_followed_for_ever() -> None:
    retries = Retries()
    assert [retries.after_stop("key") for _ in range(MAX_ACCIDENTS)] == [True] * (
        MAX_ACCIDENTS - 1
    ) + [False]


def test_a_shortage_of_memory_is_met_once_with_a_device_of_its_own() -> None:
    retries = Retries()
    retries.remember({}, {"before"})
    shape = Shape(cpus=2, gpus=0.25)
    again = retries.after_shortage("key", shape)
    assert again == Shape(cpus=2, gpus=0.25, alone=True)
    assert again is not None
    assert again.threads == shape.threads, "the bits of a result depend on it"
    assert retries.after_shortage("key", again) is None
    assert retries.after_shortage("before", shape) is None
