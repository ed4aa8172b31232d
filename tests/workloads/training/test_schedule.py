"""The schedule, value by value."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.training.schedule import Schedule


def schedule(**changes: Any) -> Schedule:
    settings = {"steps": 10, "warmup_steps": 4, "shape": "linear", "final_ratio": 0.0}
    return Schedule(**{**settings, **changes})


def test_the_warmup_rises_from_the_first_step_and_the_decay_ends_above_zero() -> None:
    values = [schedule()(step) for step in range(1, 11)]
    rest = [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert values == pytest.approx([0.25, 0.5, 0.75, 1.0, *rest])


def test_a_cosine_ends_near_the_final_ratio() -> None:
    values = [schedule(shape="cosine", final_ratio=0.2)(step) for step in range(5, 11)]
    cosine = [0.2 + 0.8 * (1 + math.cos(math.pi * i / 6)) / 2 for i in range(6)]
    assert values == pytest.approx(cosine)


def test_a_run_of_one_step_trains_at_full_rate() -> None:
    assert schedule(steps=1, warmup_steps=0)(1) == 1.0


@given(
    steps=st.integers(1, 500),
    share=st.floats(0, 0.99),
    shape=st.sampled_from(["linear", "cosine"]),
    final=st.floats(0, 1),
)
def test_every_update_has_a_factor_above_zero_and_at_most_one(
    steps: int, share: float, shape: str, final: float
) -> None:
    warmup = int(share * steps)
    s = schedule(steps=steps, warmup_steps=warmup, shape=shape, final_ratio=final)
    values = [s(step) for step in range(1, steps + 1)]
    assert all(0 < value <= 1 for value in values)
    assert max(values) == 1
    assert values[:warmup] == sorted(values[:warmup])
    assert values[warmup:] == sorted(values[warmup:], reverse=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_steps": 10}, "warmup_steps is 10 of 10 steps"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"shape": "step"}, "schedule is 'step'; known: linear, cosine"),
        ({"final_ratio": 1.5}, r"final_ratio is 1.5; it has to be in \[0, 1\]"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule(**changes)


@pytest.mark.parametrize("step", [0, 11])
def test_a_step_outside_the_run_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match="counted from 1 to 10"):
        schedule()(step)
