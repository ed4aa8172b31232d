"""The rule of divergence and the mean of the last losses."""

from __future__ import annotations

import math

import pytest

from workloads.training.pack import MemberState

GUESS = math.log(256)


def member_state(steps: int = 200) -> MemberState:
    return MemberState(member=0, seed=0, steps=steps, vocabulary=256)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_or_norm_that_is_not_finite_ends_a_run_at_once(bad: float) -> None:
    assert member_state().take(bad, 1.0)
    assert member_state().take(1.0, bad)


def test_a_run_without_a_gradient_has_ended_unless_it_has_no_loss_either() -> None:
    """What a norm of activations whose squares are infinite looks like, and what a perfect fit."""
    assert member_state().take(GUESS, 0.0)
    assert not member_state().take(0.0, 0.0)
    assert not member_state().take(GUESS, 1e-30)


def test_a_loss_worse_than_twice_guessing_ends_a_run_after_a_twentieth_of_it() -> None:
    judged = member_state()
    assert [judged.take(2.01 * GUESS, 1.0) for _ in range(10)] == [False] * 9 + [True]


def test_a_short_run_is_given_three_steps() -> None:
    judged = member_state(steps=12)
    assert [judged.take(3 * GUESS, 1.0) for _ in range(3)] == [False, False, True]


def test_a_spike_that_is_recovered_from_does_not_count() -> None:
    judged = member_state(steps=12)
    losses = [3 * GUESS, 3 * GUESS, 1.0, 3 * GUESS, 3 * GUESS, 1.0]
    assert [judged.take(loss, 1.0) for loss in losses] == [False] * 6


def test_the_train_loss_is_the_mean_over_the_last_twentieth() -> None:
    judged = member_state(steps=60)
    for loss in (5.0, 4.0, 3.0, 2.0, 1.0):
        judged.take(loss, 1.0)
    assert judged.train_loss == 2.0
