"""The script that measures scale, on few slots and trials."""

from __future__ import annotations

import pytest

from benchmarks.scale import Commits, RealSlots, Row, commits, measured, study, table


def row(what: str, processor: float) -> Row:
    return Row(
        what=what,
        slots=10,
        trials=100,
        trial_seconds=2.0,
        startup=1.0,
        startup_processor=0.5,
        seconds=25.0,
        processor=processor,
    )


def test_slots_are_busy_for_as_long_as_trials_sleep_in_them() -> None:
    assert row("sweeper", 1.0).occupancy == pytest.approx(0.8)


def test_a_study_has_as_many_trials_as_asked_and_room_for_the_slots() -> None:
    asked = study(100, 1000, 2.0)
    assert len(asked["sweep"]["seed"]) == 2
    assert asked["resources"]["cpus"] < 1
    with pytest.raises(SystemExit, match="no multiple of 50"):
        study(101, 1, 1.0)


def test_the_table_sets_ratios_beside_the_numbers() -> None:
    rows = [row("sweeper", 0.2), row("bare Ray driver", 0.1)]
    pace = Commits(bare=500.0, single=100.0, grouped=1000.0)
    said = table(rows, pace, RealSlots(slots=4, seconds=9.0, memory=150.0))
    assert "controller / bare Ray driver = 2.00" in said
    assert "trials one by one / bare rows = 0.20, by 256 / bare rows = 2.0" in said
    assert "4 worker processes: 9 s until the last is up, 150 MiB each" in said
    assert max(map(len, said.splitlines())) <= 110


def test_commits_are_counted() -> None:
    found = commits(50)
    assert min(found.bare, found.single, found.grouped) > 0


@pytest.mark.slow
@pytest.mark.ray
def test_every_trial_is_run_and_recorded_once_by_slots_that_sleep() -> None:
    found = measured("sweeper", 20, 100, 0.1)
    assert (found.slots, found.trials) == (20, 100)
    assert 0 < found.occupancy < 1
    assert found.processor > 0 and found.memory > 0
