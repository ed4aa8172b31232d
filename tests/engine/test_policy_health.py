"""Who is to blame: trials, places, or everything."""

from __future__ import annotations

from typing import Any

from sweeper.engine.policy import FAILURES_IN_A_ROW, FIRST_FAILURES, STREAK, Breaker, Health


def health(*places: str, **options: Any) -> tuple[Health, list[str]]:
    notes: list[str] = []
    found = Health(notes.append, **options)
    for place in places:
        found.began(place)
    return found, notes


def test_failures_alone_convict_no_place() -> None:
    watch, notes = health("a", "b")
    for number in range(20):
        watch.failed("a", f"trial {number}")
        watch.failed("b", f"trial {number}")
    assert not any("is quarantined" in note for note in notes)


def test_a_suspect_is_tested_by_one_trial_at_another_place() -> None:
    watch, _ = health("a", "b")
    asked = [watch.failed("a", f"trial {number}") for number in range(6)]
    assert asked == [False] * (STREAK - 1) + [True] + [False] * (6 - STREAK)
    assert watch.quarantined == {"a"}, "until the answer is there it is given nothing"


def test_a_place_whose_failures_succeed_elsewhere_is_quarantined_and_its_trials_run_again() -> (
    None
):
    watch, notes = health("a", "b")
    for number in range(STREAK):
        watch.failed("a", f"trial {number}")
    again = watch.succeeded("b", "trial 2")
    assert watch.quarantined == {"a"}
    assert again == {"trial 0", "trial 1"}
    assert "a is quarantined: the last 3 trials there failed, and 1 of them succeeded" in notes[0]


def test_a_place_is_cleared_by_a_trial_that_fails_elsewhere_too_and_has_to_fail_more() -> None:
    watch, _ = health("a", "b")
    for number in range(STREAK):
        watch.failed("a", f"trial {number}")
    assert not watch.failed("b", f"trial {STREAK - 1}"), "it is not asked about a second time"
    assert watch.quarantined == frozenset()
    asked = [watch.failed("a", f"other {number}") for number in range(2 * STREAK)]
    assert asked == [False] * (2 * STREAK - 1) + [True]


def test_a_success_ends_the_streak_of_a_place() -> None:
    watch, _ = health("a", "b")
    for number in range(10 * STREAK):
        assert not watch.failed("a", f"trial {number}")
        if number % 2:
            watch.succeeded("a", f"good {number}")
    assert watch.succeeded("b", "trial 0") == set()
    assert watch.quarantined == frozenset()


def test_a_single_place_is_never_asked_about_nor_quarantined() -> None:
    watch, _ = health("a")
    assert not any(watch.failed("a", f"trial {number}") for number in range(10))
    assert watch.succeeded("a", "trial 0") == set()
    assert watch.quarantined == frozenset()


def test_a_place_that_is_still_coming_up_is_waited_for_but_not_for_ever() -> None:
    now = [0.0]
    watch, _ = health("a", clock=lambda: now[0])
    watch.expected = 2
    asked = [watch.failed("a", f"trial {number}") for number in range(STREAK)]
    assert asked[-1]
    assert watch.quarantined == {"a"}
    now[0] += 1000
    assert watch.quarantined == frozenset()


def test_a_trial_that_another_place_has_begun_is_waited_for_to_its_end() -> None:
    now = [0.0]
    watch, _ = health("a", "b", clock=lambda: now[0])
    for number in range(STREAK):
        watch.failed("a", f"trial {number}")
    watch.began("b", ["trial 2"])
    now[0] += 1000
    assert watch.quarantined == {"a"}


def test_the_last_healthy_place_gone_sets_the_others_free() -> None:
    watch, notes = health("a", "b")
    for number in range(STREAK):
        watch.failed("a", f"trial {number}")
    watch.succeeded("b", "trial 0")
    watch.gone("b")
    assert watch.quarantined == frozenset()
    assert "no other place is left: a is used again" in notes[-1]


def test_a_run_that_only_fails_is_ended_with_its_causes() -> None:
    breaker = Breaker()
    said = [breaker.failed("bug: a" if number % 3 else "bug: b") for number in range(20)]
    assert said[: FIRST_FAILURES - 1] == [None] * (FIRST_FAILURES - 1)
    assert said[FIRST_FAILURES - 1] == "the first 10 failed: 6 x bug: a; 4 x bug: b"


def test_after_a_success_a_run_bears_more_failures_in_a_row() -> None:
    breaker = Breaker()
    breaker.succeeded()
    said = [breaker.failed(f"bug: {number}") for number in range(FAILURES_IN_A_ROW)]
    assert said[:-1] == [None] * (FAILURES_IN_A_ROW - 1)
    assert said[-1] is not None
    assert said[-1].startswith("50 trials in a row failed: 1 x bug: 0")
    assert said[-1].endswith("and 45 other causes")
    breaker.succeeded()
    assert breaker.failed("bug: 0") is None
