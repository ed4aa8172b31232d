"""How long the rest of a run takes."""

from __future__ import annotations

import pytest
from engine_studies import planted

from sweeper.engine.pace import PRIOR_SECONDS, Pace, Running
from sweeper.outcome import Outcome
from sweeper.study.plan import expand
from sweeper.trial import Trial

PLANNED = expand(planted(fixed={"steps": 10}))
SMALL = [item.trial for item in PLANNED if item.scale == 32]
LARGE = [item.trial for item in PLANNED if item.scale == 64]
"""Three of 10240 FLOPs and three of 40960, of ten steps each."""


def result(trial: Trial, seconds: float, step: int = 10) -> Outcome:
    return Outcome(key=trial.key, attempt=1, kind="completed", step=step, device_seconds=seconds)


def pace(**probed: float) -> Pace:
    """The pace of all six, of which a probe told the seconds of a step at some scales."""
    made = Pace(probed=lambda trial, scale: probed.get(f"at{scale:g}"))
    for item in PLANNED:
        made.add(item.trial, item.scale)
    return made


def left(made: Pace, *running: Running, worked: float = 0.0, busy: int = 1) -> float:
    found = made.seconds_left(running, worked=worked, busy=busy)
    assert found is not None
    return found


def test_nothing_is_known_before_anything_is() -> None:
    assert pace().seconds_left((), worked=5.0, busy=1) is None


def test_before_anything_has_ended_it_is_what_the_probes_say_on_the_workers_that_there_are() -> (
    None
):
    made = pace(at32=0.5, at64=0.6)
    assert left(made) == pytest.approx(3 * 10 * 0.5 + 3 * 10 * 0.6)
    assert left(made, busy=2) == pytest.approx((15 + 18) / 2)


def test_small_trials_that_take_as_long_as_large_ones_do_not_stretch_it() -> None:
    """By FLOPs alone the three large trials would be thought to take four times as long each."""
    made = pace(at64=1.0)
    for trial in SMALL:
        made.ended(trial, result(trial, 10.0), here=True)
        made.take(trial)
    assert left(made, worked=30.0) == pytest.approx(30.0)


def test_what_has_ended_tells_more_than_a_probe() -> None:
    made = pace(at32=1.0, at64=1.0)
    made.ended(LARGE[0], result(LARGE[0], 20.0), here=False)
    made.take(LARGE[0])
    assert left(made) == pytest.approx(3 * 10 * 1.0 + 2 * 20.0)


def test_a_shape_that_nothing_tells_of_is_scaled_by_its_flops() -> None:
    made = pace(at32=1.0)
    assert left(made) == pytest.approx(3 * 10 * 1.0 + 3 * 10 * 4.0)


@pytest.mark.parametrize(("width", "expected"), [(64, 1.0 * 4), (128, 8.0 / 4)])
def test_of_several_known_shapes_the_one_with_the_nearest_flops_tells(
    width: int, expected: float
) -> None:
    known = {32: 1.0, 256: 8.0}
    made = Pace(probed=lambda trial, scale: known.get(int(scale)))
    for item in expand(planted(fixed={"steps": 10}, sweep={"width": [32, width, 256]})):
        made.add(item.trial, item.scale)
        if item.scale != width:
            made.take(item.trial)
    assert left(made) == pytest.approx(3 * 10 * expected)


def test_a_shape_that_trains_for_the_first_time_tells_by_itself() -> None:
    made = pace(at32=1.0)
    now = Running(trial=LARGE[0], began=0, step=5, seconds=10.0)
    assert left(made, now, worked=0.0) * (10 + PRIOR_SECONDS) / PRIOR_SECONDS == pytest.approx(
        3 * 10 * 1.0 + 25 * 2.0
    )


def test_workers_that_idle_between_trials_stretch_it_the_more_the_longer_that_was_seen() -> None:
    made = pace(at32=1.0, at64=1.0)
    made.ended(SMALL[0], result(SMALL[0], 10.0), here=True)
    made.take(SMALL[0])
    half_idle = left(made, worked=20.0)
    assert half_idle == pytest.approx(50.0 * (20 + PRIOR_SECONDS) / (10 + PRIOR_SECONDS))
    assert half_idle > left(made, worked=10.0) == pytest.approx(50.0)


def test_a_trial_that_goes_on_from_a_checkpoint_has_only_its_rest_before_it() -> None:
    made = pace(at32=1.0, at64=1.0)
    now = Running(trial=LARGE[0], began=8, step=8, seconds=0.0)
    assert left(made, now) == pytest.approx(60.0 - 8.0)


def test_a_result_found_in_a_file_tells_the_pace_but_not_how_busy_the_workers_are() -> None:
    made = pace(at32=1.0, at64=1.0)
    made.ended(SMALL[0], result(SMALL[0], 30.0), here=False)
    made.take(SMALL[0])
    assert left(made, worked=0.0) == pytest.approx(2 * 30.0 + 30.0)


def test_programs_that_say_other_steps_than_were_planned_are_whole_trials() -> None:
    made = pace()
    made.ended(SMALL[0], result(SMALL[0], 20.0, step=5_000), here=False)
    made.take(SMALL[0])
    at_work = Running(trial=SMALL[1], began=0, step=3_000, seconds=5.0)
    assert left(made, at_work) == pytest.approx(left(made))
    assert left(made) > 2 * 20.0
