"""The script that measures endurance, on a study of 100 trials."""

from __future__ import annotations

import math

import pytest

from benchmarks.endurance import Row, Sample, measure, row, study, table

pytestmark = pytest.mark.timeout(120)


def test_groups_are_cut_where_their_last_trial_was_accepted() -> None:
    moments = [10.0 + index for index in range(6)]
    samples = [
        Sample(moment=9.0 + second, memory=100.0 + second, processor=second / 2, state=1.0)
        for second in range(8)
    ]
    found = row("inline", moments, samples, group=2)
    assert found.trials == 6
    assert found.seconds == (1.0, 2.0, 2.0)
    assert found.processor == (0.5, 1.0, 1.0)
    assert found.memory == (102.0, 104.0, 106.0)
    assert found.growth == pytest.approx(2.0)


def test_a_study_has_as_many_trials_as_asked() -> None:
    sweep = study(500)["sweep"]
    assert math.prod(len(values) for values in sweep.values()) == 500
    with pytest.raises(SystemExit, match="no multiple of 50"):
        study(501)


def test_a_real_run_is_measured_group_by_group() -> None:
    found = measure("inline", 100, group=50)
    assert found.trials == 100
    assert len(found.seconds) == len(found.memory) == 2
    assert all(value > 0 for value in (*found.seconds, *found.memory))
    assert all(value >= 0 for value in (*found.processor, *found.state))
    lines = table([found]).splitlines()
    assert lines[-1].split()[:2] == ["inline", "100"]
    assert max(map(len, lines)) <= 100


def test_memory_of_one_group_has_no_slope() -> None:
    values = (1.0, 2.0)
    found = Row(
        executor="ray", trials=2, seconds=values, processor=values, memory=values, state=values
    )
    assert found.growth == 0.0
